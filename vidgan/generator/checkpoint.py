"""Files of weights: a trained generator, or the state from which a training run resumes.

Each is one safetensors file: tensors and JSON, no code, and a SHA-256 that is always checked.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vidgan import __version__, config
from vidgan.disk.files import check_file, write_bytes
from vidgan.errors import ConfigError, ModelError
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE
from vidgan.networks.architectures import make_generator

FORMAT_VERSION = 1


def save_generator(
    path: Path, generator: torch.nn.Module, model: config.ModelConfig, *, facts: dict[str, object]
) -> None:
    """Write weights, model, facts (images seen, data, ...) and the mark of synthetic media."""
    meta = {"kind": "generator", "model": asdict(model), "facts": facts}
    write(path, generator.state_dict(), meta)


def load_generator(path: Path) -> tuple[torch.nn.Module, config.ModelConfig, dict[str, object]]:
    """The generator (on the CPU, in eval mode), its model and its facts. Raises ModelError."""
    tensors, meta = read(path, kind="generator")
    try:
        model = config.from_dict({"model": meta["model"]}).model
    except (KeyError, ConfigError) as error:
        reason = error if isinstance(error, ConfigError) else "it is missing"
        raise ModelError(f"{path}: the model in its metadata is unusable ({reason}).") from error
    generator = make_generator(model)
    load_into(path, generator, tensors)
    return generator.eval(), model, dict(meta.get("facts", {}))


def load_into(path: Path, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load weights into a module, whose names and shapes they must match exactly."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()[:120].rstrip(". ")
        raise ModelError(f"{path}: its tensors do not fit its own model ({first}).") from error


def write(path: Path, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, object]) -> None:
    """Write tensors and a description, which is stored as JSON. The file appears whole or not."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    meta = {**meta, "format_version": FORMAT_VERSION, "vidgan_version": __version__}
    header = {
        "vidgan": json.dumps(meta, sort_keys=True),
        "sha256": _digest(tensors),
        "digital_source_type": DIGITAL_SOURCE_TYPE,
    }
    write_bytes(path, save(tensors, metadata=header))


def read(path: Path, *, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Tensors and description of a file of `write`, verified. Raises ModelError."""
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = json.loads(header["vidgan"])
        actual_kind, version = meta["kind"], meta["vidgan_version"]
        newer = meta["format_version"] > FORMAT_VERSION
    except (SafetensorError, LookupError, TypeError, ValueError, OSError, struct.error) as error:
        raise ModelError(
            f"{path}: not a model file of vidgan, or damaged. "
            "vidgan reads generator.safetensors and generator.onnx."
        ) from error
    if newer:
        raise ModelError(f"{path}: made by vidgan {version}, newer than this; update vidgan.")
    if actual_kind != kind:
        raise ModelError(f"{path}: holds a {actual_kind}, not a {kind}.")
    if _digest(tensors) != header.get("sha256"):
        raise ModelError(f"{path}: damaged (its checksum does not match); use another copy.")
    return tensors, meta


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
