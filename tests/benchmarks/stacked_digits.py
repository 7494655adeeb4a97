"""How many of a thousand modes a GAN covers: three digits stacked as red, green and blue.

    python tests/benchmarks/stacked_digits.py [--images 100000] [--ways dcgan r3gan]

This is the test of Metz et al. 2017. A classifier of single digits reads the three digits of each
of 10,000 samples. If all modes were equally frequent, they would contain every mode. KL is the
divergence of the samples' modes from equal frequencies, 0 at best.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from vidgan import config
from vidgan.data import cache
from vidgan.film.tiles import tile
from vidgan.film.writer import write_png
from vidgan.generator import synthesis
from vidgan.latent import seeds
from vidgan.training import loop

STACKS, SAMPLES, SIDE = 20_000, 10_000, 32
WAYS = {
    "dcgan": {},
    "dcgan, no augmentation": {"augment": "none"},
    "dcgan, unrolled 2": {"unrolled_steps": 2},
    "dcgan, rpgan": {"loss": "rpgan"},
    "r3gan": {},
}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 32, 32] and labels [N]."""
    chosen = config.DataConfig(source="digits")
    dataset = cache.open_dataset(chosen, width=SIDE, height=SIDE)
    return dataset.take(np.arange(len(dataset)))[..., 0], dataset.labels


def write_stacks(folder: Path, images: np.ndarray) -> None:
    picked = np.random.default_rng(0).integers(0, len(images), (STACKS, 3))
    for number, three in enumerate(picked):
        picture = Image.fromarray(images[three].transpose(1, 2, 0))
        picture.save(folder / f"{number:05d}.png", compress_level=1)


def train_classifier(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 10),
    )
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    x = torch.from_numpy(np.array(images)).float()[:, None] / 255
    y = torch.from_numpy(labels.astype(np.int64))
    order = torch.randperm(len(x))
    held_out, known = order[:1000], order[1000:]
    for _ in range(4):
        for chosen in known[torch.randperm(len(known))].split(64):
            adam.zero_grad()
            nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            adam.step()
    with torch.no_grad():
        right = (network(x[held_out]).argmax(1) == y[held_out]).float().mean()
    print(f"the classifier is right on {right:.1%} of 1,000 held-out digits", flush=True)
    return network


def modes(samples: np.ndarray, network: nn.Module) -> tuple[int, float]:
    """The number of modes among samples uint8 [N, H, W, 3], and KL from equal frequencies."""
    planes = torch.from_numpy(samples).permute(0, 3, 1, 2).reshape(-1, 1, SIDE, SIDE).float() / 255
    with torch.no_grad():
        read = torch.cat([network(part).argmax(1) for part in planes.split(1000)]).reshape(-1, 3)
    counts = np.bincount((read @ torch.tensor([100, 10, 1])).numpy(), minlength=1000)
    share = counts[counts > 0] / len(samples)
    return int((counts > 0).sum()), float((share * np.log(share * 1000)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--out", type=Path, help="a folder for 64 samples of each way")
    given = parser.parse_args()
    images, labels = digits()
    network = train_classifier(images, labels)
    for way in given.ways:
        with tempfile.TemporaryDirectory() as folder:
            stacks = Path(folder, "stacks")
            stacks.mkdir()
            write_stacks(stacks, images)
            model = {"width": SIDE, "height": SIDE, "channels": 16, "name": way.partition(",")[0]}
            train = {"images": given.images, "distance_every_images": 0} | WAYS[way]
            table = {"model": model, "data": {"source": str(stacks)}, "train": train}
            run = loop.train(config.from_dict(table), runs=Path(folder))
            generator = synthesis.open_generator(run / "generator.safetensors")
            samples = generator(seeds.gaussian(1, np.arange(SAMPLES), z_dim=generator.z_dim))
        found, divergence = modes(samples, network)
        print(f"| {way} | {found} | {divergence:.2f} |", flush=True)
        if given.out:
            given.out.mkdir(exist_ok=True)
            write_png(given.out / f"stacked-{way}.png", tile(samples[:64], 8))


if __name__ == "__main__":
    main()
