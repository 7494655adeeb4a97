"""Every runtime that installs here makes the golden frames of an exported file: at most 1 grey
level, at most 0.1 % of bytes, from torch's. One process each, for some of them abort."""

import sys
from pathlib import Path

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


@pytest.mark.parametrize("runtime", COMMANDS)
def test_a_runtime_makes_the_golden_frames(runtime, golden_folder):
    told = golden.run(COMMANDS[runtime], golden_folder)
    assert list(told["frames"]) == list(golden.CASES)
    found = golden.compare(told, golden_folder)
    assert found.max_level <= golden.MAX_LEVEL, found
    assert found.differing <= golden.MAX_DIFFERING, found
