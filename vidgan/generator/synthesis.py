"""The one seam: latents go in, uint8 frames come out, whatever runs the generator.

A frame does not depend on how many are asked for at once: on a CPU a generator file runs latent by
latent, and an ONNX file is exact in its batch by contract. torch is imported only for .safetensors.
"""

import hashlib
import json
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgan.disk.places import bundled
from vidgan.errors import ModelError
from vidgan.generator import onnx_file


class Synthesize(Protocol):
    """A generator, opened. Calling it maps z float32 [B, Z] to frames uint8 [B, H, W, 3].

    A model of classes also takes class weights float32 [B, classes], rows that sum to 1; without
    them it shows its first class.
    """

    z_dim: int
    height: int
    width: int
    class_names: tuple[str, ...]
    classes: int  # 0 = the model knows none
    sha256: str  # of the file
    runs_on: str  # for a person: runtime and device

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray: ...


def open_generator(path: Path | str) -> Synthesize:
    """Open `generator.onnx` or `generator.safetensors`. Raises ModelError."""
    path = Path(path)
    if path.suffix == ".onnx":
        return _Onnx(path)
    if path.suffix == ".safetensors":
        return _Torch(path)
    raise ModelError(
        f"{path}: not a model that vidgan opens; it opens generator.safetensors and generator.onnx."
    )


def find_model(model: Path | None) -> tuple[Path, str]:
    """A model's file and how to call it: the one asked for, else the newest run's, else the shipped
    one. Raises SystemFault where even that is missing."""
    if model:
        return model, str(model)
    found = list(Path("runs").glob("*/generator.safetensors"))
    if found:
        newest = max(found, key=lambda path: path.stat().st_mtime_ns)
        return newest, str(newest)
    return bundled("assets/generator.safetensors"), "the shipped generator"


def open_default(model: Path | None) -> tuple[Synthesize, str]:
    path, name = find_model(model)
    return open_generator(path), name


class _Onnx:
    """An exported file, of any layout and output."""

    def __init__(self, path: Path) -> None:
        self._file = file = onnx_file.OnnxFile(path)
        if file.meta["contract"] != onnx_file.GENERATOR:
            raise ModelError(f"{path}: a walk has its path inside; render generator.onnx instead.")
        try:
            model = json.loads(file.meta["model"])
            self.z_dim, self.height, self.width = self._sizes()  # of the graph, whatever is told
            self.class_names = tuple(model.get("class_names", ()))
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: its metadata cannot be read; export it again.") from error
        self.classes = len(self.class_names)
        self.sha256, self.runs_on = file.sha256, file.runs_on

    def _sizes(self) -> list[int]:
        latent, (made,) = self._file.session.get_inputs()[0], self._file.session.get_outputs()
        sides = made.shape[1:3] if made.type == "tensor(uint8)" else made.shape[2:4]
        sizes = [latent.shape[1], *sides]
        if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(f"sizes {sizes}")
        return sizes

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        feed = {"z": np.ascontiguousarray(z, np.float32)}
        if self.classes:
            weights = _weights(class_weights, len(z), self.classes)
            if not np.isin(weights, (0, 1)).all():
                raise ModelError(
                    "an .onnx file shows one class a frame; render the .safetensors to mix classes."
                )
            feed["label"] = weights.argmax(1).astype(np.int32)
        made = self._file.run(feed)
        return made[..., :3] if made.dtype == np.uint8 else onnx_file.to_frames(made)


class _Torch:
    """The weights in torch; float32 arithmetic whatever they were trained in."""

    def __init__(self, path: Path) -> None:
        import torch

        from vidgan.generator import checkpoint
        from vidgan.networks import pixels

        generator, model, _ = checkpoint.load_generator(path)
        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", onnx_file.local_gpu()) if on_gpu else torch.device("cpu")
        self._generator, self._device = generator.to(device), device
        self._torch, self._to_frames = torch, pixels.to_frames
        self.z_dim, self.height, self.width = model.z_dim, model.height, model.width
        self.class_names, self.classes = model.class_names, model.classes
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.runs_on = f"torch {torch.__version__} on {device.type.upper()}"

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        inputs = [np.ascontiguousarray(z, np.float32)]
        if self.classes:
            inputs.append(_weights(class_weights, len(z), self.classes))
        # One latent at a time: convolutions may sum in another order for another batch size.
        with self._torch.inference_mode():
            split = [self._torch.from_numpy(x).to(self._device).split(1) for x in inputs]
            frames = [self._to_frames(self._generator(*row)) for row in zip(*split, strict=True)]
            return self._torch.cat(frames).cpu().numpy()


def _weights(given: np.ndarray | None, count: int, classes: int) -> np.ndarray:
    """Class weights float32 [count, classes]; the first class where none are given."""
    if given is None:
        return np.repeat(np.eye(1, classes, dtype=np.float32), count, axis=0)
    assert given.shape == (count, classes), f"class weights {given.shape} for {classes} classes"
    return np.ascontiguousarray(given, np.float32)
