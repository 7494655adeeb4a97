"""How a file or folder appears: whole, or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vidgan.errors import ModelError, SystemFault, UsageError


@contextlib.contextmanager
def disk_faults(folder: Path, *, cache: bool = True) -> Iterator[None]:
    advice = " Free some space, or set VIDGAN_CACHE to a folder on another disk." if cache else ""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise SystemFault(f"{folder}: cannot be written ({reason}).{advice}") from error


def check_new(target: Path, *, force: bool, suffix: str = "") -> None:
    """Refuse a file that could not be written, while nothing is lost yet. Raises UsageError."""
    if not target.name.endswith(suffix):
        raise UsageError(f"{target}: its name must end in {suffix}.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}; create it first.")
    if suffix and target.is_dir():
        raise UsageError(f"{target}: is a folder, where a file shall be; give another name.")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; give another name, or --force to replace it.")


def check_file(path: Path) -> None:
    """Raises ModelError where there is no file to read a model from."""
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "there is no such file"
        raise ModelError(f"{path}: {what}.")


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Where to write a file or folder that becomes `target` when the block ends well, else nothing.

    It takes the place of an older target. Raises SystemFault for what the disk refuses.
    """
    part = part_of(target)
    try:
        yield part
        publish(part, target)
    except OSError as error:
        raise SystemFault(f"{target}: cannot be written ({error.strerror or error}).") from error
    finally:
        remove(part)


def part_of(target: Path) -> Path:
    """The hidden name of what is to become `target`."""
    # An absolute path, so that FFmpeg never takes "a:b.mp4" for a protocol.
    return target.absolute().with_name(f".{target.name}.part-{os.getpid()}")


def publish(part: Path, target: Path) -> None:
    """Rename a finished file or folder onto its target, whose old content goes."""
    if not part.is_dir():
        with part.open("r+b") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        part.replace(target)
    elif target.is_dir():
        old = part.with_name(f"{part.name}-old")
        target.rename(old)
        part.rename(target)
        shutil.rmtree(old)
    else:
        part.rename(target)


def remove(path: Path) -> None:
    """A file, a folder, or nothing."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    with whole(target) as part:
        part.write_bytes(content)
