"""What training asks of a network. The training loop knows nothing else about networks.

A parameter whose requires_grad is False when its network is built stays frozen: it is in no
optimizer and no checkpoint. So a discriminator can contain a pretrained feature network (which has
to keep its own BatchNorm in eval mode).
"""

import torch
from torch import nn


class Generator(nn.Module):
    """Maps z float32 [B, Z] and classes (see `classes.embedded`) to pictures [B, 3, H, W]."""

    z_dim: int
    growth = -1.0  # the stages that a growing network has added, see `growth_at`

    def after_step(self) -> None:
        """Called after each step of the optimizer."""

    def limit_detail(self, real: torch.Tensor) -> torch.Tensor:
        """Reduce reals [B, 3, H, W] to the detail that this generator can show at present."""
        return real


class Discriminator(nn.Module):
    """Maps pictures [B, 3, H, W] and classes to a list of logit maps [B, ...].

    `features(image)` gives the list of feature maps [B, D, h, w] that the logits come from.
    """


def growth_at(images_seen: int, images_per_phase: int) -> float:
    """The number of stages that a growing network has added (Karras et al. 2018).

    The network trains for one phase, fades in the next stage for one phase, and so on. For example
    2.25 means that two stages were added, and a quarter of the third.
    """
    phase, share = divmod(images_seen / images_per_phase, 1)
    return phase // 2 + (share if phase % 2 else 0.0)
