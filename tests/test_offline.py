"""Every verb works without a network, except for what names a download."""

import subprocess
import sys

import pytest

from tests.conftest import write_pictures
from tests.faults import machine
from tests.films import moving

# In order: later ones read what earlier ones made. The words after # are in one line of the output.
COMMANDS = """
doctor                                                              # python
train pictures --size 32 --channels 4 --batch-size 8 --for 1000     # generator.safetensors
train --resume RUN --for 1016                                       # generator.safetensors
render --frames 3 --save-walk walk.json out.mp4                     # 3 frames
render --walk walk.json --force out.webm                            # 3 frames
sample --grid 2x2 grid.png                                          # grid.png
export generator.onnx                                               # proved on
export --html player.html                                           # open it in a browser
export --site player                                                # vidgan serve
render --model generator.onnx --frames 3 out.gif                    # 3 frames
verify out.mp4 grid.png generator.onnx                              # marked as synthetic
evaluate RUN/generator.safetensors pictures --count 20              # (N =
serve player --port 0                                               # http://127.0.0.1
"""

# No process may reach another machine; 127.0.0.1 is there.
_NO_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "-"]
_NO_SOCKETS = """
import socket, sys
def refused(*_):
    raise OSError("no network in this test")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
sys.argv = ["vidgan", *sys.argv[1:]]
from vidgan.__main__ import main
main()
"""


def offline(words: list[str]) -> list[str]:
    if machine.can_mount():
        return [*_NO_NETWORK, sys.executable, "-m", "vidgan", *words]
    return [sys.executable, "-c", _NO_SOCKETS, *words]


@pytest.mark.faults
def test_every_verb_works_without_a_network(tmp_path):
    write_pictures(tmp_path / "pictures", moving(40))
    for line in COMMANDS.strip().splitlines():
        words, _, expected = (part.strip() for part in line.partition("#"))
        run = max(map(str, tmp_path.glob("runs/*")), default="")
        command = offline([word.replace("RUN", run) for word in words.split()])
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
            said = [process.stdout.readline()] if words.startswith("serve") else [*process.stdout]
            if words.startswith("serve"):
                process.terminate()
            process.wait(timeout=60)
        assert any(expected in text for text in said), f"{words}: {''.join(said)}"
        assert "Traceback" not in "".join(said)


@pytest.mark.faults
@pytest.mark.parametrize("source", ["torchvision:cifar10", "digits"])
def test_what_names_a_download_says_so_in_one_line(tmp_path, monkeypatch, source):
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))  # else npm may have it already
    done = subprocess.run(offline(["train", source]), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vidgan: ")]
    assert "fetch" in line and "network" in line and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
