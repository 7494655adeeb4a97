"""What discriminator and generator minimise, and what is added to it: pure functions of tensors.

Everything is written on logits through softplus: log(sigmoid(x)) would underflow to -inf and lose
the gradient exactly where the discriminator is sure. Knows no network and no optimiser.

    r, f    logits of D on reals and fakes, float32 [B]; pair i compares real i with fake i
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import relu, softplus


def nonsaturating_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of D (Goodfellow et al. 2014, equation 1)."""
    return softplus(-r).mean() + softplus(f).mean()


def nonsaturating_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Minus log D(fake) (Goodfellow et al. 2014, section 3)."""
    return softplus(-f).mean()


def minimax_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """log(1 - D(fake)), as first published; its gradient dies where D is sure. For teaching."""
    return -softplus(f).mean()


def least_squares_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Reals to 1, fakes to 0 (Mao et al. 2017, equation 9)."""
    return 0.5 * ((r - 1).square() + f.square()).mean()


def least_squares_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Fakes to 1 (Mao et al. 2017, equation 9)."""
    return 0.5 * (f - 1).square().mean()


def hinge_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """No more than a margin of 1 to either side (Miyato et al. 2018, equation 16)."""
    return relu(1 - r).mean() + relu(1 + f).mean()


def wasserstein_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """The critic's mean difference (Gulrajani et al. 2017, equation 3 less its penalty)."""
    return f.mean() - r.mean()


def mean_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Raise D's mean on fakes: G's side of hinge and Wasserstein."""
    return -f.mean()


def relativistic_d(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Each real above the fake it is paired with: RpGAN (Huang et al. 2024, equation 2)."""
    return softplus(f - r).mean()


def relativistic_g(r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Each fake above the real it is paired with: RpGAN, G's side."""
    return softplus(r - f).mean()


class Loss(NamedTuple):
    of_d: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    of_g: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    undecided: float | None  # the logit of a D that cannot tell; None = only differences count


LOSSES = {
    "non-saturating": Loss(nonsaturating_d, nonsaturating_g, 0.0),
    "minimax": Loss(nonsaturating_d, minimax_g, 0.0),
    "lsgan": Loss(least_squares_d, least_squares_g, 0.5),
    "hinge": Loss(hinge_d, mean_g, 0.0),
    "wgan": Loss(wasserstein_d, mean_g, None),
    "rpgan": Loss(relativistic_d, relativistic_g, None),
}


def certainty(loss: str, r: torch.Tensor, f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How probable D finds it that reals, and that fakes, are real: means in [0, 1]."""
    middle = _middle(loss, r, f)
    return torch.sigmoid(r - middle).mean(), torch.sigmoid(f - middle).mean()


def signs_on_reals(loss: str, r: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """1 for each real that D takes for one, else -1; the sum (Karras et al. 2020, equation 1)."""
    return torch.sign(r - _middle(loss, r, f)).sum()


def _middle(loss: str, r: torch.Tensor, f: torch.Tensor) -> torch.Tensor | float:
    undecided = LOSSES[loss].undecided
    return (r.mean() + f.mean()) / 2 if undecided is None else undecided


def squared_slope(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Squared gradient of each picture's logit by its pixels, float32 [B].

    Times gamma / 2 it is R1 on reals (Mescheder et al. 2018, equation 9) and R2 on fakes. `image`
    requires grad. The sum is float32 whatever the network computed in.
    """
    (slope,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    return slope.float().flatten(1).square().sum(1)


def gradient_penalty(logits: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
    """How far the slope is from 1 on pictures `between` reals and fakes, float32 [B] (Gulrajani et
    al. 2017, equation 3; without its weight)."""
    return (squared_slope(logits, between).clamp_min(1e-12).sqrt() - 1).square()


def feature_distance(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Squared distance of mean features [B, D, h, w] (Salimans et al. 2016, section 3.1), as a mean
    over the features, so that its weight does not depend on the width of D."""
    return (real.float().mean(0) - fake.float().mean(0)).square().mean()
