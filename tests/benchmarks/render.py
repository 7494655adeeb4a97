"""What the pipeline of a render costs and saves, beside its parts. Not part of the tests.

    python tests/benchmarks/render.py --model generator.onnx --weights generator.safetensors

All figures are ratios within one run: the contenders take turns, and the median of each is used.
`overlap` needs Linux and two cores. `start` needs imageio and imageio-ffmpeg (see naive_render.py).

    cost     CPU and wall time of a render, by those of generator alone + encoder alone
    overlap  the same with generator and encoder on one core each; no pipeline is faster than the
             slower of both, and that bound is printed too
    memory   peak memory of a long render, by that of 300 frames
    start    wall time of 120 frames from a cold start, by that of the script people write today
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.generator import synthesis
from vidgan.render import pipeline
from vidgan.render.walk import Walk

HERE = Path(__file__).parent
ENCODER_CORE, GENERATOR_CORE = 0, 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="the same generator for the naive script")
    parser.add_argument("--quick", action="store_true", help="fewer frames, 3 turns")
    parser.add_argument("--only", choices=["cost", "overlap", "memory", "start"])
    parser.add_argument("--piece", choices=PIECES, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, default=5000, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--held", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.piece:
        print(json.dumps(measure(asked)))
        return
    model = asked.model.absolute()
    turns, frames, long = (3, 1500, 3000) if asked.quick else (5, 5000, 20_000)
    print(f"{'':44}{'bar':>8}{'ratio':>8}")
    if asked.only in (None, "cost"):
        cost(model, frames, turns)
    if asked.only in (None, "overlap"):
        side = synthesis.open_generator(model).height
        for film in (256, 512):  # pixels; the latter is the default
            cost(model, frames, turns, held=True, scale=film // side)
    if asked.only in (None, "memory"):
        memory(model, long, turns=3)
    if asked.only in (None, "start") and asked.weights:
        start(model, asked.weights.absolute(), turns)


def row(name, bar, ratio, detail):
    print(f"{name:44}{bar:8.2f}{ratio:8.3f}  {detail}", flush=True)


# A render and its parts, each in a process of its own. Each prepares and returns what is measured.


def generator_alone(generator, path, writer, folder, hold):
    z = path.latents(0, path.frames)
    generator(z[:16])

    def work():
        hold(GENERATOR_CORE)
        for start in range(0, path.frames, 16):
            generator(z[start : start + 16])

    return work


def encoder_alone(generator, path, writer, folder, hold):
    size = (path.frames, generator.height, generator.width, 3)
    film = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, size)
    for index, frame in enumerate(pipeline.frames(generator, path)):
        film[index] = frame

    def work():
        hold(ENCODER_CORE)
        with writer:
            for frame in film:
                writer.write(frame)

    return work


def whole(generator, path, writer, folder, hold):
    class Held:
        """The same generator on its own core. The encoder's threads keep the other one."""

        def __getattr__(self, name):
            return getattr(generator, name)

        def __call__(self, z):
            hold(GENERATOR_CORE)
            return generator(z)

    generator(path.latents(0, 16))

    def work():
        hold(ENCODER_CORE)
        pipeline.render(Held(), path, writer)

    return work


PIECES = {"generator": generator_alone, "encoder": encoder_alone, "render": whole}


def measure(asked: argparse.Namespace) -> dict[str, float]:
    def hold(*cores: int) -> None:
        """Let this thread, and those that it starts, run on these cores only."""
        if asked.held:
            os.sched_setaffinity(0, cores)

    hold(ENCODER_CORE)  # ONNX Runtime then takes one thread
    generator = synthesis.open_generator(asked.model)
    hold(ENCODER_CORE, GENERATOR_CORE)
    path = Walk(frames=asked.frames).bind(generator)
    with tempfile.TemporaryDirectory() as folder:
        writer = VideoWriter(Target.parse(Path(folder, "out.mp4"), scale=asked.scale))
        work = PIECES[asked.piece](generator, path, writer, Path(folder), hold)
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def cost(model, frames, turns, *, held=False, scale=None):
    runs = {piece: [] for piece in PIECES}
    how = ["--frames", frames, *["--held"] * held, *(["--scale", scale] if scale else [])]
    for _ in range(turns):
        for piece, results in runs.items():
            command = [sys.executable, __file__, "--model", model, "--piece", piece, *how]
            results.append(json.loads(subprocess.check_output([*map(str, command)])))
    for what, bar in [("wall", 0.75)] if held else [("cpu", 1.10), ("wall", 1.05)]:
        g, e, r = (median(run[what] for run in runs[piece]) for piece in PIECES)
        name = f"{what} time, {frames} frames" + (f", a core each, x{scale}" if held else "")
        bound = f", at best {max(g, e) / (g + e):.2f}" if held else ""
        row(name, bar, r / (g + e), f"{r:.2f} s / ({g:.2f} s + {e:.2f} s){bound}")


def run(command: list[object], folder: str) -> tuple[float, float]:
    """Wall seconds and peak MB of a command."""
    began = time.perf_counter()
    # An installed vidgan has bytecode beside its modules; here the first turn writes it.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen([*map(str, command)], cwd=folder, stdout=subprocess.DEVNULL, env=kept)
    _, child.returncode, used = os.wait4(child.pid, 0)
    assert child.returncode == 0, command
    return time.perf_counter() - began, used.ru_maxrss / 1000


def render_command(model, frames):
    python = [sys.executable, "-m", "vidgan", "render", "--force"]
    return [*python, "--model", model, "--frames", frames, "out.mp4"]


def memory(model, long, turns):
    peaks = {300: [], long: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            for frames, results in peaks.items():
                results.append(run(render_command(model, frames), folder)[1])
    few, many = map(median, peaks.values())
    row(f"peak memory, {long} frames to 300", 1.05, many / few, f"{many:.0f} MB / {few:.0f} MB")


def start(model, weights, turns):
    ours = render_command(model, 120)
    commands = {
        "naive": [sys.executable, HERE / "naive_render.py", weights, "naive.mp4", 120],
        "enlarged to 512 pixels": ours,
        "as large as the script's": [*ours, "--scale", 1],
    }
    walls = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            for name, command in commands.items():
                walls[name].append(run(command, folder)[0])
    naive = median(walls.pop("naive"))
    for name, results in walls.items():
        ours = median(results)
        row(f"cold start, {name}", 0.25, ours / naive, f"{ours:.2f} s / {naive:.2f} s")


if __name__ == "__main__":
    main()
