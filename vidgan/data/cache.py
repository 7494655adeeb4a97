"""Pictures from anywhere, decoded once into a file of uint8 [N, H, W, 3] that is memory-mapped."""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import signal
import time
import warnings
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidgan.config import DataConfig
from vidgan.data.downloads import PACKED
from vidgan.data.pictures import Size, sides_for
from vidgan.data.sources import READS, Films, Source, find
from vidgan.disk import files, locks
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, Interrupted, SystemFault

logger = logging.getLogger(__name__)
# Takes how many items are decoded, and of how many; of 0 while another process decodes them.
Progress = Callable[[int, int], None]
_BEGUN, _SAVE_EVERY_S = "begun.json", 1.0
_LONG, _SOME = 2000, 256  # frames of a film that is worth an early start, and those it starts with
CACHE_FORMAT = 4  # to be raised when the cache or the making of pixels changes; rebuilds all caches


@dataclass(frozen=True)
class Dataset:
    """Pictures ready for training. They may be fewer than a batch, for `order` repeats them."""

    name: str  # short, for the run folder: "earth", "cifar10", a folder's name
    _frames: np.ndarray  # uint8 [N, H, W, 3 or 4], memory-mapped, read-only
    labels: np.ndarray | None  # int32 [N]
    class_names: tuple[str, ...]  # of label 0, 1, ...; empty without labels
    fingerprint: str  # hex, of the pixels and labels; a copy of the data has the same; "" = some
    grey: bool  # in every pixel, red, green and blue are equal
    whole: "Later | None" = None  # of these pictures, which are some of those of a film

    def __len__(self) -> int:
        return len(self._frames)

    def has_holes(self) -> bool:
        """Whether some pixels are transparent, and stay so."""
        return self._frames.shape[3] == 4 and any((x[..., 3] < 255).any() for x in self._frames)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Copy pictures out of the cache: uint8 [B, H, W, 3], or 4 with data.alpha."""
        return np.asarray(self._frames)[indices]


class Later:
    """A data set that is still being decoded, by a thread."""

    def __init__(self, source: Source, folder: Path, size: Size, total: int) -> None:
        self._stopped, pool = False, ThreadPoolExecutor(1, "decoding")
        self.progress = 0, total  # how many are decoded, and about how many there are
        self._found = pool.submit(_open, source, folder, size, self._check)
        pool.shutdown(wait=False)

    def _check(self, done: int, total: int) -> None:
        self.progress = done, total
        if self._stopped:
            raise Interrupted(signal.SIGINT)

    def is_there(self) -> bool:
        return self._found.done()

    def get(self) -> Dataset:
        """Wait for it. Raises what `open_dataset` does."""
        return self._found.result()

    def stop(self) -> None:
        """Leave it for another time. What was decoded is kept."""
        self._stopped = True
        with contextlib.suppress(BaseException):
            self._found.result()


def open_dataset(
    config: DataConfig,
    *,
    width: int,
    height: int,
    progress: Progress = lambda done, total: None,
    early: bool = False,
) -> Dataset:
    """Open the cache of these data at this size. Build it first where it is missing or outdated.

    Pictures are cropped about their centre, then resized. Raises DataError and SystemFault.

    progress   called with how many are decoded, and about how many there are
    early      of a long film that is not decoded yet, give some pictures now and the rest later
    """
    source, size = find(config), (width, height)
    for note in source.notes():
        logger.warning(f"{config.source}: left out {note}.")
    if config.source in ("earth", *PACKED) and Path(config.source).exists():
        logger.warning(f"{config.source}: the set of that name; yours here is ./{config.source}")
    if config.every > 1 and not source.has_frames:
        logger.warning(f"{config.source}: no film, so every = {config.every} changes nothing.")
    facts = [json.dumps(fact) + "\n" for fact in (CACHE_FORMAT, size, *source.identity())]
    key = hashlib.sha256("".join(facts).encode()).hexdigest()[:16]
    folder = cache_root() / f"{source.name}-{width}x{height}-{key}"
    if early and not config.alpha and isinstance(source, Films) and not _read_meta(folder):
        total = source.items()
        if total > _LONG and len(some := source.some(size, _SOME)) >= _SOME // 4:
            logger.info(
                f"{config.source}: training begins with {len(some)} of its {total:,} frames, while "
                "the others are decoded"
            )
            later = Later(source, folder, size, total)
            return Dataset(source.name, some, None, (), "", False, later)
    return _open(source, folder, size, progress)


def _open(source: Source, folder: Path, size: Size, progress: Progress) -> Dataset:
    config, (width, height) = source.config, size
    meta = _read_meta(folder) or _build(folder, source, size, progress)
    _check_unreadable(config, meta["files"], meta["faults"])
    for line in meta["notices"]:
        logger.warning(line)
    if faults := meta["faults"]:
        logger.warning(f"{config.source}: {len(faults)} unreadable, skipped: {_first(faults)}.")
    shape = (meta["count"], height, width, _planes(source))
    return Dataset(
        name=source.name,
        _frames=np.memmap(folder / "images.u8", np.uint8, "r", shape=shape),
        labels=np.fromfile(folder / "labels.i32", np.int32) if meta["class_names"] else None,
        class_names=tuple(meta["class_names"]),
        fingerprint=meta["fingerprint"],
        grey=meta["grey"],
    )


def native_size(config: DataConfig) -> Size:
    """The width and height that suit the data, as `pictures.sides_for` finds them.

    It follows from at most 64 items, evenly spaced. It is square where aspect ratios differ widely
    and where nothing can be read, which `open_dataset` reports. Raises DataError without any item.
    """
    with warnings.catch_warnings(action="ignore"):  # Pillow warns of large and of odd files
        shapes = list(find(config).shapes())
    if not shapes:
        return 64, 64
    low, aspect, high = np.quantile([width / height for width, height in shapes], (0.1, 0.5, 0.9))
    if high / low > 1.5:  # 4:3 beside 16:9 is one look, portrait beside landscape is not
        return 64, 64
    return sides_for(aspect)


def spread(dataset: Dataset) -> float:
    """Mean squared difference of two pictures, over values in [-1, 1], from 500 of them."""
    some = dataset.take(np.linspace(0, len(dataset) - 1, 500).astype(int))
    planes = np.ascontiguousarray(some.transpose(0, 3, 1, 2))  # [N, 3, H, W]
    return float(2 * (planes / np.float32(127.5)).var(0).mean())


def different(dataset: Dataset) -> int:
    """How many pictures are not the same, among 64 of them."""
    some = dataset.take(np.linspace(0, len(dataset) - 1, 64).astype(int))
    return len({picture.tobytes() for picture in some})


def _first(faults: Sequence[Sequence[str]]) -> str:
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return "; ".join(f"{name}: {reason}" for name, reason in faults[:5]) + more


def _check_unreadable(config: DataConfig, count: int, faults: list) -> None:
    """Raise DataError if more of `count` files are unreadable than the settings allow."""
    allowed = int(config.max_bad * count)
    if config.max_bad and count >= 20:
        allowed = max(1, allowed)
    if len(faults) <= allowed:
        return
    good = count - len(faults)
    enough = (len(faults) + 0.5) / count
    way_out = f" To skip them, say in a recipe: [data] max_bad = {enough:.4g}" if good else ""
    raise DataError(
        f"{config.source}: {good} of {count} files could be read as images "
        f"(first: {_first(faults)}). {READS}{way_out}"
    )


def _read_meta(folder: Path) -> dict | None:
    """What the cache in this folder holds; None where there is none or it is damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        whole = (folder / "images.u8").stat().st_size == meta["image_bytes"]
        if meta["class_names"]:
            whole &= (folder / "labels.i32").stat().st_size == 4 * meta["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if whole else None


def _build(folder: Path, source: Source, size: Size, progress: Progress) -> dict:
    """Decode everything once into `folder`. Other processes that want the same wait for it."""
    lock = folder.with_name(f".{folder.name}.lock")
    with locks.locked(lock, waiting=lambda: progress(0, 0)):
        if meta := _read_meta(folder):
            return meta  # another process has just built it
        logger.info(f"{source.config.source}: decoding once into {folder}")
        if isinstance(source, Films):
            with files.disk_faults(folder):
                return _build_on(folder, source, size, progress)
        with files.whole(folder) as part:
            part.mkdir()
            _check_space(part, source.files() * _planes(source) * size[0] * size[1])
            return _write(part, source, size, progress)


def _build_on(folder: Path, source: Films, size: Size, progress: Progress) -> dict:
    """The same of films. After a kill or an interrupt, what was decoded stays beside the folder,
    and the next one goes on there. It deletes what is left of other states of these films."""
    begun = folder.with_name(f".{folder.name}.begun")
    for other in folder.parent.glob(f".{source.name}-{size[0]}x{size[1]}-*.begun"):
        # It may be of another film of that name, or another process may be writing it.
        if other != begun and _begun(other, 0)["source"] in ("", _place(source)):
            with (
                contextlib.suppress(SystemFault),
                locks.locked(other.with_suffix(".lock"), busy="-"),
            ):
                files.remove(other)
    begun.mkdir(exist_ok=True)
    try:
        meta = _write(begun, source, size, progress)
        files.remove(folder)  # if there is one, it is damaged
        files.publish(begun, folder)
        if alike := meta["seen"] - meta["count"] - len(meta["faults"]):
            said = f"left out {alike:,} of {meta['seen']:,} frames, too like the last one taken"
            logger.info(f"{source.config.source}: {said} (data.min_change)")
    except KeyboardInterrupt:
        logger.info(f"{source.config.source}: what is decoded is kept; the next run goes on there")
        raise
    except Exception:
        files.remove(begun)
        raise
    return meta


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        mb_needed, mb_free = needed_bytes // 10**6 + 1, free_bytes // 10**6
        raise OSError(errno.ENOSPC, f"these pictures need {mb_needed} MB, {mb_free} MB are free")


def _write(folder: Path, source: Source, size: Size, progress: Progress) -> dict:
    """Stream pictures into images.u8, labels.i32 and meta.json. Few are in memory at a time."""
    shape = (size[1], size[0], _planes(source))
    begun, total = _begun(folder, math.prod(shape)), source.items()
    done, faults, notices = begun["done"], begun["faults"], begun["notices"]
    labels, digest, grey, last = array("i"), hashlib.sha256(), True, None
    with (
        warnings.catch_warnings(action="ignore"),
        (folder / "images.u8").open("a+b") as images,
    ):
        images.truncate(begun["count"] * math.prod(shape))
        images.seek(0)
        decoded = (images.read(math.prod(shape)) for _ in range(begun["count"]))
        for last in (np.frombuffer(part, np.uint8).reshape(shape) for part in decoded):
            digest.update(last)
            grey = grey and bool((last == last[..., :1]).all())
            labels.append(-1)
        more = (begun["place"], last) if begun["place"] else ()
        save_at = time.monotonic() + _SAVE_EVERY_S
        with contextlib.closing(source.pictures(size, _once(notices), *more)) as pictures:
            for name, pixels, label, fault, place in pictures:
                done += 1
                progress(done, max(done, total))
                if fault:
                    faults.append((name, fault))
                elif pixels is not None:
                    pixels = np.ascontiguousarray(pixels)
                    images.write(pixels)
                    digest.update(pixels)
                    grey = grey and bool((pixels == pixels[..., :1]).all())
                    labels.append(-1 if label is None else label)
                if place and time.monotonic() > save_at:
                    images.flush()
                    now = {"count": len(labels), "done": done, "place": place}
                    now |= {"faults": faults, "notices": notices, "source": _place(source)}
                    files.write_bytes(folder / _BEGUN, json.dumps(now).encode())
                    save_at = time.monotonic() + _SAVE_EVERY_S
        image_bytes = images.tell()
        images.flush()
        os.fsync(images.fileno())
    files.remove(folder / _BEGUN)
    _check_unreadable(source.config, source.files(), faults)
    class_names = _class_names(source, labels)
    if class_names:
        (folder / "labels.i32").write_bytes(labels.tobytes())
        digest.update(labels)
    meta = {
        "count": len(labels),
        "image_bytes": image_bytes,
        "files": source.files(),
        "seen": done,
        "class_names": class_names,
        "fingerprint": digest.hexdigest(),
        "grey": grey,
        "faults": faults,
        "notices": notices,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return meta


def _once(lines: list[str]) -> Callable[[str], None]:
    """What appends a line that is not there yet."""
    return lambda line: line in lines or lines.append(line)


def _planes(source: Source) -> int:
    return 4 if source.config.alpha else 3


def _begun(folder: Path, picture_bytes: int) -> dict:
    """How far an earlier try came."""
    begun = {"source": "", "count": 0, "done": 0, "place": None, "faults": [], "notices": []}
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = begun | json.loads((folder / _BEGUN).read_text(encoding="utf-8"))
        if (folder / "images.u8").stat().st_size >= found["count"] * picture_bytes:
            return found
    return begun


def _place(source: Source) -> str:
    return str(Path(source.config.source).expanduser().resolve())


def _class_names(source: Source, labels: Sequence[int]) -> list[str]:
    """A name for every label, if only its number; empty where there are no labels."""
    if min(labels, default=-1) < 0:
        return []
    names = list(source.class_names())
    return names if len(names) > max(labels) else [str(i) for i in range(max(labels) + 1)]
