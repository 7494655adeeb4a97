"""Where pictures come from, told apart by looking: a folder or zip of pictures, a film, a folder of
films, a set that is fetched by its name, or the footage that ships with vidgan.

A source is found by names and sizes alone; its pictures are decoded when they are asked for, as a
stream. What is in a zip or a film is hostile until proved otherwise.
"""

import contextlib
import functools
import io
import itertools
import os
import re
import stat
import typing
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from vidgan.config import DataConfig
from vidgan.data import downloads
from vidgan.data.pictures import (
    SUFFIXES,
    Size,
    display_size,
    fitted,
    open_picture,
    reason,
    resized,
    shown,
)
from vidgan.disk.places import bundled
from vidgan.errors import DataError
from vidgan.film import reader
from vidgan.film.reader import Notice

READS = (
    "vidgan reads folders and zip files of JPEG, PNG, WebP, GIF, BMP and TIFF, video files and "
    'folders of them, torchvision:NAME, and "earth", "emoji" or "digits".'
)


class Picture(NamedTuple):
    """One picture at its final size, or the reason why there is none."""

    name: str
    pixels: np.ndarray | None = None  # uint8 [H, W, 3]
    label: int | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What `find` found. Each kind has methods of its own:

    identity    JSON; differs when the pictures would
    files       how many could each turn out unreadable
    shapes      sizes as displayed, of at most 64 items
    pictures    all of them, in order
    """

    where: str  # as the user wrote it
    name: str  # short, safe in a file name
    config: DataConfig

    def class_names(self) -> Sequence[str]:
        return ()


def find(config: DataConfig) -> Source:
    """Tell by looking what config.source is. Raises DataError."""
    try:
        return _look(config.source, config)
    except (OSError, ValueError) as error:  # a folder without permission, a name that cannot be
        place = getattr(error, "filename", None) or config.source
        raise DataError(f"{place}: cannot be looked at ({reason(error)}).") from error


def _look(where: str, config: DataConfig) -> Source:
    if where == "earth":
        return _Films(where=where, name="earth", config=config, paths=[bundled("assets/earth.mp4")])
    if where.startswith("torchvision:"):
        name = where.removeprefix("torchvision:").lower()
        return _Torchvision(where=where, name=name, config=config)
    if where in downloads.PACKED:
        return _look_into_folder(where, downloads.unpacked_set(where), config)
    path = Path(where).expanduser()
    if where and path.is_dir():
        return _look_into_folder(where, path, config)
    if path.is_file() and path.suffix.lower() in reader.VIDEO_SUFFIXES:
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
            where=where, name=name, config=config, path=folder, found=files, members=members
        )
    if films := [folder / file for file in files if _suffix(file) in reader.VIDEO_SUFFIXES]:
        return _Films(where=where, name=name, config=config, paths=films)
    raise _nothing_in(where, files)


def _look_into_zip(where: str, path: Path, config: DataConfig) -> Source:
    with _archive(path) as archive:
        members, files = sorted(_zip_members(where, archive)), archive.namelist()
    if not members:
        raise _nothing_in(where, files)
    name = _slug(path.stem)
    return _Stills(where=where, name=name, config=config, path=path, found=files, members=members)


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
    try:
        status = path.stat()
    except OSError as error:  # gone since it was found
        raise DataError(f"{path}: cannot be looked at ({reason(error)}).") from error
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


@dataclass(frozen=True, kw_only=True)
class _Stills(Source):
    """Single pictures: the members of a folder or of a zip."""

    path: Path
    found: Sequence[str]  # files of every kind
    members: Sequence[str]  # those that should be pictures, sorted

    def identity(self) -> Iterable[object]:
        yield from ("stills", self.config.background, str(self.path.resolve()))
        if self.path.is_dir():
            yield from ([member, *_stamp(self.path / member)] for member in self.members)
        else:
            yield from _stamp(self.path)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Callable[[str], BinaryIO]]:
        """Yields what opens a member."""
        if self.path.is_dir():
            yield lambda member: (self.path / member).open("rb")
            return
        with _archive(self.path) as archive:
            yield lambda member: io.BytesIO(archive.read(member))

    def files(self) -> int:
        return len(self.members)

    def class_names(self) -> Sequence[str]:
        return _classes(self.members)[1]

    def shapes(self) -> Iterator[Size]:
        with self._opened() as open_member:
            for member in _spread(self.members):
                with contextlib.suppress(Exception), open_member(member) as file:
                    yield display_size(open_picture(file))

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        other = [file for file in self.found if _suffix(file) not in SUFFIXES | {".txt"}]
        if kinds := _kinds(file for file in other if not any(map(_is_hidden, _parts(file)))):
            notice(f"{self.where}: passed over what is no picture ({kinds}).")
        labels, _ = _classes(self.members)
        # Decoding leaves Python's lock: two threads on two cores took 0.6 of the time of one.
        with self._opened() as open_member, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

            def decode(member: str, label: int | None) -> Picture:
                try:
                    with open_member(member) as file:
                        image = open_picture(file)
                        return Picture(member, fitted(image, size, self.config.background), label)
                except Exception as error:  # decoders raise all sorts of things on hostile bytes
                    return Picture(member, fault=reason(error))

            jobs = zip(self.members, labels, strict=True)
            while chunk := list(itertools.islice(jobs, 128)):  # bounds what waits to be written
                yield from pool.map(decode, *zip(*chunk, strict=True))


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
            raise DataError(f"{path}: damaged or no zip file ({reason(error)}).") from error
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
            raise DataError(f"{where}: {shown(name)} is encrypted; give a zip without password.")
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > MAX_MEMBER_BYTES or (info.file_size > 2**20 and ratio > MAX_RATIO):
            raise DataError(
                f"{where}: {shown(name)} would unpack to {info.file_size / 1e6:.0f} MB, "
                f"{ratio:.0f} times its size in the zip; leave it out, or unpack the zip yourself."
            )
    return members


@dataclass(frozen=True, kw_only=True)
class _Films(Source):
    """Frames of one or more films."""

    paths: Sequence[Path]

    def identity(self) -> Iterable[object]:
        yield from ("films", self.config.every, self.config.min_change)
        yield from ([str(path.resolve()), *_stamp(path)] for path in self.paths)

    def files(self) -> int:
        return len(self.paths)

    def shapes(self) -> Iterator[Size]:
        for path in _spread(self.paths):
            with contextlib.suppress(DataError):
                yield reader.probe(path)

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        kept = None
        for path in self.paths:
            try:
                for frame in reader.read_frames(path, every=self.config.every, notice=notice):
                    pixels = resized(Image.fromarray(frame), size)
                    grey_levels = np.inf if kept is None else np.abs(pixels - kept).mean()
                    if grey_levels >= self.config.min_change:
                        kept = pixels.astype(np.int16)
                        yield Picture(path.name, pixels)
            except DataError as error:
                if len(self.paths) == 1:
                    raise
                yield Picture(path.name, fault=str(error))


class _Torchvision(Source):
    """A named set that torchvision fetches into the cache folder, or makes up."""

    def identity(self) -> Iterable[object]:
        # What stands behind a name is pinned by torchvision.
        return ["torchvision", self.name, self.config.background]

    @functools.cached_property
    def _dataset(self) -> typing.Any:
        return downloads.open_set(self.name)

    def files(self) -> int:
        return len(self._dataset)

    def class_names(self) -> Sequence[str]:
        return [str(name) for name in getattr(self._dataset, "classes", None) or ()]

    def shapes(self) -> Iterator[Size]:
        for index in _spread(range(self.files())):
            yield self._dataset[index][0].size

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        for index in range(self.files()):
            try:
                image, target, *_ = self._dataset[index]
                label = int(target) if isinstance(target, int | np.integer) else None
                yield Picture(str(index), fitted(image, size, self.config.background), label)
            except Exception as error:  # its files are as good as any
                yield Picture(str(index), fault=reason(error))
