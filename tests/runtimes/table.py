"""The table of runtimes in export/README.md, measured anew: `make runtimes`.

    python -m tests.runtimes.table FOLDER

Those that are large or bring a converter of their own are installed into FOLDER, each into an
environment of its own. One process per runtime and file, so that one that aborts is a line.
"""

import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.runtimes import drivers, golden
from tests.test_runtimes import COMMANDS
from vidgan.disk.places import bundled
from vidgan.generator import export

# IREE and TVM read ONNX through its package. ncnn's converter asks for torch, but runs without.
PACKAGES = {
    "MNN": ("MNN", "numpy"),
    "IREE": ("iree-base-compiler", "iree-base-runtime", "onnx", "numpy"),
    "TVM": ("apache-tvm", "onnx", "numpy"),
    "LiteRT": ("ai-edge-litert", "onnx2tf", "numpy"),
    "ncnn": ("--no-deps", "ncnn", "pnnx", "numpy"),
}
BY_DOCUMENTATION = {
    "TensorRT": "operators and forms it asks for (a test); needs an NVIDIA GPU",
    "CoreML": "operators it takes, of `--output float` (a test); needs macOS",
}
SPEED_S = 3


def main(environments: Path) -> None:
    print(f"{datetime.date.today()}, {os.cpu_count()} cores\n")
    print("| runtime | version | grey levels off | bytes off | frames/s | |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        golden.make(folder)
        shipped = bundled("assets/generator.safetensors")
        export.export(shipped, folder / "generator-float.onnx", output="float")
        for name, command in COMMANDS.items():
            row(name, command, folder)
        for name in drivers.OTHERS:
            try:
                python = installed(name, environments)
            except subprocess.CalledProcessError as error:
                line(name, note=f"does not install: {last(error.stderr)}")
                continue
            row(name, [python, Path(drivers.__file__), name], folder)
    for name, why in BY_DOCUMENTATION.items():
        line(name, note=f"by documentation: {why}")


def row(name: str, command: list[object], folder: Path) -> None:
    """Run every case; a failing one is told, and the numbers are of the others."""
    told, failed = {"frames": {}}, {}
    for case in golden.CASES:
        try:
            one = golden.run(command, folder, (case,), speed_s=SPEED_S if not told["frames"] else 0)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed.setdefault(last(str(error)), []).append(case)
            continue
        told = one | told | {"frames": told["frames"] | one["frames"]}
    notes = [f"fails on {', '.join(cases)}: {why}" for why, cases in failed.items()]
    if not told["frames"]:
        return line(name, note="; ".join(notes))
    found = golden.compare(told, folder)
    within = found.max_level <= golden.MAX_LEVEL and found.differing <= golden.MAX_DIFFERING
    note = "; ".join([*notes, *([] if within else ["beyond the rule"])])
    numbers = (found.max_level, f"{found.differing:.4%}", speed(told["frames_per_s"]))
    return line(name, told["version"], *numbers, note=note)


def speed(frames_per_s: float) -> str:
    return f"{frames_per_s:.{0 if frames_per_s >= 10 else 1}f}"


def line(name: str, *numbers: object, note: str = "") -> None:
    cells = [*numbers, *[""] * (4 - len(numbers)), note]
    print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)


def installed(name: str, environments: Path) -> Path:
    """The Python of a runtime's own environment, made where it is missing."""
    home = environments / name
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        command = [python, "-m", "pip", "install", "--quiet", *PACKAGES[name]]
        subprocess.run(command, check=True, capture_output=True, text=True)
        ready.touch()
    return python


def last(text: str) -> str:
    return text.strip().splitlines()[-1].strip()[:160].replace("|", "/")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
