import ast
import base64
import contextlib
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import termios
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from tests.conftest import small_generator
from vidgan.cli import terminal
from vidgan.cli.main import main
from vidgan.generator import checkpoint
from vidgan.marks.xmp import append_mark

LIBRARY = Path(terminal.__file__).parents[1]
# Commands to clear the screen, to set the title and the clipboard, and a C1 byte that begins one;
# line breaks; a mark that reverses what follows.
EVIL = "\x1b[2J\x1b]0;x\x07\x9b2J\r\n\u2028\u202e\x7f\x00\b"
IN_NAMES = EVIL.replace("\0", "")


def test_only_the_terminal_module_prints():
    for path in LIBRARY.rglob("*.py"):
        calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        names = {ast.unparse(call) for call in calls}
        assert path.name == "terminal.py" or not names & {"print", "sys.stdout.write"}, path


@pytest.mark.parametrize("name", ["Straße 1.png", "写真　一.png", "👩‍🚀 می‌خواهم.png", "a\\b.png"])
def test_names_in_any_script_stay_as_they_are(name, capsys):
    terminal.to_stdout(name, "next")
    assert capsys.readouterr().out == f"{name}\nnext\n"


def test_what_a_terminal_obeys_becomes_visible(capsys):
    terminal.to_stdout(f"a{EVIL}\udc80")
    out = capsys.readouterr().out
    assert out == r"a\x1b[2J\x1b]0;x\x07\x9b2J\r\n\u2028\u202e\x7f\x00\x08\udc80" + "\n"


def test_letters_that_a_terminal_lacks_are_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream := io.TextIOWrapper(io.BytesIO(), "ascii"))
    terminal.to_stdout("Straße")
    assert stream.buffer.getvalue() == b"Stra\\xdfe\n"


def test_logged_messages_become_visible(capsys):
    with terminal.messages():
        logging.getLogger("vidgan.film").warning(f"a{EVIL}")
    assert_harmless(capsys.readouterr().err, lines=1)


def tensors(folder):
    torch.save({f"main.0.weight{EVIL}": torch.zeros(3)}, folder / "w.pt")
    return "import w.pt out.safetensors"


def model_name(folder):
    generator, _ = small_generator()
    meta = {"kind": "generator", "model": {"name": EVIL}, "facts": {}}
    checkpoint.write(folder / "g.safetensors", generator.state_dict(), meta)
    return "render --model g.safetensors out.mp4"


def kind_of_file(folder):
    checkpoint.write(folder / "g.safetensors", {}, {"kind": EVIL})
    return "render --model g.safetensors out.mp4"


def onnx_names(folder):
    node = onnx.helper.make_node(f"Op{EVIL}", ["x"], ["y"], f"node{EVIL}")
    tensor = onnx.helper.make_tensor_value_info("x", 1, [1])
    graph = onnx.helper.make_graph([node], "g", [tensor], [])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=opset)
    (folder / "g.onnx").write_bytes(model.SerializeToString())
    return "verify g.onnx"


def xmp_comment(folder):
    Image.new("RGB", (8, 8)).save(folder / "a.gif")
    append_mark(folder / "a.gif", {f"model{EVIL}": EVIL, "path": EVIL})
    return "verify a.gif"


def zip_members(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}{IN_NAMES}.png", b"no picture")
    return "train a.zip"


def file_names(folder):
    (folder / "data").mkdir()
    (folder / "data" / f"{IN_NAMES}.png").write_bytes(b"no picture")
    return "train data"


def walk_keys(folder):
    walk = {"format": "vidgan-walk-1", f"path{EVIL}": 1}
    (folder / "w.json").write_text(json.dumps(walk))
    return "render --walk w.json out.mp4"


def recipe_keys(folder):
    (folder / "r.toml").write_text(f"[model]\n{json.dumps(EVIL)} = 1\n")
    return "train --recipe r.toml"


