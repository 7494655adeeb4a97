"""Pictures from anywhere to uint8 [N, 3, H, W] of one size, decoded once into a mapped cache file.

Promises: memory does not grow with the data; an unreadable file costs only itself; the order of
training is a function of the seed and the images seen. Knows neither floats nor flips nor networks.
"""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import time
import warnings
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidgan.config import DataConfig
from vidgan.data.pictures import Size, shown
from vidgan.data.sources import READS, Source, find
from vidgan.disk.files import disk_faults
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, SystemFault

logger = logging.getLogger(__name__)

CACHE_FORMAT = 2  # of the cache; a change here, or in how pixels are made, rebuilds every cache


@dataclass(frozen=True)
class Dataset:
    """Pictures ready for training. Fewer than a batch, even one, will do: `order` repeats them."""

    name: str  # short, for the run folder: "earth", "cifar10", a folder's name
    frames: np.ndarray  # uint8 [N, H, W, 3], memory-mapped, read-only
    labels: np.ndarray | None  # int32 [N]
    class_names: tuple[str, ...]  # of label 0, 1, ...; empty without labels
    fingerprint: str  # hex; of the pixels and labels themselves, so that no move or copy changes it
    skipped: tuple[str, ...]  # names of files that could not be read

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Copy pictures out of the cache: uint8 [B, H, W, 3]."""
        return np.asarray(self.frames)[indices]


def open_dataset(config: DataConfig, *, width: int, height: int) -> Dataset:
    """Open the cache of these data at this size; build it first where it is missing or outdated.

    Pictures are cropped about their centre to the aspect ratio asked for, then resized. Raises
    DataError (nothing there, or too much of it unreadable) and SystemFault (disk).
    """
    source, size = find(config), (width, height)
    facts = [json.dumps(fact) + "\n" for fact in (CACHE_FORMAT, size, *source.identity())]
    key = hashlib.sha256("".join(facts).encode()).hexdigest()[:16]
    folder = cache_root() / f"{source.name}-{width}x{height}-{key}"
    if _read_meta(folder) is None:
        _build(folder, source, config, size)
    meta = _read_meta(folder)
    if meta is None:
        raise SystemFault(f"{folder}: a cache just written reads back damaged; check the disk.")
    _judge(source.where, meta["files"], meta["faults"], config)
    for line in meta["notices"]:
        logger.warning(line)
    if skipped := tuple(name for name, _ in meta["faults"]):
        logger.warning(
            f"{source.where}: {len(skipped)} unreadable, skipped: {_first(meta['faults'])}."
        )
    shape = (meta["count"], height, width, 3)
    return Dataset(
        name=source.name,
        frames=np.memmap(folder / "images.u8", np.uint8, "r", shape=shape),
        labels=np.fromfile(folder / "labels.i32", np.int32) if meta["class_names"] else None,
        class_names=tuple(meta["class_names"]),
        fingerprint=meta["fingerprint"],
        skipped=skipped,
    )


def native_size(config: DataConfig) -> Size:
    """The width and height that suit the data: short side 64, long side a multiple of 8 up to 256.

    Looks at no more than 64 items, spread over the data. Square where aspect ratios are mixed
    widely or nothing can be read (`open_dataset` says why). Raises DataError if there is nothing.
    """
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of large pictures and odd files
        shapes = list(find(config).shapes())
    if not shapes:
        return 64, 64
    low, aspect, high = np.quantile([width / height for width, height in shapes], (0.1, 0.5, 0.9))
    if high / low > 1.5:  # 4:3 beside 16:9 is one look, portrait beside landscape is not
        return 64, 64
    long = min(256, 8 * math.floor(8 * max(aspect, 1 / aspect) + 0.5))
    return (long, 64) if aspect >= 1 else (64, long)


def spread(dataset: Dataset) -> float:
    """Mean squared difference of the same value in two pictures, values being in [-1, 1]."""
    some = dataset.take(np.linspace(0, len(dataset) - 1, 500).astype(int))
    planes = np.ascontiguousarray(some.transpose(0, 3, 1, 2))  # [N, 3, H, W]
    return float(2 * (planes / np.float32(127.5)).var(0).mean())


def _first(faults: Sequence[Sequence[str]]) -> str:
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return "; ".join(f"{shown(name)}: {reason}" for name, reason in faults[:5]) + more


def _judge(where: str, files: int, faults: list, config: DataConfig) -> None:
    """Raise DataError if more files are unreadable than the settings let pass."""
    allowed = int(config.max_bad * files)
    if config.max_bad and files >= 20:
        allowed = max(1, allowed)
    if len(faults) <= allowed:
        return
    good = files - len(faults)
    way_out = f" To skip them, raise data.max_bad ({config.max_bad:g})." if good else ""
    raise DataError(
        f"{where}: {good} of {files} files could be read as images (first: {_first(faults)}). "
        f"{READS}{way_out}"
    )


# The cache: <name>-<size>-<key>/ with images.u8, labels.i32 and meta.json, whole or absent.


def _read_meta(folder: Path) -> dict | None:
    """What the cache in this folder holds; None if it is absent, cut or not ours."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        whole = (folder / "images.u8").stat().st_size == meta["image_bytes"]
        if meta["class_names"]:
            whole &= (folder / "labels.i32").stat().st_size == 4 * meta["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if whole else None


def _build(folder: Path, source: Source, config: DataConfig, size: Size) -> None:
    """Decode everything once into `folder`. Several processes may do so at once; the first wins."""
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    with disk_faults(folder.parent):
        try:
            temporary.mkdir(parents=True)
            _remove_abandoned(folder)
            _check_space(temporary, source.files() * 3 * size[0] * size[1])
            logger.info(f"{source.where}: decoding once into {folder}")
            _write(temporary, source, config, size)
            _publish(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """What a killed process left behind: nothing in it was written for a day."""
    for old in folder.parent.glob(f"{folder.name}.tmp-*"):
        with contextlib.suppress(OSError):  # another process may be removing it just now
            written = max(path.stat().st_mtime for path in (old, *old.iterdir()))
            if time.time() - written > 86_400:
                shutil.rmtree(old)


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        mb_needed, mb_free = needed_bytes // 10**6 + 1, free_bytes // 10**6
        raise OSError(errno.ENOSPC, f"these pictures need {mb_needed} MB, {mb_free} MB are free")


def _write(folder: Path, source: Source, config: DataConfig, size: Size) -> None:
    """Stream the pictures into `folder`; one at a time is in memory, and a few that wait."""
    faults, notices, labels, digest = [], [], array("i"), hashlib.sha256()
    with (
        warnings.catch_warnings(action="ignore"),  # Pillow's, as above
        (folder / "images.u8").open("wb") as images,
        contextlib.closing(source.pictures(size, notices.append)) as pictures,
    ):
        for name, pixels, label, fault in pictures:
            if pixels is None:
                faults.append((name, fault))
                continue
            pixels = np.ascontiguousarray(pixels)
            images.write(pixels)
            digest.update(pixels)
            labels.append(-1 if label is None else label)
        image_bytes = images.tell()
        images.flush()
        os.fsync(images.fileno())
    _judge(source.where, source.files(), faults, config)
    class_names = _class_names(source, labels)
    if class_names:
        (folder / "labels.i32").write_bytes(labels.tobytes())
        digest.update(labels)
    meta = {
        "count": len(labels),
        "image_bytes": image_bytes,
        "files": source.files(),
        "class_names": class_names,
        "fingerprint": digest.hexdigest(),
        "faults": faults,
        "notices": notices,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _class_names(source: Source, labels: Sequence[int]) -> list[str]:
    """A name for every label, if only its number; empty where there are no labels."""
    if min(labels, default=-1) < 0:
        return []
    names = list(source.class_names())
    return names if len(names) > max(labels) else [str(i) for i in range(max(labels) + 1)]


def _publish(temporary: Path, folder: Path) -> None:
    if folder.exists() and _read_meta(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)  # damaged after it was written
    try:
        temporary.rename(folder)
    except OSError:
        if _read_meta(folder) is None:
            raise
