"""Measures the table of runtimes in export/README.md: `make runtimes`.

    python -m tests.runtimes.table FOLDER

Runtimes that are large or have a converter of their own are installed into FOLDER, each into its
own environment. Each runtime and file has its own process, so that one that aborts is one line.
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

# IREE and TVM read ONNX with the package onnx. ncnn's converter lists torch but runs without it.
PACKAGES = {
    "MNN": ("MNN", "numpy"),
    "IREE": ("iree-base-compiler", "iree-base-runtime", "onnx", "numpy"),
    "TVM": ("apache-tvm", "onnx", "numpy"),
    "LiteRT": ("ai-edge-litert", "onnx2tf", "numpy"),
    "ncnn": ("--no-deps", "ncnn", "pnnx", "numpy"),
}
BY_DOCUMENTATION = {
    "TensorRT": "a test checks its operators and their forms; it needs an NVIDIA GPU",
    "CoreML": "a test checks its operators, for `--output float`; it needs macOS",
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
        export.export(shipped, folder / "generator-float.onnx", export.Form(output="float"))
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
        line(name, note=f"by its documentation: {why}")


def row(name: str, command: list[object], folder: Path) -> None:
    """Run every case. A case that fails becomes a note, and the numbers are those of the others."""
    result, failed = {"frames": {}}, {}
    for case in golden.CASES:
        speed_s = 0 if result["frames"] else SPEED_S
        try:
            one = golden.run(command, folder, (case,), speed_s=speed_s)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed.setdefault(last(str(error)), []).append(case)
            continue
        result = one | result | {"frames": result["frames"] | one["frames"]}
    notes = [f"fails on {', '.join(cases)}: {why}" for why, cases in failed.items()]
    if not result["frames"]:
        return line(name, note="; ".join(notes))
    off = golden.compare(result, folder)
    within = off.max_level <= golden.MAX_LEVEL and off.differing <= golden.MAX_DIFFERING
    note = "; ".join([*notes, *([] if within else ["differs more than allowed"])])
    numbers = (off.max_level, f"{off.differing:.4%}", speed(result["frames_per_s"]))
    return line(name, result["version"], *numbers, note=note)


def speed(frames_per_s: float) -> str:
    return f"{frames_per_s:.{0 if frames_per_s >= 10 else 1}f}"


def line(name: str, *numbers: object, note: str = "") -> None:
    cells = [*numbers, *[""] * (4 - len(numbers)), note]
    print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)


def installed(name: str, environments: Path) -> Path:
    """The Python of the runtime's own environment, which is created if it is missing."""
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
