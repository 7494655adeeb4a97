import os
import struct
from pathlib import Path

import numpy as np
import pytest

from vidgan.errors import UsageError
from vidgan.latent import npy


def file_of(folder: Path, header: str, data: bytes = bytes(48), version: int = 1) -> Path:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    path = folder / "k.npy"
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data)
    return path


def header(kind: str = "<f4", shape: str = "(4, 3)", order: str = "False") -> str:
    return f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8", "|i1", "|u1", "<i8", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path, kind, order):
    wanted = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "k.npy", np.asarray(wanted, kind, order))
    rows = npy.read_latents(tmp_path / "k.npy")
    assert rows.dtype == np.float32 and np.array_equal(rows, wanted)


@pytest.mark.parametrize("version", [2, 3])
def test_headers_of_all_versions_are_read(tmp_path, version):
    data = np.ones((4, 3), np.float32).tobytes()
    assert npy.read_latents(file_of(tmp_path, header(), data, version)).sum() == 12


WRONG = {
    "an unclosed bracket": "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3",
    "an unclosed text": "'''",
    "thousands of signs": header(shape="(" + "-" * 900 + "4, 3)"),
    "thousands of brackets": "(" * 1000,
    "a long header": " " * 2000,
    "no dictionary": "[1, 2]",
    "a code": header(kind="<f4").replace("False", "print(1)"),
    "void": header(kind="|V0"),
    "text": header(kind="<U0"),
    "objects": header(kind="|O"),
    "complex numbers": header(kind="<c8"),
    "floats of one byte": header(kind="<f1"),
    "an empty side": header(shape="(0, 3)"),
    "a negative side": header(shape="(-4, -3)"),
    "a huge side": header(shape=f"({10**20}, 3)"),
    "two huge sides": header(shape=f"({2**31}, {2**31})"),
    "too few bytes": header(shape="(5, 3)"),
    "too many bytes": header(shape="(3, 3)"),
    "three sides": header(shape="(2, 2, 3)"),
    "sides of another kind": header(shape="(4.0, True)"),
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_a_wrong_header_is_refused(tmp_path, header):
    with pytest.raises(UsageError, match=r"k\.npy: not a \.npy of numbers"):
        npy.read_latents(file_of(tmp_path, header))


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_numbers_that_no_latent_can_have_are_refused(tmp_path, number):
    np.save(tmp_path / "k.npy", np.full((2, 3), number))
    with pytest.raises(UsageError, match="not finite"):
        npy.read_latents(tmp_path / "k.npy")


def test_what_is_not_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "absent"):
        with pytest.raises(UsageError, match="file"):
            npy.read_latents(tmp_path / name)
