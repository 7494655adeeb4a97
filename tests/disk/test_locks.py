import threading

import pytest

from tests.waiting import another_process_in
from vidgan.disk import locks
from vidgan.errors import SystemFault


def test_a_lock_is_refused_or_waited_for_until_its_process_is_killed(tmp_path, said):
    path = tmp_path / "lock"
    with another_process_in(locks.locked, path) as other:
        with pytest.raises(SystemFault, match="in use"), locks.locked(path, busy="in use"):
            pass
        threading.Timer(0.3, other.kill).start()
        with locks.locked(path):
            assert other.wait(1) != 0
            with pytest.raises(SystemFault, match="in use"), locks.locked(path, busy="in use"):
                pass
    with locks.locked(path):
        assert len(said) == 1 and "waiting for it" in said[0]


def test_a_lock_that_cannot_be_written_is_a_system_fault(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemFault, match="cannot be written"), locks.locked(tmp_path / "file/a"):
        pass
