"""What training asks of a network, and how a class enters one.

A parameter whose requires_grad is False when its network is built stays frozen: it is in no
optimizer and, like the buffers of a module in which nothing trains, in no checkpoint. So a
discriminator can contain a pretrained network (which keeps its own BatchNorm in eval mode).
"""

import torch
from torch import Tensor, nn

CLASS_DIM = 64  # length of the vector that stands for a class beside the latent


class Generator(nn.Module):
    """Maps z float32 [B, Z] and classes (see `embedded`) to pictures [B, 3, H, W]."""

    z_dim: int
    growth = -1.0  # the stages that a growing network has added, see `growth_at`

    def after_step(self) -> None:
        """Called after each step of the optimizer."""

    def limit_detail(self, real: Tensor) -> Tensor:
        """Reduce reals [B, 3, H, W] to the detail that this generator can show at present."""
        return real


class Discriminator(nn.Module):
    """Maps pictures [B, 3, H, W] and classes to a list of logit maps [B, ...].

    `features(image)` gives the list of feature maps [B, D, h, w] that the logits come from.
    """

    map_weights: tuple[float, ...] | None = None  # of its maps in both losses; None = all 1
    own_maps: int | None = None  # what ADA and the log judge by: so many first maps; None = all

    def sight(self, image: Tensor) -> list[Tensor]:
        """What no weight of this network changes: the picture, and features by frozen networks.

        D and G can share it. Gradients reach the picture.
        """
        return [image]

    def logits(self, seen: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        """The maps of logits of what `sight` gave."""
        raise NotImplementedError

    def own_logits(self, image: Tensor, classes: Tensor | None = None) -> list[Tensor]:
        """The maps of which a gradient penalty is taken: those of no frozen network."""
        return self.logits([image], classes)

    def forward(self, image: Tensor | list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        """The maps of logits of a picture, or of its `sight`."""
        return self.logits(image if isinstance(image, list) else self.sight(image), classes)


def growth_at(images_seen: int, images_per_phase: int) -> float:
    """The number of stages that a growing network has added (Karras et al. 2018).

    The network trains for one phase, fades in the next stage for one phase, and so on. For example
    2.25 means that two stages were added, and a quarter of the third.
    """
    phase, share = divmod(images_seen / images_per_phase, 1)
    return phase // 2 + (share if phase % 2 else 0.0)


def embedded(classes: Tensor, embedding: nn.Embedding) -> Tensor:
    """Vectors of labels int [B], or mixtures of vectors by weights float32 [B, classes]."""
    return classes @ embedding.weight if classes.is_floating_point() else embedding(classes)


def with_classes(
    z: Tensor, classes: Tensor | None, embedding: nn.Embedding | None, scale: float
) -> Tensor:
    """Append the vector of its class, times `scale`, to each latent.

    A class says the same in every picture, so that what G does with it grows in every step of Adam,
    and the longer the vector, the faster. With vectors as long as latents, it soon outgrew what G
    does with z, layer after layer, and BatchNorm left nothing of z: one picture for each class.
    """
    assert (classes is None) == (embedding is None), "give classes to a model of classes only"
    return z if classes is None else torch.cat([z, scale * embedded(classes, embedding)], 1)


def in_three(image: Tensor) -> Tensor:
    """The picture [B, 3, H, W] of a network that makes three channels, or one for grey."""
    return torch.cat([image] * 3, 1) if image.shape[1] == 1 else image


def projected(
    features: Tensor, classes: Tensor | None, embedding: nn.Embedding | None
) -> Tensor | float:
    """<embedding(class), features> for features [B, D]: [B], or [K, B] for labels [K, B]."""
    assert (classes is None) == (embedding is None), "give classes to a model of classes only"
    return 0.0 if classes is None else (embedded(classes, embedding) * features).sum(-1)
