"""All that needs a GPU to be measured, as one table. Without one, its rows say "not measured".

    python -m tests.benchmarks.gpu [--seconds 20] [--device auto] [--sizes 64 128]

Training is that of the shipped footage with channels 64 and batches of 64, from the first line of
the log on. Nothing alternates here: run it twice on a quiet machine before you believe a ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import plain_dcgan
from vidgan import config
from vidgan.data import cache
from vidgan.disk.places import bundled
from vidgan.errors import VidganError
from vidgan.generator import export
from vidgan.generator.synthesis import open_generator
from vidgan.networks.device import chosen
from vidgan.training import loop
from vidgan.training.log import logged

KINDS = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "fp32, deterministic": {"precision": "fp32", "deterministic": True},
}


def training(device: str, seconds: float, size: int, model: str, how: dict) -> str:
    """Images/s, with penalties but without samples."""
    never = dict.fromkeys(("samples_every_images", "checkpoint_every_images"), 10**9)
    usual = {"batch_size": 64, "duration_s": seconds, "distance_every_images": 0}
    table = {
        "model": {"name": model, "width": size, "height": size, "channels": 64},
        "train": usual | never | how,
    }
    with tempfile.TemporaryDirectory() as folder:
        run = loop.train(config.from_dict(table), runs=Path(folder), device=device)
        lines = logged(run)
    torch.use_deterministic_algorithms(False)
    first, last = lines[0], lines[-1]
    if last.elapsed_s == first.elapsed_s:
        return "not measured (too short)"
    rate = (last.images_seen - first.images_seen) / (last.elapsed_s - first.elapsed_s)
    return f"{rate:,.0f} images/s"


def generation(file: Path, device: str, seconds: float) -> str:
    """Frames/s of `Synthesize`, after a warm-up."""
    generator = open_generator(file, device=device)
    z, count, end = np.zeros((256, generator.z_dim), np.float32), 0, 0.0
    generator(z)
    began = time.perf_counter()
    while end < began + seconds:
        generator(z)
        count, end = count + len(z), time.perf_counter()
    return f"{count / (end - began):,.0f} frames/s on {generator.runs_on}"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    given = parser.parse_args()
    device, seconds = chosen(given.device).type, given.seconds
    with tempfile.TemporaryDirectory() as folder:
        shipped, onnx_file = bundled("assets/generator.safetensors"), Path(folder) / "g.onnx"
        export.export(shipped, onnx_file)
        rows = [
            (f"generation, {file.suffix[1:]}, --device {where}", generation, file, where, seconds)
            for where in dict.fromkeys(("cpu", "cuda", device))
            for file in (shipped, onnx_file)
        ]
        rows += [("training, plain script, 64x64", plain, device, seconds)]
        rows += [
            (
                f"training, {model} {size}x{size}, {what}",
                training,
                device,
                seconds,
                size,
                model,
                how,
            )
            for size in given.sizes
            for model in config.MODELS
            for what, how in KINDS.items()
        ]
        print(f"| what (on {device}) | measured |\n|---|---|")
        for what, measure, *words in rows:
            try:
                found = measure(*words)
            except (VidganError, RuntimeError) as error:  # no GPU, or one that lacks something
                found = f"not measured ({' '.join(str(error).split())[:90]})"
            print(f"| {what} | {found} |", flush=True)


if __name__ == "__main__":
    main()
