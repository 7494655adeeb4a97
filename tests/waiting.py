"""Waiting for a thread or a process that does not say how far it is, and processes to wait for."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def wait_until(reached: Callable[[], bool], running: subprocess.Popen | None = None) -> None:
    """Fail after a minute, or when the process has ended before."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        assert running is None or running.poll() is None
        time.sleep(0.005)  # a file appears without a signal


def interrupted(
    command: list, folder: Path, begun: Callable[[], bool], by: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    """Send Ctrl-C, or another signal, to a command when it has begun. Returns its exit code and
    what it says."""
    command = [str(word) for word in command]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(begun, process)
            process.send_signal(by)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()  # else a failure would wait for the end of the command
    return process.returncode, stderr


def children(process: subprocess.Popen) -> list[int]:
    """The processes that a process has started, the oldest first."""
    of = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return list(map(int, of.split()))


@contextlib.contextmanager
def another_process_in(block: Callable, path: Path) -> Iterator[subprocess.Popen]:
    """A process that has entered the block `with block(path)` and stays there."""
    code = (
        "import pathlib, sys, time\n"
        f"from {block.__module__} import {block.__name__} as block\n"
        "with block(pathlib.Path(sys.argv[1])):\n"
        "    print('entered', flush=True)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "entered\n"
        yield process
