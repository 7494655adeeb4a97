"""What the live page costs: CPU time of a training with viewers, by that of the same without.

    python tests/benchmarks/live.py               # alternating, three times each: minutes

A viewer here reads the events, and fetches the numbers, the samples and what D believes when they
are new, as the page does.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

RECIPE = "[model]\nwidth = 64\nheight = 64\n[train]\ndistance_every_images = 0\n"


def watch(address: str) -> None:
    """As the page does, until the training ends."""

    def fetched(page: str) -> bytes:
        with urllib.request.urlopen(address + page) as answer:
            return answer.read()

    read, seen = 0, set()
    with suppress(OSError), urllib.request.urlopen(f"{address}events") as events:
        for line in events:
            if not line.startswith(b"data: "):
                continue
            news = json.loads(line.removeprefix(b"data: "))
            if news.get("bytes", 0) > read:
                read += len(fetched(f"numbers?{read}"))
            if (sample := news["samples"][-1:]) and sample[0] not in seen:
                seen.add(sample[0])
                fetched(f"picture?samples{sample[0]:09d}.png")
            if (believed := news.get("believed")) and believed not in seen:
                seen.add(believed)
                fetched(f"picture?live/believed.png?{believed}")


def cpu_s(images: int, viewers: int) -> float:
    """CPU time of a training in a process of its own, without that of the viewers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "r.toml").write_text(RECIPE + f"images = {images}\n")
        command = [sys.executable, "-m", "vidgan", "train", "--recipe", "r.toml"]
        command += ["--live"] * (viewers > 0)
        run = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for line in run.stderr:
            if found := re.search(r"http://\S+", line):
                for _ in range(viewers):
                    threading.Thread(target=watch, args=[found[0]], daemon=True).start()
        _, _, used = os.wait4(run.pid, 0)
        return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    cpu_s(64, 0)  # decodes
    times: dict[int, list[float]] = {0: [], 1: [], 10: []}
    for _ in range(asked.repeat):
        for viewers, of in times.items():
            of.append(cpu_s(asked.images, viewers))
    for viewers in (1, 10):
        ratios = [one / none for one, none in zip(times[viewers], times[0], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{viewers} viewers: {statistics.median(ratios):.3f} ({spread}) of the CPU time")


if __name__ == "__main__":
    main()
