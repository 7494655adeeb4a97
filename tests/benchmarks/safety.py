"""What safety costs: the share of a training that its checkpoints take, at the default interval.

    python tests/benchmarks/safety.py --images 60000

The footage that ships with vidgan, at the default settings. The clock runs while a checkpoint is
written and flushed to the disk, and the older one is deleted.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from vidgan import config
from vidgan.training import loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--recipe", type=Path, help="a recipe instead of the default settings")
    asked = parser.parse_args()
    settings = config.load(asked.recipe) if asked.recipe else config.Config()
    how = replace(settings.train, images=asked.images, distance_every_images=0)
    settings = replace(settings, train=how)
    saving_s, training_s = timed("_save"), timed("_loop")
    with tempfile.TemporaryDirectory(dir=".") as runs:
        loop.train(settings, runs=Path(runs))
    every, share = settings.train.checkpoint_every_images, sum(saving_s) / sum(training_s)
    print(
        f"{len(saving_s)} checkpoints, one every {every:,} images, in {sum(saving_s):.2f} s of "
        f"{sum(training_s):.0f} s: {share:.2%} of the training (the aim is at most 2 %)"
    )


def timed(name: str) -> list[float]:
    """The seconds of each call of a function of the loop, as it is called from now on."""
    function, spent_s = getattr(loop, name), []

    def call(*arguments: object) -> None:
        started = time.perf_counter()
        function(*arguments)
        spent_s.append(time.perf_counter() - started)

    setattr(loop, name, call)
    return spent_s


if __name__ == "__main__":
    main()