@pytest.mark.parametrize(
    ("hostile", "lines"),
    [
        *((what, 1) for what in (tensors, model_name, kind_of_file, onnx_names)),
        *((what, 1) for what in (walk_keys, recipe_keys)),
        *((what, 2) for what in (zip_members, file_names)),  # it also says that it decodes them
        (xmp_comment, 6),
    ],
)
def test_no_text_of_a_file_reaches_the_terminal_as_it_is(
    hostile, lines, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gc.freeze", lambda: None)  # main() ends a process; this one goes on
    monkeypatch.setattr(sys, "argv", ["vidgan", *hostile(tmp_path).split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in ((0,) if hostile is xmp_comment else (2, 3, 4))
    out, err = capfd.readouterr()
    assert_harmless(out + err, lines=lines)


def assert_harmless(text, *, lines):
    assert "\\x1b" in text
    assert text.replace("\n", "").isprintable() and text.count("\n") == lines, ascii(text)


SHOWS = """
import logging, time
from dataclasses import replace
from tests.training.test_log import ROW
from vidgan.cli import terminal

full = {"images_seen": 1_999_999, "images_per_s": 9999.0, "loss_g": -12.34, "loss_d": 12.34}
full |= {"sure_real": 1.0, "sure_fake": 0.0, "elapsed_s": 80_000.0}
with terminal.messages(), terminal.training_bar() as bar:
    bar.decoding(99_999, 199_999)
    bar.training(replace(ROW, **full), 0.5)
    time.sleep(0.3)  # the bar is drawn ten times a second
    logging.getLogger("vidgan").info("To continue: vidgan train --resume " + "folder/" * 12)
    bar.training(ROW, 1.0)
"""


def shown_on_a_terminal(command: list[str], folder: Path | None = None) -> tuple[int, list[str]]:
    """The exit code of a command, and the lines that it shows on a terminal of 80 columns."""
    status, shown = on_a_terminal(command, folder)
    return status, re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown))


def on_a_terminal(command: list[str], folder: Path | None = None) -> tuple[int, str]:
    terminal_end, command_end = pty.openpty()
    termios.tcsetwinsize(command_end, (24, 80))
    streams = {"stdout": command_end, "stderr": command_end}
    process = subprocess.Popen(command, cwd=folder, **streams)
    os.close(command_end)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while piece := os.read(terminal_end, 1000):
            shown += piece
    os.close(terminal_end)
    return process.wait(), shown.decode()


def shown_picture(picture: np.ndarray, term: str) -> str:
    """What a terminal of 80 columns gets."""
    code = "import os, sys, numpy as np; from vidgan.cli.terminal import show\n"
    code += f"os.environ['TERM'] = {term!r}\nsys.stdout.reconfigure(encoding='utf-8')\n"
    code += f"show(np.array({picture.tolist()}, np.uint8))"
    status, shown = on_a_terminal([sys.executable, "-c", code])
    assert status == 0
    return shown


def test_kitty_gets_all_pixels_of_a_picture_in_short_pieces():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    shown = shown_picture(picture, "xterm-kitty")
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown)
    assert [k for k, _ in pieces] == ["a=T,q=2,f=24,s=60,v=40,c=80,m=1", "m=1", "m=1", "m=0"]
    assert all(len(code) <= 4096 for _, code in pieces)
    assert base64.b64decode("".join(code for _, code in pieces)) == picture.tobytes()


def test_other_terminals_get_a_picture_as_blocks():
    picture = np.zeros((4, 80, 3), np.uint8)
    picture[:2, 40:], picture[3] = (255, 0, 0), (0, 0, 255)
    lines = shown_picture(picture, "xterm-256color").splitlines()
    cells = [re.findall(r"38;2;(\d+);0;(\d+);48;2;(\d+);0;(\d+)m\u2580", line) for line in lines]
    top = [("0", "0", "0", "0")] * 40 + [("255", "0", "255", "0")] * 40
    assert cells == [top, [("0", "0", "0", "255")] * 80]
    assert all(line.endswith("\x1b[0m") for line in lines)


@pytest.mark.parametrize("words", ["render out.xyz", "verify " + "much/" * 15 + "x.png " * 5])
def test_what_is_longer_than_80_columns_breaks_only_between_words(words, tmp_path):
    command = [sys.executable, "-m", "vidgan", *words.split()]
    run = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    code, lines = shown_on_a_terminal(command, tmp_path)
    assert code == run.returncode and " ".join(lines).split() == run.stdout.split()
    assert max(map(len, run.stdout.splitlines())) > 80
    assert max(len(line) for line in lines if "much/" not in line) <= 80


def test_a_bar_stays_on_one_line_of_80_columns_and_a_message_in_one_piece():
    code, lines = shown_on_a_terminal([sys.executable, "-c", SHOWS])
    assert code == 0
    (message,) = {line for line in lines if "continue" in line}
    assert message == "To continue: vidgan train --resume " + "folder/" * 12
    bars = {line.rstrip() for line in lines if "━" in line}
    whole = "1,999,999 images 9999/s G -12.34 D 12.34 sure 100%/100%, 22:13:20 left"
    assert any(line.endswith(whole) for line in bars) and max(map(len, bars)) <= 80
    assert any(line.endswith("━ measuring and saving") for line in bars)
    assert {line.strip("━╸╺ ") for line in bars} <= {whole, "starting", "measuring and saving"}


def test_a_bar_on_a_terminal_that_is_gone_is_no_error():
    terminal_end, command_end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOWS], stderr=command_end)
    os.close(command_end)
    os.read(terminal_end, 1)
    os.close(terminal_end)
    assert process.wait() == 0
