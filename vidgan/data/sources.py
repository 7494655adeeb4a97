"""Where pictures come from: a folder or zip of pictures, a stack, a film or a folder of films, a
set that is fetched by its name, or the footage that ships with vidgan.

Pictures are decoded as a stream. What is in a file is hostile until proved otherwise.
"""

import contextlib
import functools
import io
import itertools
import os
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from vidgan.config import DataConfig
from vidgan.data import archives, downloads, folders, pictures, sequences
from vidgan.data.archives import is_hidden, parts, suffix
from vidgan.data.pictures import SUFFIXES, Size, reason
from vidgan.disk.places import bundled
from vidgan.errors import DataError
from vidgan.film import reader
from vidgan.film.reader import VIDEO_SUFFIXES, Notice, Place

READS = (
    "vidgan reads folders and zip files of JPEG, PNG, WebP, GIF, BMP and TIFF, TIFF stacks, films "
    "(video files, animated GIF, WebP and PNG), folders of films, torchvision:NAME, and "
    '"earth", "emoji" or "digits".'
)


class Picture(NamedTuple):
    """One picture at its final size, or the reason why there is none."""

    name: str
    pixels: np.ndarray | None = None  # uint8 [H, W, 3], or 4 with data.alpha
    label: int | None = None
    fault: str = ""
    place: tuple | None = None  # of a film: how far it was read, so that reading can go on there


@dataclass(frozen=True, kw_only=True)
class Source:
    """What `find` found. Each kind has methods of its own:

    identity    JSON; differs when the pictures would
    files       how many could each turn out unreadable
    items       about how many `pictures` gives
    shapes      sizes as displayed, of at most 64 items
    pictures    all of them, in order; of a film, what is too like the last is an empty one
    """

    config: DataConfig
    name: str  # short, safe in a file name
    left_out: tuple[str, ...] = ()  # of a folder, in words
    has_frames: ClassVar[bool] = False  # of which data.every takes some

    def notes(self) -> Sequence[str]:
        """What is not learned from."""
        return self.left_out

    def fitting(self, size: Size, notice: Notice) -> Callable[..., np.ndarray]:
        """`pictures.fitted`, which notes where transparency is lost."""
        lost = (
            f"{self.config.source}: transparent pixels became {self.config.background}; to learn "
            "transparency too: vidgan train --alpha"
        )
        found = (lambda: None) if self.config.alpha else functools.partial(notice, lost)
        return functools.partial(pictures.fitted, size=size, ground=self.config.ground, found=found)

    def class_names(self) -> Sequence[str]:
        return ()

    def files(self) -> int:
        raise NotImplementedError

    def items(self) -> int:
        return self.files()


def find(config: DataConfig) -> Source:
    """Tell what kind of source `config.source` is. Raises DataError."""
    try:
        return _look(config.source, config)
    except (OSError, ValueError) as error:  # a folder without permission, an impossible name
        place = getattr(error, "filename", None) or config.source
        raise DataError(f"{place}: cannot be looked at ({reason(error)}).") from error


def _look(where: str, config: DataConfig) -> Source:
    if where == "earth":
        return Films(config=config, name="earth", paths=[bundled("assets/earth.mp4")])
    if where.startswith("torchvision:"):
        return _Torchvision(config=config, name=where.removeprefix("torchvision:").lower())
    if where in downloads.PACKED:
        return _look_into_folder(config, downloads.unpacked_set(where))
    path = Path(where).expanduser()
    if where and path.is_dir():
        return _look_into_folder(config, path)
    if path.is_file() and _kind(path) in ("film", "stack"):
        return _of_files(config, _slug(path.stem), path.parent, [path.name])
    if path.is_file() and (suffix(where) == ".zip" or archives.starts_like_zip(path)):
        with archives.opened(path) as archive:
            members, files = archives.pictures_in(where, archive), archive.namelist()
        if not members:
            raise _nothing_in(where, files)
        return _Stills(
            config=config, name=_slug(path.stem), path=path, found=files, members=members
        )
    what = "not something to train on" if path.exists() else "there is no such file or folder"
    raise DataError(f'"{where}": {what}. {READS}')


def _look_into_folder(config: DataConfig, folder: Path) -> Source:
    files, left_out = folders.listed(folder)
    return replace(
        _of_files(config, _slug(folder.resolve().name), folder, files), left_out=left_out
    )


def _of_files(config: DataConfig, name: str, folder: Path, files: Sequence[str]) -> Source:
    """Films, where there is one among the files and no still picture; else stills."""
    stills = [file for file in files if suffix(file) in SUFFIXES]
    films = [folder / file for file in files if suffix(file) in VIDEO_SUFFIXES | SUFFIXES]
    if not films:
        raise _nothing_in(config.source, files)
    kinds = set()
    for path in films:
        kinds.add(_kind(path))
        if kinds & {"still", "stack"}:  # usually of the first file, so that no other is opened
            break
    else:
        if "film" in kinds:
            return Films(config=config, name=name, paths=films)
    return _Stills(config=config, name=name, path=folder, found=files, members=stills)


