"""The faults that vidgan survives. Each is injected for real, as far as a CPU on Linux allows it.

`tests/faults/inventory.py` names, for each, the tests that inject it. Those of no single module are
here.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.conftest import contents, save_model, small_generator, write_pictures
from tests.faults import machine
from tests.faults.kills import leftovers, ranks
from tests.faults.zygote import Zygote, kill, said
from tests.waiting import wait_until
from vidgan import config
from vidgan.generator import checkpoint

pytestmark = pytest.mark.faults
TESTS = Path(__file__).parent
TINY = {"model": {"width": 32, "height": 32, "channels": 4}}
QUICK = {"batch_size": 8, "checkpoint_every_images": 80, "distance_every_images": 0}


@pytest.fixture(scope="module")
def zygote():
    with Zygote() as zygote:
        yield zygote


@pytest.fixture
def work(tmp_path):
    """The folder in which commands run. Pictures and a recipe of 160 images lie beside it."""
    chance = np.random.default_rng(0)
    write_pictures(tmp_path / "pictures", chance.integers(0, 256, (40, 32, 32, 3), np.uint8))
    recipe(tmp_path)
    save_model(tmp_path / "model.safetensors", *small_generator(32, 32))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def recipe(folder: Path, *, channels: int = 4, **train: object) -> Path:
    tables = {"model": TINY["model"] | {"channels": channels}, "train": QUICK | {"images": 160}}
    tables["train"] |= train
    tables["data"] = {"source": str(folder / "pictures")}
    path = folder / "recipe.toml"
    path.write_text(config.to_toml(config.from_dict(tables)))
    return path


def the_run(work: Path) -> Path:
    (run,) = (work / "runs").glob("0*")
    return run


def checkpoints(run: Path) -> dict[str, dict]:
    """The content of each. Fails if one is not whole."""
    return {path.name: load_file(path) for path in run.glob("checkpoints/*.safetensors")}


def one_line(text: str, *parts: str) -> str:
    """The line in which a command says what is wrong. There is no traceback before it."""
    assert "Traceback" not in text, text
    (line,) = (line for line in text.splitlines() if line.startswith("vidgan: "))
    for part in parts:
        assert part in line, line
    return line


# 2. SIGKILL while a checkpoint is being written.


def test_a_kill_while_a_checkpoint_is_written_costs_one_interval(zygote, work):
    how = recipe(work.parent, channels=96, checkpoint_every_images=16, images=64)
    for _ in range(3):
        process = zygote.start(["train", "--recipe", how], work)
        # Other files of the run are written whole too, so wait for a part among checkpoints.
        wait_until(lambda: all([*work.glob(f"runs/*/checkpoints/{name}")] for name in ("0*", ".*")))
        kill(process)
        assert zygote.wait(process) == -signal.SIGKILL
        (run,) = work.glob("runs/*")
        seen = [int(name.split(".")[0]) for name in checkpoints(run)]
        code, text = zygote.run(["train", "--resume", run], work)
        assert code == 0, text
        assert f"at {max(seen):,} images" in text and leftovers(work) == []
        run.rename(work.parent / f"{run.name}-{time.monotonic_ns()}")


# 6. A full disk: at a checkpoint, at a film, and at samples.


def test_a_disk_that_fills_during_training_is_one_line_and_keeps_the_last_checkpoint(zygote, work):
    how = recipe(work.parent, channels=16, images=8000, samples_every_images=4000)
    with machine.small_disk(work / "runs", 12_000_000) as limits:
        process = zygote.start(["train", "--recipe", how], work, limits=limits)
        wait_until(lambda: len([*work.glob("runs/*/checkpoints/0*")]) == 2)
        with contextlib.suppress(OSError), (work / "runs/filler").open("wb", 0) as filler:
            while filler.write(b"0" * 4096):
                pass
        assert zygote.wait(process) == 5, said(work)
        one_line(said(work), "cannot be written", "No space left" if not limits else "")
        run = the_run(work)
        assert len(checkpoints(run)) in (1, 2, 3) and leftovers(run) == []
        (work / "runs/filler").unlink(missing_ok=True)
        assert zygote.run(["train", "--resume", run, "--for", "400"], work)[0] in (0, 2)


def test_a_disk_that_fills_during_a_render_leaves_what_was_there(zygote, work):
    with machine.small_disk(work / "small", 300_000) as limits:
        (work / "small/out.mkv").write_bytes(b"of vidgan")
        words = ["--model", work.parent / "model.safetensors", "--frames", 2000, "--force"]
        code, text = zygote.run(["render", *words, "small/out.mkv"], work, limits=limits)
        assert code == 5
        one_line(text, ".mkv", "space" if not limits else "")
        assert [p.name for p in (work / "small").iterdir()] == ["out.mkv"]
        assert (work / "small/out.mkv").read_bytes() == b"of vidgan"


# 7. A target that is read-only, missing or a file; a folder that vanishes.


def test_a_read_only_disk_is_refused_before_training_and_rendering(zygote, work):
    (work / "runs").mkdir()
    with machine.read_only(work):
        started = time.monotonic()
        code, text = zygote.run(["train", "--recipe", work.parent / "recipe.toml"], work)
        assert code == 5 and time.monotonic() - started < 60
        one_line(text, "runs")
        words = ["render", "--model", work.parent / "model.safetensors", "out.mp4"]
        code, text = zygote.run(words, work)
        assert code == 5
        one_line(text, "cannot be written")
    assert contents(work) == {work / "runs": True}


def test_a_file_in_the_place_of_the_runs_is_refused(zygote, work):
    (work / "runs").write_text("mine")
    code, text = zygote.run(["train", "--recipe", work.parent / "recipe.toml"], work)
    assert code in (2, 5)
    one_line(text, "runs")
    assert contents(work) == {work / "runs": b"mine"}


def test_a_run_folder_that_vanishes_is_one_line(zygote, work):
    how = recipe(work.parent, images=80_000)
    process = zygote.start(["train", "--recipe", how], work)
    wait_until(lambda: [*work.glob("runs/*/checkpoints/0*")])
    (work / "runs").rename(work / "elsewhere")
    assert zygote.wait(process) == 5, said(work)
    one_line(said(work), "cannot be written")


# 15. Pictures that are none.


def test_one_of_a_thousand_pictures_is_cut_empty_or_a_web_page(zygote, work):
    chance = np.random.default_rng(0)
    folder = write_pictures(
        work.parent / "thousand", chance.integers(0, 256, (997, 8, 8, 3), np.uint8)
    )
    Image.fromarray(chance.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "cut.jpg")
    os.truncate(folder / "cut.jpg", 900)
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<html>404</html>")
    code, text = zygote.run(["train", folder, "--recipe", work.parent / "recipe.toml"], work)
    assert code == 0, text
    assert "3 unreadable, skipped" in text
    assert all(name in text for name in ("cut.jpg", "empty.png", "page.jpg"))


# 21, 22. Very few pictures, and hardly any shared memory.


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_pictures_than_a_batch_are_repeated(zygote, work, count):
    for path in sorted((work.parent / "pictures").iterdir())[count:]:
        path.unlink()
    code, text = zygote.run(["train", "--recipe", work.parent / "recipe.toml"], work)
    assert code == 0, text
    assert (
        f" {count} picture" in text
        and max(checkpoints(the_run(work))) == "000000000160.safetensors"
    )


def test_training_needs_no_shared_memory(work):
    command = [sys.executable, "-m", "vidgan", "train", "--recipe", work.parent / "recipe.toml"]
    if machine.can_mount():  # nothing else makes /dev/shm small for one process
        script = 'mount -t tmpfs -o size=4096 none /dev/shm && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "-", *command]
    subprocess.run(command, cwd=work, check=True, capture_output=True)
    assert checkpoints(the_run(work))


# 24. A recipe in another encoding; a size that is no square and no power of two.


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8-sig", 0), ("utf-16", 2)])
def test_a_recipe_may_have_a_mark_of_its_encoding_but_must_be_utf_8(
    zygote, work, encoding, expected
):
    path = work.parent / "recipe.toml"
    path.write_text(path.read_text(), encoding=encoding)
    before = contents(work)
    code, text = zygote.run(["train", "--recipe", path, "--for", "1000", "--size", "56x40"], work)
    assert code == expected, text
    if code:
        one_line(text, "recipe.toml: not a TOML file in UTF-8")
        assert contents(work) == before


# 27. Odd names.


@pytest.mark.parametrize("name", ["a b", "ünï-漢字", "line\nbreak", "-dash", "%s{}", "a'b\"c"])
def test_odd_names_are_names(zygote, work, name):
    target = f"./{name}.mkv"
    words = ["render", "--model", work.parent / "model.safetensors", "--frames", 2, target]
    code, text = zygote.run(words, work)
    assert code == 0, text
    assert [path.name for path in work.iterdir()] == [f"{name}.mkv"]
    assert zygote.run(["verify", target], work)[0] == 0
    pictures = work.parent / name
    (work.parent / "pictures").rename(pictures)
    words = ["train", f"../{name}", "--recipe", work.parent / "recipe.toml"]
    code, text = zygote.run(words, work)
    assert code == 0 and the_run(work), text


# 29. Two runs in one second.


def test_two_runs_that_start_at_once_get_two_folders(zygote, work):
    words = ["train", "--recipe", work.parent / "recipe.toml"]
    processes = [zygote.start(words, work) for _ in range(2)]
    assert [zygote.wait(process) for process in processes] == [0, 0]
    numbers = sorted(path.name[:5] for path in (work / "runs").iterdir())
    assert numbers == ["00000", "00001"]


# 30. A clock that jumps.


def test_a_clock_that_jumps_by_a_day_changes_neither_times_nor_weights(zygote, work):
    how = recipe(work.parent, images=800)
    assert zygote.run(["train", "--recipe", how], work)[0] == 0
    wanted = checkpoints(the_run(work))
    jumping = work.parent / "jumping"
    jumping.mkdir()
    command = [sys.executable, "-m", "vidgan", "train", "--recipe", how]
    env = {**machine.jumping_clock(work.parent), "OMP_NUM_THREADS": "1"}  # as the zygote has
    done = subprocess.run(command, cwd=jumping, env=env, capture_output=True, text=True, check=True)
    hours = [int(h) for h in re.findall(r"(\d+):\d\d:\d\d left", done.stderr)]
    assert hours and max(hours) == 0 and "day" not in done.stderr
    for row in (the_run(jumping) / "stats.jsonl").read_text().splitlines():
        assert 0 <= json.loads(row)["elapsed_s"] < 3600 and json.loads(row)["images_per_s"] > 0
    for name, tensors in checkpoints(the_run(jumping)).items():
        assert all(np.array_equal(tensors[key], wanted[name][key]) for key in tensors)


# 4, 5. Ranks that are told to stop, die or hang.


def two_ranks(zygote: Zygote, work: Path, **train: object) -> list[int]:
    """Two processes that train together, as torchrun would start them, past a checkpoint."""
    how = recipe(work.parent, images=800_000, **train)
    folders = [work.with_name(f"{work.name}-{rank}") for rank in range(2)]
    started = []
    for folder, env in zip(folders, ranks(2), strict=True):
        folder.mkdir()
        words = ["train", "--recipe", how, "--runs", work / "runs"]
        call = "tests.faults.killed:impatient"
        started.append(zygote.start(words, folder, env=env, call=call))
    wait_until(lambda: [*work.glob("runs/*/checkpoints/0*")])
    return started


@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_rank_stops_both_at_the_same_step(zygote, work, told):
    processes = two_ranks(zygote, work, checkpoint_every_images=80)
    os.kill(processes[told], signal.SIGTERM)
    codes = [zygote.wait(process, patience_s=120) for process in processes]
    assert codes == [143, 143]
    assert leftovers(work) == [] and checkpoints(the_run(work))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_rank_that_dies_or_hangs_ends_the_others(zygote, work, number, lost):
    processes = two_ranks(zygote, work)
    os.kill(processes[lost], number)
    assert zygote.wait(processes[1 - lost], patience_s=240) == 5
    one_line(said(work.with_name(f"{work.name}-{1 - lost}")), "rank")
    kill(processes[lost])
    zygote.wait(processes[lost])
    code, text = zygote.run(["train", "--resume", the_run(work), "--for", "1000"], work)
    assert code in (0, 2) and leftovers(work) == [], text


# 10. A model of another time.


def test_a_model_of_a_newer_vidgan_is_refused_by_its_version(zygote, work, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", checkpoint.FORMAT_VERSION + 1)
    save_model(work / "newer.safetensors", *small_generator(32, 32))
    code, text = zygote.run(["render", "--model", "newer.safetensors", "out.mp4"], work)
    assert code == 4
    one_line(text, "newer.safetensors: made by vidgan", "newer than this")
    assert [path.name for path in work.iterdir()] == ["newer.safetensors"]


# 13. A training that diverges by itself.


def test_a_learning_rate_that_is_too_high_ends_as_diverged(zygote, work):
    keys = {"loss": "wgan", "gradient_penalty": 1e30, "learning_rate_d": 0.9, "images": 8000}
    code, text = zygote.run(["train", "--recipe", recipe(work.parent, **keys)], work)
    assert code == 6, text
    one_line(text, "diverged after")


# 28. A runtime that is not there.


def test_without_onnx_runtime_a_render_says_what_to_install(work, onnx_file):
    hidden = work / "onnxruntime"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('no ONNX Runtime')\n")
    env = {**os.environ, "PYTHONPATH": f"{work}:{TESTS.parent}"}
    words = [sys.executable, "-m", "vidgan", "render", "--model", onnx_file, "out.mp4"]
    done = subprocess.run(words, cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    one_line(done.stderr, "pip install")
    assert not (work / "out.mp4").exists()
