"""Where files lie: those that ship with vidgan (in a wheel, or beside the package in a checkout),
and those that it may make again (the cache). And how a file appears: whole, or not at all."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vidgan.errors import ModelError, SystemFault, UsageError


def bundled(relative: str) -> Path:
    """Find "assets/earth.mp4", "train" and the like. Raises SystemFault where it is absent."""
    package = Path(__file__).resolve().parent
    homes = [package / "_bundled"]
    # Beside an installed package lie other people's folders: only a checkout counts.
    if (package.parent / "pyproject.toml").is_file():
        homes.append(package.parent)
    for home in homes:
        if (home / relative).exists():
            return home / relative
    raise SystemFault(
        f"{relative} is missing from this installation of vidgan (looked in "
        f"{' and '.join(map(str, homes))}); install vidgan again."
    )


def cache_root() -> Path:
    """VIDGAN_CACHE, or vidgan's folder in the place where the platform keeps caches."""
    if given := os.environ.get("VIDGAN_CACHE"):
        return Path(given).expanduser().resolve()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "vidgan"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/vidgan"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidgan"


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


def take_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed or the process ends; False where another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # nobody could read a byte that is locked
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
