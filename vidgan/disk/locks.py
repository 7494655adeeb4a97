"""One process at a time. The system frees the lock of a process that ends, however it ends."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import filelock

from vidgan.errors import SystemFault

logger = logging.getLogger(__name__)


def take(path: Path, *, busy: str) -> filelock.BaseFileLock:
    """Lock a file until `release()`. Raises SystemFault(busy) if another process has locked it."""
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (filelock.Timeout, FileNotFoundError):  # the last owner may just delete the folder
        raise SystemFault(busy) from None
    return lock


@contextlib.contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Lock a file during the block. First wait while another process has locked it."""
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        logger.info(f"{path}: another process holds this lock; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
