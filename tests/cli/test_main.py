import gc
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from tests.conftest import contents, save_model, small_generator
from tests.films import read_frames
from tests.wrong_commands import MODEL, WRONG_COMMANDS, prepare
from vidgan.cli.main import _said_of, main
from vidgan.film.reader import probe
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.marks.xmp import find_mark


@pytest.fixture
def vidgan(tmp_path, monkeypatch, capsys):
    """Runs a command in this process, in tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # main() ends a process; this one goes on

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["vidgan", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        done = subprocess.CompletedProcess(arguments, end.value.code, *capsys.readouterr())
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.mark.parametrize(("code", "says", "line"), WRONG_COMMANDS)
def test_a_mistake_is_one_line_and_changes_nothing(code, says, line, vidgan, model_file, tmp_path):
    prepare(tmp_path)
    before = contents(tmp_path)
    done = vidgan(*line.replace(MODEL, str(model_file)).split(), code=code)
    assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (0, "render --frames 3 --model MODEL out.gif"),
        (2, "render --frams 3 out.mp4"),
        (3, "train empty"),
        (4, "verify notes.onnx"),
        (5, "render --model MODEL /proc/out.mp4"),
    ],
)
def test_a_process_does_the_same(code, command, vidgan, onnx_file, tmp_path):
    prepare(tmp_path)
    arguments = command.replace("MODEL", str(onnx_file)).split()
    process = [sys.executable, "-m", "vidgan", *arguments]
    done = subprocess.run(process, cwd=tmp_path, capture_output=True, text=True)
    force = ["--force"] if code == 0 else []
    here = vidgan(*arguments, *force, code=code)
    assert (done.returncode, done.stdout, done.stderr) == (code, here.stdout, here.stderr)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "--version", "render --frames 2 out.gif"])
def test_a_stdout_that_is_full_closed_or_read_by_nobody(words, unbuffered, onnx_file, tmp_path):
    command = f"{sys.executable} -m vidgan {words}"
    command += f" --model {onnx_file} --force" if "render" in words else ""
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    full = (5, "vidgan: stdout: cannot be written (No space left on device).\n")
    for line, wanted in ((f"{command} >/dev/full", full), (f"{command} >&-", (0, ""))):
        run = ["bash", "-c", line]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == wanted
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command.split(), cwd=tmp_path, env=environment, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 0


def test_render_makes_exactly_the_frames_asked_for(vidgan, model_file, tmp_path):
    vidgan("render", "--frames", 47, "--model", model_file, "out.mp4")
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 47
    assert probe(tmp_path / "out.mp4")[0] == 512  # so that a person can look at it


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"), [(0.1, 30, 3), (1.001, "24000/1001", 24), (0.29, 12.5, 4)]
)
def test_seconds_make_the_nearest_number_of_frames(seconds, fps, frames, vidgan, onnx_file):
    done = vidgan("render", "out.mkv", "--seconds", seconds, "--fps", fps, "--model", onnx_file)
    assert f"{frames} frames" in done.stdout


def test_a_folder_that_is_there_needs_no_slash(vidgan, onnx_file, tmp_path):
    (tmp_path / "stills").mkdir()
    vidgan("render", "stills", "--frames", 3, "--model", onnx_file)
    assert len(list((tmp_path / "stills").iterdir())) == 3


def test_a_slash_makes_any_name_a_folder_of_frames(vidgan, model_file, tmp_path):
    (tmp_path / "empty.mp4").mkdir()
    vidgan("render", "--frames", 2, "--model", model_file, "--force", "empty.mp4/")
    assert len(list((tmp_path / "empty.mp4").glob("frame*.png"))) == 2


def test_render_takes_the_newest_run_and_says_so(vidgan, model_file, tmp_path):
    for number, age_s in (("00000", 100), ("00001", 0)):
        run = tmp_path / "runs" / f"{number}-x-dcgan64"
        run.mkdir(parents=True)
        copy = run / "generator.safetensors"
        copy.write_bytes(model_file.read_bytes())
        os.utime(copy, (copy.stat().st_mtime - age_s,) * 2)
    assert "00001-x-dcgan64" in vidgan("render", "--frames", 2, "out.mp4").stdout


def test_while_the_first_run_has_no_generator_nothing_else_is_rendered(vidgan, tmp_path):
    run = tmp_path / "runs" / "00000-x"
    run.mkdir(parents=True)
    (run / "config.toml").touch()
    for words in ("render out.mp4", "sample a.png", "export a.onnx", "evaluate"):
        done = vidgan(*words.split(), code=4)
        assert (
            "runs/00000-x: has no generator yet" in done.stderr and "--model earth" in done.stderr
        )
    assert not vidgan("sample", "--grid", "1x1", "earth.png", "--model", "earth").stderr


def test_before_anything_is_trained_the_shipped_generator_is_used(vidgan, tmp_path):
    assert "the shipped generator" in vidgan("render", "--frames", 5, "out.mp4").stdout
    first, *_, last = read_frames(tmp_path / "out.mp4")
    assert first.std() > 20 and (first != last).any()  # a picture, and it moves


def test_samples_as_a_grid_and_as_a_folder(vidgan, model_file, tmp_path):
    vidgan("sample", "--grid", "3x2", "--model", model_file, "grid.png")
    vidgan("sample", "--count", 5, "--model", model_file, "stills")
    assert len(list((tmp_path / "stills").glob("*.png"))) == 5


def test_a_sample_of_chosen_pictures_shows_them_in_turn(vidgan, model_file, tmp_path):
    shutil.copy(model_file, tmp_path / "model.safetensors")
    model = ("--model", "model.safetensors")
    vidgan("keep", *model, 15, "coast")
    vidgan("sample", *model, "--count", 21, "stills")
    vidgan("sample", *model, "--seeds", "3,20,4,5,6,7,8,9,10", "seeds.png")
    vidgan("sample", *model, "--keyframes", "coast,20", "kept.png")
    stills = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "stills").iterdir())]
    two = [stills[10], *[np.zeros_like(stills[0])] * 7]
    rows = [[stills[i] for i in (3, 20, 4, 5, 6, 7, 8, 9)], two]
    wanted = np.concatenate([np.concatenate(row, 1) for row in rows])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "seeds.png")), wanted)
    wanted = np.concatenate([stills[15], stills[20]], 1)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "kept.png")), wanted)


def test_the_number_of_a_picture_is_its_seed_everywhere(vidgan, model_file, tmp_path):
    model = ("--model", model_file)
    vidgan("sample", *model, "--grid", "4x3", "--seed", 15, "--numbers", "sheet.png")
    vidgan("sample", *model, "--grid", "4x3", "--seed", 15, "plain.png")
    vidgan("sample", *model, "--count", 8, "--seed", 15, "stills")
    vidgan("render", *model, "--seeds", "17,22,15", "--frames", 3, "film/")
    sheet, plain = (np.asarray(Image.open(tmp_path / n)) for n in ("sheet.png", "plain.png"))
    frames = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "film").iterdir())]
    stills = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "stills").iterdir())]
    for frame, number in zip(frames, (17, 22, 15), strict=True):
        row, column = divmod(number - 15, 4)
        picture = np.s_[64 * row : 64 * (row + 1), 64 * column : 64 * (column + 1)]
        assert np.array_equal(plain[picture], stills[number - 15])
        assert np.array_equal(sheet[picture][14:], plain[picture][14:])
        assert (sheet[picture] != plain[picture]).any()
        assert np.abs(frame.astype(int) - stills[number - 15]).max() <= 1


@pytest.fixture(scope="module")
def model_of_classes(tmp_path_factory):
    names = ("flags", "women", "old maps")
    folder = tmp_path_factory.mktemp("classes")
    return save_model(folder / "generator.safetensors", *small_generator(class_names=names))


def test_classes_are_chosen_by_name_and_number_and_listed(vidgan, model_of_classes, tmp_path):
    common = ("--model", model_of_classes, "--frames", 4)
    vidgan("export", "--model", model_of_classes, "--classes", "weights", "weights.onnx")
    vidgan("export", "--model", model_of_classes, "label.onnx")
    done = vidgan("render", *common, "--labels", "flags,old maps", "--save-walk", "w.json", "a/")
    every = "classes: 0 flags, 1 women, 2 old maps"
    assert f"{every}; shown: 0 flags, 2 old maps" in done.stdout.splitlines()
    assert json.loads((tmp_path / "w.json").read_text())["labels"] == [0, 2]
    vidgan("render", *common, "--labels", "0,2", "b/")
    done = vidgan("render", "--model", "weights.onnx", "--walk", "w.json", "c/")
    assert not done.stderr and f"{every}; shown: 0" in done.stdout
    a, b, c = (
        [np.asarray(Image.open(f)).astype(int) for f in sorted((tmp_path / n).iterdir())]
        for n in "abc"
    )
    assert np.array_equal(a, b) and np.abs(np.subtract(a, c)).max() <= 1
    done = vidgan("render", *common, "--labels", "flag", "d/", code=2)
    assert "--labels flag: no such class; known are 0 flags, 1 women" in done.stderr
    done = vidgan("render", "--model", "label.onnx", "--labels", "0,2", "d/", code=4)
    assert "--classes weights" in done.stderr and not (tmp_path / "d").exists()
    for file in (model_of_classes, "weights.onnx"):
        assert "classes     0 flags, 1 women, 2 old maps" in vidgan("verify", file).stdout


@pytest.mark.parametrize(("order", "loop"), [("aba", True), ("abb", True), ("aba", False)])
def test_favourites_are_keyframes_each_of_its_class(
    order, loop, vidgan, model_of_classes, tmp_path
):
    model = ("--model", tmp_path / "generator.safetensors")
    model[1].write_bytes(model_of_classes.read_bytes())
    assert "nothing is kept beside" in vidgan("keep", *model).stdout
    vidgan("keep", 17, "a", "--label", "old maps", *model)
    assert vidgan("keep", 203, "b", *model).stdout == "a: seed 17, class 2\nb: seed 203\n"
    options = ("--frames", 3) if loop else ("--frames", 5, "--no-loop")
    done = vidgan("render", *model, *options, "--keyframes", ",".join(order), "film/")
    assert "shown: 2 old maps, 0 flags" in done.stdout
    frames = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "film").iterdir())]
    generator, kept = open_generator(model[1]), {"a": (17, 2), "b": (203, 0)}
    for name, frame in zip(order, frames if loop else frames[::2], strict=True):
        seed, label = kept[name]
        one_hot = np.eye(3, dtype=np.float32)[[label]]
        wanted = generator(seeds.numbered([seed], z_dim=100), one_hot)[0]
        assert np.abs(frame.astype(int) - wanted).max() <= 1
    frames = ("--frames", 3, "--keyframes", "a,b,17", "--labels", "1")
    assert "shown: 1 women\n" in vidgan("render", *model, *frames, "one/").stdout


def test_a_sample_shows_all_classes_and_says_where(vidgan, model_of_classes, tmp_path):
    done = vidgan("sample", "--model", model_of_classes, "all.png")
    assert "rows in turn: 0 flags, 1 women, 2 old maps" in done.stdout
    vidgan("sample", "--model", model_of_classes, "--labels", "women", "--grid", "8x1", "one.png")
    everything, women = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("all", "one"))
    assert everything.shape == (3 * 64, 8 * 64, 3) and women.shape == (64, 8 * 64, 3)
    assert np.array_equal(everything[64:128], women) and (everything[:64] != women).any()
    options = ("--labels", "2,flags", "--count", 3)
    done = vidgan("sample", "--model", model_of_classes, *options, "stills")
    assert "pictures in turn: 2 old maps, 0 flags" in done.stdout
    generator = open_generator(model_of_classes)
    z = seeds.numbered(range(3), z_dim=100)
    wanted = generator(z, np.eye(3, dtype=np.float32)[[2, 0, 2]])
    stills = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "stills").iterdir())]
    assert np.array_equal(stills, wanted)
    assert find_mark(tmp_path / "all.png")["comment"]["labels"] == [0, 1, 2]


def test_a_sample_of_a_favourite_shows_its_class(vidgan, model_of_classes, tmp_path):
    shutil.copy(model_of_classes, tmp_path / "model.safetensors")
    model = ("--model", "model.safetensors")
    vidgan("keep", *model, 15, "coast", "--label", "2")
    assert "old maps" in vidgan("sample", *model, "--keyframes", "coast,20", "kept.png").stdout
    vidgan("sample", *model, "--seeds", "15,20", "all.png")
    kept, rows = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("kept", "all"))
    assert rows.shape == (3 * 64, 2 * 64, 3)  # a class in each row
    assert np.array_equal(kept, np.concatenate([rows[128:, :64], rows[:64, 64:]], 1))


def test_export_then_render_the_exported_file(vidgan, model_file):
    assert "at most" in vidgan("export", "--model", model_file, "generator.onnx").stdout
    vidgan("render", "--frames", 3, "--model", "generator.onnx", "out.gif")


def test_export_a_walk_then_verify_it_and_find_it_damaged(vidgan, model_file, tmp_path):
    options = ("--walk", "loop", "--frames", 24, "--weights", "fp16")
    done = vidgan("export", *options, "--model", model_file, "walk.onnx")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["fp32", "fp16"]
    verdict = vidgan("verify", "walk.onnx").stdout
    assert "at most 0 grey levels" in " ".join(verdict.split())
    assert "path inside" in vidgan("render", "--model", "walk.onnx", "out.mp4", code=4).stderr
    (tmp_path / "walk.onnx").write_bytes((tmp_path / "walk.onnx").read_bytes()[:-5000])
    assert "walk.onnx" in vidgan("verify", "walk.onnx", code=4).stderr
    assert {path.name for path in contents(tmp_path)} == {"walk.json", "walk.onnx"}


def test_verify_of_several_files(vidgan, model_file, tmp_path):
    vidgan("render", "--frames", 3, "--model", model_file, "out.webp")
    (tmp_path / "photo.jpg").write_bytes(b"of a camera")
    done = vidgan("verify", "photo.jpg", "out.webp", model_file, code=1)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["photo.jpg: no mark found", "out.webp: marked as synthetic"]
    assert "  path        loop" in lines and not done.stderr
    assert max(map(len, lines)) <= max(80, len(str(model_file)) + 30)


def test_verify_finds_a_damaged_generator_but_judges_no_file_of_others(
    vidgan, model_file, tmp_path
):
    content = model_file.read_bytes()
    at = len(content) // 2
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    for damaged in (changed, content[:-1], content[:at], content[:100]):
        (tmp_path / "damaged.safetensors").write_bytes(damaged)
        done = vidgan("verify", "damaged.safetensors", code=4)
        assert "damaged" in done.stderr and not done.stdout
    save_file({"w": np.ones(3)}, tmp_path / "of_others.safetensors")
    assert "no mark found" in vidgan("verify", "of_others.safetensors", code=1).stdout


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("av", "render --frames 2 out.gif"),
        ("torch", "train"),
        ("safetensors", "verify MODEL"),
        ("onnxscript", "export out.onnx"),
        ("cyclopts", "--help"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named(package, words, model_file, tmp_path):
    """Doctor names it too, and says all else that it finds."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise ImportError('its library is gone')")
    words = words.replace(MODEL, str(model_file))
    search = os.pathsep.join([str(tmp_path), *sys.path])
    run = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": search}}
    said = f"{package}: cannot be imported (its library is gone). Install"
    for command, code in ((words, 5), ("doctor", 5 if package == "cyclopts" else 0)):
        process = [sys.executable, "-m", "vidgan", *command.split()]
        done = subprocess.run(process, capture_output=True, text=True, **run)
        assert done.returncode == code, done.stderr
        lines = (done.stderr if code else done.stdout).splitlines()
        assert [line for line in lines if said in line]
        assert len(lines) == 1 if code else len(lines) > 9 and not done.stderr


