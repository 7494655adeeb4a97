"""Faults of the machine, made for real: a small disk, a disk that is read-only, a clock that jumps.

Where the system forbids to mount (only root on Linux may), what comes nearest takes its place.
"""

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

/* Wall clocks jump to and fro: half of the calls are a day late. CLOCK_MONOTONIC stays. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *), calls;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && ++calls & 64) now->tv_sec -= 86400;
    return result;
}
"""


@functools.cache
def can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(command, capture_output=True).returncode
    )


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[dict[str, int]]:
    """A disk of this size at an empty folder. Yields the limits that commands need beside it."""
    if not can_mount():
        yield {"RLIMIT_FSIZE": size_bytes}
        return
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", folder], check=True)
    try:
        yield {}
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written below the folder, not even by root."""
    if not can_mount():
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def jumping_clock(folder: Path) -> dict[str, str]:
    """The environment of a process whose wall clock jumps by a day, to and fro."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_CLOCK)
    build = ["cc", "-shared", "-fPIC", "-x", "c", str(source), "-o", str(library), "-ldl"]
    subprocess.run(build, check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}
