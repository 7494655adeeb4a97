"""One process at a time. The system frees the lock of a process that ends, however it ends."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from vidgan import signals
from vidgan.disk.files import disk_faults
from vidgan.errors import SystemFault

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(
    path: Path, *, busy: str = "", waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Lock a file during the block, and make its folder if there is none. The file goes with it.

    If another process has locked it, raise SystemFault(busy), or without `busy` wait for it, and
    call `waiting` now and then, which may raise.
    """
    lock = filelock.FileLock(path, thread_local=False)
    with disk_faults(path):
        try:
            held = lock.acquire(blocking=False)
        except filelock.Timeout:
            if busy:
                raise SystemFault(busy) from None
            logger.info(f"{path}: another process holds this lock; waiting for it.")
            held = lock.acquire(cancel_check=waiting)
        own = path.stat()

    def remove() -> None:
        with contextlib.suppress(OSError):  # another's, if the folder was deleted meanwhile
            if os.path.samestat(path.stat(), own):
                path.unlink()

    # While it is held: whoever has opened it then finds that it is gone, and makes a new one.
    with held, signals.undone(remove):
        try:
            yield
        finally:
            remove()
