"""Players run an exported generator with neither vidgan nor torch, and show the same frames."""

import importlib.util
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import onnx.parser
import onnxruntime
import pytest
from PIL import Image

from tests.conftest import loop
from tests.films import nearly_equal
from tests.runtimes import golden
from tests.waiting import interrupted
from vidgan.film.reader import read_frames
from vidgan.generator.synthesis import open_generator
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.render import pipeline

EXPORT = Path(__file__).parent.parent / "export"
PYTHON = EXPORT / "python" / "render.py"
NODE = EXPORT / "node" / "render.mjs"
SCRIPTS = {"python": [sys.executable, PYTHON], "node": ["node", NODE]}


@pytest.fixture(scope="session")
def cpp(tmp_path_factory):
    """The player in C++, built from nothing."""
    build = tmp_path_factory.mktemp("cpp")
    openvino = Path(importlib.util.find_spec("openvino").origin).parent / "cmake"
    for command in (
        ["cmake", "-S", EXPORT / "cpp", "-B", build, f"-DOpenVINO_DIR={openvino}"],
        ["cmake", "--build", build],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    return build / "render"


@pytest.fixture(params=["python", "node", "cpp"])
def player(request):
    """The command that starts a player."""
    if request.param == "cpp":
        return [request.getfixturevalue("cpp")]
    return SCRIPTS[request.param]


@pytest.fixture(params=["node", "cpp"])
def raw(request, golden_folder):
    """Frames uint8 [T, H, W, 3] of a player that writes raw RGB to its standard output."""
    command = [request.getfixturevalue("cpp")] if request.param == "cpp" else SCRIPTS["node"]

    def run(file: Path, *options: object) -> np.ndarray:
        with np.load(golden_folder / "expected.npz") as expected:
            shape = expected[file.stem].shape[1:]
        done = subprocess.run([*command, file, "-", *map(str, options)], capture_output=True)
        assert done.returncode == 0, done.stderr
        return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)

    return run


def of_vidgan(file: Path, seed: int, frames: int) -> np.ndarray:
    generator = open_generator(file)
    path = loop(seed=seed, frames=frames, z_dim=generator.z_dim)
    return np.stack(list(pipeline.frames(generator, path)))


@pytest.mark.parametrize(("seed", "frames"), [(7, 40), (2**40 + 3, 7), (0, 131)])
def test_the_python_player_makes_the_same_frames_from_the_same_seed(onnx_file, seed, frames):
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    theirs = np.stack(list(runpy.run_path(str(PYTHON))["frames_of"](session, seed, frames)))
    assert nearly_equal(theirs, of_vidgan(onnx_file, seed, frames))


@pytest.mark.parametrize(("seed", "frames"), [(7, 40), (2**64 - 5, 7), (0, 135)])
def test_a_player_makes_the_same_frames_from_the_same_seed(raw, golden_folder, seed, frames):
    file = golden_folder / "generator.onnx"
    theirs = raw(file, "--seed", seed, "--frames", frames)
    assert nearly_equal(theirs, of_vidgan(file, seed, frames))


def test_a_player_plays_a_walk(raw, golden_folder):
    theirs = raw(golden_folder / "walk.onnx", "--frames", 24)
    assert nearly_equal(theirs, of_vidgan(golden_folder / "generator.onnx", 7, 24))


def test_a_player_shows_the_class_asked_for(raw, golden_folder):
    generator = open_generator(golden_folder / "label.onnx")
    z = loop(seed=7, frames=5, z_dim=generator.z_dim).latents(0, 5)
    third = np.eye(5, dtype=np.float32)[[3] * 5]
    theirs = raw(golden_folder / "label.onnx", "--seed", 7, "--frames", 5, "--label", 3)
    assert nearly_equal(theirs, generator(z, third))
    assert not nearly_equal(theirs, generator(z))


