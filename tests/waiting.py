"""Waiting for a thread or a process that does not say how far it is."""

import subprocess
import time
from collections.abc import Callable


def wait_until(reached: Callable[[], bool], running: subprocess.Popen | None = None) -> None:
    """Fail after a minute, or when the process has ended before."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        assert running is None or running.poll() is None
        time.sleep(0.005)  # a file appears without a signal
