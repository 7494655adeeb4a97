"""Files and folders that appear complete or not at all.

Each is written as a part: under its own name, in a hidden folder beside its target, which the
process locks as long as it lives. Parts of processes that were killed are deleted by the next one.
"""

import contextlib
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vidgan import signals
from vidgan.disk.places import cache_root
from vidgan.errors import ModelError, SystemFault, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_REPLACE, _EXCHANGE = 1, 2  # what Linux calls RENAME_NOREPLACE and RENAME_EXCHANGE
_OF_MACOS = {_NO_REPLACE: 4, _EXCHANGE: 2}  # RENAME_EXCL and RENAME_SWAP
_HERE = -100  # AT_FDCWD
_END_BYTES = 32 << 20


@contextlib.contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Raise SystemFault for an OSError."""
    try:
        yield
    except OSError as error:
        advice = ""
        if path.is_relative_to(cache_root()):
            free = "Free some space, or set" if error.errno in _FULL else "Set"
            advice = f" {free} VIDGAN_CACHE to a folder on another disk."
        reason = error.strerror or error
        raise SystemFault(f"{path}: cannot be written ({reason}).{advice}") from error


def check_new(target: Path, *, force: bool, suffix: str = "") -> None:
    """Raise UsageError or SystemFault if the file, or without `suffix` the folder, cannot be
    written. Called before any work is done."""
    import tempfile

    if not target.name.endswith(suffix):
        raise UsageError(f"{target}: its name must end in {suffix}.")
    with disk_faults(target):
        if not target.absolute().parent.is_dir():
            raise UsageError(f"{target}: there is no folder {target.parent}; create it first.")
        if suffix and target.is_dir():
            raise UsageError(f"{target}: is a folder; give the file another name.")
        if not suffix and (target.name == ".." or Path.cwd().is_relative_to(target.resolve())):
            here = "this folder" if target.resolve() == Path.cwd() else "a folder in it"
            raise UsageError(f"{target}: you are in {here}; give the name of a new folder.")
        if target.exists() and not force:
            raise UsageError(
                f"{target}: exists already; give another name, or --force to replace it."
            )
        if suffix and target.is_file():
            check_ours(target)
    try:
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise SystemFault(f"{target.parent}: cannot be written to ({error.strerror}).") from error


def check_ours(path: Path) -> None:
    """Raise UsageError for a file that vidgan did not write, so that --force does not replace a
    person's own work. An empty one is nobody's."""
    if path.stat().st_size and not is_ours(path):
        raise UsageError(
            f"{path}: is not of vidgan, and --force replaces nothing else; give another name, or "
            "delete it first."
        )


def is_ours(path: Path, end_bytes: int = _END_BYTES) -> bool:
    """Whether a file names vidgan near its ends, as all that vidgan writes does."""
    return b"vidgan" in read_ends(path, end_bytes)


def read_ends(path: Path, end_bytes: int = _END_BYTES) -> bytes:
    """Read a file, or both ends of a larger one, where all known programs write what it is."""
    with path.open("rb") as file:
        head = file.read(end_bytes)
        file.seek(max(len(head), path.stat().st_size - end_bytes))
        return head + file.read(end_bytes)


def check_file(path: Path) -> None:
    """Raise ModelError if there is no such file to read a model from."""
    try:
        what = "a folder, not a file" if path.is_dir() else "there is no such file"
        if path.is_file():
            path.open("rb").close()
            return
        if path.exists():
            what = what if path.is_dir() else "not a file that can be read twice"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise ModelError(f"{path}: {what}.")


@contextlib.contextmanager
def whole(target: Path, *, force: bool = True) -> Iterator[Path]:
    """Give a hidden path to write to. What lies there becomes `target` at the end of the block.

    After an exception it is deleted, and an older target stays. Without `force`, so does a target
    that appears meanwhile. Raises SystemFault for an OSError, and UsageError as `publish`.
    """
    with disk_faults(target), claimed(target) as part:
        yield part
        publish(part, target, force=force)


@contextlib.contextmanager
def claimed(target: Path) -> Iterator[Path]:
    """Give the path of a part of `target`, which is deleted at the end of the block.

    Before that, delete what processes left of the same target that were killed.
    """
    # The path is absolute, or FFmpeg would take "a:b.mp4" for a protocol.
    target = target.absolute()
    remove_dead(target.parent, target.name)
    folder, lock = target.with_name(f".{target.name}.part-{os.urandom(4).hex()}"), None
    with signals.undone(lambda: _discard(folder)):
        try:
            # Until it is locked, another process may take it for one that was left, and delete it.
            while not (lock and _beside(folder, "lock").exists()):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                lock = _lock(folder)
            yield folder / target.name
        finally:
            try:
                _discard(folder, lock)
            except KeyboardInterrupt:  # a signal just here must not leave half of it
                _discard(folder, lock)
                raise


def remove_dead(folder: Path, name: str | None = None) -> None:
    """Delete the parts that killed processes left in a folder: of the target `name`, or of all."""
    with contextlib.suppress(OSError):
        for left in list(folder.iterdir()):
            part = re.fullmatch(r"\.(.+)\.part-[0-9a-f]{8}", left.name, re.DOTALL)
            if not part or name not in (None, part[1]):
                continue
            if not _beside(left, "lock").is_file():
                with contextlib.suppress(OSError):  # not empty, so none of ours
                    left.rmdir()  # of a process that was killed before it locked it
            elif lock := _lock(left):
                old, target = _beside(left, "old"), left.with_name(part[1])
                if old.exists() and not os.path.lexists(target):
                    old.rename(target)  # it was killed between the two renames of `_exchange`
                _discard(left, lock)


def _discard(folder: Path, lock: object | None = None) -> None:
    """Delete the folder of a part. Its lock goes last, so that others end what a kill ends here."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path != _beside(folder, "lock"):
                remove(path)
    if lock:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def publish(part: Path, target: Path, *, force: bool = True) -> None:
    """Rename a finished file or folder to its target.

    There is always the old one or the new one. Only to replace a folder on Windows, or on a file
    system that cannot exchange two, takes two steps; if killed between them, the next one that
    writes there puts the old folder back.

    With `force` an older target is deleted. Without it, it stays, and this raises UsageError. An
    empty folder may always be filled.
    """
    folder = part.is_dir()
    if not folder:
        with part.open("r+b") as file:  # Windows can flush only files that are open for writing
            os.fsync(file.fileno())
    try:
        if force and folder and target.is_dir():
            _exchange(part, target)
        elif force or folder:  # no system replaces a folder that holds something
            part.replace(target)
        elif not _rename(part, target, _NO_REPLACE):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            part.replace(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and not force:
            appeared = "exists now; give another name, or --force to replace it"
            raise UsageError(f"{target}: {appeared}.") from error
        raise


def _exchange(part: Path, target: Path) -> None:
    """Put a folder in the place of an older one, which is left beside the part or in its place."""
    if _rename(part, target, _EXCHANGE):
        return
    old = _beside(part.parent, "old")
    target.rename(old)
    try:
        part.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _rename(source: Path, target: Path, how: int) -> bool:
    """Rename as Linux and macOS can. Returns False where the system, or its file system, cannot."""
    import ctypes

    paths = os.fsencode(source), os.fsencode(target)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(*paths, _OF_MACOS[how])
        else:
            failed = library.renameat2(_HERE, paths[0], _HERE, paths[1], how)
    except (AttributeError, TypeError):  # an old C library, or Windows
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(target))


def _lock(folder: Path) -> object | None:
    """Lock the folder of a part. None if another process has locked or deleted it."""
    import filelock  # takes longer than all other modules here

    lock = filelock.FileLock(_beside(folder, "lock"), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (filelock.Timeout, FileNotFoundError, FileExistsError):
        return None
    return lock


def _beside(folder: Path, what: str) -> Path:
    """Where the lock and the old target lie beside a part. The part may have any name of its own,
    so these end in the random digits of its folder."""
    return folder / f"{what}-{folder.name[-8:]}"


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes, *, force: bool = True) -> None:
    with whole(target, force=force) as part:
        part.write_bytes(content)
