"""One process at a time. The system frees the lock of a process that ends, however it ends."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from vidgan.disk.files import disk_faults
from vidgan.errors import SystemFault

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(
    path: Path, *, busy: str = "", waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Lock a file during the block, and make its folder if there is none.

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
    with held:
        yield
