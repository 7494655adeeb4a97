"""Peak memory of a short and of a long render, each in a process of its own.

python tests/benchmarks/render_memory.py [--frames 20000] [--model generator.onnx]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def peak_mb(frames: int, model: Path | None, folder: Path) -> float:
    target = folder / f"{frames}.mp4"
    render = [sys.executable, "-m", "vidgan", "render", "--frames", str(frames), str(target)]
    if model:
        render += ["--model", str(model)]
    # A process between, so that the children counted are this render alone.
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=sys.stderr); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, *render], stdout=subprocess.PIPE, check=True
    )
    target.unlink()
    return int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=20_000)
    arguments.add_argument("--model", type=Path)
    given = arguments.parse_args()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss == 0
    with tempfile.TemporaryDirectory() as folder:
        peaks = {}
        for frames in (300, given.frames):
            started = time.monotonic()
            peaks[frames] = peak_mb(frames, given.model, Path(folder))
            rate = frames / (time.monotonic() - started)
            print(f"{frames:>7} frames: peak {peaks[frames]:.0f} MB, {rate:.0f} frames/s")
    print(f"ratio {peaks[given.frames] / peaks[300]:.3f}")


if __name__ == "__main__":
    main()
