"""Files of weights: a trained generator, or the state from which a training run resumes.

Each is one safetensors file: tensors and JSON, no code, and a SHA-256 of all its bytes, which is
checked before anything else is read.
"""

import hashlib
import json
import mmap
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from vidgan import __version__, config
from vidgan.disk.files import check_file, whole
from vidgan.errors import ConfigError, ModelError
from vidgan.generator import metadata
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE
from vidgan.networks.architectures import make_generator

# 4 has no layout, 3 no noise, 2 neither anchors nor taps, 1 a checksum of the tensors alone.
FORMAT_VERSION = 5
# What a generator may say of its training; `training.state` writes it.
_FACTS = {"images_seen": int | None, "data": str | None, "data_fingerprint": str | None}
_LONGEST_HEADER_BYTES = 2**22
_UNSET = "0" * 64  # stands in the place of the checksum while it is computed
_CHECKSUM = re.compile(rb'"file_sha256":"([0-9a-f]{64})"')  # as safetensors writes its metadata


def save_generator(
    path: Path, generator: torch.nn.Module, model: config.ModelConfig, *, facts: dict[str, object]
) -> None:
    """Write weights, model, facts (images seen, data, ...) and the mark of synthetic media."""
    meta = {"kind": "generator", "model": asdict(model), "facts": facts}
    write(path, generator.state_dict(), meta)


def load_generator(path: Path) -> tuple[torch.nn.Module, config.ModelConfig, dict[str, object]]:
    """The generator (on the CPU, in eval mode), its model and its facts. Raises ModelError."""
    tensors, meta = read(path, kind="generator")
    where = f"{path}: its metadata"
    metadata.checked(meta, {"model": dict, "facts": dict | None}, where=where)
    facts = metadata.checked(meta.get("facts", {}), _FACTS, where=where)
    try:
        model = config.from_dict(meta["model"], config.ModelConfig, where="model")
        if not (model.width and (model.channels or model.layers)):
            raise ConfigError("its sizes are left to the data")
        with torch.device("meta"), _Unfilled():  # no memory, however large the model says it is
            outline = _shapes(make_generator(model).state_dict())
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{path}: the model in its metadata is unusable ({error}).") from error
    found = _shapes(tensors)
    for name in sorted(outline.keys() | found.keys()):
        if outline.get(name) != found.get(name):
            wanted = f"{name} is {found.get(name, 'missing')}, not {outline.get(name, 'in it')}"
            raise ModelError(f"{path}: its tensors do not fit its own model ({wanted}).")
    generator = make_generator(model)
    load_into(path, generator, tensors)
    check_finite(path, tensors)
    generator.fold()
    return generator.eval(), replace(model, taps=4), facts


class _Unfilled(TorchFunctionMode):
    """Makes no random numbers. On `meta` there are none, and torch imports 800 modules for them."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if function is torch.randn else function)(*args, **(kwargs or {}))


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    return {name: f"{str(t.dtype)[6:]} {list(t.shape)}" for name, t in tensors.items()}


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelError if a number is infinite or NaN."""
    for name, tensor in tensors.items():
        least_and_most = torch.stack(tensor.aminmax())  # ten times as fast as isfinite of all
        if not least_and_most.isfinite().all():
            raise ModelError(
                f"{path}: {name} has NaN or infinite numbers, as after a training that diverged. "
                "Use an earlier copy, or train again."
            )


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
        "file_sha256": _UNSET,
        "digital_source_type": DIGITAL_SOURCE_TYPE,
    }
    content = memoryview(save(tensors, metadata=header))
    start, end = _CHECKSUM.search(content).span(1)
    checksum = hashlib.sha256(content).hexdigest().encode()
    with whole(path) as part, part.open("wb") as file:
        file.writelines((content[:start], checksum, content[end:]))


def read(
    path: Path, *, kind: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Tensors and description of a file of `write`, verified. Raises ModelError."""
    check_file(path)
    try:
        checksum_fits = _checksum_fits(path)
        if checksum_fits is False:
            raise _damaged(path)
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > _LONGEST_HEADER_BYTES:
                raise ValueError("a header of too many tensors to be listed")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = header["vidgan"]
        checksum_fits = checksum_fits or _digest(tensors) == header.get("sha256")
    # `_digest` raises RuntimeError for tensors of a kind that torch cannot view.
    except (SafetensorError, LookupError, RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path}: not a model file of vidgan, or damaged. "
            "vidgan reads generator.safetensors and generator.onnx."
        ) from error
    kinds = {"format_version": int, "vidgan_version": str, "kind": str}
    meta = metadata.parse(text, kinds, where=f"{path}: its metadata")
    if meta["format_version"] > FORMAT_VERSION:
        version = meta["vidgan_version"]
        raise ModelError(f"{path}: made by vidgan {version}, newer than this; update vidgan.")
    if kind and meta["kind"] != kind:
        raise ModelError(f"{path}: holds a {meta['kind']}, not a {kind}.")
    if not checksum_fits:
        raise _damaged(path)
    return tensors, meta


def check_undamaged(path: Path) -> None:
    """Raise ModelError for a damaged file of `write`, or a file that is not safetensors."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("vidgan")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged, or not a file of safetensors.") from error
    if text is not None:  # another program's file has no checksum
        read(path, kind=metadata.parse(text, {"kind": str}, where=f"{path}: its metadata")["kind"])


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path}: damaged (its checksum does not match); use another copy.")


def _checksum_fits(path: Path) -> bool | None:
    """Whether all bytes of a file are as they were written; None if it has no such checksum."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header_end = 8 + int.from_bytes(content[:8], "little")
        stated = _CHECKSUM.search(content, 0, min(header_end, len(content)))
        if stated is None:
            return None
        start, end = stated.span(1)
        with memoryview(content) as view, view[:start] as before, view[end:] as after:
            found = hashlib.sha256(before)
            found.update(_UNSET.encode())
            found.update(after)
        return found.hexdigest() == content[start:end].decode()


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
