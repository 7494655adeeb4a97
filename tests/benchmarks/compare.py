"""The comparison that decides the defaults: same pictures, same minutes, same machine.

    python tests/benchmarks/compare.py --minutes 10 --folder compare/     # `make benchmark`

Trains each way on each set at 64x64, one after the other, and prints a table; beside it stand a
grid of 32 samples of every run and of the data. A run that is in the folder already is not
repeated. The distance alone misleads: look at the grids. Where other work shares the machine, pin
it to a core: two threads of which one has to wait are slower than one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from vidgan import config, data, features, latents, synthesis, train
from vidgan.render import tile
from vidgan.video import write_png

HERE = Path(__file__).parent
SETS = ("earth", "emoji", "digits")
NUMBER = 1000  # of pictures on either side of a distance
WAYS = ("plain", *config.MODELS)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def settings(source: str, model: str, *, seconds: float, seed: int) -> config.Config:
    table = {
        "model": {"width": 64, "height": 64, "name": model},
        "data": {"source": source, "labels": False},  # the plain script knows no classes
        # The plain script does not stop to measure itself either.
        "train": {"duration_s": seconds, "seed": seed, "distance_every_images": 0},
    }
    return config.from_dict(table)


def trained_plain(
    pictures: Path, run: Path, *, seconds: float, seed: int
) -> tuple[int, np.ndarray]:
    """Images seen, and samples uint8 [N, H, W, 3]."""
    samples = run / "samples.npy"
    command = [sys.executable, HERE / "plain_dcgan.py", pictures, samples, seconds, NUMBER, seed]
    seen = subprocess.check_output([str(part) for part in command], text=True)
    return int(seen), np.load(samples)


def trained(chosen: config.Config, run: Path) -> tuple[int, np.ndarray]:
    """Images seen, and samples uint8 [N, H, W, 3]."""
    folder = train.train(chosen, runs=run, notice=_say)
    last = json.loads((folder / "stats.jsonl").read_text().splitlines()[-1])
    generator = synthesis.open_generator(folder / "generator.safetensors")
    z = latents.gaussian(1, np.arange(NUMBER), z_dim=generator.z_dim)
    return last["images_seen"], generator(z)


def measured(source: str, way: str, folder: Path, *, seconds: float, seed: int) -> dict:
    run = folder / f"{source}-{way}-{seconds:.0f}s-{seed}"
    if not (run / "result.json").exists():
        run.mkdir(parents=True, exist_ok=True)
        model = "dcgan" if way == "plain" else way
        chosen = settings(source, model, seconds=seconds, seed=seed)
        dataset = data.open_dataset(chosen.data, width=64, height=64, notice=_say)
        if way == "plain":
            np.save(run / "pictures.npy", np.asarray(dataset.images))
            found = trained_plain(run / "pictures.npy", run, seconds=seconds, seed=seed)
            (run / "pictures.npy").unlink()
        else:
            found = trained(chosen, run)
        seen, samples = found
        np.save(run / "samples.npy", samples)
        write_png(run.with_suffix(".png"), tile(samples[:32], 8))
        (run / "result.json").write_text(json.dumps({"images_seen": seen}))
    return json.loads((run / "result.json").read_text()) | {"samples": np.load(run / "samples.npy")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path("compare"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--ways", nargs="+", default=[*WAYS])
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    lite0 = features.Lite0()
    print("| data | way | seed | images seen | distance (N = 1000) | floor | variety | recall |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for source in given.sets:
        chosen = settings(source, "dcgan", seconds=1, seed=0)
        dataset = data.open_dataset(chosen.data, width=64, height=64, notice=lambda _: None)
        mixed = np.random.default_rng(0).permutation(len(dataset.images))
        halves = mixed[:NUMBER], mixed[NUMBER : 2 * NUMBER]
        reals = [data.batch(dataset, half).transpose(0, 2, 3, 1) for half in halves]
        given.folder.mkdir(exist_ok=True)
        write_png(given.folder / f"{source}-reals.png", tile(reals[0][:32], 8))
        real, other = map(lite0, reals)
        floor = features.frechet(real, other)
        for way in given.ways:
            for seed in range(given.seeds):
                found = measured(source, way, given.folder, seconds=60 * given.minutes, seed=seed)
                fake = lite0(found["samples"])
                print(
                    f"| {source} | {way} | {seed} | {found['images_seen']:,} | "
                    f"{features.frechet(real, fake):.0f} | {floor:.0f} | "
                    f"{features.variety(real, fake):.2f} | {features.recall(real, fake):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
