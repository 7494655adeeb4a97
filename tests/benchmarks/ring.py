"""How many of eight Gaussians on a ring a GAN covers, by loss and gradient penalty.

    python tests/benchmarks/ring.py [--seeds 3] [--steps 800]    # 1600 for learning rate 1e-3

Both networks are small. A sample belongs to a mode that is within three standard deviations. A mode
is covered if it has at least a quarter of its fair share of the samples.
"""

import argparse
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from vidgan.networks import losses
from vidgan.training import unrolled

MODES, DEVIATION, Z_DIM, BATCH = 8, 0.05, 16, 256


class Way(NamedTuple):
    loss: str
    r1: float = 0.0
    r2: float = 0.0
    gradient_penalty: float = 0.0  # of WGAN-GP
    d_steps: int = 1  # of D per step of G
    unrolled: int = 0
    rate: float = 3e-3  # learning rate at the start


WAYS = {
    "non-saturating": Way("non-saturating"),
    "non-saturating, unrolled 5": Way("non-saturating", unrolled=5),
    "non-saturating, 1e-3": Way("non-saturating", rate=1e-3),
    "non-saturating, 1e-3, unrolled 5": Way("non-saturating", unrolled=5, rate=1e-3),
    "non-saturating + R1": Way("non-saturating", r1=1.0),
    "minimax": Way("minimax"),
    "lsgan": Way("lsgan"),
    "hinge": Way("hinge"),
    "wgan-gp, 1e-3, 5 steps of D": Way("wgan", gradient_penalty=10.0, d_steps=5, rate=1e-3),
    "rpgan": Way("rpgan"),
    "rpgan + R1": Way("rpgan", r1=1.0),
    "rpgan + R1 + R2": Way("rpgan", r1=1.0, r2=1.0),
}


def centres() -> torch.Tensor:
    """Eight different points on the unit circle, float32 [8, 2]."""
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    return torch.stack([angle.cos(), angle.sin()], 1)


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs)
    )


def train(way: str, *, seed: int, steps: int) -> torch.Tensor:
    """Train a generator, and return samples of it, float32 [4096, 2].

    The learning rate falls to 0 over the run, so that G does not leave the modes it has found.
    """
    how, loss = WAYS[way], losses.LOSSES[WAYS[way].loss]
    torch.manual_seed(seed)
    generator, judge = network(Z_DIM, 2), network(2, 1)
    adam_g, adam_d = (
        torch.optim.Adam(net.parameters(), how.rate, (0.0, 0.99)) for net in (generator, judge)
    )
    for step in range(steps):
        for adam in (adam_g, adam_d):
            adam.param_groups[0]["lr"] = how.rate * math.cos(math.pi / 2 * step / steps)
        for _ in range(how.d_steps):
            real = centres()[torch.randint(MODES, (BATCH,))] + DEVIATION * torch.randn(BATCH, 2)
            real.requires_grad_()
            made = generator(torch.randn(BATCH, Z_DIM))
            loss_d, r = _loss_of_d(how, judge, real, made.detach().requires_grad_())
            adam_d.zero_grad()
            loss_d.backward()
            adam_d.step()
        r, f = [r.detach()], [judge(made)]
        if how.unrolled:
            r, f = _logits_ahead(how, judge, adam_d, real.detach(), made)
        adam_g.zero_grad()
        loss.of_g(r, f).backward()
        adam_g.step()
    with torch.no_grad():
        return generator(torch.randn(4096, Z_DIM))


def _loss_of_d(
    how: Way, judge: nn.Module, real: torch.Tensor, fake: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r, f = judge(real), judge(fake)  # [B, 1]
    total = losses.LOSSES[how.loss].of_d([r], [f])
    for gamma, logits, points in ((how.r1, r, real), (how.r2, f, fake)):
        if gamma:
            total = total + gamma / 2 * losses.squared_gradient([logits], points).mean()
    if how.gradient_penalty:
        between = real.lerp(fake, torch.rand(BATCH, 1)).detach().requires_grad_()
        penalty = losses.gradient_penalty([judge(between)], between)
        total = total + how.gradient_penalty * penalty.mean()
    return total, r


def _logits_ahead(
    how: Way, judge: nn.Module, adam: torch.optim.Optimizer, real: torch.Tensor, made: torch.Tensor
) -> list[losses.Maps]:
    def judged(weights: unrolled.Weights) -> list[losses.Maps]:
        return [[functional_call(judge, weights, (points,))] for points in (real, made)]

    of_d = losses.LOSSES[how.loss].of_d
    return judged(unrolled.ahead(judge, adam, lambda w: of_d(*judged(w)), steps=how.unrolled))


def covered(samples: torch.Tensor) -> tuple[int, float]:
    """The number of modes covered, and the share of samples that belong to a mode."""
    distance, nearest = torch.cdist(samples, centres()).min(1)
    near = distance < 3 * DEVIATION
    counts = torch.bincount(nearest[near], minlength=MODES)
    return int((counts >= len(samples) / MODES / 4).sum()), near.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)  # each of 256 points
    given = parser.parse_args()
    print("| way | modes of 8, by seed | samples on a mode |\n|---|---|---|")
    for way in WAYS:
        found = [covered(train(way, seed=seed, steps=given.steps)) for seed in range(given.seeds)]
        modes = ", ".join(str(count) for count, _ in found)
        print(f"| {way} | {modes} | {sum(share for _, share in found) / len(found):.0%} |")


if __name__ == "__main__":
    main()
