"""A lock is refused or waited for while another process holds it, and outlives no process."""

import subprocess
import sys
import threading

import pytest

from vidgan.disk import locks
from vidgan.errors import SystemFault

HOLD = """
import sys, time
from pathlib import Path
from vidgan.disk import locks
lock = locks.take(Path(sys.argv[1]), busy="")
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_is_refused_or_waited_for_until_its_process_is_killed(tmp_path, said):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SystemFault, match="in use"):
            locks.take(path, busy="in use")
        threading.Timer(0.3, other.kill).start()
        with locks.waiting(path):
            assert other.wait(1) != 0
            with pytest.raises(SystemFault, match="in use"):
                locks.take(path, busy="in use")
    with locks.waiting(path):
        assert len(said) == 1 and "waiting for it" in said[0]
