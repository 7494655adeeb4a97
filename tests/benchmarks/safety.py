"""What safety costs: the share of a training that its checkpoints take, at the default interval.

    python tests/benchmarks/safety.py

The footage that ships with vidgan, at the default settings, with far more checkpoints than usual.
The clock runs while one is written and flushed to the disk, and an older one is deleted.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from vidgan import config
from vidgan.training import loop

_EVERY = 160  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--recipe", type=Path, help="a recipe instead of the default settings")
    asked = parser.parse_args()
    settings = config.load(asked.recipe) if asked.recipe else config.Config()
    usual = settings.train.checkpoint_every_images
    how = {"images": asked.images, "distance_every_images": 0, "checkpoint_every_images": _EVERY}
    settings = replace(settings, train=replace(settings.train, **how))
    saving_s, training_s = timed("save_run"), timed("_loop")
    with tempfile.TemporaryDirectory(dir=".") as runs:
        loop.train(settings, runs=Path(runs))
    save_s = statistics.median(saving_s)
    images_per_s = asked.images / (sum(training_s) - sum(saving_s))
    print(
        f"median of {len(saving_s)} checkpoints: {save_s:.3f} s; {images_per_s:.0f} images/s; one "
        f"every {usual:,} images takes {save_s / (usual / images_per_s + save_s):.2%} of the time "
        "(the aim is at most 2 %)"
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
