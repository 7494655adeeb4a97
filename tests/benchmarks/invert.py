"""How well pictures are found again, and how well a tuned generator meets photographs.

    python tests/benchmarks/invert.py [--model generator.safetensors] [--pictures 100]

For each picture that the generator made: the mean error in grey levels of what was found for it,
beside the plain way, which is Adam from random latents (4 restarts, as many steps in all). Then
three real pictures: each at its keyframe of a walk through a generator that was tuned to them, and
how far that moved the generator from its data (FD-Lite0-320 of 1,000 pictures each).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vidgan import Walk, open_generator
from vidgan.config import DataConfig
from vidgan.data.cache import open_dataset
from vidgan.data.order import fixed_sample
from vidgan.disk.places import bundled
from vidgan.edit import invert
from vidgan.latent import seeds
from vidgan.networks import pixels
from vidgan.quality.distances import frechet
from vidgan.quality.features import Lite0

RESTARTS, RATE = 4, 0.1


def plainly(generator: object, image: torch.Tensor, steps: int) -> torch.Tensor:
    """The best of Adam's answers from random latents."""
    z = torch.randn(RESTARTS, generator.z_dim).requires_grad_(True)
    adam = torch.optim.Adam([z], RATE)
    for _ in range(steps // RESTARTS):
        error = (generator(z) - image).square().mean((1, 2, 3))
        adam.zero_grad()
        error.sum().backward()
        adam.step()
    with torch.no_grad():
        error = (generator(z) - image).square().mean((1, 2, 3))
        return z[error.argmin()][None].detach()


def found_again(inverter: invert.Inverter, count: int, steps: int) -> None:
    generator = inverter.generator
    made = open_generator(inverter.path, device="cpu")
    originals = made(seeds.gaussian(99, np.arange(count), z_dim=made.z_dim))
    torch.manual_seed(0)
    errors, cpu_s, wall_s = {"vidgan": [], "plain": []}, [], []
    for original in originals:
        cpu, wall = time.process_time(), time.perf_counter()
        found = inverter(original, steps=steps)
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
        image = pixels.to_float(torch.from_numpy(original[None]))
        plain = made(plainly(generator, image, steps).numpy())[0]
        for name, answer in (("vidgan", found.refined), ("plain", plain)):
            errors[name].append(np.abs(original.astype(int) - answer).mean())
    for name, levels in errors.items():
        quantiles = ", ".join(f"{q:.2f}" for q in np.quantile(levels, (0.5, 0.95)))
        share = np.mean(np.array(levels) <= 2)
        print(f"{name}: grey levels median, 95 %: {quantiles}; at most 2 for {share:.0%}")
    print(f"each {np.median(cpu_s):.2f} s of CPU, {np.median(wall_s):.2f} s (medians)", flush=True)


def tuned(inverter: invert.Inverter, folder: Path) -> None:
    generator = inverter.generator
    data = open_dataset(DataConfig(), width=generator.width, height=generator.height)
    numbers = fixed_sample(data, 1003)
    found = [inverter(picture) for picture in data.take(numbers[:3])]
    cpu = time.process_time()
    tuned_to = invert.tune(inverter, found, folder / "tuned.safetensors")
    print(f"tuned in {time.process_time() - cpu:.0f} s of CPU")
    before, after = (
        open_generator(p, device="cpu") for p in (inverter.path, folder / "tuned.safetensors")
    )
    keyframes = [{"latent": one.latent.tolist()} for one in found]
    walk = Walk(keyframes=keyframes, frames=3, closed=True, z_dim=generator.z_dim).bind(after)
    at = [invert.psnr(o.original, f) for o, f in zip(found, after(walk.latents(0, 3)), strict=True)]
    said = [f"{one.psnr:.1f} to {new.psnr:.1f}" for one, new in zip(found, tuned_to, strict=True)]
    print(f"dB: {', '.join(said)}; at the keyframes of a walk {', '.join(f'{x:.1f}' for x in at)}")
    features = Lite0()
    real = features(data.take(numbers[3:]))
    z = seeds.gaussian(5, np.arange(1000), z_dim=generator.z_dim)
    old, new = (frechet(features(one(z)), real) for one in (before, after))
    print(f"FD-Lite0-320 {old:.1f} to {new:.1f}, {new / old:.3f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled("assets/generator.safetensors"))
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--steps", type=int, default=invert.STEPS)
    options = parser.parse_args()
    cpu = time.process_time()
    inverter = invert.Inverter(options.model, device="cpu")
    print(f"encoder there after {time.process_time() - cpu:.0f} s of CPU")
    found_again(inverter, options.pictures, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        tuned(inverter, Path(folder))


if __name__ == "__main__":
    main()
