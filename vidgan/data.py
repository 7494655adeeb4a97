"""Pictures from anywhere to uint8 [N, 3, H, W] of one size, decoded once into a mapped cache file.

What a source is shows by looking at it: a folder or zip of pictures, a film, a folder of films, a
set that torchvision downloads, or the footage that ships with vidgan. Promises: memory does not
grow with the data; an unreadable file costs only itself; the order of training is a function of the
seed and the images seen. Knows neither floats nor flips nor networks.
"""

import contextlib
import difflib
import errno
import functools
import hashlib
import importlib
import inspect
import io
import itertools
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import time
import types
import typing
import warnings
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

from vidgan import video
from vidgan.bundled import bundled
from vidgan.config import DataConfig
from vidgan.errors import DataError, SystemFault

Notice = Callable[[str], None]  # takes one line that the user should know and did not ask for
Size = tuple[int, int]  # width, height in pixels

READS = (
    "vidgan reads folders and zip files of JPEG, PNG, WebP, GIF, BMP and TIFF, video files and "
    'folders of them, torchvision:NAME, and "earth".'
)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
)
MAX_PIXELS = 100_000_000  # of one picture, by its header; a 100-megapixel camera just passes
CACHE_FORMAT = 1  # of the cache; a change here, or in how pixels are made, rebuilds every cache


@dataclass(frozen=True)
class Dataset:
    """Pictures ready for training. Fewer than a batch, even one, will do: `order` repeats them."""

    name: str  # short, for the run folder: "earth", "cifar10", a folder's name
    images: np.ndarray  # uint8 [N, 3, H, W], memory-mapped, read-only
    labels: np.ndarray | None  # int32 [N]
    class_names: tuple[str, ...]  # of label 0, 1, ...; empty without labels
    fingerprint: str  # hex; of the pixels and labels themselves, so that no move or copy changes it
    skipped: tuple[str, ...]  # names of files that could not be read


