"""The one seam: latents go in, uint8 frames come out, whatever runs the generator.

A frame does not depend on how many are asked for at once: on a CPU a generator file runs latent by
latent, and an ONNX file is exact in its batch by contract. torch is imported only for .safetensors.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgan.bundled import bundled
from vidgan.errors import ModelError

CONTRACT = "vidgan-generator-1"  # metadata key `contract` of every file `vidgan export` writes


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
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
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
    """`find_model`, opened."""
    path, name = find_model(model)
    return open_generator(path), name


class _Onnx:
    """The exported file in ONNX Runtime. No external data: one file, refused otherwise."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # failures come as exceptions
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if _LINUX else 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = path.read_bytes()  # from memory, so that no path inside can open another file
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=_providers(onnxruntime)
            )
            meta = self._session.get_modelmeta().custom_metadata_map
            model = json.loads(meta["model"])
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise ModelError(
                f"{path}: not a generator that vidgan exported, or damaged "
                f"({type(error).__name__}: {str(error).splitlines()[0][:120]})."
            ) from error
        if meta.get("contract") != CONTRACT:
            raise ModelError(f"{path}: follows another contract than {CONTRACT}.")
        self.z_dim, self.height, self.width = (model[k] for k in ("z_dim", "height", "width"))
        self.class_names = tuple(model.get("class_names", ()))
        self.classes = len(self.class_names)
        self.sha256 = hashlib.sha256(content).hexdigest()
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.runs_on = f"ONNX Runtime {onnxruntime.__version__} on {provider}"

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        feed = {"z": np.ascontiguousarray(z, np.float32)}
        if self.classes:
            weights = _weights(class_weights, len(z), self.classes)
            if not np.isin(weights, (0, 1)).all():
                raise ModelError(
                    "an .onnx file shows one class a frame; render the .safetensors to mix classes."
                )
            feed["label"] = weights.argmax(1).astype(np.int32)
        return self._session.run(["frames"], feed)[0]


class _Torch:
    """The weights in torch; float32 arithmetic whatever they were trained in."""

    def __init__(self, path: Path) -> None:
        import torch

        from vidgan import checkpoint, dcgan

        generator, model, _ = checkpoint.load_generator(path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._generator, self._device = generator.to(device), device
        self._torch, self._to_frames = torch, dcgan.to_frames
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


def _providers(onnxruntime: object) -> list[str]:
    """CUDA where a device really is; the list of compiled-in providers does not tell."""
    devices = {d.ep_name for d in onnxruntime.get_ep_devices()}
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return [name for name in wanted if name in devices]


_LINUX = hasattr(os, "sched_getaffinity")
