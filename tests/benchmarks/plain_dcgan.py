"""The DCGAN script that people copy: the reference that `vidgan train` is measured against.

    python tests/benchmarks/plain_dcgan.py PICTURES.npy FOLDER COUNT SEED SECONDS...

Trains on uint8 pictures [N, 3, 64, 64]. After each of the numbers of seconds it writes COUNT
samples, uint8 [COUNT, 64, 64, 3], as FOLDER/SECONDSs.npy, and prints the images seen. As in the
tutorials: float32, eager, BCE on a sigmoid, batch 128, Adam 2e-4 with beta1 0.5, no averaged
weights, no augmentation, and samples drawn in training mode.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

Z_DIM, WIDTH, BATCH = 100, 64, 128
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def up(before: int, after: int) -> list[nn.Module]:
    layer = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU(True)]


def down(before: int, after: int) -> list[nn.Module]:
    layer = nn.Conv2d(before, after, 4, 2, 1, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.LeakyReLU(0.2, True)]


generator = nn.Sequential(
    nn.ConvTranspose2d(Z_DIM, WIDTH * 8, 4, 1, 0, bias=False),
    nn.BatchNorm2d(WIDTH * 8),
    nn.ReLU(True),
    *up(WIDTH * 8, WIDTH * 4),
    *up(WIDTH * 4, WIDTH * 2),
    *up(WIDTH * 2, WIDTH),
    nn.ConvTranspose2d(WIDTH, 3, 4, 2, 1, bias=False),
    nn.Tanh(),
)
discriminator = nn.Sequential(
    nn.Conv2d(3, WIDTH, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, True),
    *down(WIDTH, WIDTH * 2),
    *down(WIDTH * 2, WIDTH * 4),
    *down(WIDTH * 4, WIDTH * 8),
    nn.Conv2d(WIDTH * 8, 1, 4, 1, 0, bias=False),
    nn.Sigmoid(),
)


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def write_samples(target: Path, count: int) -> None:
    with torch.no_grad():
        batches = [
            generator(torch.randn(64, Z_DIM, 1, 1, device=DEVICE)) for _ in range(-(-count // 64))
        ]
    levels = torch.cat(batches)[:count].mul(127.5).add(127.5).round().clamp(0, 255)
    np.save(target, levels.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy())


def main(source: str, folder: str, count: int, seed: int, marks_s: list[float]) -> None:
    torch.manual_seed(seed)
    generator.to(DEVICE).apply(initialise)
    discriminator.to(DEVICE).apply(initialise)
    adam_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCELoss()
    pictures = torch.from_numpy(np.load(source))
    images_seen, started, indices = 0, time.monotonic(), ()
    while marks_s:
        if len(indices) == 0:
            indices = torch.randperm(len(pictures))
        chosen, indices = indices[:BATCH], indices[BATCH:]
        real = pictures[chosen].to(DEVICE).float() / 127.5 - 1
        ones, zeros = (f(len(real), device=DEVICE) for f in (torch.ones, torch.zeros))
        adam_d.zero_grad()
        criterion(discriminator(real).view(-1), ones).backward()
        fake = generator(torch.randn(len(real), Z_DIM, 1, 1, device=DEVICE))
        criterion(discriminator(fake.detach()).view(-1), zeros).backward()
        adam_d.step()
        adam_g.zero_grad()
        criterion(discriminator(fake).view(-1), ones).backward()
        adam_g.step()
        images_seen += len(real)
        now = time.monotonic()
        if now - started > marks_s[0]:
            write_samples(Path(folder) / f"{marks_s.pop(0):.0f}s.npy", count)
            started += time.monotonic() - now  # time spent on samples does not count
            print(images_seen, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]), [float(s) for s in sys.argv[5:]])
