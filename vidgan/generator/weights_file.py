"""What a file of PyTorch, or of safetensors, holds: tensors by name. None of its code ever runs.

The unpickler is torch's own for weights only. It makes nothing but tensors and plain containers;
for harmless objects that often lie beside the weights it makes an inert stand-in.
"""

import io
import itertools
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vidgan.disk.files import check_file
from vidgan.errors import ModelError

_DEPTH, _MOST = 16, 200_000  # containers in each other, and things in all of them


class _Inert:
    """Stands for an object whose class is not loaded. It keeps its parts and can do nothing."""

    def __init__(self, *parts: object) -> None:
        self.parts: object = None

    def __setstate__(self, parts: object) -> None:
        self.parts = parts


# Classes of what people save beside weights. None of them is imported.
_HARMLESS = [
    (_Inert, "argparse.Namespace"),
    *((_Inert, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath", "PurePosixPath")),
    *((_Inert, f"pathlib._local.{name}") for name in ("PosixPath", "WindowsPath")),
    *((_Inert, f"datetime.{name}") for name in ("date", "datetime", "timedelta")),
    *((_Inert, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_Inert, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_Inert, name) for name in ("numpy.dtype", "numpy.ndarray", "_codecs.encode")),
    (OrderedDict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (OrderedDict, "lightning.pytorch.utilities.parsing.AttributeDict"),
    (OrderedDict, "lightning_fabric.utilities.data.AttributeDict"),
    (OrderedDict, "lightning.fabric.utilities.data.AttributeDict"),
]


def contents(source: Path) -> dict[tuple[str, ...], object]:
    """All that the file holds. A key is the way there: names of containers, then of the tensor in
    its state_dict, as in ("netG", "main.0.weight").

    What is no tensor is given as the name of its type. Raises ModelError.
    """
    check_file(source)
    if source.suffix == ".safetensors":
        try:
            return {(name,): tensor for name, tensor in load_file(source).items()}
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{source}: not a file of safetensors, or damaged.") from error
    with source.open("rb") as file:
        begins = file.read(2)
    if begins != b"PK" and begins[:1] != b"\x80":  # a zip file; a pickle
        raise ModelError(
            f"{source}: not a file of weights, or damaged. vidgan imports what torch.save or "
            "safetensors has written; it renders a generator.onnx of its own as it is."
        )
    return dict(itertools.islice(_flat(_unpickled(source), ()), _MOST))


def _unpickled(source: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickle protocols
            file = _without_code(source)
            harmless = _HARMLESS if file is None else _HARMLESS + _of_torchscript(file)
            with torch.serialization.safe_globals(harmless):
                return torch.load(file or source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{source}: refused, because it is damaged or holds more than tensors (such files can "
            "run code). Save only the weights: torch.save(netG.state_dict(), ...)."
        ) from error
    except Exception as error:  # torch raises all kinds of errors for damaged files
        raise ModelError(f"{source}: not a file of torch.save, or damaged.") from error


def _without_code(source: Path) -> io.BytesIO | None:
    """A TorchScript archive without its code, as torch.save would write it. None for others."""
    if not zipfile.is_zipfile(source):
        return None
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        if not any(member.filename.endswith("/constants.pkl") for member in members):
            return None
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as plain:
            for member in members:
                inner = member.filename.partition("/")[2]
                kept = inner in ("data.pkl", "version", "byteorder") or inner.startswith("data/")
                if kept and member.compress_type == zipfile.ZIP_STORED:
                    plain.writestr(member.filename, archive.read(member))
    copy.seek(0)
    return copy


def _of_torchscript(file: io.BytesIO) -> list[tuple[type, str]]:
    """Stand-ins for the modules of a TorchScript archive, whose classes are in its code."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    file.seek(0)
    own = ("__torch__.", "torch.jit._pickle.")
    return [(_Inert, name) for name in names if name.startswith(own)]


def _flat(item: object, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(item, _Inert):  # its parts are named as in a state_dict
        parts = item.parts if isinstance(item.parts, dict) else {}
        inner = [((*way[:-1], ".".join([*way[-1:], str(n)])), part) for n, part in parts.items()]
    elif isinstance(item, dict):
        inner = [((*way, str(name)), part) for name, part in item.items()]
    elif isinstance(item, list | tuple):
        inner = [((*way, str(number)), part) for number, part in enumerate(item)]
    else:
        inner = []
    if inner and len(way) < _DEPTH:
        for there, part in inner:
            yield from _flat(part, there)
    else:
        yield way, item if torch.is_tensor(item) else type(item).__name__
