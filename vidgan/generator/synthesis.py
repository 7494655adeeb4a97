"""A generator, opened from its file: for frames, or for images with gradients.

A frame does not depend on how many are asked for at once: torch always computes batches of one
size, and an ONNX file is exact for any batch by contract. An .onnx file needs no torch.
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vidgan.errors import ModelError
from vidgan.film import alpha
from vidgan.generator import metadata, onnx_file
from vidgan.generator.onnx_file import batch_size_for

if TYPE_CHECKING:
    from torch import Tensor


class Synthesize(Protocol):
    """An opened generator. Calling it maps z float32 [B, Z] to frames uint8 [B, H, W, planes].

    A model of classes also takes class weights float32 [B, classes], whose rows sum to 1. Without
    them it shows its first class.
    """

    z_dim: int
    height: int
    width: int
    planes: int  # 3, or 4 with transparency: see `film.alpha`
    class_names: tuple[str, ...]
    classes: int  # 0 for a model without classes
    sha256: str  # of the file
    weights_sha256: str  # of generator.safetensors, also for a file that was exported from it
    runs_on: str  # runtime and device, for people

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray: ...


def open_generator(path: Path | str, *, device: str = "auto") -> Synthesize:
    """Open `generator.onnx` or `generator.safetensors`. Raises ModelError."""
    path = Path(path)
    if path.suffix == ".onnx":
        return _Onnx(path, device)
    if path.suffix == ".safetensors":
        return _Torch(path, device)
    raise ModelError(
        f"{path}: not a model that vidgan opens; it opens generator.safetensors and generator.onnx."
    )


def open_differentiable(path: Path | str, *, device: str = "auto") -> "Differentiable":
    """Open `generator.safetensors` for gradients, by default on the GPU. Raises ModelError."""
    if Path(path).suffix != ".safetensors":
        raise ModelError(f"{path}: this needs the weights themselves; use generator.safetensors.")
    return Differentiable(Path(path), device)


def class_names(path: Path) -> tuple[str, ...]:
    """The class names that a model file states, also one of a walk. () of any other file."""
    from safetensors import SafetensorError, safe_open

    kinds, where = {"class_names": list[str] | None}, str(path)
    try:
        if path.suffix == ".onnx":
            model = metadata.parse(onnx_file.OnnxFile(path).meta.get("model"), kinds, where=where)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                text = (file.metadata() or {}).get("vidgan")
            stated = metadata.parse(text, {"model": dict}, where=where)["model"]
            model = metadata.checked(stated, kinds, where=where)
        else:
            return ()
    except (SafetensorError, ModelError, OSError):
        return ()
    return tuple(model.get("class_names") or ())


class Differentiable:
    """A torch generator with frozen weights, in eval mode. Gradients reach z and class weights.

    Calling it maps z float32 [B, Z] to images float32 [B, planes, H, W], about in [-1, 1]. A model
    of classes also takes class weights float32 [B, classes], or labels int [B].
    """

    def __init__(self, path: Path, device: str) -> None:
        from vidgan.generator import checkpoint
        from vidgan.networks.device import chosen

        self.path, self.device = path, chosen(device)
        network, self.model, self.facts = checkpoint.load_generator(path)
        self.network = network.requires_grad_(False).to(self.device)
        self.z_dim, self.height, self.width = self.model.z_dim, self.model.height, self.model.width
        self.class_names, self.classes = self.model.class_names, self.model.classes
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def __call__(self, z: "Tensor", classes: "Tensor | None" = None) -> "Tensor":
        return self.network(z, classes)


class _Torch:
    """A .safetensors file as `Synthesize`. It computes in float32, whatever it was trained in."""

    def __init__(self, path: Path, device: str) -> None:
        import torch

        image = open_differentiable(path, device=device)
        self._path, self._image = path, image
        self.z_dim, self.height, self.width = image.z_dim, image.height, image.width
        self.planes = image.model.planes
        self.class_names, self.classes = image.class_names, image.classes
        self.sha256 = self.weights_sha256 = image.sha256
        self.runs_on = f"torch {torch.__version__} on {image.device.type.upper()}"

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        import torch

        from vidgan.generator.checkpoint import check_finite
        from vidgan.networks.device import exact
        from vidgan.networks.pixels import to_frames

        feed = {"z": np.ascontiguousarray(z, np.float32)}
        if self.classes:
            feed["class_weights"] = _weights(class_weights, len(z), self.classes)
        frames = []
        # For another batch size, a convolution may add its terms in another order.
        for batch in onnx_file.batches(feed, batch_size_for(self.height, self.width)):
            inputs = (torch.from_numpy(x).to(self._image.device) for x in batch.values())
            with exact():
                image = self._image(*inputs)
            check_finite(self._path, {"what it makes": image})
            frames.append(to_frames(image).cpu().numpy())
        return np.concatenate(frames)[: len(z)]


class _Onnx:
    """An exported file as `Synthesize`, whatever its layout and its output are."""

    def __init__(self, path: Path, device: str) -> None:
        self._file = file = onnx_file.OnnxFile(path, device=device)
        if file.meta["contract"] != onnx_file.GENERATOR:
            baked = file.meta["contract"] == onnx_file.WALK
            what = "a baked walk has its path inside" if baked else "an encoder makes no pictures"
            raise ModelError(f"{path}: {what}; render generator.onnx.")
        kinds = {"class_names": list[str] | None, "colours": int | None}
        model = metadata.parse(file.meta.get("model"), kinds, where=f"{path}: its key model")
        # The metadata repeat these sizes, but only the graph's are certain.
        self.z_dim, (self.height, self.width) = file.inputs["z"][0], file.frame_size
        self.planes = 4 if (model.get("colours"), file.channels) == (4, 4) else 3  # not 255
        self.class_names = tuple(model.get("class_names") or ())
        self.classes = len(self.class_names)
        self._mixes = "class_weights" in file.inputs
        if self._mixes and file.inputs["class_weights"] != [self.classes]:
            raise ModelError(
                f"{path}: names {self.classes} classes, but mixes others; export again."
            )
        self.sha256, self.runs_on = file.sha256, file.runs_on
        stated = file.meta.get("generator_sha256", "")
        self.weights_sha256 = stated if re.fullmatch("[0-9a-f]{64}", stated) else file.sha256

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        feed = {"z": np.ascontiguousarray(z, np.float32)}
        if self.classes:
            weights = _weights(class_weights, len(z), self.classes)
            if not self._mixes and not np.isin(weights, (0, 1)).all():
                raise ModelError(
                    f"{self._file.path}: takes one class at a time and cannot mix them; export it "
                    "again with --classes weights, or use generator.safetensors."
                )
            label = weights.argmax(1).astype(np.int32)
            feed |= {"class_weights": weights} if self._mixes else {"label": label}
        output = self._file.run(feed)
        frames = output if output.dtype == np.uint8 else onnx_file.to_frames(output)
        return alpha.premultiplied(frames) if self.planes == 4 else frames[..., :3]


def _weights(given: np.ndarray | None, count: int, classes: int) -> np.ndarray:
    """Class weights float32 [count, classes]. The default is the first class."""
    if given is None:
        return np.repeat(np.eye(1, classes, dtype=np.float32), count, axis=0)
    assert given.shape == (count, classes), f"class weights {given.shape} for {classes} classes"
    return np.ascontiguousarray(given, np.float32)
