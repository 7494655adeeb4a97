"""Smaller forms of the graph of a generator, with the same inputs and outputs: float16 and int8."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vidgan.errors import ModelError

Step = tuple[str, list[np.ndarray], dict[str, object]]  # operator, its constants, its attributes
_SMALL = 1000  # initializers of at most this many numbers stay in float32


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights in float16 and cast them at load: half the file, float32 arithmetic."""
    stored, casts = [], []
    for weights in model.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) <= _SMALL:
            stored.append(weights)
            continue
        name, wide = weights.name, numpy_helper.to_array(weights)
        if not np.abs(wide).max() <= np.finfo(np.float16).max:
            raise ModelError(f"a weight of {np.abs(wide).max():.3g} exceeds float16; use fp32.")
        stored.append(numpy_helper.from_array(wide.astype(np.float16), f"{name}_h"))
        casts.append(helper.make_node("Cast", [f"{name}_h"], [name], to=TensorProto.FLOAT))
    return _rebuilt(model, [*casts, *model.graph.node], stored)


def int8(model: onnx.ModelProto, feeds: Iterable[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """Compute convolutions in 8-bit integers, whose ranges are measured on `feeds`.

    All zero points are 0, which is what TensorRT takes and what makes runtimes agree. The last
    convolution stays in float: there a rounding error is seen as it is, and it costs little. So
    does all before the first layer, where a small error changes an anchor, or the whole layout.
    Ranges leave out one value in ten thousand: a few large ones would make all others coarse.
    """
    from onnxruntime import quantization as q

    model, feeds, quiet = subpixel(model), iter(feeds), logging.NullHandler()
    convolutions = [i for i, node in enumerate(model.graph.node) if node.op_type == "Conv"]
    last = max(convolutions, default=0)
    kinds = [node.op_type for node in model.graph.node]
    first = next((i for i, kind in enumerate(kinds) if kind in ("Conv", "Gemm")), 0)
    in_float = [*model.graph.node[:first], *model.graph.node[last:]]
    # It advises to prepare the graph, which the exporter has done, and would leave a handler.
    logging.root.addHandler(quiet)
    try:
        # The calibration prints.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            target = Path(folder) / "int8.onnx"
            q.quantize_static(
                model,
                target,
                SimpleNamespace(get_next=lambda: next(feeds, None)),
                quant_format=q.QuantFormat.QDQ,
                per_channel=True,
                activation_type=q.QuantType.QInt8,
                weight_type=q.QuantType.QInt8,
                op_types_to_quantize=["Conv", "Gemm", "MatMul"],
                nodes_to_exclude=[node.name for node in in_float],
                calibrate_method=q.CalibrationMethod.Percentile,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "CalibPercentile": 99.99,
                },
            )
            result = onnx.load(target)
    finally:
        logging.root.removeHandler(quiet)
    del result.opset_import[:]
    result.opset_import.extend(model.opset_import)  # without the domains that it adds needlessly
    return _with_float_biases(result)


def _with_float_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store each bias as the floats that its 32-bit integers stand for.

    TensorRT takes no 32-bit integers, and OpenCV 5 none in a Gemm. ONNX Runtime finds the very same
    integers again. Biases before rounding would give it others than the runtimes that add floats.
    """
    constants = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    nodes, stored = [], list(model.graph.initializer)
    for node in model.graph.node:
        whole = constants.get(node.input[0])
        if node.op_type == "DequantizeLinear" and whole is not None and whole.dtype == np.int32:
            bias = (whole * constants[node.input[1]]).astype(np.float32)
            stored.append(numpy_helper.from_array(bias, node.output[0]))
        else:
            nodes.append(node)
    return _rebuilt(model, nodes, stored)


def subpixel(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every ConvTranspose, which ONNX Runtime cannot run in int8, by an equal Conv.

    A ReLU behind it moves to the Conv itself, so that int8 rounds once and not twice.
    """
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    sides = _sides(model)
    nodes, stored = [], list(model.graph.initializer)
    kinds = ("Relu", "LeakyRelu")
    relus = {node.input[0]: node for node in model.graph.node if node.op_type in kinds}
    moved = set()
    for node in model.graph.node:
        if node.op_type != "ConvTranspose":
            nodes += [node] if node.name not in moved else []
            continue
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kernel = weights[node.input[1]]  # [C, O, kh, kw]
        bias = weights[node.input[2]] if len(node.input) > 2 else np.zeros(kernel.shape[1], "f4")
        of_pixel = sides.get(node.input[0]) == [1, 1] and not any(settings["pads"])
        steps = (_of_pixel if of_pixel else _of_map)(kernel, bias, settings)
        x, result = node.input[0], node.output[0]
        if relu := relus.get(result):
            result = relu.output[0]
            moved.add(relu.name)
            slope = {a.name: helper.get_attribute_value(a) for a in relu.attribute}
            linear = next(i for i, step in enumerate(steps) if step[0] in ("Gemm", "Conv"))
            steps.insert(linear + 1, (relu.op_type, [], slope))
        for number, (operator, constants, attributes) in enumerate(steps, 1):
            y = result + ("" if number == len(steps) else f"_step{number}")
            names = [f"{result}_step{number}_{k}" for k in range(len(constants))]
            stored.extend(map(numpy_helper.from_array, constants, names))
            nodes.append(helper.make_node(operator, [x, *names], [y], f"{y}_", **attributes))
            x = y
    return _rebuilt(model, nodes, stored)


def _sides(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The height and width of every map."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: value.type.tensor_type.shape.dim for value in known}
    return {name: [d.dim_value for d in dims[2:]] for name, dims in shapes.items()}


def _of_pixel(w: np.ndarray, bias: np.ndarray, settings: dict) -> list[Step]:
    """A single pixel becomes h x k pixels, one per place of the kernel: a matrix product."""
    c, o, h, k = w.shape
    return [
        ("Reshape", [np.array([-1, c])], {}),
        ("Gemm", [w.reshape(c, -1), np.repeat(bias, h * k)], {}),
        ("Reshape", [np.array([-1, o, h, k])], {}),
    ]


def _of_map(w: np.ndarray, bias: np.ndarray, settings: dict) -> list[Step]:
    """Stride s: a convolution computes each s x s block of the result as one pixel.

    Row s * j + a of the result, before it is cropped, is the sum over i of w[s * i + a] of row
    j - i. The kernel is filled with zeros to a multiple of s.
    """
    c, o, *kernel = w.shape
    s, _ = settings["strides"]
    tall, wide = (-side % s for side in kernel)
    w = np.pad(w, ((0, 0), (0, 0), (0, tall), (0, wide)))
    rows, columns = w.shape[2] // s, w.shape[3] // s
    taps = w.reshape(c, o, rows, s, columns, s)[:, :, ::-1, :, ::-1]  # [C, O, i, a, j, e]
    taps = taps.transpose(1, 3, 5, 0, 2, 4).reshape(s * s * o, c, rows, columns)
    top, left, bottom, right = settings["pads"]
    more_h, more_w = settings.get("output_padding", (0, 0))
    ends = [tall + bottom - more_h, wide + right - more_w]
    assert min(ends) >= 0, f"output padding beyond the kernel: {settings}"
    # To the end of an axis is as far as the largest number.
    crop = [[top, left], [-end or np.iinfo(np.int64).max for end in ends], [2, 3]]
    around = [rows - 1, columns - 1] * 2
    return [
        ("Conv", [taps, np.repeat(bias, s * s)], {"kernel_shape": [rows, columns], "pads": around}),
        ("DepthToSpace", [], {"blocksize": s, "mode": "CRD"}),
        ("Slice", [np.array(edge) for edge in crop], {}),
    ]


def _rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], weights: list[TensorProto]
) -> onnx.ModelProto:
    old, used = model.graph, {name for node in nodes for name in node.input}
    weights = [w for w in weights if w.name in used]
    graph = helper.make_graph(nodes, old.name, old.input, old.output, weights)
    return helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)
