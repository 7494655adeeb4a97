"""Latents in a .npy file, the format of NumPy.

The header is read here, because NumPy fails on a wrong one in many ways, and of some it dies.
"""

import ast
import warnings
from pathlib import Path

import numpy as np

from vidgan.disk.files import write_bytes
from vidgan.errors import UsageError

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the header's length, by version
_LONGEST_HEADER = 1024  # NumPy writes 118 bytes; Python's parser dies of ten thousand brackets
_MOST_NUMBERS = 2**22
_KINDS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8"}


def read_latents(path: Path) -> np.ndarray:
    """The array float32 [K, Z] of a file of numbers. Raises UsageError."""
    try:
        if not path.is_file():
            raise ValueError("no such file" if not path.exists() else "not a file")
        with path.open("rb") as file:
            content = file.read(_LONGEST_HEADER + 8 * _MOST_NUMBERS)
            if file.read(1):
                raise ValueError(f"over {_MOST_NUMBERS:,} numbers")
        rows = _rows(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: not a .npy of numbers [K, z_dim] ({reason}).") from error
    return rows


def write_latents(path: Path, rows: np.ndarray, *, force: bool = True) -> None:
    """Write latents float32 [K, Z]. A comment in the header says whose file it is."""
    shape = tuple(map(int, rows.shape))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}  # by vidgan"
    header = header.ljust(117) + "\n"  # 128 bytes in all, so that the data are aligned
    start = _MAGIC + bytes((1, 0)) + len(header).to_bytes(2, "little") + header.encode()
    write_bytes(path, start + rows.astype("<f4").tobytes(), force=force)


def _rows(content: bytes) -> np.ndarray:
    version = tuple(content[6:8])
    if not content.startswith(_MAGIC) or version not in _LENGTH_BYTES:
        raise ValueError("it does not begin like one")
    start = 8 + _LENGTH_BYTES[version]
    length = int.from_bytes(content[8:start], "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    kind, by_columns, shape = _header(content[start : start + length].decode("latin-1"))
    numbers, data = shape[0] * shape[1], content[start + length :]
    if not 0 < numbers <= _MOST_NUMBERS or len(data) != numbers * kind.itemsize:
        raise ValueError(f"{len(data):,} bytes for {shape[0]} x {shape[1]} of {kind}")
    with np.errstate(over="ignore"):
        rows = np.frombuffer(data, kind).astype(np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("some are not finite in 32 bits")
    return rows.reshape(shape, order="F" if by_columns else "C")


def _header(text: str) -> tuple[np.dtype, bool, tuple[int, int]]:
    """Type, whether columns come first, and shape."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python code that looks wrong
            header = ast.literal_eval(text.strip())
        match header:
            case {"descr": str(kind), "fortran_order": bool(by_columns), "shape": tuple(shape)}:
                pass
            case _:
                raise ValueError("its header lacks something")
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    if kind.lstrip("<>|=") not in _KINDS or len(kind) > 3:
        raise ValueError(f"of type {kind[:20]!r}")
    if len(shape) != 2 or not all(type(side) is int and 0 < side < 2**32 for side in shape):
        raise ValueError(f"of shape {str(shape)[:60]}")
    return np.dtype(kind), by_columns, shape
