"""Is the rule for gamma a good one? Train r3gan with a tenth of it, with it, and with ten times it.

    python -m tests.benchmarks.gamma --images 30000 --folder gammas/

Trains each at 32x32 on each data set for so many images, and prints a table. Beside it, it writes a
grid of 32 samples of each run. A run whose samples are in the folder is not repeated.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from tests.benchmarks.compare import NUMBER, SETS, samples_of
from vidgan import config
from vidgan.data import cache
from vidgan.errors import DivergedError
from vidgan.film.tiles import tile
from vidgan.film.writer import write_png
from vidgan.quality import distances, features
from vidgan.training import loop

SIDE = 32


def samples(settings: config.Config, folder: Path) -> np.ndarray | None:
    """Samples uint8 [N, H, W, 3] of a new run. None if training diverged."""
    if not (file := folder / "samples.npy").exists():
        try:
            np.save(file, samples_of(loop.train(settings, runs=folder)))
        except DivergedError:
            return None
    return np.load(file)


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
        data = config.DataConfig(source=source, labels=False)
        dataset = cache.open_dataset(data, width=SIDE, height=SIDE)
        some = np.random.default_rng(0).permutation(len(dataset))[:NUMBER]
        real = lite0(dataset.take(some))
        rule = config.gamma_for(SIDE, SIDE, cache.spread(dataset))
        for factor in (0.1, 1.0, 10.0):
            folder, gamma = given.folder / f"{source}-{factor:g}", factor * rule
            folder.mkdir(parents=True, exist_ok=True)
            train = {"images": given.images, "r1": gamma, "r2": gamma, "distance_every_images": 0}
            model = {"width": SIDE, "height": SIDE, "name": "r3gan"}
            table = {"model": model, "data": dataclasses.asdict(data), "train": train}
            made, found = samples(config.from_dict(table), folder), "diverged | "
            if made is not None:
                write_png(folder.with_name(f"{folder.name}.png"), tile(made[:32], 8))
                fake = lite0(made)
                found = f"{distances.frechet(real, fake):.0f} | {distances.variety(real, fake):.2f}"
            print(f"| {source} | {gamma:.2f} | {factor:g} | {found} |", flush=True)


if __name__ == "__main__":
    main()
