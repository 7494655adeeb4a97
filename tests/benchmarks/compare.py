"""The comparison that decides the defaults: same pictures, same minutes, same machine.

    python -m tests.benchmarks.compare --minutes 10 30 --folder compare/     # `make benchmark`

Trains each way on each data set at 64x64, one after the other, and prints a table with a row for
each of the minutes. It also writes grids of 32 samples of each run and of the data. A run that is
in the folder is not repeated. The distance alone can mislead, so look at the grids. If other work
shares the machine, pin this to one core: two threads that wait for each other are slower than one.
"""

import argparse
import itertools
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.benchmarks.lattice import lattice
from vidgan import config
from vidgan.data import cache
from vidgan.film.tiles import tile
from vidgan.film.writer import write_png
from vidgan.generator import synthesis
from vidgan.latent import seeds
from vidgan.quality import distances, features, patches
from vidgan.training import loop
from vidgan.training.log import logged

HERE = Path(__file__).parent
SETS = ("earth", "emoji", "digits")
NUMBER = 1000  # pictures on either side of a distance
WAYS = ("plain", *config.MODELS)


def settings(source: str, model: str, *, seconds: float, seed: int) -> config.Config:
    table = {
        "model": {"width": 64, "height": 64, "name": model},
        "data": {"source": source, "labels": False},  # the plain script knows no classes
        # The plain script does not measure itself either.
        "train": {"duration_s": seconds, "seed": seed, "distance_every_images": 0},
    }
    return config.from_dict(table)


def samples_of(run: Path) -> np.ndarray:
    """Samples of a run's generator, uint8 [N, H, W, 3]."""
    generator = synthesis.open_generator(run / "generator.safetensors")
    return generator(seeds.gaussian(1, np.arange(NUMBER), z_dim=generator.z_dim))


def train_plain(dataset: cache.Dataset, folder: Path, marks_s: list[int], seed: int) -> list[int]:
    """Train the plain script, and write samples after each of the seconds. Returns images seen."""
    pictures = folder / "pictures.npy"
    np.save(pictures, dataset.take(np.arange(len(dataset))).transpose(0, 3, 1, 2))
    command = [sys.executable, HERE / "plain_dcgan.py", pictures, folder, NUMBER, seed, *marks_s]
    seen = subprocess.check_output(list(map(str, command)), text=True)
    pictures.unlink()
    return [int(line) for line in seen.split()]


def train_ours(source: str, way: str, folder: Path, marks_s: list[int], seed: int) -> list[int]:
    """The same by `vidgan train`, which is resumed after each of the seconds."""
    run, seen, trained_s = None, [], 0
    for mark_s in marks_s:
        chosen = settings(source, way, seconds=mark_s - trained_s, seed=seed)
        run, trained_s = loop.train(chosen, runs=folder, resume=run), mark_s
        np.save(folder / f"{mark_s}s.npy", samples_of(run))
        seen.append(logged(run)[-1].images_seen)
    return seen


def trained(
    source: str, dataset: cache.Dataset, way: str, folder: Path, marks_s: list[int], seed: int
) -> list[tuple[int, np.ndarray]]:
    """Images seen and samples, uint8 [N, H, W, 3], after each of the seconds."""
    result = folder / f"{'-'.join(map(str, marks_s))}.json"
    if not result.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if way == "plain":
            seen = train_plain(dataset, folder, marks_s, seed)
        else:
            seen = train_ours(source, way, folder, marks_s, seed)
        result.write_text(json.dumps(seen))
    found = [np.load(folder / f"{mark_s}s.npy") for mark_s in marks_s]
    for mark_s, samples in zip(marks_s, found, strict=True):
        write_png(folder.with_name(f"{folder.name}-{mark_s}s.png"), tile(samples[:32], 8))
    return list(zip(json.loads(result.read_text()), found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", nargs="+", type=float, default=[10])
    parser.add_argument("--folder", type=Path, default=Path("compare"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--ways", nargs="+", default=[*WAYS])
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    marks_s = [round(60 * minutes) for minutes in sorted(given.minutes)]
    lite0 = features.Lite0()
    names = ("data", "way", "seed", "minutes", "images seen", "distance", "floor", "variety")
    names += ("patches (floor)", "coverage of layouts", "lattice (reals)")
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|", flush=True)
    for source in given.sets:
        chosen = settings(source, "dcgan", seconds=1, seed=0)
        dataset = cache.open_dataset(chosen.data, width=64, height=64)
        mixed = np.random.default_rng(0).permutation(len(dataset))
        reals = [dataset.take(mixed[i * NUMBER :][:NUMBER]) for i in (0, 1)]
        given.folder.mkdir(exist_ok=True)
        write_png(given.folder / f"{source}-reals.png", tile(reals[0][:32], 8))
        real, other = map(lite0, reals)
        floor = distances.frechet(real, other)
        patches_floor, lattice_floor = patches.patch_distances(*reals), lattice(*reals)
        for way, seed in itertools.product(given.ways, range(given.seeds)):
            folder = given.folder / f"{source}-{way}-{seed}"
            found = trained(source, dataset, way, folder, marks_s, seed)
            for mark_s, (seen, samples) in zip(marks_s, found, strict=True):
                fake = lite0(samples)
                print(
                    f"| {source} | {way} | {seed} | {mark_s / 60:g} | {seen:,} | "
                    f"{distances.frechet(real, fake):.0f} | {floor:.0f} | "
                    f"{distances.variety(real, fake):.2f} | "
                    f"{patches.patch_distances(reals[0], samples)} ({patches_floor.mean:.0f}) | "
                    f"{patches.layout_coverage(reals[0], samples):.2f} | "
                    f"{lattice(samples, reals[0]):.1f} ({lattice_floor:.1f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
