"""The golden frames: exported files, inputs, and what torch makes of them.

`make` fills a folder that any runtime can be held against, in any language: golden.json tells the
files and their inputs (base64, little-endian), expected.npz what must come out.
"""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np

from tests.conftest import small_generator
from tests.paths import loop
from vidgan.disk.places import bundled
from vidgan.generator import checkpoint, export, selftest, synthesis
from vidgan.latent import seeds
from vidgan.latent.paths import Path as LatentPath

CASES = ("generator", "label", "walk")
MAX_LEVEL, MAX_DIFFERING = 1, 0.001
_SEED, _ROWS, _CLASSES, _WALK_FRAMES = 7, 2, 5, 24


def make(folder: Path) -> None:
    """generator.onnx and walk.onnx of the shipped generator, label.onnx of one with classes."""
    shipped, labelled = bundled("assets/generator.safetensors"), folder / "label.safetensors"
    torch_shipped = synthesis.open_generator(shipped)
    _save_labelled(labelled, height=torch_shipped.height, width=torch_shipped.width)
    path = walk()
    export.export(shipped, folder / "generator.onnx")
    export.export(shipped, folder / "walk.onnx", walk=path)
    export.export(labelled, folder / "label.onnx")

    z = seeds.gaussian(_SEED, np.arange(_ROWS), z_dim=100)
    label = np.arange(_ROWS, dtype=np.int32)
    at = np.array([5, 23])  # of whole frames, one of them a round back
    t = (at / _WALK_FRAMES + np.array([-1, 0])).astype(np.float32)
    inputs = {"generator": {"z": z}, "label": {"z": z, "label": label}, "walk": {"t": t}}
    told = {
        case: {name: selftest.packed(array) for name, array in feed.items()}
        for case, feed in inputs.items()
    }
    (folder / "golden.json").write_text(json.dumps(told))

    one_hot = np.eye(_CLASSES, dtype=np.float32)[label]
    np.savez(
        folder / "expected.npz",
        generator=torch_shipped(z),
        label=synthesis.open_generator(labelled)(z, one_hot),
        walk=torch_shipped(np.concatenate([path.latents(i, i + 1) for i in at])),
    )


def walk() -> LatentPath:
    return loop(seed=_SEED, frames=_WALK_FRAMES, z_dim=100)


def run(
    command: list[object], folder: Path, cases: tuple[str, ...] = CASES, *, speed_s: float = 0
) -> dict:
    """Run a program that opens golden.json; its last line tells version, speed and frames.

    Raises RuntimeError, with the program's last words, where it fails.
    """
    command = [*map(str, command), str(folder), str(speed_s), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"exit {done.returncode}: {told[-1] if told else 'without a word'}")
    return json.loads(lines[-1])


def compare(told: dict, folder: Path) -> selftest.Difference:
    """The frames of `run` against torch's, all cases together."""
    with np.load(folder / "expected.npz") as expected:
        wanted = np.concatenate([expected[case] for case in told["frames"]])
    made = b"".join(base64.b64decode(text) for text in told["frames"].values())
    return selftest.difference(np.frombuffer(made, np.uint8).reshape(wanted.shape), wanted)


def _save_labelled(target: Path, *, height: int, width: int) -> None:
    names = tuple(f"class {number}" for number in range(_CLASSES))
    generator, model = small_generator(width, height, names)
    checkpoint.save_generator(target, generator, model, facts={"images_seen": 0})
