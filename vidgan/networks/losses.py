"""Losses of discriminator and generator, gradient penalties, and statistics of logits.

Everything is computed from logits with softplus: log(sigmoid(x)) would underflow to -inf and lose
its gradient exactly where the discriminator is sure. This module knows no network and no optimizer.

    r, f   logits of D on reals and on fakes. One map of logits is float32 [B, ...], and element i
           compares real i with fake i. A discriminator gives a list of maps: a loss is a mean over
           each map and a sum over the maps.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import relu, softplus

Maps = Sequence[torch.Tensor]


def nonsaturating_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of D (Goodfellow et al. 2014, equation 1)."""
    return softplus(-r).mean() + softplus(f).mean()


def nonsaturating_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Minus log D(fake) (Goodfellow et al. 2014, section 3)."""
    return softplus(-f).mean()


def minimax_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """log(1 - D(fake)), as first published. Its gradient vanishes where D is sure. For teaching."""
    return -softplus(f).mean()


def least_squares_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Reals to 1, fakes to 0 (Mao et al. 2017, equation 9)."""
    return 0.5 * ((r - 1).square() + f.square()).mean()


def least_squares_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Fakes to 1 (Mao et al. 2017, equation 9)."""
    return 0.5 * (f - 1).square().mean()


def hinge_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Reals above 1, fakes below -1 (Miyato et al. 2018, equation 16)."""
    return relu(1 - r).mean() + relu(1 + f).mean()


def wasserstein_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Difference of the means (Gulrajani et al. 2017, equation 3 without its penalty)."""
    return f.mean() - r.mean()


def mean_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Raise the mean logit of fakes: G's loss for hinge and Wasserstein."""
    return -f.mean()


def relativistic_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Each real above the fake it is paired with: RpGAN (Huang et al. 2024, equation 2)."""
    return softplus(f - r).mean()


def relativistic_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Each fake above the real it is paired with: RpGAN, G's loss."""
    return softplus(r - f).mean()


class Loss(NamedTuple):
    d_of_map: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    g_of_map: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    undecided: float | None  # the logit at which D cannot tell; None = only differences count

    def of_d(self, r: Maps, f: Maps, weights: Sequence[float] | None = None) -> torch.Tensor:
        return _weighted(map(self.d_of_map, r, f), weights)

    def of_g(self, r: Maps, f: Maps, weights: Sequence[float] | None = None) -> torch.Tensor:
        return _weighted(map(self.g_of_map, r, f), weights)

    def certainty(self, r: Maps, f: Maps) -> list[torch.Tensor]:
        """The mean probability of being real that D gives to reals and to fakes."""
        pairs = [(x - middle, y - middle) for x, y, middle in self._middles(r, f)]
        means = [[torch.sigmoid(x).mean() for x in maps] for maps in zip(*pairs, strict=True)]
        return [torch.stack(found).mean() for found in means]

    def signs_on_reals(self, r: Maps, f: Maps) -> torch.Tensor:
        """The sum over reals of 1 if D takes it for real, else -1 (Karras et al. 2020, eq. 1)."""
        signs = [torch.sign(x - middle) for x, _, middle in self._middles(r, f)]
        return per_picture(signs).sum() / len(signs)

    def _middles(self, r: Maps, f: Maps) -> Iterator[tuple[torch.Tensor, ...]]:
        """Each map of reals and of fakes, with the logit at which D cannot tell."""
        for x, y in zip(r, f, strict=True):
            yield x, y, (x.mean() + y.mean()) / 2 if self.undecided is None else self.undecided


def _weighted(losses: Iterable[torch.Tensor], weights: Sequence[float] | None) -> torch.Tensor:
    return sum(losses) if weights is None else sum(map(operator.mul, losses, weights))


LOSSES = {
    "non-saturating": Loss(nonsaturating_d, nonsaturating_g, 0.0),
    "minimax": Loss(nonsaturating_d, minimax_g, 0.0),
    "lsgan": Loss(least_squares_d, least_squares_g, 0.5),
    "hinge": Loss(hinge_d, mean_g, 0.0),
    "wgan": Loss(wasserstein_d, mean_g, None),
    "rpgan": Loss(relativistic_d, relativistic_g, None),
}


def per_picture(maps: Maps) -> torch.Tensor:
    """One logit for each picture, float32 [B]: the mean over each map, summed over the maps."""
    return sum(x.flatten(1).mean(1) if x.ndim > 1 else x for x in maps)


def squared_gradient(
    maps: Maps, image: torch.Tensor, scale: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Squared norm of the gradient of each picture's logit by its pixels, float32 [B].

    Times gamma / 2 it is R1 on reals (Mescheder et al. 2018, equation 9) and R2 on fakes. `image`
    requires grad. The sum is float32 whatever the network computed in. On its way through a network
    in fp16, the gradient is `scale` times as large, for small numbers would become 0 there.
    """
    logit = per_picture(maps).sum() * scale
    (gradient,) = torch.autograd.grad(logit, image, create_graph=True)
    return (gradient.float() / scale).flatten(1).square().sum(1)


def gradient_penalty(
    maps: Maps, between: torch.Tensor, scale: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Squared difference of the gradient's norm from 1, float32 [B].

    `between` lie between reals and fakes (Gulrajani et al. 2017, equation 3, without its weight).
    """
    return (squared_gradient(maps, between, scale).clamp_min(1e-12).sqrt() - 1).square()


def feature_distance(real: Maps, fake: Maps) -> torch.Tensor:
    """Squared distance of mean features, a mean over the width of D (Salimans et al. 2016, 3.1)."""
    return sum(
        (x.float().mean(0) - y.float().mean(0)).square().mean()
        for x, y in zip(real, fake, strict=True)
    )
