"""Is the rule for gamma a good one? r3gan with a tenth of it, with it, and with ten times as much.

    python -m tests.benchmarks.gamma --images 30000 --folder gammas/

Trains each at 32x32 on each set, so many images, and prints a table; beside it stands a grid of 32
samples of every run. What is in the folder already is not repeated.
"""

import argparse
from pathlib import Path

import numpy as np

from tests.benchmarks.compare import NUMBER, SETS
from vidgan import config
from vidgan.data import cache
from vidgan.errors import DivergedError
from vidgan.film.tiles import tile
from vidgan.film.writer import write_png
from vidgan.generator import synthesis
from vidgan.latent import seeds
from vidgan.quality import distances, features
from vidgan.training import loop

SIDE = 32
FACTORS = (0.1, 1.0, 10.0)


def settings(source: str, gamma: float, images: int) -> config.Config:
    table = {
        "model": {"width": SIDE, "height": SIDE, "name": "r3gan"},
        "data": {"source": source, "labels": False},
        "train": {"images": images, "r1": gamma, "r2": gamma, "distance_every_images": 0},
    }
    return config.from_dict(table)


def samples_of(chosen: config.Config, run: Path) -> np.ndarray | None:
    """uint8 [N, H, W, 3]; None where training diverged."""
    if not (done := run / "samples.npy").exists():
        try:
            folder = loop.train(chosen, runs=run)
        except DivergedError:
            return None
        generator = synthesis.open_generator(folder / "generator.safetensors")
        np.save(done, generator(seeds.gaussian(1, np.arange(NUMBER), z_dim=generator.z_dim)))
    return np.load(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, default=Path("gammas"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    given = parser.parse_args()
    lite0 = features.Lite0()
    print("| data | gamma | of the rule's | distance | variety |")
    print("|---|---|---|---|---|", flush=True)
    for source in given.sets:
        wanted = settings(source, 0.0, given.images).data
        dataset = cache.open_dataset(wanted, width=SIDE, height=SIDE)
        some = np.random.default_rng(0).permutation(len(dataset))[:NUMBER]
        real = lite0(dataset.take(some))
        rule = config.gamma_for(SIDE, SIDE, cache.spread(dataset))
        for factor in FACTORS:
            run = given.folder / f"{source}-{factor:g}"
            run.mkdir(parents=True, exist_ok=True)
            samples = samples_of(settings(source, factor * rule, given.images), run)
            found = "diverged | "
            if samples is not None:
                write_png(run.with_suffix(run.suffix + ".png"), tile(samples[:32], 8))
                fake = lite0(samples)
                distance, varied = distances.frechet(real, fake), distances.variety(real, fake)
                found = f"{distance:.0f} | {varied:.2f}"
            print(f"| {source} | {factor * rule:.2f} | {factor:g} | {found} |", flush=True)


if __name__ == "__main__":
    main()
