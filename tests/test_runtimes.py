"""Every runtime that can be installed here makes the golden frames of an exported file.

They may differ from those of torch by 1 grey level, in 0.1 % of bytes. Each runtime has its own
process, because some of them abort. TensorRT and CoreML do not run here, so the tests check what
they require of a graph.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.runtimes import drivers, golden
from vidgan.disk.places import bundled
from vidgan.generator import export, selftest
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds

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
# From ONNX Runtime's documentation of its CoreML provider (ML programs): those a generator may use.
COREML = {"Add", "Concat", "Conv", "ConvTranspose", "Gemm", "LeakyRelu", "MatMul", "Mul", "Relu"}
COREML |= {"Div", "ReduceSum", "Reshape", "Resize", "Slice", "Softmax", "Sqrt", "Tanh", "Transpose"}


@pytest.fixture(scope="module")
def results(golden_folder):
    """What the runtimes print, one after the other: Chromium may hang on a busy machine."""
    with ThreadPoolExecutor(1) as pool:
        yield {name: pool.submit(golden.run, COMMANDS[name], golden_folder) for name in COMMANDS}


@pytest.mark.parametrize("runtime", COMMANDS)
def test_a_runtime_makes_the_golden_frames(runtime, results, golden_folder):
    result = results[runtime].result()
    assert list(result["frames"]) == list(golden.CASES)
    off = golden.compare(result, golden_folder)
    assert off.max_level <= golden.MAX_LEVEL and off.differing <= golden.MAX_DIFFERING, off


@pytest.fixture(scope="module")
def int8_folder(tmp_path_factory):
    """A folder as `golden.make` writes, with int8 alone: what ONNX Runtime makes is expected."""
    folder = tmp_path_factory.mktemp("int8")
    file, z = folder / "int8.onnx", seeds.gaussian(7, np.arange(2), z_dim=100)
    export.export(bundled("assets/generator.safetensors"), file, export.Form(weights="int8"))
    (folder / "golden.json").write_text(json.dumps({"int8": {"z": selftest.packed(z)}}))
    np.savez(folder / "expected.npz", int8=open_generator(file)(z))
    return folder


@pytest.mark.parametrize("runtime", [name for name in COMMANDS if name != "onnx.reference"])
def test_int8_is_the_same_everywhere(runtime, int8_folder):
    """But onnx.reference has no int8 below opset 19."""
    off = golden.compare(golden.run(COMMANDS[runtime], int8_folder, ("int8",)), int8_folder)
    assert off.max_level <= 8 and off.differing <= golden.MAX_DIFFERING, off


@pytest.mark.parametrize("case", golden.CASES)
def test_a_graph_has_only_what_tensorrt_and_coreml_can_run(case, golden_folder):
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
            # TensorRT allows bytes only at the ends of a network, and converts only floats to them.
            assert set(node.output) <= outputs and made_by[node.input[0]] == "Transpose"
        if node.op_type == "Reshape":
            assert set(node.input[1:]) <= constants
    core = {n.op_type for n in graph.node if n.name.startswith("core_") or "core_" in n.output[0]}
    assert core and core - {"Gather"} <= COREML, core
