"""Zip files of pictures, read in place. A zip is hostile until proved otherwise: nothing in one can
write a file, follow a link or fill the memory."""

import contextlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vidgan.data.pictures import SUFFIXES, reason
from vidgan.errors import DataError

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


def starts_like_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Raises DataError."""
    with contextlib.ExitStack() as stack:
        try:
            archive = zipfile.ZipFile(stack.enter_context(_Zip(path)))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{path}: damaged or no zip file ({reason(error)}).") from error
        yield stack.enter_context(archive)


def pictures_in(where: str, archive: zipfile.ZipFile) -> list[str]:
    """The names of its pictures, sorted. Raises DataError for what no honest zip holds."""
    if len(archive.infolist()) > MAX_MEMBERS:
        raise DataError(f"{where}: more than {MAX_MEMBERS} files; unpack it, give the folder.")
    members = {
        info.filename: info
        for info in archive.infolist()
        if suffix(info.filename) in SUFFIXES
        and not any(map(is_hidden, parts(info.filename)))
        and not stat.S_ISLNK(info.external_attr >> 16)
    }
    for name, info in members.items():
        if info.flag_bits & 1:
            raise DataError(f"{where}: {name} is encrypted; give a zip without password.")
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > MAX_MEMBER_BYTES or (info.file_size > 2**20 and ratio > MAX_RATIO):
            raise DataError(
                f"{where}: {name} would unpack to {info.file_size / 1e6:.0f} MB, "
                f"{ratio:.0f} times its size in the zip; leave it out, or unpack the zip yourself."
            )
    return sorted(members)


def parts(member: str) -> list[str]:
    """The folders and the file in a member's name."""
    # A zip may say ../../x or C:\x; nothing is ever written under such a name.
    return [part for part in re.split(r"[/\\]", member) if part not in ("", ".", "..")]


def is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million names, of zips too
