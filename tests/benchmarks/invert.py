"""How well pictures are found again, and how well a tuned generator meets photographs.

    python tests/benchmarks/invert.py [--model generator.safetensors] [--pictures 100]

For each picture that the generator made: the mean error in grey levels of what was found for it,
beside the plain way, which is Adam from random latents (4 restarts, as many steps in all). Then
three real pictures: each at its keyframe of a walk through a generator that was tuned to them, and
how far that moved the generator from its data (FD-Lite0-320 of 1,000 pictures each).

    python tests/benchmarks/invert.py --split emoji split/    # or digits, flight, or a folder
    vidgan train split/train --size 64 --channels 32 --for 4m # not of flight: earth has not seen it
    python tests/benchmarks/invert.py --model RUN/generator.safetensors --held-out split/held-out

Real pictures that a training has not seen, beside the plain way with ten times as many steps.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.benchmarks.restore import flight_back
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


def held_out(inverter: invert.Inverter, folder: Path, count: int, steps: int) -> None:
    generator, files = inverter.generator, sorted(folder.iterdir())
    made = open_generator(inverter.path, device="cpu")
    torch.manual_seed(0)
    ways = ("the encoder alone", "vidgan", "plain, 10 times the steps")
    psnr, cpu_s = {way: [] for way in ways}, {way: [] for way in ways}
    for file in files[:: max(1, len(files) // count)][:count]:
        original = inverter.read(file)
        image = pixels.to_float(torch.from_numpy(original[None].copy()))
        began = time.process_time()
        found = inverter(original, steps=steps)
        between = time.process_time()
        plain = made(plainly(generator, image, 10 * steps).numpy())[0]
        spent = (0.0, between - began, time.process_time() - between)
        for way, answer, cpu in zip(
            ways, (found.encoded, found.refined, plain), spent, strict=True
        ):
            psnr[way].append(invert.psnr(original, answer))
            cpu_s[way].append(cpu)
    for way in ways:
        nearer = np.mean(np.array(psnr["vidgan"]) >= psnr[way])
        dbs = f"{np.mean(psnr[way]):.2f} dB (median {np.median(psnr[way]):.2f})"
        print(f"{way}: {dbs}, {np.median(cpu_s[way]):.1f} s of CPU; vidgan as near in {nearer:.0%}")


def split(source: str, folder: Path, wheel: Path | None, side: int = 64) -> None:
    """Write the pictures of a set, one in ten to held-out/: 40 neighbours at a time, since those
    of a set that is in order are much alike. The flight of `flight_back` is held out as a whole."""
    if source == "flight":
        (folder / "held-out").mkdir(parents=True)
        for number, frame in enumerate(flight_back(100, wheel)):
            Image.fromarray(frame).save(folder / "held-out" / f"{number:02d}.png")
        return
    data = open_dataset(DataConfig(source=source), width=side, height=side)
    for name in ("train", "held-out"):
        (folder / name).mkdir(parents=True)
    for number in range(len(data)):
        part = folder / ("held-out" if number // 40 % 10 == 9 else "train")
        picture = Image.fromarray(data.take(np.array([number]))[0])
        picture.save(part / f"{number:05d}.png", compress_level=1)


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
    parser.add_argument("--held-out", type=Path, help="a folder of pictures")
    parser.add_argument("--split", nargs=2, metavar=("SOURCE", "FOLDER"))
    parser.add_argument("--wheel", type=Path, help="of the flight, see restore.py")
    options = parser.parse_args()
    if options.split:
        split(options.split[0], Path(options.split[1]), options.wheel)
        return
    cpu = time.process_time()
    inverter = invert.Inverter(options.model, device="cpu")
    assert inverter.encoder
    print(f"encoder there after {time.process_time() - cpu:.0f} s of CPU")
    if options.held_out:
        held_out(inverter, options.held_out, options.pictures, options.steps)
        return
    found_again(inverter, options.pictures, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        tuned(inverter, Path(folder))


if __name__ == "__main__":
    main()
