"""A model file that proves itself: inputs and what they made, kept in its own metadata.

`vidgan verify` runs them again wherever the file has got to, with ONNX Runtime alone. The same
vectors stand in the side file (JSON) for players in other languages. Knows no torch.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidgan.errors import ModelError
from vidgan.generator import onnx_file

# How close another run must come. Halves may round either way in any runtime; integer kernels
# differ more.
_BOUNDS = {"max_level": 1, "max_differing": 0.001}
_BOUNDS_INT8 = {"max_level": 8, "max_differing": 1.0}


@dataclass(frozen=True)
class Difference:
    """Between two runs of one generator, in bytes; images are compared as the bytes they become."""

    max_level: int
    differing: float  # fraction of bytes
    psnr_db: float

    def __str__(self) -> str:
        level = "1 grey level" if self.max_level == 1 else f"{self.max_level} grey levels"
        return f"at most {level}, {self.differing:.4%} of bytes differ"


def difference(actual: np.ndarray, expected: np.ndarray) -> Difference:
    """Of frames uint8 [B, H, W, 3 or 4] or images float32 [B, 3, H, W]."""
    a, b = (x if x.dtype == np.uint8 else onnx_file.to_frames(x) for x in (actual, expected))
    levels = np.abs(a[..., :3].astype(np.int16) - b[..., :3])
    square = float((levels.astype(np.float64) ** 2).mean())
    psnr_db = 10 * np.log10(255**2 / square) if square else np.inf
    return Difference(int(levels.max()), float((levels > 0).mean()), float(psnr_db))


def vectors(inputs: dict[str, np.ndarray], output: np.ndarray, *, exact: bool) -> dict[str, object]:
    """The self-test as it stands in the metadata."""
    return {
        "inputs": {name: packed(array) for name, array in inputs.items()},
        "outputs": {"frames" if output.dtype == np.uint8 else "image": packed(output)},
        **(_BOUNDS if exact else _BOUNDS_INT8),
    }


def verify(path: Path) -> str:
    """Run a file's self-test; says what held. Raises ModelError where it does not."""
    model = onnx_file.OnnxFile(path)
    side = path.with_suffix(".json")
    told = side.read_text(errors="replace") if side.is_file() else ""
    if "onnx_sha256" in told and model.sha256 not in told:  # the page's model.json is another
        raise ModelError(f"{side}: does not belong to {path}; export both again.")
    try:
        test = json.loads(model.meta["self_test"])
        inputs = {name: _unpacked(value) for name, value in test["inputs"].items()}
        (expected,) = (_unpacked(value) for value in test["outputs"].values())
        max_level, max_differing = int(test["max_level"]), float(test["max_differing"])
        actual = model.run(inputs)
        single = [
            model.run({k: v[i : i + 1] for k, v in inputs.items()}) for i in range(len(actual))
        ]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: its self-test is missing or damaged ({error}).") from error
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ModelError(f"{path}: makes {actual.shape} where {expected.shape} was promised.")
    found = difference(actual, expected)
    if found.max_level > max_level or found.differing > max_differing:
        raise ModelError(
            f"{path}: fails its self-test on {model.runs_on}: {found} (allowed: {max_level}, "
            f"{max_differing:.1%}). Use another copy of the file."
        )
    if model.device == "cpu" and not np.array_equal(actual, np.concatenate(single)):
        raise ModelError(f"{path}: its frames depend on the batch size.")
    return f"proved on {model.runs_on}, {len(actual)} frames: {found}"


def packed(array: np.ndarray) -> dict[str, object]:
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return {
        "type": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(content).decode(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _unpacked(packed: dict) -> np.ndarray:
    kind = np.dtype({"float32": "<f4", "int32": "<i4", "uint8": "u1"}[packed["type"]])
    content = base64.b64decode(packed["base64"], validate=True)
    if hashlib.sha256(content).hexdigest() != packed["sha256"]:
        raise ValueError("checksum")
    return np.frombuffer(content, kind).reshape(packed["shape"])
