"""Long runs: does anything grow?

    python -m tests.faults.soak --minutes 30 --frames 200000

A training with samples and checkpoints all the time, and one long render. Once a second the memory
and the open files of the process are read. A line through the second half of the readings says how
fast they grow.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.conftest import save_model, small_generator
from vidgan import config

_EVERY_S = 1.0
_MB, _FILES = 20.0, 10  # of growth in the second half is still flat


def readings(command: list[object], folder: Path, log: Path) -> np.ndarray:
    """Run a command to its end. Returns rows of seconds, MB resident, and open files."""
    rows = []
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=output, stderr=output
        )
    started, pages = time.monotonic(), Path(f"/proc/{process.pid}/statm")
    while process.poll() is None:
        resident_mb = int(pages.read_text().split()[1]) * 4096 / 1e6
        opened = len([*Path(f"/proc/{process.pid}/fd").iterdir()])
        rows.append((time.monotonic() - started, resident_mb, opened))
        time.sleep(_EVERY_S)
    assert process.returncode == 0, log.read_text()[-2000:]
    return np.array([row for row in rows if row[1] > 0])  # a process that ends has no memory


def slopes(rows: np.ndarray) -> tuple[float, float]:
    """How much memory (MB) and files grow in an hour, by the second half of the readings."""
    late = rows[len(rows) // 2 :]
    hours = late[:, 0] / 3600
    return tuple(float(np.polyfit(hours, late[:, column], 1)[0]) for column in (1, 2))


def training(folder: Path, minutes: float) -> list[object]:
    tables = {
        "model": {"width": 32, "height": 32, "channels": 4},
        "train": {
            "batch_size": 8,
            "images": 10**9,
            "duration_s": 60.0 * minutes,
            "checkpoint_every_images": 2000,
            "samples_every_images": 2000,
            "distance_every_images": 0,
        },
    }
    recipe = folder / "recipe.toml"
    recipe.write_text(config.to_toml(config.from_dict(tables)))
    return [sys.executable, "-m", "vidgan", "train", "--recipe", recipe]


def render(folder: Path, frames: int) -> list[object]:
    model = save_model(folder / "model.safetensors", *small_generator(32, 32))
    how = ["--frames", frames, "--scale", 1, "--path", "lerp", "--yes", "--force", "out.mp4"]
    return [sys.executable, "-m", "vidgan", "render", "--model", model, *how]


def report(name: str, rows: np.ndarray) -> bool:
    """Print what was read. Returns whether it is flat."""
    memory, files = slopes(rows)
    middle, last = rows[len(rows) // 2], rows[-1]
    grown = f"{middle[1]:.0f} MB half way, {last[1]:.0f} MB at the end, {memory:+.1f} MB/h"
    opened = f"{rows[:, 2].min():.0f} to {rows[:, 2].max():.0f} files, {files:+.1f}/h"
    print(f"{name}: {last[0] / 60:.1f} minutes; {grown}; {opened}", flush=True)
    return last[1] - middle[1] < _MB and last[2] - middle[2] < _FILES


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.faults.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="of training")
    parser.add_argument("--frames", type=int, default=200_000, help="of a render")
    asked, flat = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, command in (
            (f"render of {asked.frames:,} frames", render(folder, asked.frames)),
            ("training", training(folder, asked.minutes)),
        ):
            flat.append(report(what, readings(command, folder, folder / "log")))
        checkpoints = len([*folder.glob("runs/*/checkpoints/*.safetensors")])
        samples = len([*folder.glob("runs/*/samples*.png")])
        print(f"the run has {checkpoints} checkpoints and {samples} samples")
    raise SystemExit(not all(flat))


if __name__ == "__main__":
    main()