def open_dataset(config: DataConfig, *, width: int, height: int, notice: Notice) -> Dataset:
    """Open the cache of these data at this size; build it first where it is missing or outdated.

    Pictures are cropped about their centre to the aspect ratio asked for, then resized. Raises
    DataError (nothing there, or too much of it unreadable) and SystemFault (disk).
    """
    source, size = _find(config), (width, height)
    key = _digest([CACHE_FORMAT, size, *source.identity()])
    folder = cache_root() / f"{source.name}-{width}x{height}-{key[:16]}"
    if _read_meta(folder) is None:
        _build(folder, source, config, size, notice)
    meta = _read_meta(folder)
    if meta is None:
        raise SystemFault(f"{folder}: a cache just written reads back damaged; check the disk.")
    _judge(source.where, meta["files"], meta["faults"], config)
    for line in meta["notices"]:
        notice(line)
    if skipped := tuple(name for name, _ in meta["faults"]):
        notice(f"{source.where}: {len(skipped)} unreadable, skipped: {_first(meta['faults'])}.")
    shape = (meta["count"], 3, height, width)
    return Dataset(
        name=source.name,
        images=np.memmap(folder / "images.u8", np.uint8, "r", shape=shape),
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
    with _quiet_pillow():
        shapes = list(_find(config).shapes())
    if not shapes:
        return 64, 64
    low, aspect, high = np.quantile([width / height for width, height in shapes], (0.1, 0.5, 0.9))
    if high / low > 1.5:  # 4:3 beside 16:9 is one look, portrait beside landscape is not
        return 64, 64
    long = min(256, 8 * math.floor(8 * max(aspect, 1 / aspect) + 0.5))
    return (long, 64) if aspect >= 1 else (64, long)


def batch(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Copy pictures out of the cache: uint8 [B, 3, H, W]."""
    return np.ascontiguousarray(np.asarray(dataset.images)[indices])


def order(*, seed: int, images_seen: int, count: int, dataset_size: int) -> np.ndarray:
    """Which pictures a run looks at as its images_seen-th and following: int64 [count].

    Each epoch is a permutation of the data that depends on (seed, epoch) only, so that a resumed
    run goes on where it was, whatever its batch size. Data smaller than a batch repeat within it.
    """
    assert seed >= 0 and images_seen >= 0 and dataset_size >= 1
    parts = [np.empty(0, np.int64)]
    position, end = images_seen, images_seen + count
    while position < end:
        epoch, start = divmod(position, dataset_size)
        parts.append(_permutation(seed, epoch, dataset_size)[start : start + end - position])
        position += len(parts[-1])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    # NumPy keeps the raw words of a bit generator for ever; Generator.permutation may change.
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch,))).random_raw(size)
    permutation = np.argsort(words, kind="stable")
    permutation.flags.writeable = False
    return permutation


# Sources. Each is found by names and sizes alone; pictures are decoded when they are asked for.


class Picture(NamedTuple):
    """One picture at its final size, or the reason why there is none."""

    name: str
    pixels: np.ndarray | None = None  # uint8 [H, W, 3]
    label: int | None = None
    fault: str = ""


class Source(Protocol):
    where: str  # as the user wrote it
    name: str  # short, safe in a file name

    def identity(self) -> Iterable[object]: ...  # JSON; differs when the pictures would
    def shapes(self) -> Iterator[Size]: ...  # as displayed; of at most 64 items
    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]: ...
    def files(self) -> int: ...  # that could each turn out unreadable
    def class_names(self) -> Sequence[str]: ...


def _find(config: DataConfig) -> Source:
    """Tell by looking what config.source is. Raises DataError."""
    try:
        return _look(config.source, config)
    except (OSError, ValueError) as error:  # a folder without permission, a name that cannot be
        place = getattr(error, "filename", None) or config.source
        raise DataError(f"{place}: cannot be looked at ({_reason(error)}).") from error


def _look(where: str, config: DataConfig) -> Source:
    if where == "earth":
        return _Films(where=where, name="earth", config=config, paths=[bundled("assets/earth.mp4")])
    if where.startswith("torchvision:"):
        name = where.removeprefix("torchvision:").lower()
        return _Torchvision(where=where, name=name, config=config)
    path = Path(where).expanduser()
    if where and path.is_dir():
        return _look_into_folder(where, path, config)
    if path.is_file() and path.suffix.lower() in video.VIDEO_SUFFIXES:
        return _Films(where=where, name=_slug(path.stem), config=config, paths=[path])
    if path.is_file() and _starts_like_zip(path):
        return _look_into_zip(where, path, config)
    what = "not something to train on" if path.exists() else "there is no such file or folder"
    raise DataError(f'"{where}": {what}. {READS}')


def _look_into_folder(where: str, folder: Path, config: DataConfig) -> Source:
    files = sorted(path.relative_to(folder).as_posix() for path in _walk(folder))
    name = _slug(folder.resolve().name)
    if members := [file for file in files if _suffix(file) in SUFFIXES]:
        return _Stills(
            where=where,
            name=name,
            config=config,
            files_found=files,
            members=members,
            stamps=[str(folder.resolve()), *([file, *_stamp(folder / file)] for file in members)],
            opened=functools.partial(_opened_folder, folder),
        )
    if films := [folder / file for file in files if _suffix(file) in video.VIDEO_SUFFIXES]:
        return _Films(where=where, name=name, config=config, paths=films)
    raise _nothing_in(where, files)


def _look_into_zip(where: str, path: Path, config: DataConfig) -> Source:
    with _archive(path) as archive:
        members, files = sorted(_zip_members(where, archive)), archive.namelist()
    if not members:
        raise _nothing_in(where, files)
    return _Stills(
        where=where,
        name=_slug(path.stem),
        config=config,
        files_found=files,
        members=members,
        stamps=[str(path.resolve()), *_stamp(path)],
        opened=functools.partial(_opened_zip, path),
    )


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "data"


def _nothing_in(where: str, files: Iterable[str]) -> DataError:
    return DataError(f"{where}: nothing in it to train on ({_kinds(files) or 'empty'}). {READS}")


def _kinds(files: Iterable[str]) -> str:
    """Count files by suffix: "12 x .heic, 1 x .json"."""
    kinds = Counter(_suffix(name) or "no suffix" for name in files if not name.endswith("/"))
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(3))


def _walk(folder: Path) -> Iterator[Path]:
    """All plain files below, links followed, but no folder twice: links may go in circles."""

    def refuse(error: OSError) -> typing.NoReturn:
        raise error

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = Path(here).resolve()
        folders[:] = [] if real in seen else sorted(f for f in folders if not _is_hidden(f))
        if real not in seen:
            yield from (p for f in files if not _is_hidden(f) and (p := Path(here, f)).is_file())
        seen.add(real)


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million names, of zips too


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _parts(member: str) -> list[str]:
    # A zip may say ../../x or C:\x; nothing is ever written under such a name.
    return [part for part in re.split(r"[/\\]", member) if part not in ("", ".", "..")]


def _classes(members: Sequence[str]) -> tuple[list[int | None], tuple[str, ...]]:
    """A label for each member, where all lie in two or more folders below the one they share."""
    folders = [_parts(member)[:-1] for member in members]
    ends = zip(min(folders), max(folders), strict=False)  # what these share, all between share too
    shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], ends)))
    tops = [folder[shared] if len(folder) > shared else "" for folder in folders]
    names = sorted(set(tops))
    if "" in names or len(names) < 2:
        return [None] * len(members), ()
    label = {name: index for index, name in enumerate(names)}
    return [label[top] for top in tops], tuple(names)


def _spread(items: Sequence) -> Sequence:
    """At most 64 of the items, evenly spaced."""
    return [items[i * len(items) // 64] for i in range(64)] if len(items) > 64 else items


Opener = Callable[[], AbstractContextManager[Callable[[str], BinaryIO]]]


@dataclass(frozen=True, kw_only=True)
class _Stills:
    """Single pictures: the members of a folder or of a zip."""

    where: str
    name: str
    config: DataConfig
    files_found: Sequence[str]  # of every kind
    members: Sequence[str]  # those that should be pictures, sorted
    stamps: Sequence[object]  # names, sizes and times
    opened: Opener

    def identity(self) -> Iterable[object]:
        return ["stills", self.config.background, *self.stamps]

    def files(self) -> int:
        return len(self.members)

    def class_names(self) -> Sequence[str]:
        return _classes(self.members)[1]

    def shapes(self) -> Iterator[Size]:
        with self.opened() as open_member:
            for member in _spread(self.members):
                with contextlib.suppress(Exception), open_member(member) as file:
                    yield _display_size(_open_picture(file))

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        other = [file for file in self.files_found if _suffix(file) not in SUFFIXES | {".txt"}]
        if kinds := _kinds(file for file in other if not any(map(_is_hidden, _parts(file)))):
            notice(f"{self.where}: passed over what is no picture ({kinds}).")
        labels, _ = _classes(self.members)
        # Decoding leaves Python's lock: two threads on two cores took 0.6 of the time of one.
        with self.opened() as open_member, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

            def decode(job: tuple[str, int | None]) -> Picture:
                member, label = job
                try:
                    with open_member(member) as file:
                        image = _open_picture(file)
                        return Picture(member, _fitted(image, size, self.config.background), label)
                except Exception as error:  # decoders raise all sorts of things on hostile bytes
                    return Picture(member, fault=_reason(error))

            jobs = zip(self.members, labels, strict=True)
            while chunk := list(itertools.islice(jobs, 128)):  # bounds what waits to be written
                yield from pool.map(decode, chunk)


@contextlib.contextmanager
def _opened_folder(folder: Path) -> Iterator[Callable[[str], BinaryIO]]:
    yield lambda member: (folder / member).open("rb")


# Zip files: read in place, within limits, so that nothing in one can write, or fill memory.

MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 256 * 2**20
MAX_RATIO = 200  # of a member above 1 MiB; photographs reach 2, flat drawings in BMP some tens


class _Zip(io.FileIO):
    """Refuses the one large read that `zipfile` ever does: of a directory with too many members."""

    def read(self, size: int = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        if left > 128 * MAX_MEMBERS and not 0 <= size <= 128 * MAX_MEMBERS:  # bytes
            raise DataError(f"{self.name}: its directory is too long; at most {MAX_MEMBERS} files.")
        return super().read(size)


def _starts_like_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with contextlib.ExitStack() as stack:
        try:
            archive = zipfile.ZipFile(stack.enter_context(_Zip(path)))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{path}: damaged or no zip file ({_reason(error)}).") from error
        yield stack.enter_context(archive)


def _zip_members(where: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The pictures in it by name. Raises DataError for what no honest zip of pictures holds."""
    if len(archive.infolist()) > MAX_MEMBERS:
        raise DataError(f"{where}: more than {MAX_MEMBERS} files; unpack it, give the folder.")
    members = {
        info.filename: info
        for info in archive.infolist()
        if _suffix(info.filename) in SUFFIXES
        and not any(map(_is_hidden, _parts(info.filename)))
        and not stat.S_ISLNK(info.external_attr >> 16)
    }
    for name, info in members.items():
        if info.flag_bits & 1:
            raise DataError(f"{where}: {_shown(name)} is encrypted; give a zip without password.")
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > MAX_MEMBER_BYTES or (info.file_size > 2**20 and ratio > MAX_RATIO):
            raise DataError(
                f"{where}: {_shown(name)} would unpack to {info.file_size / 1e6:.0f} MB, "
                f"{ratio:.0f} times its size in the zip; leave it out, or unpack the zip yourself."
            )
    return members


@contextlib.contextmanager
def _opened_zip(path: Path) -> Iterator[Callable[[str], BinaryIO]]:
    with _archive(path) as archive:
        yield lambda member: io.BytesIO(archive.read(member))


@dataclass(frozen=True, kw_only=True)
class _Films:
    """Frames of one or more films."""

    where: str
    name: str
    config: DataConfig
    paths: Sequence[Path]

    def identity(self) -> Iterable[object]:
        yield from ("films", self.config.every, self.config.min_change)
        yield from ([str(path.resolve()), *_stamp(path)] for path in self.paths)

    def files(self) -> int:
        return len(self.paths)

    def class_names(self) -> Sequence[str]:
        return ()

    def shapes(self) -> Iterator[Size]:
        for path in _spread(self.paths):
            with contextlib.suppress(DataError):
                info = video.probe(path)
                yield info.width, info.height

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        kept = None
        for path in self.paths:
            try:
                for frame in video.read_frames(path, every=self.config.every, notice=notice):
                    pixels = _resized(Image.fromarray(frame), size)
                    if kept is None or _change(pixels, kept) >= self.config.min_change:
                        kept = pixels
                        yield Picture(path.name, pixels)
            except DataError as error:
                if len(self.paths) == 1:
                    raise
                yield Picture(path.name, fault=str(error))


def _change(pixels: np.ndarray, kept: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(pixels.astype(np.int16) - kept).mean())


@dataclass(frozen=True, kw_only=True)
class _Torchvision:
    """A named set that torchvision fetches into the cache folder, or makes up."""

    where: str
    name: str
    config: DataConfig

    def identity(self) -> Iterable[object]:
        # What stands behind a name is pinned by torchvision.
        return ["torchvision", self.name, self.config.background]

    @functools.cached_property
    def _dataset(self) -> typing.Any:
        return _open_torchvision(self.name)

    def files(self) -> int:
        return len(self._dataset)

    def class_names(self) -> Sequence[str]:
        names = getattr(self._dataset, "classes", None) or ()
        return [str(name) for name in names]

    def shapes(self) -> Iterator[Size]:
        for index in _spread(range(self.files())):
            yield self._dataset[index][0].size

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        for index in range(self.files()):
            try:
                image, target, *_ = self._dataset[index]
                label = int(target) if isinstance(target, int | np.integer) else None
                yield Picture(str(index), _fitted(image, size, self.config.background), label)
            except Exception as error:  # its files are as good as any
                yield Picture(str(index), fault=_reason(error))


def _open_torchvision(name: str) -> typing.Any:
    known = _torchvision_sets()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["cifar10", "mnist", "celeba"]
        raise DataError(
            f"torchvision:{name}: no such set of pictures in torchvision; did you mean "
            f"{' or '.join(f'torchvision:{other}' for other in close)}?"
        )
    folder = cache_root() / "torchvision" / name
    with _disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = {"root": str(folder), "download": True}
    accepted = inspect.signature(known[name]).parameters
    try:
        dataset = known[name](**{key: wanted[key] for key in wanted if key in accepted})
        first = dataset[0][0]
    except Exception as error:  # no network, an address that moved, a package that is missing
        full = getattr(error, "errno", None) == errno.ENOSPC
        raise (SystemFault if full else DataError)(
            f"torchvision:{name}: cannot be fetched ({_reason(error)}). Check network and disk, or "
            f"put its files into {folder} as torchvision wants them."
        ) from error
    if not isinstance(first, Image.Image):
        raise DataError(f"torchvision:{name}: holds no single pictures. {READS}")
    return dataset


def _torchvision_sets() -> dict[str, type]:
    """Lower-case name to class, for the sets that need nothing but a folder."""
    datasets = import_torchvision().datasets
    found = {}
    for name in set(datasets.__all__) - {"ImageFolder", "VisionDataset"}:
        parameters = inspect.signature(getattr(datasets, name)).parameters
        needed = {p.name for p in parameters.values() if p.default is p.empty}
        if needed <= {"root"} and "transform" in parameters:
            found[name.lower()] = getattr(datasets, name)
    return found


_declared: list[object] = []  # a declaration lives as long as its Library object


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
            if not missing or len(_declared) >= 16:
                raise
            for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
                del sys.modules[module]  # half imported
            _declare(missing[1])


def _declare(operator: str) -> None:
    import torch

    # The schema of nms and qnms. Of another operator it would be wrong, and just as unused.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


# One picture: any mode, any size, to uint8 [H, W, 3].


def _open_picture(file: BinaryIO) -> Image.Image:
    """Look at the header only. Raises whatever Pillow raises, and DataError above MAX_PIXELS."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels; {MAX_PIXELS:,} at most")
    return image


def _display_size(image: Image.Image) -> Size:
    turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation
    return (image.height, image.width) if turned else image.size


def _fitted(image: Image.Image, size: Size, background: str) -> np.ndarray:
    """Frame 0, upright, as RGB at the final size: uint8 [H, W, 3]. Colour profiles are ignored."""
    # A JPEG can decode at 1/2, 1/4 or 1/8, a tenth of the time for 12 megapixels; twice the final
    # size is left for the filter, and pixels differ by a grey level or two.
    image.draft(None, (2 * max(size),) * 2)
    image = _without_odd_modes(ImageOps.exif_transpose(image))
    if image.mode != "RGBA":
        return _resized(image, size)
    ground = Image.new("RGBA", size, f"#{background.removeprefix('#')}")
    return _array(Image.alpha_composite(ground, _fit(image, size)))


def _without_odd_modes(image: Image.Image) -> Image.Image:
    """To RGB, or RGBA where anything may be transparent."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError("32-bit grey has no agreed white; save it with 8 or 16 bits")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resized(image: Image.Image, size: Size) -> np.ndarray:
    return _array(_fit(image, size))


def _fit(image: Image.Image, size: Size) -> Image.Image:
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)  # crops about the centre


def _array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., :3]


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Pillow warns of large pictures and odd files; here they are read, or named as unreadable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"  # Pillow would name an object in memory
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _first(faults: Sequence[Sequence[str]]) -> str:
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    return "; ".join(f"{_shown(name)}: {reason}" for name, reason in faults[:5]) + more


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


