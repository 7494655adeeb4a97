"""Files and folders that appear complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vidgan import signals
from vidgan.disk.places import cache_root
from vidgan.errors import ModelError, SystemFault, UsageError


@contextlib.contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Raise SystemFault for an OSError."""
    try:
        yield
    except OSError as error:
        advice = " Free some space, or set VIDGAN_CACHE to a folder on another disk."
        advice = advice if path.is_relative_to(cache_root()) else ""
        reason = error.strerror or error
        raise SystemFault(f"{path}: cannot be written ({reason}).{advice}") from error


def check_new(target: Path, *, force: bool, suffix: str = "") -> None:
    """Raise UsageError if the file cannot be written; called before any work is done."""
    if not target.name.endswith(suffix):
        raise UsageError(f"{target}: its name must end in {suffix}.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}; create it first.")
    if suffix and target.is_dir():
        raise UsageError(f"{target}: is a folder; give the file another name.")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; give another name, or --force to replace it.")


def check_file(path: Path) -> None:
    """Raise ModelError if there is no such file to read a model from."""
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "there is no such file"
        raise ModelError(f"{path}: {what}.")


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a hidden path to write to. What lies there becomes `target` at the end of the block.

    After an exception it is deleted, and an older target stays. Raises SystemFault for an OSError.
    """
    part = part_of(target)
    try:
        with disk_faults(target), signals.undone(lambda: remove(part)):
            yield part
            publish(part, target)
    finally:
        remove(part)


def part_of(target: Path) -> Path:
    """The hidden path under which `target` is written until it is complete."""
    # The path is absolute, or FFmpeg would take "a:b.mp4" for a protocol.
    return target.absolute().with_name(f".{target.name}.part-{os.getpid()}")


def publish(part: Path, target: Path) -> None:
    """Rename a finished file or folder to its target. An older target is deleted."""
    if not part.is_dir():
        with part.open("r+b") as file:  # Windows can flush only files that are open for writing
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
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    with whole(target) as part:
        part.write_bytes(content)
