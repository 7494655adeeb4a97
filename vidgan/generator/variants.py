"""Smaller forms of a generator's graph: half-precision storage, and int8 through sub-pixel steps.

Each takes an ONNX model with its weights inside and gives another of the same inputs and outputs.
"""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vidgan.errors import ModelError

Step = tuple[str, list[np.ndarray], dict[str, object]]  # operator, its constants, its attributes
_SMALL = 1000  # initializers of at most so many numbers stay as they are


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights stored in float16 and cast back at load: half the file, float32 arithmetic."""
    stored, casts = [], []
    for weights in model.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) <= _SMALL:
            stored.append(weights)
            continue
        name, wide = weights.name, numpy_helper.to_array(weights)
        if not np.abs(wide).max() <= np.finfo(np.float16).max:
            raise ModelError(f"weights of {np.abs(wide).max():.3g} do not fit float16; use fp32.")
        stored.append(numpy_helper.from_array(wide.astype(np.float16), f"{name}_h"))
        casts.append(helper.make_node("Cast", [f"{name}_h"], [name], to=TensorProto.FLOAT))
    return _rebuilt(model, [*casts, *model.graph.node], stored)


def int8(model: onnx.ModelProto, feeds: Iterable[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Convolutions in 8-bit integers, ranges taken from running `feeds`; tanh stays in float."""
    from onnxruntime import quantization as q

    class Feeds(q.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    model = subpixel(model)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a preparation that this graph has had
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            q.quantize_static(
                model,
                target,
                Feeds(),
                quant_format=q.QuantFormat.QDQ,
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                nodes_to_exclude=[n.name for n in model.graph.node if n.op_type == "Tanh"],
            )
            result = onnx.load(target)
    finally:
        logging.disable(before)
    del result.opset_import[:]
    result.opset_import.extend(model.opset_import)  # it adds domains that nothing uses
    return result


def subpixel(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every ConvTranspose as a plain convolution, exactly: ONNX Runtime has no int8 form of the
    former."""
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    nodes, stored = [], list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type != "ConvTranspose":
            nodes.append(node)
            continue
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kernel = weights[node.input[1]]  # [C, O, kh, kw]
        bias = weights[node.input[2]] if len(node.input) > 2 else np.zeros(kernel.shape[1], "f4")
        one_place = settings["strides"] == [1, 1] and not any(settings["pads"])
        steps = _spread(kernel, bias) if one_place else _doubled(kernel, bias, settings)
        at = node.input[0]
        for number, (operator, constants, attributes) in enumerate(steps, 1):
            end = node.output[0] + ("" if number == len(steps) else f"_{number}")
            names = [f"{node.output[0]}_{number}_{k}" for k in range(len(constants))]
            stored.extend(map(numpy_helper.from_array, constants, names))
            nodes.append(helper.make_node(operator, [at, *names], [end], f"{end}_", **attributes))
            at = end
    used = {name for node in nodes for name in node.input}
    return _rebuilt(model, nodes, [w for w in stored if w.name in used])


def _spread(w: np.ndarray, bias: np.ndarray) -> list[Step]:
    """The first layer spreads one place over the whole kernel: a matrix product."""
    c, o, h, k = w.shape
    return [
        ("Reshape", [np.array([-1, c])], {}),
        ("Gemm", [w.reshape(c, -1), np.repeat(bias, h * k)], {}),
        ("Reshape", [np.array([-1, o, h, k])], {}),
    ]


def _doubled(w: np.ndarray, bias: np.ndarray, settings: dict) -> list[Step]:
    """Kernel 4, stride 2: each place of a 2x2 convolution holds a 2x2 block of the result.

    Row 2j + a of the uncropped result reads w[a] of row j and w[2 + a] of row j - 1.
    """
    c, o, *kernel = w.shape
    assert kernel == [4, 4] and settings["strides"] == [2, 2], "not a doubling of the side"
    taps = w.reshape(c, o, 2, 2, 2, 2)[:, :, ::-1, :, ::-1]  # [C, O, i, a, j, e]
    taps = taps.transpose(1, 3, 5, 0, 2, 4).reshape(4 * o, c, 2, 2)
    top, left, bottom, right = settings["pads"]
    more_h, more_w = settings.get("output_padding", (0, 0))
    crop = [[top, left], [more_h - bottom, more_w - right], [2, 3]]
    return [
        ("Conv", [taps, np.repeat(bias, 4)], {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}),
        ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
        ("Slice", [np.array(edge) for edge in crop], {}),
    ]


def _rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], weights: list[TensorProto]
) -> onnx.ModelProto:
    old = model.graph
    graph = helper.make_graph(nodes, old.name, old.input, old.output, weights)
    return helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)
