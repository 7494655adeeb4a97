"""How fast training, data and generation are on this CPU, as one table.

    python -m tests.benchmarks.speed [--pairs 5] [--only TEXT]     # `make benchmark-speed`
    python -m tests.benchmarks.speed --growth    # training by size, batch and processes

All is by the CPU time of one process with one thread, and what is compared takes turns, pair after
pair, so that other work on the machine changes little. Cells are the median of the pairs, with the
least and the most in brackets. "AVX2" hides all that newer CPUs have.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import plain_dcgan
from tests.faults.kills import ranks
from vidgan import config
from vidgan.data import cache
from vidgan.disk.places import bundled
from vidgan.generator import export, synthesis
from vidgan.networks import augment, pixels
from vidgan.networks.dcgan import Doubling
from vidgan.training import average, batches, codes, loop, setup
from vidgan.training.log import Log
from vidgan.training.state import Run
from vidgan.training.step import Step

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
SIZES, BATCHES = (32, 64, 128, 256), (16, 32, 64)
EQUAL = {"channels": 64, "batch_size": 64}  # the networks of the plain script
clock = time.process_time


def settings(
    *, size: int = 64, channels: int = 0, batch_size: int = 0, images: int, **train
) -> config.Config:
    never = dict.fromkeys(("samples_every_images", "checkpoint_every_images"), 10**9)
    how = {"images": images, "batch_size": batch_size, "distance_every_images": 0}
    model = {"width": size, "height": size, "channels": channels}
    return config.from_dict({"model": model, "train": how | never | train})


def plain() -> Callable[[], float]:
    """Images per second of the script that people copy."""
    data, seen = cache.open_dataset(config.DataConfig(), width=64, height=64), []
    plain_dcgan.write_samples = lambda *_: seen.append(clock())

    def rate() -> float:
        seen.clear()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            pictures = Path(folder) / "pictures.npy"
            np.save(pictures, data.take(np.arange(len(data))).transpose(0, 3, 1, 2))
            plain_dcgan.main(pictures, folder, 4, 0, [0.0, 0.0])  # two steps; the first warms up
        return plain_dcgan.BATCH / (seen[1] - seen[0])

    return rate


def ours(**keys) -> Callable[[], float]:
    """Images per second of steps with their batches. (The rows below say what a log line costs.)"""
    run, step, _ = begun(tempfile.mkdtemp(), **keys)
    made, batch = batches.batches(run), run.settings.train.batch_size
    few = 256 * 64**2 // run.settings.model.width**2

    def rate() -> float:
        step(next(made))  # what came in between has filled the CPU's cache with its own
        began, count = clock(), max(1, few // batch)
        for _ in range(count):
            step(next(made))
        return count * batch / (clock() - began)

    return rate


def begun(folder: str, **keys) -> tuple[Run, Step, list[batches.Batch]]:
    how, data = setup.open_data(settings(images=10**9, **keys))
    fabric = setup.launch(how)
    run = Run(how, data, fabric, setup.build(how, fabric, data), Path(folder))
    made = batches.batches(run)
    ready = [next(made) for _ in range(4)]
    made.close()
    return run, Step(run), ready


def per_call(function: Callable[[], object], calls: int = 20) -> float:
    """Median CPU seconds."""
    took = []
    for _ in range(calls):
        began = clock()
        function()
        took.append(clock() - began)
    return float(np.median(took))


def anatomy(**keys) -> dict[str, object]:
    """Of one step: its seconds, share of the peak, own overhead, and where the rest goes."""
    with tempfile.TemporaryDirectory() as folder:
        run, step, ready = begun(folder, **keys)
        turns = iter(range(10**9))
        step_s = per_call(lambda: step(ready[next(turns) % 4]))
        outcome = step(ready[0])
        count, seed, draws = run.settings.train.batch_size, 0, augment.DRAWS["diff"]
        watch = loop.Watch(data_sample(run))
        g, known, z = run.state.generator, run.state.codes, ready[0].z
        doubling = [up for up in g.layers if isinstance(up, Doubling)]
        real = pixels.to_float(ready[0].real)
        fake = real.clone().requires_grad_()
        once = {
            "draws": lambda: [augment.draw(seed, 64, count, i, draws=draws) for i in (0, 1)],
            "finite": lambda: step._check_finite(*[outcome.loss_d] * 2, outcome.gradient_d),
            "average": lambda: average.update_average(run),
            "kernels": lambda: [up.kernel() for up in doubling],
            "codes": lambda: codes.of_reals(real, known, z, g),
            "their distance": lambda: codes.distance(fake, real).backward(),
            "anchors": lambda: g.latents(z, None, None),
            "noise": lambda: [noise.field(z) for noise in g.noise.values()],
        }
        with contextlib.closing(Log(run.folder, writes=True)) as log:
            line_s = per_call(lambda: log.write(loop._progress(run, watch, outcome, 1.0)), 5)
        shares = {what: per_call(call) / step_s for what, call in once.items()}
        shares["log, once a second"] = line_s
        with FlopCounterMode(display=False) as counter:
            step(ready[0])
        kind = torch.bfloat16 if "bf16" in str(run.fabric.strategy.precision.precision) else None
        square = torch.randn(1024, 1024, dtype=kind)
        peak = 2 * 1024**3 / min(per_call(lambda: square @ square, 5) for _ in range(5))
        rate = counter.get_total_flops() / step_s
        return {
            "step": step_s,
            "gflops": rate / 1e9,
            "peak": peak / 1e9,
            "overhead": shares,
            "kinds": profile(step, ready),
        }


def data_sample(run: Run) -> np.ndarray:
    return run.dataset.take(np.arange(min(256, len(run.dataset))))


def profile(step: Step, ready: list[batches.Batch]) -> dict[str, float]:
    """Shares of a step by kind of operation."""
    kinds = {"convolution": "conv", "norm": "batch_norm", "activation": "relu", "Adam": "adam"}
    kinds |= {"copies": "copy_", "augmentation": "gather scatter where addcmul"}
    with torch.profiler.profile() as profiler:
        for batch in ready:
            step(batch)
    found = collections.Counter()
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = (k for k, words in kinds.items() if any(word in name for word in words.split()))
        found[next(kind, "else")] += event.self_cpu_time_total
    return {kind: part / found.total() for kind, part in found.most_common()}


def take() -> Callable[[], float]:
    """Images per second out of the cache."""
    data = cache.open_dataset(config.DataConfig(), width=64, height=64)
    random = np.random.default_rng(0)
    return lambda: 32 / per_call(lambda: data.take(random.integers(0, len(data), 32)), 500)


def first_batch(pictures: int) -> list[float]:
    """Seconds by the wall, and of the CPU, until the first batch of a large folder whose cache is
    there."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as kept:
        random = np.random.default_rng(0)
        for i in range(pictures):
            path = Path(folder) / f"{i // 1000:03d}" / f"{i:06d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
        open_ = f"""
import time; began = time.monotonic()
import numpy as np; from vidgan import config; from vidgan.data import cache
data = cache.open_dataset(config.DataConfig(source={folder!r}), width=32, height=32)
data.take(np.arange(64)); print(time.monotonic() - began, time.process_time())"""
        env = os.environ | {"VIDGAN_CACHE": kept}
        run = [sys.executable, "-c", open_]
        said = [subprocess.check_output(run, env=env, text=True) for _ in range(2)]
        return [float(word) for word in said[1].split()]


