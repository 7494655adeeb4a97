"""A generator that was trained elsewhere: a chain of layers, which its model lists.

    linear C H W                a matrix, then C maps of H x W
    conv-transpose C K S P O    C maps by kernel K x K, stride S, padding P and output padding O
    conv C K                    C maps of the same size, by a kernel K x K with K odd
    scale C H W                 a factor and an addend for each map (H = W = 1) or each number
    upsample MODE               twice as large: nearest, bilinear, or bilinear-corners
    relu, leaky-relu SLOPE, tanh

A BatchNorm is a part of the layer before it, or a scale. Such a generator is not trained further.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidgan.config import ModelConfig
from vidgan.errors import ModelError
from vidgan.networks import base

_LARGEST_SIDE = 4096  # maps take memory that no weight in the file takes
_MODES = {
    "nearest": {"mode": "nearest"},
    "bilinear": {"mode": "bilinear"},
    "bilinear-corners": {"mode": "bilinear", "align_corners": True},
}


class Generator(base.Generator):
    """z float32 [B, Z] -> picture float32 [B, 3, H, W], whose three channels are equal if grey."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        shape = (config.z_dim, 1, 1)
        layers = []
        for text in config.layers:
            made, shape = layer(text, shape)
            layers.append(made)
            if min(shape) < 1 or max(shape[1:]) > _LARGEST_SIDE:
                raise ModelError(f'its layer "{text}" makes maps of {shape[2]}x{shape[1]}.')
        if shape != (config.colours or 3, config.height, config.width):
            raise ModelError(f"its layers make {shape}, not its {config.width}x{config.height}.")
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        assert classes is None, "an imported generator has no classes"
        return base.in_three(self.layers(z.reshape(-1, self.z_dim, 1, 1)))


class _Linear(nn.Linear):
    def __init__(self, inputs: int, shape: tuple[int, int, int]) -> None:
        super().__init__(inputs, math.prod(shape))
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, self.in_features)).reshape(-1, *self.shape)


class _Scale(nn.Module):
    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class _Upsample(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.how = _MODES[mode]

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, **self.how)


def layer(text: str, shape: tuple[int, int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
    """A layer for input of a shape (C, H, W), and the shape of its output. Raises ModelError."""
    kind, *words = text.split() or [""]
    channels, height, width = shape
    try:
        match kind, [int(word) for word in words if word.isdigit()]:
            case "linear", [*to] if len(to) == 3 and min(to) > 0:
                return _Linear(math.prod(shape), tuple(to)), tuple(to)
            case "conv-transpose", [to, kernel, stride, padding, more] if to * kernel * stride:
                made = nn.ConvTranspose2d(channels, to, kernel, stride, padding, more)
                sides = [(n - 1) * stride - 2 * padding + kernel + more for n in (height, width)]
                return made, (to, *sides)
            case "conv", [to, kernel] if kernel % 2 and to:
                return nn.Conv2d(channels, to, kernel, padding=kernel // 2), (to, height, width)
            case "scale", [*of] if tuple(of) in ((channels, 1, 1), shape):
                return _Scale(tuple(of)), shape
            case "upsample", []:
                return _Upsample(*words), (channels, 2 * height, 2 * width)
            case "relu" | "tanh", []:
                return {"relu": nn.ReLU, "tanh": nn.Tanh}[kind](), shape
            case "leaky-relu", _:
                return nn.LeakyReLU(float(*words)), shape
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise ModelError(f'its layer "{text}" after {channels} maps of {width}x{height} is unknown.')