def cache_root() -> Path:
    """VIDGAN_CACHE, or vidgan's folder in the place where the platform keeps caches."""
    if given := os.environ.get("VIDGAN_CACHE"):
        return Path(given).expanduser().resolve()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "vidgan"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/vidgan"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidgan"


def _digest(items: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item).encode() + b"\n")
    return digest.hexdigest()


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


@contextlib.contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SystemFault(
            f"{folder}: cannot be written ({error.strerror or error}). Free some space, or set "
            "VIDGAN_CACHE to a folder on another disk."
        ) from error


def _build(folder: Path, source: Source, config: DataConfig, size: Size, notice: Notice) -> None:
    """Decode everything once into `folder`. Several processes may do so at once; the first wins."""
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    with _disk_faults(folder.parent):
        try:
            temporary.mkdir(parents=True)
            _remove_abandoned(folder)
            _check_space(temporary, source.files() * 3 * size[0] * size[1])
            notice(f"{source.where}: decoding once into {folder}")
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
    pictures = source.pictures(size, notices.append)
    with (folder / "images.u8").open("wb") as images, _quiet_pillow(), contextlib.closing(pictures):
        for name, pixels, label, fault in pictures:
            if pixels is None:
                faults.append((name, fault))
                continue
            planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # [3, H, W]
            images.write(planes)
            digest.update(planes)
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
        # Another process was quicker; what it made is equal.
