"""The CPU time of decoding a film into training data, beside that of ffmpeg, which only decodes and
shrinks it.

    python tests/benchmarks/decoding.py film.mp4 --pairs 3

Both make pictures of 64 lines, in turn. Prints CPU milliseconds a frame, and the median ratio.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from vidgan.config import DataConfig
from vidgan.data import cache
from vidgan.film import reader

OURS = """
import sys
from vidgan.config import DataConfig
from vidgan.data import cache
cache.open_dataset(DataConfig(source=sys.argv[1], min_change=0), width=int(sys.argv[2]), height=64)
"""


def cpu_s(command: list[object], **env: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*map(str, command)], check=True, env=os.environ | env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    frames = reader.frames_in(given.film)
    width, _ = cache.native_size(DataConfig(source=str(given.film)))
    ffmpeg = ["ffmpeg", "-v", "error", "-i", given.film, "-pix_fmt", "rgb24", "-f", "rawvideo"]
    ffmpeg += ["-vf", f"scale={width}:64:flags=area", "-y", os.devnull]
    nothing = cpu_s([sys.executable, "-c", "import vidgan.data.cache"])
    ratios = []
    for _ in range(given.pairs):
        theirs = cpu_s(ffmpeg)
        with tempfile.TemporaryDirectory() as folder:
            ours = cpu_s([sys.executable, "-c", OURS, given.film, width], VIDGAN_CACHE=folder)
        ratios.append((ours - nothing) / theirs)
        ms = [1000 * seconds / frames for seconds in (theirs, ours - nothing)]
        print(f"ffmpeg {ms[0]:.2f} ms, vidgan {ms[1]:.2f} ms of CPU a frame", flush=True)
    print(f"{frames:,} frames to {width}x64: {statistics.median(ratios):.2f} of ffmpeg's CPU time")


if __name__ == "__main__":
    main()
