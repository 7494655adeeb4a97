"""Training speed of the architectures at equal resolution, in one run on one machine.

    python tests/benchmarks/images_per_s.py [--size 64] [--channels 64] [--seconds 20]

Rounds alternate between the architectures, so that a busy machine slows all of them alike.
"""

import argparse
import json
import tempfile
from pathlib import Path

from vidgan import config
from vidgan.training import loop


def images_per_s(model: str, *, size: int, channels: int, batch_size: int, seconds: float) -> float:
    """Images by time from the first report on, penalty steps included, previews not."""
    table = {
        "model": {"name": model, "width": size, "height": size, "channels": channels},
        "train": {
            "batch_size": batch_size,
            "duration_s": seconds,
            "preview_every_images": 10**9,
            "distance_every_images": 0,
            "checkpoint_every_images": 10**9,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        run = loop.train(config.from_dict(table), runs=Path(folder))
        lines = (run / "stats.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    images = last["images_seen"] - first["images_seen"]
    return images / (last["elapsed_s"] - first["elapsed_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for number in range(given.rounds):
        rate = {
            model: images_per_s(
                model,
                size=given.size,
                channels=given.channels,
                batch_size=given.batch_size,
                seconds=given.seconds,
            )
            for model in config.MODELS
        }
        line = ", ".join(f"{model} {value:.0f} images/s" for model, value in rate.items())
        print(f"round {number + 1}: {line}; r3gan / dcgan {rate['r3gan'] / rate['dcgan']:.2f}")


if __name__ == "__main__":
    main()
