"""A modern baseline after Huang et al. 2024 ("The GAN is dead; long live the GAN!").

Residual blocks without any normalisation, for RpGAN with R1 and R2. The paper's grouped and
depthwise convolutions are slow on a CPU. This uses dense 3x3 convolutions, bilinear upsampling (the
paper's [1, 3, 3, 1]) and average pooling. It needs no custom operator.

    B batch   Z z_dim   D width   H W pixels
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import base
from vidgan.networks.base import CLASS_DIM, in_three, projected
from vidgan.networks.dcgan import sides

_SLOPE = 0.2
_WIDEST = 4  # the widest layer has this many times the channels at half resolution


class Generator(base.Generator):
    """z float32 [B, Z] and classes -> picture float32 [B, 3, H, W], about in [-1, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.sides = sides(config.height, config.width)  # smallest first
        widths = _widths(config.channels, len(self.sides))[::-1]
        z_wide = config.z_dim + (CLASS_DIM if config.classes else 0)
        self.canvas = nn.Parameter(torch.randn(widths[0], *self.sides[0]))
        self.start = nn.Linear(z_wide, widths[0], bias=False)
        self.narrow = _transitions(widths)
        self.blocks = nn.ModuleList(_Block(width, len(widths)) for width in widths)
        self.paint = nn.Conv2d(widths[-1], config.colours or 3, 1)
        for layer in (self.start, self.paint):
            _initialise(layer, gain=1.0)

    def forward(
        self, z: Tensor, classes: Tensor | None = None, codes: Tensor | None = None
    ) -> Tensor:
        z, _ = self.latents(z, classes, codes)
        style = self.start(self.with_classes(z, classes))  # [B, D]
        x = self.blocks[0](self.canvas * style.reshape(-1, style.shape[1], 1, 1))  # [B, D, h, w]
        for (height, width), narrow, block in zip(
            self.sides[1:], self.narrow, self.blocks[1:], strict=True
        ):
            # The 1x1 convolution comes before the upsampling, where it costs a quarter.
            x = interpolate(narrow(x), scale_factor=2, mode="bilinear")
            x = block(x[:, :, :height, :width])  # an odd side loses its last row or column
        return in_three(self.paint(x))


class Discriminator(base.Discriminator):
    """Picture float32 [B, 3, H, W] and classes -> one map of logits [B]; only differences count."""

    def __init__(self, config: DiscriminatorConfig, model: ModelConfig) -> None:
        super().__init__()
        self.size = (model.planes, model.height, model.width)
        smallest, *larger = sides(model.height, model.width)
        widths = _widths(model.channels, 1 + len(larger))
        self.look = nn.Conv2d(model.planes, widths[0], 1)
        self.blocks = nn.ModuleList(_Block(width, len(widths)) for width in widths)
        self.widen = _transitions(widths)
        self.gather = nn.Parameter(
            torch.randn(widths[-1], *smallest) / math.sqrt(math.prod(smallest))
        )
        self.judge = nn.Linear(widths[-1], 1, bias=False)
        self.embedding = nn.Embedding(model.classes, widths[-1]) if model.classes else None
        for layer in (self.look, self.judge):
            _initialise(layer, gain=1.0)
        if self.embedding:
            nn.init.normal_(self.embedding.weight, 0.0, widths[-1] ** -0.5)

    def logits(self, seen: list[Tensor], classes: Tensor | None = None) -> list[Tensor]:
        (x,) = self.features(*seen)
        # A weight for each channel and place turns the last feature map into a vector.
        features = (leaky_relu(x, _SLOPE) * self.gather).sum((2, 3))  # [B, D]
        return [self.judge(features).flatten(0) + projected(features, classes, self.embedding)]

    def features(self, image: Tensor) -> list[Tensor]:
        assert image.shape[1:] == self.size, f"image {tuple(image.shape)} is not {self.size}"
        x = self.blocks[0](self.look(image))
        for widen, block in zip(self.widen, self.blocks[1:], strict=True):
            x = block(widen(avg_pool2d(x, 2, ceil_mode=True)))
        return [x]


class _Block(nn.Module):
    """x + two 3x3 convolutions, each after a leaky ReLU. Starts near the identity."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        # Fixup (Zhang et al. 2019): m = 2 convolutions a block, L blocks: L^(-1 / (2 m - 2)).
        _initialise(self.first, gain=math.sqrt(2 / (1 + _SLOPE**2)) * blocks**-0.5)
        # Fixup starts this at 0. Then G learns only colours from the first 40,000 images.
        _initialise(self.second, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        inner = leaky_relu(self.first(leaky_relu(x, _SLOPE)), _SLOPE)
        return x + self.second(inner)


def _widths(channels: int, stages: int) -> list[int]:
    """Feature maps of D's stages, largest picture first. At half resolution it is `channels`."""
    return [min(channels * 2**stage // 2, channels * _WIDEST) for stage in range(stages)]


def _transitions(widths: list[int]) -> nn.ModuleList:
    """1x1 convolutions from each width to the next, or the identity if they are equal."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False))
        _initialise(layers[-1], gain=1.0)
    return nn.ModuleList(layers)


def _initialise(layer: nn.Module, *, gain: float) -> None:
    """Normal weights with standard deviation gain / sqrt(inputs), biases 0."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
