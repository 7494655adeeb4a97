"""The graphs around the generator in an exported file, made of standard operators.

The pixel graph behind it turns its image in [-1, 1] into uint8 frames. The walk graph in front of
it turns a time into a latent. The graph of the generator itself is called the core.

    B batch   F frames   Z z_dim   N classes   H W pixels
"""

import numpy as np
import onnx
from onnx import compose, numpy_helper, parser

OPSET = 18
_HEADER = f'<ir_version: 10, opset_import: ["" : {OPSET}]>'
# Clip comes before Cast, which is undefined beyond 255. Round takes halves to the even number.
_PIXELS = """pixels (float[batch, 3, {h}, {w}] image) => (uint8[batch, {h}, {w}, {c}] frames)
<float half = {{127.5}}, float black = {{0.0}}, float white = {{255.0}}{pads}> {{
    scaled = Mul(image, half)
    shifted = Add(scaled, half)
    whole = Round(shifted)
    levels = Clip(whole, black, white)
    rgb = Transpose<perm = [0, 2, 3, 1]>(levels)
    {pad}
    frames = Cast<to = 2>({last})
}}"""
# Colours that were multiplied by alpha are divided by it, where it is not 0.
_STRAIGHT = """pixels (float[batch, 4, {h}, {w}] image) => (uint8[batch, {h}, {w}, 4] frames)
<float half = {{127.5}}, float black = {{0.0}}, float white = {{255.0}}, float one = {{1.0}},
 int64[1] axis = {{3}}, int64[1] from = {{0}}, int64[1] three = {{3}}, int64[1] four = {{4}}> {{
    scaled = Mul(image, half)
    shifted = Add(scaled, half)
    whole = Round(shifted)
    levels = Clip(whole, black, white)
    all = Transpose<perm = [0, 2, 3, 1]>(levels)
    colours = Slice(all, from, three, axis)
    alpha = Slice(all, three, four, axis)
    least = Clip(alpha, one, white)
    enlarged = Mul(colours, white)
    divided = Div(enlarged, least)
    near = Round(divided)
    straight = Clip(near, black, white)
    rgba = Concat<axis = 3>(straight, alpha)
    frames = Cast<to = 2>(rgba)
}}"""
_PADS = ", int64[8] pads = {0, 0, 0, 0, 0, 0, 0, 1}"
# Both row numbers are computed as floats, because some runtimes get integer arithmetic wrong.
_WALK = """walk (float[batch] t) => ({outputs})
<float count = {{{count}}}, float one = {{1.0}}, int64[1] axis = {{1}}{cuts}> {{
    rounds = Floor(t)
    part = Sub(t, rounds)
    at = Mul(part, count)
    first = Floor(at)
    second = Add(first, one)
    i = Cast<to = 6>(first)
    j = Cast<to = 6>(second)
    from = Gather<axis = 0>(table, i)
    to = Gather<axis = 0>(table, j)
    u = Sub(at, first)
    u_tall = Unsqueeze(u, axis)
    way = Sub(to, from)
    step = Mul(u_tall, way)
    {row} = Add(from, step)
    {slices}
}}"""


def with_pixels(core: onnx.ModelProto, *, layout: str) -> onnx.ModelProto:
    """Add the pixel graph: frames uint8 [B, H, W, 3], or for "rgba" 4 with an alpha of 255.

    Of a generator with alpha there are always 4, and colours are straight.
    """
    c, h, w = (d.dim_value for d in core.graph.output[0].type.tensor_type.shape.dim[1:])
    if c == 4:
        return _join(core, parser.parse_model(_HEADER + _STRAIGHT.format(h=h, w=w)))
    pads, pad = (_PADS, "rgba = Pad(rgb, pads, white)") if layout == "rgba" else ("", "")
    text = _PIXELS.format(h=h, w=w, c=len(layout), pads=pads, pad=pad, last=layout)
    return _join(core, parser.parse_model(_HEADER + text))


def with_walk(model: onnx.ModelProto, rows: np.ndarray, *, closed: bool) -> onnx.ModelProto:
    """Add the walk graph: t float32 [B] -> latents, from a table of rows [F, Z + N].

    Row i belongs to t = i / F, and t = 1 is one full round. Between rows it interpolates linearly.
    """
    widths = {i.name: i.type.tensor_type.shape.dim[1].dim_value for i in model.graph.input}
    ends = np.cumsum([0, *widths.values()])
    assert ends[-1] == rows.shape[1], f"rows {rows.shape} for {widths}"
    outputs = ", ".join(f"float[batch, {width}] {name}" for name, width in widths.items())
    row, cuts, slices = "z", "", ""
    if len(widths) > 1:
        row = "row"
        for k, name in enumerate(widths):
            slices += f"{name} = Slice(row, end_{k}, end_{k + 1}, axis)\n"
        cuts = "".join(f", int64[1] end_{k} = {{{end}}}" for k, end in enumerate(ends))
    text = _WALK.format(count=float(len(rows)), outputs=outputs, cuts=cuts, row=row, slices=slices)
    head = parser.parse_model(_HEADER + text)
    head.graph.initializer.append(numpy_helper.from_array(_table(rows, closed), "table"))
    return _join(head, model)


def walk_rows(rows: np.ndarray, t: np.ndarray, *, closed: bool) -> np.ndarray:
    """The output of the walk graph, [B, Z + N], computed in the same float32 steps."""
    table = _table(rows, closed)
    at = (t - np.floor(t)) * np.float32(len(rows))
    first = np.floor(at)
    i = first.astype(np.int32)
    return table[i] + (at - first)[:, None] * (table[i + 1] - table[i])


def _table(rows: np.ndarray, closed: bool) -> np.ndarray:
    """The rows, and two more for i + 1, which float32 may round to F + 1 just below a whole t:
    the first two of a closed path, the last one twice of an open path."""
    spare = rows[[0, 1 % len(rows)]] if closed else rows[[-1, -1]]
    return np.concatenate([rows, spare]).astype(np.float32)


def _join(first: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """Connect each output of `first` to the input of `second` that has its name."""
    first, second = (
        compose.add_prefix(m, f"{m.graph.name}_", rename_inputs=False, rename_outputs=False)
        for m in (first, second)
    )
    joined = compose.merge_models(first, second, [(o.name, o.name) for o in first.graph.output])
    del joined.opset_import[1:]
    joined.graph.name = "net"
    return joined
