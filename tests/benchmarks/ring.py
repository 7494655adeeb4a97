"""Modes covered on a ring of eight Gaussians, by loss and regulariser.

    python tests/benchmarks/ring.py [--seeds 3]

Two small networks of plain layers; a sample belongs to a mode within three deviations. A mode
counts as covered when it holds at least a quarter of its fair share of the samples.
"""

import argparse
import math

import torch
from torch import nn

from vidgan import losses

MODES, DEVIATION, Z_DIM, BATCH = 8, 0.05, 16, 256
# loss, R1, R2, gradient penalty
WAYS = {
    "non-saturating": ("non-saturating", 0.0, 0.0, 0.0),
    "non-saturating + R1": ("non-saturating", 1.0, 0.0, 0.0),
    "minimax": ("minimax", 0.0, 0.0, 0.0),
    "lsgan": ("lsgan", 0.0, 0.0, 0.0),
    "hinge": ("hinge", 0.0, 0.0, 0.0),
    "wgan-gp": ("wgan", 0.0, 0.0, 10.0),
    "rpgan": ("rpgan", 0.0, 0.0, 0.0),
    "rpgan + R1": ("rpgan", 1.0, 0.0, 0.0),
    "rpgan + R1 + R2": ("rpgan", 1.0, 1.0, 0.0),
}


def centres() -> torch.Tensor:
    """float32 [8, 2] on the unit circle, its end point left out: really eight."""
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    return torch.stack([angle.cos(), angle.sin()], 1)


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs)
    )


def train(way: str, *, seed: int, steps: int) -> torch.Tensor:
    """Samples float32 [4096, 2] of a generator trained for so many steps of 256 points."""
    name, r1, r2, penalty = WAYS[way]
    loss = losses.LOSSES[name]
    torch.manual_seed(seed)
    generator, judge = network(Z_DIM, 2), network(2, 1)
    adam_g, adam_d = (
        torch.optim.Adam(net.parameters(), 1e-3, (0.0, 0.99)) for net in (generator, judge)
    )
    for _ in range(steps):
        real = centres()[torch.randint(MODES, (BATCH,))] + DEVIATION * torch.randn(BATCH, 2)
        real.requires_grad_()
        made = generator(torch.randn(BATCH, Z_DIM))
        fake = made.detach().requires_grad_()
        r, f = judge(real)[:, 0], judge(fake)[:, 0]
        loss_d = loss.of_d(r, f)
        if r1:
            loss_d = loss_d + r1 / 2 * losses.squared_slope(r, real).mean()
        if r2:
            loss_d = loss_d + r2 / 2 * losses.squared_slope(f, fake).mean()
        if penalty:
            between = real.lerp(fake, torch.rand(BATCH, 1)).detach().requires_grad_()
            slope = losses.gradient_penalty(judge(between)[:, 0], between)
            loss_d = loss_d + penalty * slope.mean()
        adam_d.zero_grad()
        loss_d.backward()
        adam_d.step()
        loss_g = loss.of_g(r.detach(), judge(made)[:, 0])
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
    with torch.no_grad():
        return generator(torch.randn(4096, Z_DIM))


def covered(samples: torch.Tensor) -> tuple[int, float]:
    """Modes covered, and the share of samples within three deviations of any mode."""
    distance, nearest = torch.cdist(samples, centres()).min(1)
    near = distance < 3 * DEVIATION
    counts = torch.bincount(nearest[near], minlength=MODES)
    return int((counts >= len(samples) / MODES / 4).sum()), near.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    given = parser.parse_args()
    print("| way | modes of 8, by seed | samples on a mode |\n|---|---|---|")
    for way in WAYS:
        found = [covered(train(way, seed=seed, steps=given.steps)) for seed in range(given.seeds)]
        modes = ", ".join(str(count) for count, _ in found)
        print(f"| {way} | {modes} | {sum(share for _, share in found) / len(found):.0%} |")


if __name__ == "__main__":
    main()