def _kind(path: Path) -> str:
    return "film" if suffix(path.name) in VIDEO_SUFFIXES else sequences.kind_of(path)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "data"


def _nothing_in(where: str, files: Iterable[str]) -> DataError:
    return DataError(f"{where}: no pictures or films in it ({_kinds(files) or 'empty'}). {READS}")


def _kinds(files: Iterable[str]) -> str:
    """Count files by suffix: "12 x .heic, 1 x .json"."""
    kinds = Counter(suffix(name) or "no suffix" for name in files if not name.endswith("/"))
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(3))


def _stamp(path: Path | str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path takes longer than this, a million times
    except OSError as error:  # gone since it was found
        raise DataError(f"{path}: cannot be looked at ({reason(error)}).") from error
    return status.st_size, status.st_mtime_ns


def _classes(members: Sequence[str]) -> tuple[list[int | None], tuple[str, ...]]:
    """A label for each member, where all lie in two or more folders below the one they share."""
    folders = [parts(member)[:-1] for member in members]
    ends = zip(min(folders), max(folders), strict=False)  # what these share, all between share too
    shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], ends)))
    tops = [folder[shared] if len(folder) > shared else "" for folder in folders]
    names = sorted(set(tops))
    if "" in names or len(names) < 2:
        return [None] * len(members), ()
    label = {name: index for index, name in enumerate(names)}
    return [label[top] for top in tops], tuple(names)