@pytest.mark.parametrize("command", SCRIPTS.values(), ids=SCRIPTS)
def test_a_player_writes_a_film_that_says_what_it_is(command, golden_folder, tmp_path):
    film = tmp_path / "out.mp4"
    subprocess.run([*command, golden_folder / "walk.onnx", film, "--frames", "24"], check=True)
    frames = np.stack(list(read_frames(film)))
    wanted = of_vidgan(golden_folder / "generator.onnx", 7, 24)
    height, width = wanted.shape[1:3]
    small = frames.reshape(24, height, 512 // height, width, 512 // width, 3).mean((2, 4))
    assert np.abs(small - wanted).mean() < 2
    with av.open(film) as container:
        frame = next(container.decode(video=0))
    assert {int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)} == {1}
    assert find_mark(film)["digital_source_type"] == DIGITAL_SOURCE_TYPE


def test_the_node_player_writes_pictures(golden_folder, tmp_path):
    folder = tmp_path / "pictures"
    command = ["node", NODE, golden_folder / "walk.onnx", f"{folder}/", "--frames", "3"]
    subprocess.run(command, check=True)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    generator = open_generator(golden_folder / "generator.onnx")
    assert nearly_equal(pixels, generator(golden.walk().latents(0, 24)[[0, 8, 16]]))
    assert find_mark(files[0])["digital_source_type"] == DIGITAL_SOURCE_TYPE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx", "out.rgb"], "missing.onnx: no such file"),
        (["broken.onnx", "out.rgb"], "broken.onnx: not an ONNX file"),
        (["other.onnx", "out.rgb"], "other.onnx: not what vidgan export makes"),
        (["label.onnx", "out.mp4", "--label", "9"], "--label 9"),
        (["walk.onnx", "nowhere/out.mp4"], "nowhere/out.mp4"),
        (["walk.onnx", "folder"], "folder"),
        (["walk.onnx", "out.mp4", "--seed", "18446744073709551616"], "seed"),
        (["walk.onnx", "out.mp4", "--frames", "0"], "frames"),
        (["walk.onnx", "out.mp4", "--frames", ""], "frames"),
        (["walk.onnx"], "usage"),
    ],
)
def test_a_mistake_is_one_clear_line(player, arguments, says, golden_folder, tmp_path):
    for name in ("walk.onnx", "label.onnx"):
        shutil.copy(golden_folder / name, tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"hello")
    (tmp_path / "folder").mkdir()
    text = '<ir_version: 10, opset_import: ["": 18]> g (float[2] a) => (float[2] b) { b = Relu(a) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "other.onnx")
    before = sorted(tmp_path.iterdir())
    done = subprocess.run([*player, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    lines = done.stderr.strip().splitlines()
    assert done.returncode and says in done.stderr and "Traceback" not in done.stderr
    assert len(lines) == 1 or lines[0].startswith("usage"), done.stderr


@pytest.mark.parametrize("command", SCRIPTS.values(), ids=SCRIPTS)
def test_a_film_is_there_whole_or_not_at_all(command, golden_folder, tmp_path):
    film = tmp_path / "out.mp4"
    film.write_bytes(b"an older film")
    command = [*command, golden_folder / "walk.onnx", film, "--frames", "100000"]

    def begun():
        return any(part.stat().st_size for part in tmp_path.glob(".part-*"))

    assert interrupted(command, tmp_path, begun) == (130, "")
    assert list(tmp_path.iterdir()) == [film] and film.read_bytes() == b"an older film"


def test_the_python_player_needs_neither_vidgan_nor_torch(onnx_file, tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['render.py', {str(onnx_file)!r}, 'out.mp4', '--frames', '12']\n"
        f"runpy.run_path({str(PYTHON)!r}, run_name='__main__')\n"
        "assert not {'torch', 'vidgan'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 12


@pytest.mark.parametrize("file", ["python/render.py", "node/render.mjs", "cpp/render.cpp"])
def test_a_player_stays_short(file):
    assert len((EXPORT / file).read_text().splitlines()) <= 210


def test_lock_files_record_no_address():
    for folder in ("node", "web"):
        lock = (EXPORT / folder / "package-lock.json").read_text()
        assert "resolved" not in lock and "integrity" in lock
