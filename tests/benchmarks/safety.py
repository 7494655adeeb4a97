"""What safety costs: the share of a training that its checkpoints take, at the default interval.

    python tests/benchmarks/safety.py --images 60000

The footage that ships with vidgan, at the default settings. The clock runs while a checkpoint is
written and flushed to the disk, and the older one is deleted.
"""

import argparse
import tempfile
import time
from pathlib import Path

from vidgan import config
from vidgan.training import loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--recipe", type=Path, help="a recipe instead of the default settings")
    asked = parser.parse_args()
    settings = config.load(asked.recipe) if asked.recipe else config.Config()
    table = config.to_toml(settings)  # to show what was asked for, below
    how = {**vars(settings.train), "images": asked.images, "distance_every_images": 0}
    settings = config.Config(
        model=settings.model,
        discriminator=settings.discriminator,
        data=settings.data,
        train=config.TrainConfig(**how),
    )
    spent_s, save = [], loop._save

    def timed(*arguments: object) -> None:
        started = time.perf_counter()
        save(*arguments)
        spent_s.append(time.perf_counter() - started)

    loop._save = timed
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=".") as runs:
        loop.train(settings, runs=Path(runs))
    whole_s = time.perf_counter() - started
    every = settings.train.checkpoint_every_images
    assert len(spent_s) == -(-asked.images // every), table
    print(
        f"{len(spent_s)} checkpoints, one every {every:,} images, {sum(spent_s):.2f} s of "
        f"{whole_s:.0f} s: {sum(spent_s) / whole_s:.2%} of the training (the aim is at most 2 %)"
    )


if __name__ == "__main__":
    main()
