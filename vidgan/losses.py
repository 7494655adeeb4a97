"""What generator and discriminator minimise: pure functions of logits.

Everything is written on logits through softplus: log(sigmoid(x)) would underflow to -inf and lose
the gradient exactly where the discriminator is sure. Knows no network and no optimiser.
"""

import torch
from torch.nn.functional import softplus


def discriminator_loss(d_real: torch.Tensor, d_fake: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of D on logits float32 [B] (Goodfellow et al. 2014, equation 1)."""
    return softplus(-d_real).mean() + softplus(d_fake).mean()


def generator_loss(d_fake: torch.Tensor) -> torch.Tensor:
    """The non-saturating loss of G on logits float32 [B] (Goodfellow et al. 2014, section 3)."""
    return softplus(-d_fake).mean()
