"""Every runtime that installs here makes the golden frames of an exported file: at most 1 grey
level, at most 0.1 % of bytes, from torch's. One process each, for some of them abort.

What TensorRT and CoreML ask of a graph is asserted, as neither runs here.
"""

import sys
from pathlib import Path

import onnx
import pytest

from tests.runtimes import drivers, golden

HERE = Path(__file__).parent / "runtimes"
COMMANDS = {name: [sys.executable, HERE / "drivers.py", name] for name in drivers.RUNTIMES}
COMMANDS |= {
    f"onnxruntime-{name}": ["node", HERE / "node.mjs", how]
    for name, how in {
        "node": "node",
        "web, WebAssembly in Node": "wasm",
        "web, WebAssembly in Chromium": "chromium",
        "web, WebGPU in Chromium": "webgpu",
    }.items()
}
# Of ONNX Runtime's documentation of its CoreML provider (ML programs), those a generator may use.
COREML = {"Add", "Concat", "Conv", "ConvTranspose", "Gemm", "LeakyRelu", "MatMul", "Mul", "Relu"}
COREML |= {"Reshape", "Resize", "Slice", "Tanh"}


@pytest.mark.parametrize("runtime", COMMANDS)
def test_a_runtime_makes_the_golden_frames(runtime, golden_folder):
    told = golden.run(COMMANDS[runtime], golden_folder)
    assert list(told["frames"]) == list(golden.CASES)
    found = golden.compare(told, golden_folder)
    assert found.max_level <= golden.MAX_LEVEL, found
    assert found.differing <= golden.MAX_DIFFERING, found


@pytest.mark.parametrize("case", golden.CASES)
def test_a_graph_keeps_to_what_tensorrt_and_coreml_take(case, golden_folder):
    model = onnx.load(golden_folder / f"{case}.onnx")
    graph = model.graph
    constants = {w.name for w in graph.initializer}
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    outputs = {output.name for output in graph.output}
    assert model.opset_import[0].version <= 20
    for node in graph.node:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in ("Conv", "ConvTranspose"):
            assert settings.get("auto_pad", b"NOTSET") == b"NOTSET"
            assert "output_shape" not in settings and set(node.input[1:]) <= constants
            assert not any(settings.get("output_padding", ()))
        if node.op_type == "Cast" and settings["to"] == onnx.TensorProto.UINT8:
            # TensorRT knows bytes at the ends of a network only, and makes them of floats only.
            assert set(node.output) <= outputs and made_by[node.input[0]] == "Transpose"
        if node.op_type == "Reshape":
            assert set(node.input[1:]) <= constants
    core = {n.op_type for n in graph.node if n.name.startswith("core_") or "core_" in n.output[0]}
    assert core and core - {"Gather"} <= COREML, core
