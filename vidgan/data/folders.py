"""What is in a folder to learn from: not runs, nor what vidgan made of the other pictures there."""

import contextlib
import os
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidgan.data.archives import is_hidden, suffix
from vidgan.data.pictures import SUFFIXES
from vidgan.disk.files import is_ours
from vidgan.film.reader import VIDEO_SUFFIXES

# What vidgan writes pictures and films into, and how near to an end of them it names itself.
_WRITTEN, _NAMED_BYTES = VIDEO_SUFFIXES | {".png", ".apng", ".gif", ".webp"}, 1 << 14


def listed(folder: Path) -> tuple[Sequence[str], tuple[str, ...]]:
    """The files of every kind in a folder, sorted, and in words what is left out of them.

    If vidgan made all the pictures and films, they are learned from.
    """
    runs: list[Path] = []
    files = sorted(_walk(folder, runs))
    others = [file for file in files if suffix(file) not in _WRITTEN or not _is_own(folder / file)]
    if not any(suffix(file) in VIDEO_SUFFIXES | SUFFIXES for file in others):
        others = files
    counts = {"what vidgan made of other pictures": len(files) - len(others), "runs": len(runs)}
    return others, tuple(f"{what} ({count})" for what, count in counts.items() if count)


def _is_own(file: Path) -> bool:
    with contextlib.suppress(OSError):  # which decoding will tell
        return is_ours(file, _NAMED_BYTES)
    return False


def _walk(folder: Path, runs: list[Path]) -> Iterator[str]:
    """The names of all plain files below. Links are followed, but no folder is entered twice, and
    no run, which becomes one of `runs`."""

    def refuse(error: OSError) -> typing.NoReturn:
        raise error

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        if here != str(folder) and "config.toml" in files and "checkpoints" in folders:
            runs.append(Path(here))
            folders[:] = files[:] = []
        real = Path(here).resolve()
        folders[:] = [] if real in seen else sorted(f for f in folders if not is_hidden(f))
        if real not in seen:
            start = "" if here == str(folder) else f"{Path(here).relative_to(folder).as_posix()}/"
            plain = (f for f in files if not is_hidden(f) and Path(here, f).is_file())
            yield from (start + f for f in plain)
        seen.add(real)
