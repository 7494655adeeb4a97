"""320 numbers that describe what a picture looks like.

They are computed by EfficientNet-Lite0. Its weights come with the extra [metrics], so nothing is
downloaded. Distances in them can be compared at equal N only, and never with a published FID.
"""

from collections.abc import Iterable

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from vidgan.film import alpha
from vidgan.generator import onnx_file
from vidgan.networks import lite0

DISTANCE = "FD-Lite0-320"
_SIDE = 224  # with 64 pixels, the network finds two halves of the same data far apart
_NUMBERS = 320
_BATCH = 8  # more is slower


class Lite0:
    """Maps uint8 [N, H, W, 3 or 4] to float32 [N, 320], always on the CPU. Raises SystemFault."""

    def __init__(self) -> None:
        self._session = onnx_file.cpu_session(_onnx_of(lite0.blocks()))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        pictures, starts = alpha.judged(pictures), range(0, len(pictures), _BATCH)
        return np.concatenate([self._features(pictures[i : i + _BATCH]) for i in starts])

    def _features(self, pictures: np.ndarray) -> np.ndarray:
        size, how = (_SIDE, _SIDE), Image.Resampling.BICUBIC  # Pillow averages where it shrinks
        large = np.stack([np.asarray(Image.fromarray(p).resize(size, how)) for p in pictures])
        planes = np.ascontiguousarray(large.transpose(0, 3, 1, 2), np.float32)  # [B, 3, 224, 224]
        return self._session.run(None, {"image": (planes - 127) / 128})[0]


def _onnx_of(blocks: Iterable[lite0.Block]) -> bytes:
    """The network up to the means of its last 320 maps as ONNX."""
    nodes, constants = [], []

    def constant(name: str, value: object, kind: type) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def convolved(x: str, layer: lite0.Convolution) -> str:
        name = layer.name
        inputs = [x, constant(f"{name}.w", layer.weight.numpy(), np.float32)]
        inputs.append(constant(f"{name}.b", layer.bias.numpy(), np.float32))
        how = {"group": layer.groups, "strides": [layer.stride] * 2, "auto_pad": "SAME_UPPER"}
        nodes.append(helper.make_node("Conv", inputs, [name], **how))
        if layer.bounded:
            nodes.append(helper.make_node("Clip", [name, "zero", "six"], [f"{name}.relu6"]))
        return f"{name}.relu6" if layer.bounded else name

    constant("zero", 0, np.float32), constant("six", 6, np.float32)
    x = "image"
    for block in blocks:
        before = x
        for layer in block.convolutions:
            x = convolved(x, layer)
        if block.residual:
            nodes.append(helper.make_node("Add", [before, x], [f"{x}.sum"]))
            x = f"{x}.sum"
    sides = constant("sides", (2, 3), np.int64)
    nodes.append(helper.make_node("ReduceMean", [x, sides], ["features"], keepdims=0))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, _SIDE, _SIDE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", _NUMBERS])
    graph = helper.make_graph(nodes, "lite0", [image], [features], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()
