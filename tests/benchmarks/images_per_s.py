"""Training speed of the architectures at the same resolution, on the same machine.

    python tests/benchmarks/images_per_s.py [--size 64] [--channels 64] [--seconds 20]

Rounds alternate between the architectures, so that other work on the machine slows all of them.
"""

import argparse
import tempfile
from pathlib import Path

from vidgan import config
from vidgan.training import loop
from vidgan.training.log import logged


def images_per_s(model: str, size: int, channels: int, seconds: float) -> float:
    """Speed from the first line of the log on, with penalties but without samples."""
    table = {
        "model": {"name": model, "width": size, "height": size, "channels": channels},
        "train": {"batch_size": 64, "duration_s": seconds, "distance_every_images": 0}
        | dict.fromkeys(("samples_every_images", "checkpoint_every_images"), 10**9),
    }
    with tempfile.TemporaryDirectory() as folder:
        first, *_, last = logged(loop.train(config.from_dict(table), runs=Path(folder)))
    images = last.images_seen - first.images_seen
    return images / (last.elapsed_s - first.elapsed_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    for number in (1, 2):
        rate = {model: images_per_s(model, **vars(given)) for model in config.MODELS}
        line = ", ".join(f"{model} {value:.0f} images/s" for model, value in rate.items())
        print(f"round {number}: {line}; r3gan / dcgan {rate['r3gan'] / rate['dcgan']:.2f}")


if __name__ == "__main__":
    main()
