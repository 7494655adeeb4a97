"""An evening with one's own film, timed: film in, a film of its kind out.

    python tests/benchmarks/evening.py --film film.mp4 --folder evening/

Runs the commands that README.md shows to someone who has never trained anything, one after the
other, and prints the wall time and the CPU time of each. Without --film it makes one: ten minutes
of 1280x720 from the shipped footage. Everything is left in the folder, to be looked at; strip.webp
shows it at a glance: the film, part of the first sheet after some training and of that of the end,
and the film that was made.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vidgan.disk.places import bundled
from vidgan.training.run_folder import grids

VIDGAN = (sys.executable, "-m", "vidgan")


def make_film(path: Path, minutes: float) -> None:
    """The shipped footage, enlarged, again and again."""
    scaling = "scale=1280:720:flags=lanczos,noise=alls=6:allf=t"
    words = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", bundled("assets/earth.mp4")]
    words += ["-t", 60 * minutes, "-vf", scaling, "-c:v", "libx264", "-preset", "veryfast", path]
    subprocess.run([*map(str, words)], check=True)


def timed(folder: Path, *words: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    began, before = time.monotonic(), _cpu_s()
    subprocess.run([*VIDGAN, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, _cpu_s() - before


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_sheets(folder: Path, found: dict[str, float], done: threading.Event) -> None:
    """Note when the first sheet of samples appears, and the first after a step of training."""
    began = time.monotonic()
    while len(found) < 2 and not done.wait(0.2):
        for run in (folder / "runs").glob("*"):
            for images in grids(run):
                found.setdefault(
                    "later sheet" if images else "first sheet", time.monotonic() - began
                )


def write_strip(film: Path, folder: Path) -> None:
    (run, *_) = sorted((folder / "runs").iterdir())
    _, early, *_ = grids(run).values()
    sheets = [Image.open(path).convert("RGB") for path in (early, folder / "sheet.png")]
    parts = [sheet.crop((0, 0, sheet.width // 2, sheet.height)) for sheet in sheets]
    pictures = [_frame(film), *parts, _frame(folder / "out.mp4")]
    small = [one.resize((256 * one.width // one.height, 256)) for one in pictures]
    gap = Image.new("RGB", (8, 256), "white")
    row = np.concatenate([part for one in small for part in (one, gap)][:-1], axis=1)
    Image.fromarray(row).save(folder / "strip.webp", quality=90)


def _frame(film: Path) -> Image.Image:
    with av.open(film) as container:
        return next(itertools.islice(container.decode(video=0), 60, None)).to_image()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("evening"))
    parser.add_argument("--for", dest="length", default="4m")
    given = parser.parse_args()
    folder = given.folder.resolve()
    if folder.exists():
        parser.error(f"--folder {given.folder}: exists already; give a new one.")
    folder.mkdir(parents=True)
    film = given.film.resolve() if given.film else folder / "film.mp4"
    if not given.film:
        make_film(film, 10)
    sheets, done = {}, threading.Event()
    watcher = threading.Thread(target=first_sheets, args=(folder, sheets, done))
    watcher.start()
    began, walk = time.monotonic(), ("render", "--keyframes", "coast,3,22,9")
    print("| step | wall s | CPU s |\n|---|---|---|", flush=True)
    for what, words in (
        ("train", ("train", str(film), "--for", given.length)),
        ("look", ("sample", "--grid", "8x4", "--numbers", "sheet.png")),
        ("keep one", ("keep", "17", "coast")),
        ("10 s of 1920x1080", (*walk, "--seconds", "10", "--resolution", "1920x1080", "out.mp4")),
        ("chat", (*walk, "--for-chat", "chat.gif")),
        ("in all", ()),
        ("train again for 5 s", ("train", str(film), "--for", "5s")),
    ):
        wall_s, cpu_s = timed(folder, *words) if words else (time.monotonic() - began, _cpu_s())
        done.set()
        print(f"| {what} | {wall_s:.0f} | {cpu_s:.0f} |", flush=True)
    watcher.join()
    write_strip(film, folder)
    for what, seconds in sheets.items():
        print(f"{what}: after {seconds:.0f} s")


if __name__ == "__main__":
    main()