def synthesize(kind: str) -> Callable[[], float]:
    """Frames per second of `Synthesize`, with batches as large as a render asks for."""
    generator, _ = opened(kind)
    z = np.zeros((64, generator.z_dim), np.float32)
    return lambda: len(z) / per_call(lambda: generator(z), 3)


def bare(kind: str) -> Callable[[], float]:
    """Frames per second of the session or the module itself, in its best batch."""
    generator, file = opened(kind)
    if kind == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options)

        def call(z: np.ndarray) -> object:
            return session.run(None, {session.get_inputs()[0].name: z})
    else:

        def call(z: np.ndarray) -> object:
            with torch.inference_mode():
                return generator._image.network(torch.from_numpy(z))

    def rate(batch: int, calls: int = 3) -> float:
        z = np.zeros((batch, generator.z_dim), np.float32)
        return batch / per_call(lambda: call(z), calls)

    best = max((1, 2, 4, 8, 16, 32, 64), key=rate)
    return lambda: rate(best, max(3, 64 // best))


def opened(kind: str) -> tuple[synthesis.Synthesize, Path]:
    file = bundled("assets/generator.safetensors")
    if kind == "onnx":
        file, weights = Path(tempfile.mkdtemp()) / "g.onnx", file
        export.export(weights, file)
    return synthesis.open_generator(file, device="cpu"), file


def in_turn(count: int, one: list, other: list) -> list[list[float]]:
    """Pairs of rates of two functions of this module, given as a name and keywords."""
    a, b = (globals()[name](**keys) for name, keys in (one, other))
    return [[a(), b()] for _ in range(count)]


def growth(world: int) -> np.ndarray:
    """Images per second of so many processes together, if each has a core of its own: [size, batch]
    float64. They divide a batch, and `ours` counts the images of all."""
    started = [start("grown", (), env, {}) for env in (ranks(world) if world > 1 else [{}])]
    return np.mean([ended(process) for process in started], 0)


def grown() -> list[list[float]]:
    return [[ours(size=size, batch_size=batch)() for batch in BATCHES] for size in SIZES]


def measured(function: str, *words: object, env: dict[str, str] | None = None, **keys) -> object:
    """What a function of this module returns in a process of its own, with one thread."""
    return ended(start(function, words, env or {}, keys))


def start(function: str, words: tuple, env: dict[str, str], keys: dict) -> subprocess.Popen:
    code = "import json, sys; from tests.benchmarks import speed; a, k = json.loads(sys.argv[1]); "
    code += f"print('>' + json.dumps(speed.{function}(*a, **k)))"
    command = [sys.executable, "-c", code, json.dumps([words, keys])]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | env
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> object:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return json.loads(said.splitlines()[-1][1:])


def compared(found: list[list[float]]) -> str:
    rates = np.array(found)
    ratios, middle = rates[:, 0] / rates[:, 1], np.median(rates, 0)
    spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    return f"{spread}: {middle[0]:,.0f} and {middle[1]:,.0f} a second"


def rows(count: int, pictures: int) -> Iterator[tuple[str, Callable[[], str]]]:
    def turns(one: list, other: list, env: dict[str, str]) -> Callable[[], str]:
        return lambda: compared(measured("in_turn", count, one, other, env=env))

    def steps(precision: str, env: dict[str, str]) -> Callable[[], str]:
        return lambda: described(measured("anatomy", env=env, precision=precision))

    for isa, env in (("whole CPU", {}), ("AVX2", AVX2)):
        for what, keys in (("equal networks", EQUAL), ("defaults", {})):
            words = f"training / plain script, {what}, {isa}"
            yield words, turns(["ours", keys], ["plain", {}], env)
    how = (["ours", {"precision": "fp32"}], ["ours", {"precision": "bf16"}])
    yield "training in fp32 / in bf16, defaults", turns(*how, {})
    yield "a step, defaults, fp32, whole CPU", steps("fp32", {})
    yield "a step, defaults, bf16, whole CPU", steps("bf16", {})
    yield "a step, defaults, fp32, AVX2", steps("fp32", AVX2)
    yield "`take` / training, defaults", turns(["take", {}], ["ours", {}], {})
    for kind in ("onnx", "torch"):
        how = (["synthesize", {"kind": kind}], ["bare", {"kind": kind}])
        yield f"`Synthesize` / bare, {kind}, 128x128", turns(*how, {})
    words = f"first batch of {pictures:,} pictures, warm cache, by the wall and the CPU"
    yield words, lambda: "{:.1f} and {:.1f} s".format(*first_batch(pictures))


def described(step: dict) -> str:
    overhead = step["overhead"]
    of_these = ", ".join(f"{what} {share:.1%}" for what, share in overhead.items())
    kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in step["kinds"].items())
    return (
        f"{1e3 * step['step']:.0f} ms; {step['gflops']:.0f} of {step['peak']:.0f} GFLOP/s "
        f"({step['gflops'] / step['peak']:.0%}); own overhead {sum(overhead.values()):.1%} "
        f"({of_these}); profile: {kinds}"
    )


def print_growth() -> None:
    worlds = (1, 2)
    found = [growth(world) for world in worlds]
    print(f"| pictures | processes |{''.join(f' batches of {batch} |' for batch in BATCHES)}")
    print("|---|---|" + "---|" * len(BATCHES))
    for size, *of_worlds in zip(SIZES, *found, strict=True):
        for world, rates in zip(worlds, of_worlds, strict=True):
            cells = "".join(f" {rate:,.0f} |" for rate in rates)
            print(f"| {size}x{size} | {world} |{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--growth", action="store_true", help="the other table")
    given = parser.parse_args()
    if given.growth:
        return print_growth()
    print("| what, by CPU time of one thread | measured |\n|---|---|", flush=True)
    for what, measure in rows(given.pairs, given.pictures):
        if given.only in what:
            print(f"| {what} | {measure()} |", flush=True)


if __name__ == "__main__":
    main()
