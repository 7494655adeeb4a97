"""All that needs a GPU to be measured, as one table. Without one, its rows say "not measured".

    python -m tests.benchmarks.gpu [--seconds 20] [--device auto] [--sizes 64 128]
                                   [--batches 16 256 1024] [--images 200000] [--only TEXT]

Training is that of the shipped footage with channels 64 and batches of 64, from the first line of
the log on. Nothing alternates here: run it twice on a quiet machine before you believe a ratio.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import torch

from tests.benchmarks import plain_dcgan
from vidgan import config
from vidgan.data import cache
from vidgan.disk.places import bundled
from vidgan.errors import VidganError
from vidgan.generator import export, onnx_file, selftest
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.networks.architectures import make_generator
from vidgan.networks.device import chosen
from vidgan.training import loop
from vidgan.training.log import logged

COMPILED = "bf16, compiled"
KINDS = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "fp32, deterministic": {"precision": "fp32", "deterministic": True},
    COMPILED: {"precision": "bf16"},
}
PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


def trained(device: str, model: dict, how: dict) -> list:
    """The log of a run without samples and checkpoints."""
    never = dict.fromkeys(("samples_every_images", "checkpoint_every_images"), 10**9)
    table = {"model": {"channels": 64} | model, "train": {"batch_size": 64} | never | how}
    with tempfile.TemporaryDirectory() as folder:
        try:
            return logged(loop.train(config.from_dict(table), runs=Path(folder), device=device))
        finally:
            torch.use_deterministic_algorithms(False)


def training(device: str, seconds: float, size: int, model: str, kind: str, how: dict) -> str:
    """Images/s, with penalties but without samples."""
    how = {"duration_s": seconds, "distance_every_images": 0} | how
    networks = {"name": model, "width": size, "height": size}
    with compiling() if kind == COMPILED else contextlib.nullcontext():
        lines = trained(device, networks, how)
    first, last = lines[0], lines[-1]
    if last.elapsed_s == first.elapsed_s:
        return "not measured (too short)"
    rate = (last.images_seen - first.images_seen) / (last.elapsed_s - first.elapsed_s)
    return f"{rate:,.0f} images/s, the first line of the log after {first.elapsed_s:.0f} s"


@contextlib.contextmanager
def compiling():
    """G and D of runs that begin in this block are compiled. Gradient penalties cannot be."""
    build = loop.build

    def compiled(*words):
        state = build(*words)
        state.generator.compile()
        state.discriminator.compile()
        return state

    with mock.patch.object(loop, "build", compiled):
        yield


def curve(device: str, images: int, precision: str) -> str:
    """Distances of `dcgan` at 64x64 over a run."""
    how = {"precision": precision, "images": images, "distance_every_images": max(images // 4, 1)}
    lines = trained(device, {"width": 64, "height": 64}, how)
    found = {line.distance: line.images_seen for line in lines if line.distance is not None}
    return "FD " + ", ".join(f"{distance:.0f} by {at:,}" for distance, at in found.items())


def generation(file: Path, device: str, seconds: float) -> str:
    """Frames/s of `Synthesize`, after a warm-up."""
    generator = open_generator(file, device=device)
    z = np.zeros((256, generator.z_dim), np.float32)
    return f"{per_second(lambda: generator(z), len(z), seconds):,.0f} on {generator.runs_on}"


def bare(device: str, seconds: float, batches: list[int]) -> str:
    """Frames/s of a module at 64x64 in its best batch; its frames stay where they are."""
    model = config.ModelConfig(width=64, height=64, channels=64)
    network, best = make_generator(model).eval().to(device), {}
    for batch in batches:
        z = torch.randn(batch, model.z_dim, device=device)

        def call(z: torch.Tensor = z) -> None:
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                network(z)[0, 0, 0, 0].item()  # waits for it

        best[per_second(call, batch, seconds / len(batches))] = batch
    return f"{max(best):,.0f} in batches of {best[max(best)]}"


def per_second(call: Callable[[], object], count: int, seconds: float) -> float:
    call()
    calls, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        call()
        calls += 1
    return calls * count / (time.perf_counter() - began)


def frames(file: Path, provider: str) -> str:
    """How far the frames of a provider are from those of the CPU."""
    z = seeds.gaussian(0, np.arange(64), z_dim=open_generator(file, device="cpu").z_dim)
    candidates = onnx_file.candidates
    wanted = [tried for tried in candidates(onnxruntime) if tried[0][0] == provider]
    with mock.patch.object(onnx_file, "candidates", lambda _: [*wanted, []]):
        generator = open_generator(file, device="cuda")
    return str(selftest.difference(generator(z), open_generator(file, device="cpu")(z)))


def plain(device: str, seconds: float) -> str:
    """The script that people copy, in a process of its own."""
    data = cache.open_dataset(config.DataConfig(), width=64, height=64)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, data.take(np.arange(len(data))).transpose(0, 3, 1, 2))
        command = [sys.executable, plain_dcgan.__file__, pictures, folder, 4, 0, seconds]
        env = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})
        done = subprocess.run(map(str, command), env=env, check=True, stdout=subprocess.PIPE)
    return f"{int(done.stdout) / seconds:,.0f} images/s"


def tests(device: str) -> str:
    """The tests that are marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu"]
    env = os.environ | {"VIDGAN_TEST_DEVICE": device}
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True).stdout.splitlines()[
        -1
    ]


def rows(
    given: argparse.Namespace, device: str, folder: Path
) -> Iterator[tuple[str, Callable[[], str]]]:
    seconds, batches = given.seconds, given.batches
    yield "tests marked gpu", partial(tests, device)
    shipped, exported = bundled("assets/generator.safetensors"), folder / "g.onnx"
    export.export(shipped, exported)
    for where in dict.fromkeys(("cpu", "cuda", device)):
        for file in (shipped, exported):
            what = f"generation, {file.suffix[1:]}, --device {where}"
            yield what, partial(generation, file, where, seconds)
    what = "generation, bare module 64x64, channels 64, bf16"
    yield what, partial(bare, device, seconds, batches)
    for name in PROVIDERS:
        yield f"frames of {name} against the CPU's", partial(frames, exported, name)
    yield "training, plain script, 64x64", partial(plain, device, seconds)
    larger = {f"bf16, batches of {n}": {"precision": "bf16", "batch_size": n} for n in batches}
    for size, model in itertools.product(given.sizes, config.MODELS):
        for kind, how in (KINDS | larger).items():
            what = f"training, {model} {size}x{size}, {kind}"
            yield what, partial(training, device, seconds, size, model, kind, how)
    for precision in ("fp32", "bf16", "fp16"):
        what = f"curve of {precision}, {given.images:,} images"
        yield what, partial(curve, device, given.images, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 256, 1024])
    parser.add_argument("--images", type=int, default=200_000, help="of the curves")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    given = parser.parse_args()
    device = chosen(given.device).type
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before anything uses a GPU
    print(f"| what (on {device}) | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, measure in rows(given, device, Path(folder)):
            if given.only not in what:
                continue
            try:
                found = measure()
            except (VidganError, RuntimeError) as error:  # no GPU, or one that lacks something
                found = f"not measured ({' '.join(str(error).split())[:90]})"
            print(f"| {what} | {found} |", flush=True)


if __name__ == "__main__":
    main()
