"""The self-test of an ONNX file: inputs and the frames that they must give, in its metadata.

`vidgan verify` runs it on any machine, with ONNX Runtime and without torch. The side file (JSON)
holds the same self-test for players in other languages.
"""

import base64
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidgan.errors import ModelError
from vidgan.film import alpha
from vidgan.generator import metadata, onnx_file

# How far another runtime may be off. It may round halves otherwise; in int8 it may differ more.
_BOUNDS = {"max_level": 1, "max_differing": 0.001}
_BOUNDS_INT8 = {"max_level": 8, "max_differing": 1.0}
_KINDS = {"inputs": dict, "outputs": dict, "max_level": int, "max_differing": int | float}
_PACKED = {"type": str, "shape": list[int], "base64": str, "sha256": str}


@dataclass(frozen=True)
class Difference:
    """Between two sets of frames, in bytes. Images are compared as the frames they become."""

    max_level: int
    differing: float  # fraction of bytes
    psnr_db: float

    def __str__(self) -> str:
        level = "1 grey level" if self.max_level == 1 else f"{self.max_level} grey levels"
        return f"at most {level}, {self.differing:.4%} of bytes differ"


def difference(actual: np.ndarray, expected: np.ndarray) -> Difference:
    """Of frames uint8 [B, H, W, 3 or 4] or images float32 [B, 3 or 4, H, W].

    Straight colours of nearly transparent pixels say little, so these count by their alpha.
    The rows of an encoder, float32 [B, R], count as pictures with grey levels of 0.04.
    """
    if actual.ndim == expected.ndim == 2:
        actual, expected = (x[:, None, None] / np.float32(5.1) for x in (actual, expected))
    a, b = (x if x.dtype == np.uint8 else onnx_file.to_frames(x) for x in (actual, expected))
    if a.shape[-1] == b.shape[-1] == 4:
        a, b = alpha.premultiplied(a), alpha.premultiplied(b)
    common = min(a.shape[-1], b.shape[-1])
    levels = np.abs(a[..., :common].astype(np.int16) - b[..., :common])
    square = float((levels.astype(np.float64) ** 2).mean())
    psnr_db = 10 * np.log10(255**2 / square) if square else np.inf
    return Difference(int(levels.max()), float((levels > 0).mean()), float(psnr_db))


def vectors(inputs: dict[str, np.ndarray], output: np.ndarray, *, exact: bool) -> dict[str, object]:
    """The self-test as the metadata hold it. `exact` is False for int8."""
    name = "frames" if output.dtype == np.uint8 else "rows" if output.ndim == 2 else "image"
    return {
        "inputs": {name: packed(array) for name, array in inputs.items()},
        "outputs": {name: packed(output)},
        **(_BOUNDS if exact else _BOUNDS_INT8),
    }


def verify(path: Path, *, device: str = "auto") -> str:
    """Run the self-test of a file. Returns the result in words; raises ModelError if it fails."""
    model = onnx_file.OnnxFile(path, device=device)
    side = path.with_suffix(".json")
    if side.is_file():  # model.json of a site has no checksum
        own = metadata.read(side, {"onnx_sha256": str | None}).get("onnx_sha256")
        if own not in (None, model.sha256):
            raise ModelError(f"{side}: does not belong to {path}; export both again.")
    where = f"{path}: its self-test"
    test = metadata.parse(model.meta.get("self_test"), _KINDS, where=where)
    inputs = {name: _unpacked(value, where) for name, value in test["inputs"].items()}
    expected = _unpacked(next(iter(test["outputs"].values()), None), where)
    max_level, max_differing = test["max_level"], test["max_differing"]
    actual = model.run(inputs)
    single = [model.run({k: v[i : i + 1] for k, v in inputs.items()}) for i in range(len(actual))]
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ModelError(f"{path}: gives {actual.shape}, but its self-test has {expected.shape}.")
    off = difference(actual, expected)
    if off.max_level > max_level or off.differing > max_differing:
        raise ModelError(
            f"{path}: fails its self-test on {model.runs_on}: {off} (allowed: {max_level}, "
            f"{max_differing:.1%}). Use another copy of the file."
        )
    exact = model.device == "cpu" and expected.dtype == np.uint8
    if exact and not np.array_equal(actual, np.concatenate(single)):
        raise ModelError(f"{path}: its frames depend on the batch size; export it again.")
    return f"proved on {model.runs_on}, {len(actual)} frames: {off}"


def packed(array: np.ndarray) -> dict[str, object]:
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return {
        "type": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(content).decode(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _unpacked(packed: object, where: str) -> np.ndarray:
    """An array of `packed`, with at least one row and only finite numbers. Raises ModelError."""
    metadata.checked(packed, _PACKED, where=where)
    try:
        kind = np.dtype({"float32": "<f4", "int32": "<i4", "uint8": "u1"}[packed["type"]])
        content = base64.b64decode(packed["base64"], validate=True)
        if hashlib.sha256(content).hexdigest() != packed["sha256"]:
            raise ValueError("checksum")
        if min(packed["shape"]) < 1 or math.prod(packed["shape"]) * kind.itemsize != len(content):
            raise ValueError(f"shape {packed['shape']}")
        array = np.frombuffer(content, kind).reshape(packed["shape"])
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinite numbers")
        return array
    except (KeyError, ValueError) as error:
        raise ModelError(f"{where} is damaged ({error}). Export the file again.") from error
