"""The golden frames: exported files, inputs for them, and the frames that torch makes of these.

`make` writes them into a folder: the .onnx files, golden.json with the inputs of each (base64,
little-endian), and expected.npz with the frames. A program in any language can be compared.
"""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np

from tests.conftest import save_model, small_generator
from vidgan.disk.places import bundled
from vidgan.generator import export, selftest
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.render.walk import BoundWalk, Walk

CASES = ("generator", "label", "weights", "walk")
MAX_LEVEL, MAX_DIFFERING = 1, 0.001
_SHIPPED = bundled("assets/generator.safetensors")
_SEED, _ROWS, _CLASSES, _WALK_FRAMES = 7, 2, 5, 24


def make(folder: Path) -> None:
    """Write all files: two of the shipped generator, and two of a generator of classes."""
    names = tuple(f"class {number}" for number in range(_CLASSES))
    labelled = save_model(folder / "label.safetensors", *small_generator(class_names=names))
    export.export(_SHIPPED, folder / "generator.onnx")
    export.export(_SHIPPED, folder / "walk.onnx", walk=walk())
    export.export(labelled, folder / "label.onnx")
    export.export(labelled, folder / "weights.onnx", export.Form(classes="weights"))

    z = seeds.gaussian(_SEED, np.arange(_ROWS), z_dim=100)
    label = np.arange(_ROWS, dtype=np.int32)
    mixture = np.array([[0.25, 0, 0.75, 0, 0], [0.1, 0.2, 0.3, 0, 0.4]], np.float32)
    rows = np.array([5, 23])  # of the walk's table; row 5 is asked for one round earlier
    t = (rows / _WALK_FRAMES + np.array([-1, 0])).astype(np.float32)
    inputs = {"generator": {"z": z}, "label": {"z": z, "label": label}, "walk": {"t": t}}
    inputs["weights"] = {"z": z, "class_weights": mixture}
    packed = {
        case: {name: selftest.packed(array) for name, array in feed.items()}
        for case, feed in inputs.items()
    }
    (folder / "golden.json").write_text(json.dumps(packed))

    shipped = open_generator(_SHIPPED)
    np.savez(
        folder / "expected.npz",
        generator=shipped(z),
        label=open_generator(labelled)(z, np.eye(_CLASSES, dtype=np.float32)[label]),
        weights=open_generator(labelled)(z, mixture),
        walk=shipped(walk().latents(0, _WALK_FRAMES)[rows]),
    )


def walk() -> BoundWalk:
    return Walk(seed=_SEED, frames=_WALK_FRAMES).bind(open_generator(_SHIPPED))


def run(
    command: list[object], folder: Path, cases: tuple[str, ...] = CASES, *, speed_s: float = 0
) -> dict:
    """Run a program that reads golden.json. Its last line is JSON: version, speed and frames.

    Raises RuntimeError, with the last line of its output, if it fails.
    """
    command = [*map(str, command), str(folder), str(speed_s), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"exit {done.returncode}: {output[-1] if output else 'no output'}")
    return json.loads(lines[-1])


def compare(result: dict, folder: Path) -> selftest.Difference:
    """Compare the frames of `run` with those of torch, all cases together."""
    with np.load(folder / "expected.npz") as expected:
        pixels = np.concatenate([expected[case].reshape(-1, 3) for case in result["frames"]])
    content = b"".join(base64.b64decode(text) for text in result["frames"].values())
    return selftest.difference(np.frombuffer(content, np.uint8).reshape(pixels.shape), pixels)
