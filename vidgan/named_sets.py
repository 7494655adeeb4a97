"""The sets of pictures that torchvision fetches by name, into the cache folder.

Knows how to get torchvision imported beside a torch that is not its own; knows no training.
"""

import difflib
import errno
import importlib
import inspect
import re
import sys
import types
import typing

from PIL import Image

from vidgan.bundled import cache_root, disk_faults
from vidgan.errors import DataError, SystemFault
from vidgan.pictures import reason


def open_set(name: str) -> typing.Any:
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
        dataset = known[name](**{key: wanted[key] for key in wanted if key in accepted})
        first = dataset[0][0]
    except Exception as error:  # no network, an address that moved, a package that is missing
        full = getattr(error, "errno", None) == errno.ENOSPC
        raise (SystemFault if full else DataError)(
            f"torchvision:{name}: cannot be fetched ({reason(error)}). Check network and disk, or "
            f"put its files into {folder} as torchvision wants them."
        ) from error
    if not isinstance(first, Image.Image):
        raise DataError(
            f"torchvision:{name}: holds no single pictures; choose a set of them, such as "
            "torchvision:cifar10."
        )
    return dataset


def _known_sets() -> dict[str, type]:
    """Lower-case name to class, for the sets that need nothing but a folder."""
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

    That is so where torch is a CPU build and torchvision is PyPI's, built for CUDA. The import then
    fails with "operator torchvision::nms does not exist": it tells torch's compiler about operators
    that only the compiled part declares. Data sets use none of them, so each that is missing (nms,
    then in newer versions qnms) is declared here, with no code behind it, and the import is tried
    again.
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

            # The schema of nms and qnms. Of another operator it would be wrong, and just as unused.
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            define(f"torchvision::{missing[1]}", schema)
