"""Files that hold weights: the generator a person keeps, and the training state a run resumes from.

Both are one safetensors file: tensors and JSON, never code. It carries a SHA-256 over its tensors
that is checked when it is read.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vidgan import __version__, config
from vidgan.config import ModelConfig
from vidgan.disk.files import check_file, write_bytes
from vidgan.errors import ConfigError, ModelError
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE
from vidgan.networks.architectures import NETWORKS

FORMAT_VERSION = 1


def save_generator(
    path: Path, generator: torch.nn.Module, model: ModelConfig, *, facts: Mapping[str, object]
) -> None:
    """Write `generator.safetensors`: weights, model, facts (images seen, data, ...) and mark."""
    meta = {"kind": "generator", "model": config.to_dict(model), "facts": dict(facts)}
    write(path, generator.state_dict(), meta)


def load_generator(path: Path) -> tuple[torch.nn.Module, ModelConfig, dict[str, object]]:
    """The generator in eval mode on the CPU, its model and the facts. Raises ModelError."""
    tensors, meta = read(path, kind="generator")
    try:
        model = config.from_dict({"model": meta["model"]}).model
    except (KeyError, ConfigError) as error:
        reason = error if isinstance(error, ConfigError) else "it has none"
        raise ModelError(f"{path}: its description of the model is unusable ({reason}).") from error
    generator = NETWORKS[model.name][0](model)
    load_into(path, generator, tensors)
    return generator.eval(), model, dict(meta.get("facts", {}))


def load_into(path: Path, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """All or nothing: names and shapes must match exactly."""
    own = module.state_dict()
    wrong = sorted(own.keys() ^ tensors.keys())
    wrong += [k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape]
    if wrong:
        raise ModelError(f"{path}: does not fit its own model ({len(wrong)} tensors, {wrong[0]}).")
    module.load_state_dict(dict(tensors))


def write(path: Path, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, object]) -> None:
    """Write tensors and a JSON description whole or not at all."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    meta = {**meta, "format_version": FORMAT_VERSION, "vidgan_version": __version__}
    header = {
        "vidgan": json.dumps(meta, sort_keys=True),
        "sha256": _digest(tensors),
        "digital_source_type": DIGITAL_SOURCE_TYPE,
    }
    write_bytes(path, save(tensors, metadata=header))


def read(path: Path, *, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Tensors and description, verified. Raises ModelError for anything but a file `write` made."""
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = json.loads(header["vidgan"])
        held, maker = meta["kind"], meta["vidgan_version"]
        newer = meta["format_version"] > FORMAT_VERSION
    except (SafetensorError, LookupError, TypeError, ValueError, OSError, struct.error) as error:
        raise ModelError(
            f"{path}: not a model file of vidgan, or damaged. "
            "vidgan reads generator.safetensors and generator.onnx."
        ) from error
    if newer:
        raise ModelError(
            f"{path}: made by a newer vidgan ({maker}); this is {__version__}. Update vidgan."
        )
    if held != kind:
        raise ModelError(f"{path}: holds a {held}, not a {kind}.")
    if _digest(tensors) != header.get("sha256"):
        raise ModelError(f"{path}: damaged (its checksum does not match); use another copy.")
    return tensors, meta


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