def test_a_memory_that_is_too_small_is_one_line_whoever_says_so():
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**45)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**45)
    of_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
    for error in (of_torch.value, of_numpy.value, of_gpu):
        line, code = _said_of(error)
        assert code == 5 and line.startswith("the memory is full (") and "\n" not in line
    with pytest.raises(RuntimeError):
        _said_of(RuntimeError("a bug"))


def test_doctor_names_device_precision_and_encoders(vidgan):
    facts = vidgan("doctor").stdout
    for word in ("torch", "device", "precision", "libx264", "onnxruntime"):
        assert word in facts
    works = re.findall(r"^GPU session   (works|fails: .{9,})$", facts, re.MULTILINE)
    assert len(works) == ("CUDAExecutionProvider" in onnxruntime.get_available_providers())


def test_evaluate_prints_distances(vidgan, model_file, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    done = vidgan("evaluate", model_file, pictures)
    assert done.stdout.startswith("FD-Lite0-320 ") and "N = 20; real against real" in done.stdout
    assert "against" in done.stderr  # what was compared; stdout is for the numbers
    assert "lower is better" in done.stderr
    done = vidgan("evaluate", model_file, pictures, "--metrics", "fid", code=5)
    assert "does not fetch it" in done.stderr and done.stderr.count("\n") == 1


def test_every_option_has_a_text_that_fits_80_columns(vidgan, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    verbs = ("train", "evaluate", "render", "sample", "export", "serve", "verify", "import")
    for verb in verbs:
        lines = vidgan(verb, "--help").stdout.splitlines()
        assert max(map(len, lines)) <= 80
        options = [line for line in lines if line.startswith(("│ --", "│    --"))]
        assert all(len(line.strip("│ ").split("  ")) > 1 for line in options), verb