def _some_of(items: Sequence) -> Sequence:
    """At most 64 of the items, evenly spaced."""
    return [items[i * len(items) // 64] for i in range(64)] if len(items) > 64 else items


def _in_threads(job: Callable, *columns: Sequence) -> Iterator:
    """The job's results in the order of its arguments; no more than 128 wait to be used."""
    # Decoding leaves Python's lock: two threads on two cores took 0.6 of the time of one.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = zip(*columns, strict=True)
        while chunk := list(itertools.islice(rows, 128)):
            yield from pool.map(job, *zip(*chunk, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Stills(Source):
    """Single pictures and pages of stacks: the members of a folder or of a zip."""

    path: Path
    found: Sequence[str]  # files of every kind
    members: Sequence[str]  # those that should be pictures, sorted

    def identity(self) -> Iterable[object]:
        yield from ("stills", self.config.ground, str(self.path.resolve()))
        if self.path.is_dir():
            yield from ([name, *_stamp(f"{self.path}/{name}")] for name in self.members)
        else:
            yield from _stamp(self.path)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Callable[[str], BinaryIO]]:
        """Yields what opens a member."""
        if self.path.is_dir():
            yield lambda member: (self.path / member).open("rb")
            return
        with archives.opened(self.path) as archive:
            yield lambda member: io.BytesIO(archive.read(member))

    def files(self) -> int:
        return len(self.members)

    def notes(self) -> Sequence[str]:
        other = [file for file in self.found if suffix(file) not in SUFFIXES | {".txt"}]
        if not (kinds := _kinds(file for file in other if not any(map(is_hidden, parts(file))))):
            return self.left_out
        films = any(suffix(file) in VIDEO_SUFFIXES for file in other)
        advice = "; to learn from a film, name it" * films
        return (*self.left_out, f"files that are no pictures ({kinds}){advice}")

    def class_names(self) -> Sequence[str]:
        return _classes(self.members)[1]

    def shapes(self) -> Iterator[Size]:
        with self._opened() as open_member:
            for member in _some_of(self.members):
                with contextlib.suppress(Exception), open_member(member) as file:
                    yield pictures.display_size(pictures.open_picture(file))

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        fit = self.fitting(size, notice)
        labels, white = _classes(self.members)[0], 0
        with self._opened() as open_member:

            def decode(member: str, label: int | None) -> Picture:
                """Leaves to the loop below a stack, and 16-bit grey until its white is known."""
                try:
                    with open_member(member) as file:
                        image = pictures.open_picture(file)
                        later = sequences.is_stack(image) or (pictures.is_deep(image) and not white)
                        return Picture(member, None if later else fit(image, white=white), label)
                except Exception as error:  # decoders raise all sorts of things on hostile bytes
                    return Picture(member, fault=reason(error))

            for name, pixels, label, fault, _ in _in_threads(decode, self.members, labels):
                if pixels is not None or fault:
                    yield Picture(name, pixels, label, fault)
                    continue
                try:
                    with open_member(name) as file:
                        for page in sequences.pages(file):
                            if pictures.is_deep(page) and not white:
                                white = self._white(open_member, notice)
                            yield Picture(name, fit(page, white=white), label)
                except Exception as error:
                    yield Picture(name, fault=reason(error))

    def _white(self, open_member: Callable[[str], BinaryIO], notice: Notice) -> int:
        """The value of 16-bit grey that becomes 255, see `pictures`."""

        def suitable(member: str) -> int:
            with contextlib.suppress(Exception), open_member(member) as file:
                return max(map(pictures.white_above, sequences.pages(file)))
            return 0

        white = 255
        for found in _in_threads(suitable, self.members):
            white = max(white, found)
            if white == pictures.FULL_WHITE:
                return white
        notice(f"{self.config.source}: no value of 16-bit grey is above {white}, which is white.")
        return white


@dataclass(frozen=True, kw_only=True)
class Films(Source):
    """Frames of one or more films: video files and animated pictures."""

    has_frames = True
    paths: Sequence[Path]

    def identity(self) -> Iterable[object]:
        yield from ("films", self.config.every, self.config.min_change, self.config.ground)
        yield from ([str(path.resolve()), *_stamp(path)] for path in self.paths)

    def files(self) -> int:
        return len(self.paths)

    def shapes(self) -> Iterator[Size]:
        for path in _some_of(self.paths):
            video = suffix(path.name) in VIDEO_SUFFIXES
            with contextlib.suppress(Exception):
                yield reader.probe(path) if video else next(sequences.frames(path)).size

    def items(self) -> int:
        return sum(self._length(path) for path in self.paths) // self.config.every

    def _length(self, path: Path) -> int:
        with contextlib.suppress(DataError):  # which `pictures` will tell
            if suffix(path.name) in VIDEO_SUFFIXES:
                return reader.frames_in(path)
        return 0

    def some(self, size: Size, count: int) -> np.ndarray:
        """About `count` frames from all over the films, uint8 [N, H, W, 3], in a few seconds."""
        found, share = [], -(-count // len(self.paths))
        for path in self.paths[:count]:
            if suffix(path.name) in VIDEO_SUFFIXES:
                with contextlib.suppress(DataError):
                    frames = reader.some_frames(path, share, size=size)
                    found += [_enlarged(frame, size) for frame in frames]
        fresh = [f for f, before in zip(found[1:], found, strict=False) if self._differ(f, before)]
        return np.stack(found[:1] + fresh) if found else np.empty((0, *size[::-1], 3), np.uint8)

    def _differ(self, frame: np.ndarray, other: np.ndarray) -> bool:
        return np.abs(frame.astype(np.int16) - other).mean() >= self.config.min_change

    def pictures(
        self,
        size: Size,
        notice: Notice,
        after: tuple | None = None,
        kept: np.ndarray | None = None,
    ) -> Iterator[Picture]:
        """after, kept   the place and the pixels of the last picture there is"""
        first, *place = after or (0,)
        for number, path in enumerate(self.paths[first:], first):
            try:
                start = Place(*place) if number == first else Place()
                for at, pixels in self._frames(path, start, size, notice):
                    if fresh := kept is None or self._differ(pixels, kept):
                        kept = pixels
                    yield Picture(path.name, pixels if fresh else None, place=(number, *at))
            except DataError as error:
                if len(self.paths) == 1:
                    raise
                yield Picture(path.name, fault=str(error))

    def _frames(
        self, path: Path, after: Place, size: Size, notice: Notice
    ) -> Iterator[tuple[Place, np.ndarray]]:
        """Every n-th frame of a film at its final size."""
        every = self.config.every
        if suffix(path.name) in VIDEO_SUFFIXES:
            if self.config.alpha:
                raise DataError(f"{path}: vidgan reads no transparency of video; omit --alpha.")
            for at, frame in reader.read_on(path, after, every=every, size=size, notice=notice):
                yield at, _enlarged(frame, size)
            return
        fit = self.fitting(size, notice)
        try:
            frames = itertools.islice(enumerate(sequences.frames(path), 1), after.frames, None)
            for number, frame in itertools.islice(frames, -after.frames % every, None, every):
                yield Place(number), fit(frame)
        except Exception as error:
            raise DataError(f"{path}: cannot be read as film ({reason(error)}).") from error


def _enlarged(frame: np.ndarray, size: Size) -> np.ndarray:
    """A frame of a film that may be smaller than the size asked for."""
    fits = frame.shape[1::-1] == size
    return frame if fits else pictures.resized(Image.fromarray(frame), size)


@dataclass(frozen=True, kw_only=True)
class _Torchvision(Source):
    """A named set that torchvision fetches into the cache folder, or makes up."""

    def identity(self) -> Iterable[object]:
        # What stands behind a name is pinned by torchvision.
        return ["torchvision", self.name, self.config.ground]

    @functools.cached_property
    def _dataset(self) -> typing.Any:
        return downloads.open_set(self.name)

    def files(self) -> int:
        return len(self._dataset)

    def class_names(self) -> Sequence[str]:
        return [str(name) for name in getattr(self._dataset, "classes", None) or ()]

    def shapes(self) -> Iterator[Size]:
        for index in _some_of(range(self.files())):
            yield self._dataset[index][0].size

    def pictures(self, size: Size, notice: Notice) -> Iterator[Picture]:
        fit = self.fitting(size, notice)
        for index in range(self.files()):
            try:
                image, target, *_ = self._dataset[index]
                label = int(target) if isinstance(target, int | np.integer) else None
                yield Picture(str(index), fit(image), label)
            except Exception as error:  # its files are as good as any
                yield Picture(str(index), fault=reason(error))
