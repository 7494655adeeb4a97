import contextlib
import fcntl
import os
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


def test_the_file_of_a_lock_goes_with_it_and_never_with_that_of_another(tmp_path):
    path = tmp_path / "lock"
    with locks.locked(path):
        assert path.exists()
    assert not path.exists()
    with contextlib.ExitStack() as stack:
        with locks.locked(path):
            path.unlink()  # as a folder that is deleted takes its lock along
            other = stack.enter_context(another_process_in(locks.locked, path))
        with pytest.raises(SystemFault, match="in use"), locks.locked(path, busy="in use"):
            pass
        other.kill()


def test_who_has_opened_the_file_of_a_lock_finds_it_gone_when_it_is_free(tmp_path):
    """Else it would hold a file that the next process does not see."""
    seen = []

    def wait(file):
        fcntl.flock(file, fcntl.LOCK_EX)
        seen.append(os.fstat(file.fileno()).st_nlink)

    with contextlib.ExitStack() as open_files:
        with locks.locked(tmp_path / "lock"):
            file = open_files.enter_context((tmp_path / "lock").open())
            waiting = threading.Thread(target=wait, args=[file])
            waiting.start()
        waiting.join()
    assert seen == [0]


def test_a_lock_that_cannot_be_written_is_a_system_fault(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemFault, match="cannot be written"), locks.locked(tmp_path / "file/a"):
        pass
