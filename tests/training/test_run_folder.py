import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import contents
from tests.films import read_frames
from tests.training.test_loop import settings
from tests.waiting import another_process_in
from vidgan.disk.files import claimed
from vidgan.errors import SystemFault
from vidgan.film.writer import write_png
from vidgan.training import loop
from vidgan.training.run_folder import grids, locked, write_film

GREY = np.full((32 * 4, 32 * 8, 3), 90, np.uint8)


def test_what_is_no_grid_of_samples_is_left_out_of_the_film_with_one_warning(tmp_path, said):
    for images in (0, 1000, 2000, 12_345_678_901):
        write_png(tmp_path / f"samples{images:09d}.png", GREY)
    (tmp_path / "samples000001000.png").write_bytes(b"")
    write_png(tmp_path / "samples000002000.png", GREY[:64])
    (tmp_path / "samples000003000.png").mkdir()
    for name in ("samples-old.png", "fakes-old.png", "samplesheet.png"):
        (tmp_path / name).write_text("mine")
    assert list(grids(tmp_path)) == [0, 1000, 2000, 3000, 12_345_678_901]
    write_film(tmp_path)
    assert len(list(read_frames(tmp_path / "progress.mp4"))) == 2 + 8
    (line,) = said
    assert "left out samples that cannot be shown (3, first samples000001000.png)" in line


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"", b"1 2 3", b"one host", b"\x1b[2J x"])
def test_an_owner_of_the_lock_that_is_none_is_passed_over(tmp_path, content, said):
    (tmp_path / "lock.owner").write_bytes(content)
    with locked(tmp_path):
        assert (tmp_path / "lock.owner").read_text().startswith(f"{os.getpid()} ")
    assert not (tmp_path / "lock.owner").exists() and said == []


@pytest.mark.parametrize("name", ["lock", "lock.owner"])
def test_a_folder_in_the_place_of_a_lock_is_one_line(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(SystemFault, match=f"{name}: cannot be written"), locked(tmp_path):
        pass
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize("name", ["samples000000008.png", "checkpoints/000000000008.safetensors"])
def test_a_run_deletes_what_a_killed_process_left_and_nothing_else(tmp_path, name):
    (tmp_path / "checkpoints").mkdir()
    mine = [tmp_path / n for n in (".notes.txt.part-1", "reals.png.part-0123abcd")]
    for path in mine:
        path.write_text("mine")
    before = contents(tmp_path)
    with another_process_in(claimed, tmp_path / name) as other:
        other.kill()
    assert contents(tmp_path) != before
    with locked(tmp_path):
        left = contents(tmp_path).keys() - before.keys()
    assert {path.name for path in left} == {"lock", "lock.owner"}
    assert all(path.exists() for path in mine)


DAMAGE = {
    "reals": lambda run: (run / "reals.png").write_bytes(b"no picture"),
    "samples": lambda run: (run / "samples000000000.png").write_bytes(b""),
    "a user's samples": lambda run: (run / "samples-old.png").write_text("mine"),
    "a user's fakes": lambda run: (run / "fakes-old.png").write_text("mine"),
    "numbers": lambda run: (run / "stats.jsonl").write_bytes(b"\xff\xfe\n[3]\n"),
    "commands": lambda run: (run / "commands.jsonl").write_bytes(b"\xff\xfe\n[3]\n"),
    "a film": lambda run: (run / "progress.mp4").write_bytes(b"no film"),
    "a report": lambda run: (run / "report.html").write_bytes(b"\xff"),
}


def test_a_run_goes_on_whatever_lies_in_its_folder(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=16), runs=tmp_path)
    for damage in DAMAGE.values():
        damage(run)
    del said[:]
    resume = [sys.executable, "-m", "vidgan", "train", "--resume", run, "--for", "0.032k"]
    done = subprocess.run(resume, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left_out = [line for line in done.stderr.splitlines() if "left out" in line]
    assert sorted(line.split(": ")[0].rpartition("/")[2] for line in left_out) == [
        "00000-pictures-dcgan32",
        "commands.jsonl",
        "stats.jsonl",
    ]
    assert (run / "samples-old.png").read_text() == (run / "fakes-old.png").read_text() == "mine"
