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
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vidgan.generator import synthesis

HERE = Path(__file__).parent


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
        os.chdir(tempfile.gettempdir())
        print(json.dumps(measure(asked)))
        return
    asked.model = asked.model.absolute()
    turns, frames, long = (3, 1500, 3000) if asked.quick else (5, 5000, 20_000)
    print(f"{'':44}{'bar':>8}{'ratio':>8}")
    if asked.only in (None, "cost"):
        cost(asked.model, frames, turns)
    if asked.only in (None, "overlap"):
        side = synthesis.open_generator(asked.model).height
        for film in (256, 512):  # pixels; the latter is the default
            cost(asked.model, frames, turns, held=True, scale=film // side)
    if asked.only in (None, "memory"):
        memory(asked.model, long, turns=3)
    if asked.only in (None, "start") and asked.weights:
        start(asked.model, asked.weights.absolute(), turns)


def row(name: str, bar: float, ratio: float, detail: str) -> None:
    print(f"{name:44}{bar:8.2f}{ratio:8.3f}  {detail}", flush=True)


# A render and its parts, each in a process of its own. Imports are not counted.


def generator_alone(model, frames, folder, *, scale, held, clock):
    generator = opened(model, held)
    z = latents(generator, frames)
    generator(z[:16])
    clock()
    if held:
        os.sched_setaffinity(0, {cores()[1]})
    for start in range(0, frames, 16):
        generator(z[start : start + 16])


def encoder_alone(model, frames, folder, *, scale, held, clock):
    import numpy as np

    from vidgan.film.target import Target
    from vidgan.film.writer import VideoWriter

    generator = opened(model, held)
    z, stored = latents(generator, frames), folder / "frames.npy"
    size = (frames, generator.height, generator.width, 3)
    film = np.lib.format.open_memmap(stored, "w+", np.uint8, size)
    for start in range(0, frames, 16):
        film[start : start + 16] = generator(z[start : start + 16])
    clock()
    if held:
        os.sched_setaffinity(0, {cores()[0]})
    with VideoWriter(Target.parse(folder / "out.mp4", scale=scale)) as video:
        for frame in film:
            video.write(frame)


def whole(model, frames, folder, *, scale, held, clock):
    from vidgan.film.target import Target
    from vidgan.film.writer import VideoWriter
    from vidgan.render import pipeline
    from vidgan.render.walk import Walk

    generator = opened(model, held)
    path = Walk(frames=frames).bind(generator)
    generator(latents(generator, 16))
    first, run = [True], generator.__call__

    class Held:
        """The same generator on one core. The encoder's threads keep the other one."""

        height, width = generator.height, generator.width
        sha256, runs_on = generator.sha256, generator.runs_on

        def __call__(self, z):
            if held and first:
                os.sched_setaffinity(0, {cores()[1]})
                first.clear()
            return run(z)

    clock()
    if held:
        os.sched_setaffinity(0, {cores()[0]})
    writer = VideoWriter(Target.parse(folder / "out.mp4", scale=scale))
    pipeline.render(Held(), path, writer)


PIECES = {"generator": generator_alone, "encoder": encoder_alone, "render": whole}


def opened(model, held):
    all_cores = cores()
    if held:
        os.sched_setaffinity(0, {all_cores[0]})  # ONNX Runtime then takes one thread
    generator = synthesis.open_generator(model)
    if held:
        os.sched_setaffinity(0, set(all_cores))
    return generator


def cores() -> list[int]:
    return list(range(os.cpu_count()))[:2]


def latents(generator, frames):
    from vidgan.render.walk import Walk

    return Walk(frames=frames).bind(generator).latents(0, frames)


def measure(asked: argparse.Namespace) -> dict[str, float]:
    since: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        PIECES[asked.piece](
            asked.model,
            asked.frames,
            Path(folder),
            scale=asked.scale,
            held=asked.held,
            clock=lambda: since.extend([time.perf_counter(), time.process_time()]),
        )
        return {"wall": time.perf_counter() - since[0], "cpu": time.process_time() - since[1]}


def cost(
    model: Path, frames: int, turns: int, *, held: bool = False, scale: int | None = None
) -> None:
    runs: dict[str, list[dict[str, float]]] = {piece: [] for piece in PIECES}
    for _ in range(turns):
        for piece, results in runs.items():
            command = [sys.executable, __file__, "--model", model, "--piece", piece]
            command += ["--frames", str(frames), *(["--held"] if held else [])]
            command += ["--scale", str(scale)] if scale else []
            results.append(json.loads(subprocess.check_output(command)))
    for what, bar in [("wall", 0.75)] if held else [("cpu", 1.10), ("wall", 1.05)]:
        g, e, r = (statistics.median(run[what] for run in runs[piece]) for piece in PIECES)
        name = f"{what} time, {frames} frames" + (f", a core each, x{scale}" if held else "")
        bound = f", at best {max(g, e) / (g + e):.2f}" if held else ""
        row(name, bar, r / (g + e), f"{r:.2f} s / ({g:.2f} s + {e:.2f} s){bound}")


# Whole commands, from a cold start.


def run(command: list[object], folder: str) -> tuple[float, float]:
    """Wall seconds and peak MB of a command."""
    began = time.perf_counter()
    # An installed vidgan has bytecode beside its modules; here the first turn writes it.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen([*map(str, command)], cwd=folder, stdout=subprocess.DEVNULL, env=kept)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0, command
    return time.perf_counter() - began, used.ru_maxrss / 1000


def render_command(model: Path, frames: int) -> list[object]:
    python = [sys.executable, "-m", "vidgan", "render", "--force"]
    return [*python, "--model", model, "--frames", frames, "out.mp4"]


def memory(model: Path, long: int, turns: int) -> None:
    peaks: dict[int, list[float]] = {300: [], long: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            for frames, results in peaks.items():
                results.append(run(render_command(model, frames), folder)[1])
    few, many = (statistics.median(results) for results in peaks.values())
    row(f"peak memory, {long} frames to 300", 1.05, many / few, f"{many:.0f} MB / {few:.0f} MB")


def start(model: Path, weights: Path, turns: int) -> None:
    naive = [sys.executable, HERE / "naive_render.py", weights, "naive.mp4", 120]
    ours = render_command(model, 120)
    commands = {"enlarged to 512 pixels": ours, "as large as the script's": [*ours, "--scale", 1]}
    walls: dict[str, list[float]] = {name: [] for name in ("naive", *commands)}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            walls["naive"].append(run(naive, folder)[0])
            for name, command in commands.items():
                walls[name].append(run(command, folder)[0])
    theirs, *others = (statistics.median(results) for results in walls.values())
    for name, wall in zip(commands, others, strict=True):
        row(f"cold start, {name}", 0.25, wall / theirs, f"{wall:.2f} s / {theirs:.2f} s")


if __name__ == "__main__":
    main()
