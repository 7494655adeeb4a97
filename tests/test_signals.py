import os
import signal
import subprocess
import sys
import time

import pytest

from vidgan import signals

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def said_of(number: int) -> str:
    name = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    return f"vidgan: interrupted{name}\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_modules_are_imported_is_one_line(number, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "vidgan", "render", "out.mp4"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stderr if "cyclopts" in line)  # one of very many
        process.send_signal(number)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert line and process.returncode == 128 + number
    assert said == [said_of(number)] and not list(tmp_path.iterdir())


CLEANS_UP_FOR_EVER = """
import pathlib, time
from vidgan import signals
from vidgan.disk.files import whole
with signals.caught(), whole(pathlib.Path("out")) as part:
    part.mkdir()
    (part / "frame.png").touch()
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_at_once_and_leaves_nothing(second, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen([sys.executable, "-c", CLEANS_UP_FOR_EVER], **pipes) as process:
        for number, line in ((signal.SIGTERM, "begun"), (second, "cleaning")):
            assert process.stdout.readline() == f"{line}\n"
            process.send_signal(number)
        assert process.communicate(timeout=30) == ("", said_of(second))
    assert process.returncode == 128 + second and not list(tmp_path.iterdir())


ENDS_WHEN_STDIN_DOES = """
import ctypes, os, sys
from vidgan.__main__ import main
class Last:
    def __del__(self, write=os.write):
        write(1, b"ending")
sys.last = Last()
c = ctypes.CDLL(None)
getchar = ctypes.cast(c.getchar, ctypes.c_void_p)
c.__cxa_atexit(getchar, None, None)  # runs when there is no Python any more
sys.argv[1:] = ["render", "--frams"]
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the C library for a slow end")
def test_a_signal_at_the_very_end_changes_nothing():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", ENDS_WHEN_STDIN_DOES], **pipes) as process:
        assert process.stdout.read(6) == b"ending"
        for _ in range(50):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.005)  # until it certainly is in C
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2 and said.count(b"\n") == 1


def test_a_command_under_nohup_goes_on_when_its_terminal_ends():
    code = (
        "import os, signal\n"
        "from vidgan import signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals.caught():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('goes on')"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "goes on\n"


def test_no_exception_is_raised_in_the_middle_of_an_import(tmp_path):
    (tmp_path / "torch_like.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n    print('terminate called')"
    )
    code = (
        "from pathlib import Path\n"
        "from vidgan import signals\n"
        "from vidgan.disk.files import whole\n"
        "with signals.caught(), whole(Path('out')): import torch_like"
    )
    run, pipes = [sys.executable, "-c", code], {"capture_output": True, "text": True}
    done = subprocess.run(run, cwd=tmp_path, **pipes)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", said_of(signal.SIGTERM))
    assert not list(tmp_path.glob(".*"))


def test_handlers_are_put_back_and_a_caller_may_note_the_signal_instead():
    before, noted = [signal.getsignal(number) for number in signals.NUMBERS], []
    with signals.caught(noted.append) as received:
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted == received == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in signals.NUMBERS] == before
