"""Writes down what vidgan makes, or compares it with what was written down before.

    python -m tests.fingerprint write before.json
    python -m tests.fingerprint compare before.json

It trains, exports, renders and makes mistakes by the command line alone, so that one script asks
any two versions; the one that PYTHONPATH names is run, else the one installed. What is made is
kept as hashes: of weights, decoded frames and sound, and graphs, but not of whole files, which
tell of their maker. Both runs want the same machine and the same installed packages.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import onnx
from PIL import Image, ImageSequence
from safetensors.numpy import load_file

from tests.sounds import write_sound
from tests.wrong_commands import MODEL, WRONG_COMMANDS, prepare

Entries = dict[str, str]

PATHS = ("loop", "lerp", "slerp", "spline", "circle", "walk", "noise")
TRAINED = {  # name of a run: more lines of its recipe
    "dcgan": {},
    "r3gan": {"model": 'name = "r3gan"'},
    "ada": {"train": 'augment = "ada"'},
    "conditional": {},
    "growing": {"train": "grow_every_images = 300"},  # in full after 1,800
}
EXPORTED = {  # name of a file: the run, and the options
    **{run: (run,) for run in TRAINED if run != "ada"},
    "fp16": ("dcgan", "--weights", "fp16"),
    "int8": ("dcgan", "--int8", "--least-psnr", "1"),
    "rgba": ("dcgan", "--layout", "rgba"),
    "float": ("dcgan", "--output", "float"),
    "walk": ("dcgan", "--walk", "loop", "--frames", "24"),
}
WALKS = {  # options of a render
    **{kind: ("--path", kind) for kind in PATHS},
    "no-loop": ("--no-loop",),
    "hold": ("--path", "lerp", "--hold", "0.3", "--ease", "smoothstep"),
    "truncation": ("--truncation", "0.5,1"),
    "constant-speed": ("--constant-speed",),
    "seeds": ("--seeds", "3,17,99"),
    "grid": ("--grid", "2x2"),
    "audio": ("--audio", "stroke.wav"),
}
KINDS = {  # name of a film: its options
    **{f"{codec}.mp4": ("--codec", codec) for codec in ("h264", "h265", "av1")},
    **{f"{codec}.webm": ("--codec", codec) for codec in ("vp9", "av1")},
    **dict.fromkeys(("prores.mov", "ffv1.mkv", "a.gif", "a.apng", "a.webp", "pngs"), ()),
    "lossless.mp4": ("--lossless",),
}
RENDERED = {  # name of a film: model and options; FFV1 keeps every bit
    **{f"onnx/{name}.mkv": ("dcgan.onnx", *options) for name, options in WALKS.items()},
    "onnx/class.mkv": ("conditional.onnx", "--labels", "1"),
    "torch/loop.mkv": ("dcgan.safetensors", *WALKS["loop"]),
    "torch/grid.mkv": ("dcgan.safetensors", *WALKS["grid"]),
    "torch/labels.mkv": ("conditional.safetensors", "--labels", "0,2,0"),
    **{f"kind/{name}": ("dcgan.onnx", *options) for name, options in KINDS.items()},
}


def vidgan(*arguments: object) -> None:
    """Run a command in the current folder. Ends the script if it fails."""
    command = [sys.executable, "-m", "vidgan", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")


def digest(arrays: Iterable[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def write_inputs() -> None:
    """Pictures of discs on gradients, some in folders by class, and a sound with one stroke."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:36, :40][..., None]
    for number in range(96):
        centre, radius = rng.uniform(8, 30, 2), rng.uniform(4, 12)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        colours = rng.integers(0, 256, (2, 3))
        pixels = np.where(disc, colours[0], colours[1] * (x + y) // 80).astype(np.uint8)
        for folder in ("pictures", f"classes/{'abc'[number % 3]}"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(f"{folder}/{number:02d}.png")
    write_sound(Path("stroke.wav"), duration_s=0.5, rate=16_000)


def train(name: str, lines: dict[str, str]) -> Entries:
    """A short run, its weights to be had as NAME.safetensors."""
    Path(f"{name}.toml").write_text(
        f"[model]\nwidth = 32\nheight = 32\nchannels = 8\n{lines.get('model', '')}\n"
        "[train]\nimages = 2_000\nbatch_size = 16\nflip = true\nprecision = 'fp32'\n"
        f"distance_every_images = 0\n{lines.get('train', '')}\n"
    )
    source = "classes" if name == "conditional" else "pictures"
    vidgan("train", source, "--recipe", f"{name}.toml", "--runs", f"runs/{name}")
    (run,) = Path("runs", name).iterdir()
    Path(f"{name}.safetensors").hardlink_to(run / "generator.safetensors")
    tensors = load_file(max((run / "checkpoints").glob("*.safetensors")))
    kept = load_file(run / "generator.safetensors")
    tensors |= {f"kept/{key}": weight for key, weight in kept.items()}
    parts = itertools.groupby(sorted(tensors), key=lambda key: key.partition("/")[0])
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    files = (path.relative_to(run).as_posix() for path in run.rglob("*"))
    names = sorted(re.sub(r"(tfevents\.).*", r"\1*", file) for file in files)
    return {
        f"train/{name}/folder": f"{run.name}: {' '.join(names)}",
        f"train/{name}/stats": " ".join(sorted({key for row in rows for key in row})),
        **{f"train/{name}/{part}": digest(map(tensors.get, keys)) for part, keys in parts},
    }


def export(name: str, run: str, *options: str) -> Entries:
    vidgan("export", "--model", f"{run}.safetensors", *options, f"{name}.onnx")
    model = onnx.load(f"{name}.onnx")
    graph = model.graph.SerializeToString(deterministic=True)
    return {
        f"export/{name}/graph": hashlib.sha256(graph).hexdigest()[:16],
        f"export/{name}/metadata": " ".join(sorted(prop.key for prop in model.metadata_props)),
    }


def render(target: str, model: str, *options: str) -> Entries:
    seed = () if "--seeds" in options else ("--seed", "7")
    length = () if "--audio" in options else ("--frames", "9")
    vidgan("render", "--model", model, "--scale", "2", *seed, *length, *options, target)
    return {target: digest(decoded(Path(target)))}


def sample() -> Entries:
    vidgan("sample", "--grid", "4x2", "--model", "dcgan.onnx", "grid.png")
    return {"sample/grid.png": digest(decoded(Path("grid.png")))}


def decoded(path: Path) -> Iterable[np.ndarray]:
    """All pictures of a file or folder, and its sound."""
    if path.is_dir() or path.suffix in (".png", ".webp"):  # FFmpeg reads no moving WebP
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            with Image.open(file) as image:
                yield from (np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image))
        return
    with av.open(str(path)) as film:
        for frame in film.decode():
            picture = isinstance(frame, av.VideoFrame)
            yield frame.to_ndarray(format="rgb24") if picture else frame.to_ndarray()


def mistake(line: str) -> Entries:
    here = str(Path.cwd())
    arguments = line.replace(MODEL, f"{here}/dcgan.onnx").split()
    command = [sys.executable, "-m", "vidgan", *arguments]
    done = subprocess.run(command, cwd="wrong", capture_output=True, text=True)
    return {f"wrong/{line}": f"{done.returncode} {done.stderr.replace(here, 'TMP')}"}


def fingerprint() -> Entries:
    """All entries, in three stages, each of which reads what the one before has made."""
    write_inputs()
    for name in ("wrong", "onnx", "torch", "kind"):
        Path(name).mkdir()
    prepare(Path("wrong"))
    stages = (
        [(train, *named) for named in TRAINED.items()],
        [(export, name, *how) for name, how in EXPORTED.items()],
        [(render, name, *how) for name, how in RENDERED.items()]
        + [(mistake, line) for *_, line in WRONG_COMMANDS]
        + [(sample,)],
    )
    entries: Entries = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for jobs in stages:
            for found in pool.map(lambda job: job[0](*job[1:]), jobs):
                entries |= found
    left = sorted(path.name for path in Path("wrong").rglob("*"))
    return dict(sorted(entries.items())) | {"wrong, left": " ".join(left)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fingerprint", description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    before = json.loads(asked.file.read_text()) if asked.verb == "compare" else {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        alone = {"VIDGAN_CACHE": f"{folder}/cache", "CUDA_VISIBLE_DEVICES": ""}
        os.environ |= alone | {"OMP_NUM_THREADS": "1"}
        where = [sys.executable, "-c", "import vidgan; print(vidgan.__file__)"]
        print(subprocess.check_output(where, text=True).strip(), flush=True)
        now = fingerprint()
    if asked.verb == "write":
        asked.file.write_text(json.dumps(now, indent=1) + "\n")
        print(f"{asked.file}: {len(now)} entries")
        return
    differing = [key for key in sorted(before | now) if before.get(key) != now.get(key)]
    for key in differing:
        print(f"{key}\n  before  {before.get(key)}\n  now     {now.get(key)}")
    print(f"{len(differing)} of {len(before | now)} entries differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
