"""A second critic, which has seen the world: small heads on frozen features of a network that was
trained on photographs. It works beside an ordinary discriminator, which sees colour and layout.

After Sauer et al. 2021 ("Projected GANs Converge Faster") and Kumari et al. 2022 ("Ensembling
Off-the-shelf Models for GAN Training"). Features of three scales are mixed by fixed random
convolutions, across channels and then from coarse to fine, so that no head can look at a few
channels alone.

    B batch   H W pixels   D width
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import base
from vidgan.networks.base import projected
from vidgan.networks.lite0 import Lite0

_SCALES = 3  # maps of stride 4, 8 and 16
_SIDE = 64  # pixels of the short side of what it sees; more is finer, and slower by its square
_MIXED = 64  # width of a mixed map
_HEAD = 64  # width inside a head
_MIXING_SEED = 0  # the mixing is no part of a checkpoint


class Pair(base.Discriminator):
    """An ordinary discriminator, whose maps come first, and the critic's three maps of logits."""

    def __init__(
        self, own: base.Discriminator, config: DiscriminatorConfig, model: ModelConfig
    ) -> None:
        super().__init__()
        self.own, self.critic = own, Critic(model)
        self.own_maps = 1
        self.map_weights = (1.0, *[config.pretrained_weight / _SCALES] * _SCALES)

    @property
    def growth(self) -> float:
        return self.own.growth

    @growth.setter
    def growth(self, growth: float) -> None:
        self.own.growth = growth

    def features(self, image: Tensor) -> list[Tensor]:
        return self.own.features(image)

    def sight(self, image: Tensor) -> list[Tensor]:
        return [image, *self.critic.sight(image)]

    def logits(self, seen: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        image, *mixed = seen
        return [*self.own(image, classes), *self.critic.logits(mixed, classes)]

    def own_logits(self, image: Tensor, classes: Tensor | None = None) -> list[Tensor]:
        return self.own(image, classes)


class Critic(nn.Module):
    """Three maps of logits [B, h, w], of what `sight` sees in a picture [B, 3, H, W]."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.size = _seen_size(model.height, model.width)
        eyes, mixing = Lite0(_SCALES), _Mixing(Lite0.WIDTHS[:_SCALES])
        self.eyes = nn.ModuleList([eyes, mixing]).requires_grad_(False)
        # A map of stride 4 is halved twice on its way to the logits, that of stride 16 never.
        self.heads = nn.ModuleList(_Head(halvings, model.classes) for halvings in (2, 1, 0))

    def sight(self, image: Tensor) -> list[Tensor]:
        """Mixed features. None of its weights trains, so that they serve D and G alike."""
        if image.shape[1] == 4:  # of alpha it knows nothing: in front of a mid grey
            image = image[:, :3] + (1 - image[:, 3:]) / 2
        if image.shape[2:] != self.size:
            image = interpolate(image, self.size, mode="bilinear", antialias=True)
        eyes, mixing = self.eyes
        return mixing(eyes(image))

    def logits(self, mixed: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        return [head(x, classes) for head, x in zip(self.heads, mixed, strict=True)]


class _Mixing(nn.Module):
    """Random 1x1 and 3x3 convolutions, which stay as they are."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(_MIXING_SEED)
        for scale, width in enumerate(widths):
            for name, shape in (
                ("across", (_MIXED, width, 1, 1)),
                ("down", (_MIXED, _MIXED, 3, 3)),
            ):
                # The same numbers on any device; they follow the network to its own.
                weight = torch.randn(shape, generator=random, device="cpu") / math.sqrt(
                    math.prod(shape[1:])
                )
                self.register_buffer(f"{name}_{scale}", weight, persistent=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Finest first, as they come: each gets what the coarser ones show."""
        found: list[Tensor] = []
        for scale in reversed(range(len(maps))):
            x = nn.functional.conv2d(maps[scale], getattr(self, f"across_{scale}"))
            if found:
                x = x + interpolate(found[0], x.shape[2:], mode="bilinear")
            x = nn.functional.conv2d(x, getattr(self, f"down_{scale}"), padding=1)
            found.insert(0, x / math.sqrt(2 if scale < len(maps) - 1 else 1))
        return found


class _Head(nn.Module):
    def __init__(self, halvings: int, classes: int) -> None:
        super().__init__()
        widths = [_MIXED] + [_HEAD] * halvings
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, _HEAD, 4, 2, 1)) for before in widths[:halvings]
        )
        self.last = spectral_norm(nn.Conv2d(widths[-1], _HEAD, 3, padding=1))
        self.logit = spectral_norm(nn.Conv2d(_HEAD, 1, 1))
        self.embedding = nn.Embedding(classes, _HEAD) if classes else None
        if self.embedding:
            nn.init.normal_(self.embedding.weight, 0.0, _HEAD**-0.5)

    def forward(self, x: Tensor, classes: Tensor | None) -> Tensor:
        for layer in (*self.down, self.last):
            x = leaky_relu(layer(x), 0.2)
        shown = projected(x.mean((2, 3)), classes, self.embedding)
        shown = shown[..., None, None] if isinstance(shown, Tensor) else shown
        return self.logit(x)[:, 0] + shown  # [B, h, w]


def _seen_size(height: int, width: int) -> tuple[int, int]:
    """H and W in multiples of 16, of which the shorter is _SIDE."""
    scale = _SIDE / min(height, width)
    return tuple(max(16, round(side * scale / 16) * 16) for side in (height, width))
