"""Do pictures of one class still differ? Train with classes and without, and compare.

    python -m tests.benchmarks.classes --images 22000 --folder classes/

Trains dcgan at 32x32 with channels 24 on three sets of class folders: ten digits, three uneven
classes of emoji, and forty classes of twenty emoji. Prints a table, and writes a grid of each run
beside it: a column for each of ten classes. A run that is in the folder is not repeated.

variety   root mean square distance of two fakes, relative to that of two reals. With classes it is
          a mean over the classes of the same within each class.
nearest   distance of a fake to the most similar one, relative to that of reals, of 240 each
shown     how often the nearest class (by the mean of its reals) is the one that was asked for, and
          in brackets the same of the reals
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vidgan import config
from vidgan.data import cache, downloads
from vidgan.film.tiles import tile
from vidgan.film.writer import write_png
from vidgan.generator import synthesis
from vidgan.latent import seeds
from vidgan.quality import features, watch
from vidgan.training import loop

SIDE, CHANNELS, NUMBER = 32, 24, 240
SETS = ("digits", "three", "forty")
_TONES_AND_JOINS = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "200d"}


def flags(codes: list[str]) -> bool:
    return len(codes) > 1 and 0x1F1E6 <= int(codes[0], 16) <= 0x1F1FF


def people(codes: list[str]) -> bool:
    return codes[0] in ("1f468", "1f469")


def animals(codes: list[str]) -> bool:
    number = int(codes[0], 16)
    return len(codes) == 1 and (0x1F400 <= number <= 0x1F43F or 0x1F980 <= number <= 0x1F9AE)


def emoji_in_classes(name: str, folder: Path) -> Path:
    """Copy emoji into class folders: "three" or "forty" (of neighbours in Unicode)."""
    emoji = sorted(downloads.unpacked_set("emoji").iterdir())
    codes = [path.stem.split("-") for path in emoji]
    if name == "three":
        kinds = (flags, people, animals)
        groups = {
            kind.__name__: [p for p, c in zip(emoji, codes, strict=True) if kind(c)]
            for kind in kinds
        }
    else:
        plain = [
            path
            for path, own in zip(emoji, codes, strict=True)
            if not _TONES_AND_JOINS & {*own} and not own[0].startswith("1f1")
        ]
        groups = {f"{k:02d}": plain[len(plain) * k // 40 :][:20] for k in range(40)}
    for group, paths in groups.items():
        (folder / name / group).mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, folder / name / group)
    return folder / name


def trained(
    source: str, *, labels: bool, images: int, seed: int, mismatch: float, folder: Path
) -> Path:
    """The folder of a run, which is made if it is not there."""
    for generator in folder.glob("*/generator.safetensors"):
        return generator.parent
    table = {
        "model": {"width": SIDE, "height": SIDE, "channels": CHANNELS},
        "data": {"source": source, "labels": labels},
        "train": {"images": images, "seed": seed, "distance_every_images": 0},
    }
    if labels:
        table["train"]["mismatch"] = mismatch
    return loop.train(config.from_dict(table), runs=folder)


def samples(run: Path, labels: np.ndarray) -> np.ndarray:
    """Fakes uint8 [N, H, W, 3] of these classes, if the generator knows any."""
    generator = synthesis.open_generator(run / "generator.safetensors")
    z = seeds.gaussian(1, np.arange(len(labels)), z_dim=generator.z_dim)
    rows = np.eye(generator.classes, dtype=np.float32)[labels] if generator.classes else None
    return generator(z, rows)


def spread(rows: np.ndarray) -> float:
    """Root mean square distance of two rows."""
    return float(np.sqrt(rows.reshape(len(rows), -1).astype(np.float64).var(0, ddof=1).sum()))


def within(pictures: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([spread(pictures[labels == label]) for label in np.unique(labels)]))


def shown(fakes: np.ndarray, reals: np.ndarray, labels: np.ndarray) -> float:
    rows, means = fakes.reshape(len(fakes), -1).astype(np.float64), []
    for label in np.unique(labels):
        means.append(reals[labels == label].reshape((labels == label).sum(), -1).mean(0))
    apart = np.square(rows[:, None] - np.stack(means)).sum(2)
    return float((apart.argmin(1) == labels).mean())


def row(run: Path, dataset: cache.Dataset, with_classes: bool, lite0: Callable) -> str:
    """The figures of a run, as the cells of a table. Writes its grid."""
    mixed, count = np.random.default_rng(0).permutation(len(dataset)), len(dataset.class_names)
    each = NUMBER // count
    own = [mixed[dataset.labels[mixed] == label][:each] for label in range(count)]
    even, some = np.concatenate(own), mixed[:NUMBER]
    labels = dataset.labels[even]
    all_reals, all_fakes = dataset.take(some), samples(run, dataset.labels[some])
    reals, fakes = dataset.take(even), samples(run, labels)
    nearest = watch.nearest(all_fakes) / watch.nearest(all_reals)
    if with_classes:
        pixels = within(fakes, labels) / within(reals, labels)
        lite = within(lite0(fakes), labels) / within(lite0(reals), labels)
        seen = f"{shown(fakes, reals, labels):.2f} ({shown(reals, reals, labels):.2f})"
        columns = [fakes[labels == label][np.arange(6) % each] for label in range(min(count, 10))]
        grid = tile(np.stack(columns, 1).reshape(-1, SIDE, SIDE, 3), len(columns))
    else:
        pixels, seen = spread(all_fakes) / spread(all_reals), "-"
        lite = spread(lite0(all_fakes)) / spread(lite0(all_reals))
        grid = tile(all_fakes[:60], 10)
    write_png(run.parent.with_name(f"{run.parent.name}.png"), grid)
    return f"{pixels:.2f} | {lite:.2f} | {nearest:.2f} | {seen}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=22_000)
    parser.add_argument("--folder", type=Path, default=Path("classes"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mismatch", type=float, default=0.0, help="of the runs with classes")
    given = parser.parse_args()
    lite0 = features.Lite0()
    print("| data | seed | classes | variety, pixels | variety, Lite0 | nearest | shown |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in given.sets:
        source = name if name == "digits" else str(emoji_in_classes(name, given.folder / "data"))
        dataset = cache.open_dataset(config.DataConfig(source=source), width=SIDE, height=SIDE)
        for seed in range(given.seeds):
            for labels in (False, True):
                kind = f"classes-{given.mismatch:g}" if labels else "plain"
                folder = given.folder / f"{name}-{kind}-{seed}"
                keys = {"images": given.images, "seed": seed, "mismatch": given.mismatch}
                run = trained(source, labels=labels, **keys, folder=folder)
                cells = row(run, dataset, labels, lite0)
                print(f"| {name} | {seed} | {'yes' if labels else 'no'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
