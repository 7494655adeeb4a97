"""Commands as a person types them; mistakes as one line and the right exit code."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from vidgan.disk.places import bundled
from vidgan.film.reader import probe, read_frames

EARTH = bundled("assets/earth.mp4")


def vidgan(*arguments, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "vidgan", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def test_render_makes_exactly_the_frames_asked_for(model_file, tmp_path):
    vidgan("render", "--frames", 47, "--model", model_file, "out.mp4", cwd=tmp_path)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 47
    assert probe(tmp_path / "out.mp4").width == 512  # so that a person can look at it


def test_render_takes_the_newest_run_and_says_so(model_file, tmp_path):
    for number, age_s in (("00000", 100), ("00001", 0)):
        run = tmp_path / "runs" / f"{number}-x-dcgan64"
        run.mkdir(parents=True)
        copy = run / "generator.safetensors"
        copy.write_bytes(model_file.read_bytes())
        os.utime(copy, (copy.stat().st_mtime - age_s,) * 2)
    done = vidgan("render", "--frames", 2, "out.mp4", cwd=tmp_path)
    assert "00001-x-dcgan64" in done.stdout


def test_before_anything_is_trained_the_shipped_generator_renders_and_exports(tmp_path):
    done = vidgan("render", "--frames", 5, "out.mp4", cwd=tmp_path)
    assert "the shipped generator" in done.stdout
    first, *_, last = read_frames(tmp_path / "out.mp4")
    assert first.std() > 20 and (first != last).any()  # a picture, and it moves
    vidgan("export", "generator.onnx", cwd=tmp_path)
    assert (tmp_path / "generator.onnx").stat().st_size > 1_000_000


def test_samples_as_a_grid_and_as_a_folder(model_file, tmp_path):
    vidgan("sample", "--grid", "3x2", "--model", model_file, "grid.png", cwd=tmp_path)
    vidgan("sample", "--count", 5, "--model", model_file, "stills", cwd=tmp_path)
    assert len(list((tmp_path / "stills").glob("*.png"))) == 5


def test_export_then_render_the_exported_file(model_file, tmp_path):
    done = vidgan("export", "--model", model_file, "generator.onnx", cwd=tmp_path)
    assert "at most" in done.stdout
    vidgan("render", "--frames", 3, "--model", "generator.onnx", "out.gif", cwd=tmp_path)


def test_export_a_walk_then_verify_it_and_find_it_damaged(model_file, tmp_path):
    options = ("--walk", "loop", "--frames", 24, "--weights", "fp16")
    done = vidgan("export", *options, "--model", model_file, "walk.onnx", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["fp32", "fp16"]
    said = vidgan("verify", "walk.onnx", cwd=tmp_path).stdout
    assert "at most 0 grey levels" in " ".join(said.split())
    said = vidgan("render", "--model", "walk.onnx", "out.mp4", cwd=tmp_path, code=4).stderr
    assert "path inside" in said
    (tmp_path / "walk.onnx").write_bytes((tmp_path / "walk.onnx").read_bytes()[:-5000])
    assert "walk.onnx" in vidgan("verify", "walk.onnx", cwd=tmp_path, code=4).stderr
    assert leftovers(tmp_path) == ["walk.json", "walk.onnx"]


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (2, "ships cifar10, demo, earth", ["train", "--recipe", "tinny"]),
        (2, "--frames 0", ["render", "--frames", "0", "out.mp4"]),
        (2, "--frames 1.5: a whole number", ["render", "--frames", "1.5", "out.mp4"]),
        (2, "--count 2.5: a whole number", ["sample", "--count", "2.5", "stills"]),
        (2, "fps", ["render", "--fps", "0", "out.mp4"]),
        (2, "--frams", ["render", "--frams", "3", "out.mp4"]),
        (2, "did you mean train.images", ["train", "--recipe", "recipe.toml"]),
        (2, "--for", ["train", "--for", "soon"]),
        (2, "--for 20: a time", ["train", "--for", "20"]),
        (2, "--for -5s: a time", ["train", "--for", "-5s"]),
        (2, "--size 0: no side", ["train", "--size", "0"]),
        (2, "multiple of 8", ["train", "--size", "63"]),
        (3, "empty", ["train", "empty"]),
        (3, "nowhere", ["train", "nowhere"]),
        (4, "notes.txt", ["render", "--model", "notes.txt", "out.mp4"]),
        (4, "notes.onnx", ["render", "--model", "notes.onnx", "out.mp4"]),
        (4, "no such file", ["export", "--model", "absent.safetensors", "generator.onnx"]),
        (2, ".onnx", ["export", "generator.bin"]),
        (2, "one of the two", ["export", "--int8", "--weights", "fp16", "generator.onnx"]),
        (2, "three channels", ["export", "--output", "float", "--layout", "rgba", "g.onnx"]),
        (2, "spiral: known are", ["export", "--walk", "spiral", "walk.onnx"]),
        (4, "notes.onnx", ["verify", "notes.onnx"]),
        (4, "absent.onnx", ["verify", "absent.onnx"]),
        (2, ".safetensors", ["import", "notes.txt", "generator.pt"]),
        (4, "notes.txt", ["import", "notes.txt", "generator.safetensors"]),
        (2, "not a run", ["train", "--resume", "empty"]),
        (2, "--size 50: a side", ["train", "--size", "50"]),
        (2, "--truncation", ["render", "--truncation", "-1", "out.mp4"]),
        (2, "128000x128000", ["render", "--scale", "1000", "out.mp4"]),
        (2, "--count writes a folder", ["sample", "--count", "5", "out.png"]),
        (2, "nowhere: there is no such file", ["evaluate", "nowhere"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(code, says, arguments, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "notes.onnx").write_text("not a model")
    (tmp_path / "recipe.toml").write_text("[train]\nimage = 3\n")
    before = leftovers(tmp_path)
    done = vidgan(*arguments, cwd=tmp_path, code=code)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert leftovers(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (2, ".xyz is no kind of file", ["out.xyz"]),
        (2, "there is no folder nowhere", ["nowhere/out.mp4"]),
        (2, "there is no folder mine.mp4", ["mine.mp4/out.mp4"]),
        (5, "/proc: cannot be written to", ["/proc/out.mp4"]),
        (2, "give the file another name", ["folder.mp4"]),
        (2, "or --force to replace it", ["mine.mp4"]),
        (2, "or --force", ["frames"]),
        (2, "holds more than frames (photo.png)", ["--force", "frames"]),
        (2, "--frames -5: at least 1", ["--frames", "-5", "out.mp4"]),
        (2, "add --yes to go on", ["--frames", "1000000000", "out.mp4"]),
        (3, "there is no sound in it", ["--audio", EARTH, "out.mp4"]),
        (3, "cannot be read as sound", ["--audio", "notes.txt", "out.mp4"]),
        (3, "cannot be read as sound", ["--audio", "absent.wav", "out.mp4"]),
        (2, "keyframes of 3 numbers; this model takes 100", ["--keyframes", "k.npy", "out.mp4"]),
        (2, "--keyframes notes.txt", ["--keyframes", "notes.txt", "out.mp4"]),
        (2, ".npy (it is neither)", ["--keyframes", "k.npz", "out.mp4"]),
        (2, ".npy (No such file", ["--keyframes", "absent.npy", "out.mp4"]),
        (2, "recipe (no JSON, line 1)", ["--recipe", "k.npy", "out.mp4"]),
        (2, "recipe (no JSON, line 2)", ["--recipe", "half.json", "out.mp4"]),
        (2, "recipe (Is a directory)", ["--recipe", "frames", "out.mp4"]),
        (4, "not a model file of vidgan, or damaged. ", ["--model", "m.safetensors", "out.mp4"]),
        (4, "(Failed to load model", ["--model", "m.onnx", "out.mp4"]),
        (2, "both, or neither", ["--sign", "cert.pem", "out.mp4"]),
        (2, "No such file", ["--sign", "cert.pem", "--sign-key", "key.pem", "out.mp4"]),
    ],
)
def test_what_cannot_be_rendered_is_one_line_and_leaves_all_as_it_was(
    code, says, arguments, model_file, tmp_path
):
    for folder in ("frames", "folder.mp4"):
        (tmp_path / folder).mkdir()
    for mine in ("mine.mp4", "notes.txt", "frames/photo.png"):
        (tmp_path / mine).write_text("mine")
    np.save(tmp_path / "k.npy", np.ones((4, 3), np.float32))
    np.savez(tmp_path / "k.npz", np.ones((4, 100), np.float32))
    (tmp_path / "half.json").write_text('{\n"z_dim": }')
    save_file({"w": np.ones(3)}, tmp_path / "m.safetensors", metadata={"vidgan": "{}"})
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a\xff")
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    model = () if "--model" in arguments else ("--model", model_file)
    done = vidgan("render", *model, *arguments, cwd=tmp_path, code=code)
    assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    after = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    assert after == before


def test_verify_of_several_files_in_a_shell(model_file, tmp_path):
    vidgan("render", "--frames", 3, "--model", model_file, "out.webp", cwd=tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"of a camera")
    done = vidgan("verify", "photo.jpg", "out.webp", model_file, cwd=tmp_path, code=1)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["photo.jpg: no mark found", "out.webp: marked as synthetic"]
    assert "  path        loop" in lines and not done.stderr
    assert max(map(len, lines)) <= max(80, len(str(model_file)) + 30)


def test_doctor_names_device_precision_and_encoders(tmp_path):
    said = vidgan("doctor", cwd=tmp_path).stdout
    for word in ("torch", "device", "precision", "libx264", "onnxruntime"):
        assert word in said


def test_evaluate_says_how_far_a_model_is_from_pictures(
    model_file, pictures, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    done = vidgan("evaluate", model_file, pictures, cwd=tmp_path)
    assert done.stdout.startswith("FD-Lite0-320 ") and "N = 20; real against real" in done.stdout
    assert "against" in done.stderr  # what was compared; stdout is for the numbers
    done = vidgan("evaluate", model_file, pictures, "--metrics", "fid", cwd=tmp_path, code=5)
    assert "does not fetch it" in done.stderr and done.stderr.count("\n") == 1
