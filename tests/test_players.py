"""Players run an exported generator with neither vidgan nor torch, and show the same frames."""

import json
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import onnx.parser
import onnxruntime
import pytest
from PIL import Image

from tests import readme_player
from tests.conftest import contents, loop, save_model, small_generator
from tests.films import nearly_equal, read_frames
from tests.latent.test_motion import turning
from tests.runtimes import golden
from tests.waiting import interrupted
from vidgan.film import alpha
from vidgan.generator import export
from vidgan.generator import motion as motions
from vidgan.generator.synthesis import open_generator
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.render import pipeline
from vidgan.render.walk import Walk

EXPORT = Path(__file__).parent.parent / "export"
PYTHON = EXPORT / "python" / "render.py"
NODE = EXPORT / "node" / "render.mjs"
SCRIPTS = {"python": [sys.executable, PYTHON], "node": ["node", NODE]}


@pytest.fixture(scope="session")
def cpp(tmp_path_factory):
    """The player in C++, built from nothing."""
    build = tmp_path_factory.mktemp("cpp")
    for command in (
        ["cmake", "-S", EXPORT / "cpp", "-B", build, f"-DPYTHON={sys.executable}"],
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


@pytest.fixture(params=["python", "node", "cpp"])
def raw(request, monkeypatch):
    """The frames uint8 [T, H, W, 3] of a player, before they are encoded."""

    def run(file: Path, *options: object) -> np.ndarray:
        words = [str(file), "-", *map(str, options)]
        if request.param == "python":  # writes only films
            return frames_of_python(words, monkeypatch)
        command = [request.getfixturevalue("cpp")] if request.param == "cpp" else SCRIPTS["node"]
        done = subprocess.run([*command, *words], capture_output=True)
        assert done.returncode == 0, done.stderr
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return np.frombuffer(done.stdout, np.uint8).reshape(-1, *session.get_outputs()[0].shape[1:])

    return run


def frames_of_python(words: list[str], monkeypatch) -> np.ndarray:
    caught = []
    monkeypatch.syspath_prepend(PYTHON.parent)
    player = runpy.run_path(str(PYTHON))
    player["main"].__globals__["write"] = lambda _, pictures, *__: caught.extend(pictures)
    monkeypatch.setattr(sys, "argv", ["render.py", *words])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handlers
    player["main"]()
    return np.stack(caught)


def of_vidgan(file: Path, seed: int, frames: int) -> np.ndarray:
    generator = open_generator(file)
    path = loop(seed=seed, frames=frames, z_dim=generator.z_dim)
    return np.stack(list(pipeline.frames(generator, path)))


@pytest.mark.parametrize(("seed", "frames"), [(7, 40), (2**64 - 5, 7), (0, 135)])
def test_a_player_makes_the_same_frames_from_the_same_seed(raw, golden_folder, seed, frames):
    file = golden_folder / "generator.onnx"
    theirs = raw(file, "--seed", seed, "--frames", frames)
    assert nearly_equal(theirs, of_vidgan(file, seed, frames))


MIXED = [{"seed": 2**64 - 1, "index": 2**32 - 2}, {"latent": [0.1, -2, 1, 0] * 25}]
MIXED += [{"seed": 3, "index": k} for k in range(4)]
WALKS = {
    "open": {"closed": False, "keyframes": 3},
    "open-of-one": {"closed": False, "keyframes": 1},
    "lerp": {"path": "lerp", "hold": 0.3, "ease": "smoothstep", "keyframes": 5},
    "slerp": {"path": "slerp", "ease": "in-out", "closed": False, "keyframes": 3},
    "spline": {"path": "spline", "keyframes": MIXED, "hold": 0.2},
    "open-spline": {"path": "spline", "closed": False, "keyframes": 4, "truncation": 0.6},
    "circle": {"path": "circle"},
    "walk": {"path": "walk", "seed": 2**64 - 1, "truncation": 0.4},
    "open-walk": {"path": "walk", "closed": False, "truncation": [0, 1, 0.5]},
    "noise": {"path": "noise", "keyframes": 9, "truncation": [0.3, 1]},
    "timed": {"constant_speed": True, "frames": 12},
    "sound": {"positions": [[0, 0.5, 0.25, 1]], "gain": [1, 0.6, 0, 0.9], "frames": 4},
}
ALONG = [{"name": "a", "strengths": [-2, 2], "vector": [0.1, 0.3, -0.2, 0] * 25}]
ALONG += [{"name": "b", "strengths": [0.5], "vector": [0.01 * k for k in range(100)]}]
WALKS["moved"] = {"directions": ALONG}
WALKS["moved-open"] = {"directions": ALONG, "closed": False, "path": "walk", "truncation": 0.6}
WALKS["heard"] = WALKS["sound"] | {"audio": "a.wav", "audio_follow": ["bass"], "audio_part": [3]}


ALONG_TOO_SHORT = {"format": "vidgan-walk-3", "directions": [{"strengths": [1], "vector": [1.0]}]}


@pytest.mark.parametrize("settings", WALKS.values(), ids=WALKS)
def test_a_player_plays_what_vidgan_saved(raw, settings, golden_folder, tmp_path):
    file = golden_folder / "generator.onnx"
    bound = Walk(**{"seed": 7, "frames": 9} | settings).bind(open_generator(file))
    bound.save(tmp_path / "walk.json")
    frames = np.stack(list(pipeline.frames(bound.generator, bound)))
    assert nearly_equal(raw(file, "--walk", tmp_path / "walk.json"), frames)


def test_a_player_plays_a_motion_that_vidgan_saved(raw, golden_folder, tmp_path):
    file = golden_folder / "generator.onnx"
    generator = open_generator(file)
    moved = tmp_path / "m.safetensors"
    motions.write(moved, turning(z_dim=generator.z_dim), generator.weights_sha256)
    bound = Walk(path="motion", motion=str(moved), seed=7, frames=9, speed=0.7).bind(generator)
    bound.save(tmp_path / "walk.json")
    frames = np.stack(list(pipeline.frames(bound.generator, bound)))
    assert nearly_equal(raw(file, "--walk", tmp_path / "walk.json"), frames)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("label", {"labels": [3], "path": "circle"}),
        ("weights", {"labels": [3]}),
        ("weights", {"labels": [3, 1, 4, 3]}),
        ("weights", {"labels": [0, 2], "closed": False}),
        ("weights", {}),
    ],
)
def test_a_player_shows_the_classes_of_a_walk(raw, name, settings, golden_folder, tmp_path):
    file = golden_folder / f"{name}.onnx"
    bound = Walk(seed=7, frames=9, **settings).bind(open_generator(file))
    bound.save(tmp_path / "walk.json")
    frames = np.stack(list(pipeline.frames(bound.generator, bound)))
    assert nearly_equal(raw(file, "--walk", tmp_path / "walk.json"), frames)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "vidgan-walk-1"}, "vidgan-walk-2"),
        ({"z_dim": 64}, "64"),
        ({"path": "zigzag"}, "zigzag"),
        ({"frames": "9"}, "walk.json"),
        ({"frames": 0}, "frames"),
        ({"hold": 0.5, "path": "walk"}, "hold"),
        ({"truncation": 1.5}, "truncation"),
        ({"grid": [2, 2]}, "grid"),
        ({"constant_speed": True}, "vidgan render --walk with --save-walk"),
        ({"audio": "song.wav"}, "vidgan render --walk with --save-walk"),
        ({"positions": [[0.5]]}, "one for each frame"),
        ({"positions": [[0, 0.5, 1.5]]}, "from 0 to 1"),
        ({"gain": [0, -1, 1]}, "from 0 to 1"),
        ({"path": "noise", "closed": False}, "always"),
        ({"frames": 2.5}, "walk.json"),
        ({"seed": 2**64}, "walk.json"),
        ({"seed": -1}, "walk.json"),
        ({"truncation": []}, "truncation"),
        ({"keyframes": [{"latent": [0.0] * 100}]}, "walk.json"),
        ({"keyframes": [{"seed": 1, "index": 2**32}]}, "walk.json"),
        ({"labels": [5]}, "labels"),
        ({"labels": [-1]}, "labels"),
        ({"labels": [3, 1, 3]}, "vidgan export --classes weights"),
        ({"directions": ALONG}, "vidgan-walk-3"),
        ({"format": "vidgan-walk-3"}, "vidgan-walk-3"),
        ({"format": "vidgan-walk-4", "path": "motion", "motion": "m.safetensors"}, "vidgan"),
        (ALONG_TOO_SHORT, "directions"),
        (
            ALONG_TOO_SHORT | {"directions": [{"strengths": [], "vector": [1.0] * 100}]},
            "directions",
        ),
        (ALONG_TOO_SHORT | {"directions": [7]}, "walk.json"),
        ({"keyframes": [{"latent": [1.0]}]}, "walk.json"),
        ({"keyframes": [{"seed": 1}]}, "walk.json"),
        (None, "walk.json"),
    ],
)
def test_a_walk_that_a_player_cannot_play_is_one_clear_line(
    player, change, says, golden_folder, tmp_path
):
    content = {"format": "vidgan-walk-2", "z_dim": 100, "seed": 7, "frames": 3}
    text = "{" if change is None else json.dumps(content | change)
    (tmp_path / "walk.json").write_text(text)
    words = [golden_folder / "label.onnx", "out.rgb", "--walk", "walk.json"]
    done = subprocess.run([*player, *words], capture_output=True, text=True, cwd=tmp_path)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1 and says in line and "Traceback" not in line, line
    assert [path.name for path in tmp_path.iterdir()] == ["walk.json"]


def test_a_player_plays_a_walk(raw, golden_folder):
    """For as many frames as it says that it has."""
    theirs = raw(golden_folder / "walk.onnx")
    assert nearly_equal(theirs, of_vidgan(golden_folder / "generator.onnx", 7, 24))


@pytest.mark.parametrize("name", ["label.onnx", "weights.onnx"])
def test_a_player_shows_the_class_asked_for(raw, name, golden_folder):
    generator = open_generator(golden_folder / name)
    z = loop(seed=7, frames=5, z_dim=generator.z_dim).latents(0, 5)
    third = np.eye(5, dtype=np.float32)[[3] * 5]
    theirs = raw(golden_folder / name, "--seed", 7, "--frames", 5, "--label", 3)
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
        (["label.onnx", "out.rgb", "--label", "9"], "--label 9"),
        (["label.onnx", "out.rgb", "--label", "-1"], "--label"),
        (["walk.onnx", "out.rgb", "--label", "0"], "--label 0: the model has no classes"),
        (["walk.onnx", "nowhere/out.rgb"], "nowhere/out.rgb"),
        (["walk.onnx", "folder"], "folder"),
        (["broken.onnx", "old.rgb"], "old.rgb: exists already; --force replaces it"),
        (["float.onnx", "out.rgb"], "float.onnx: made with --output float, which is not played"),
        (["walk.onnx", "out.rgb", "--walk", "missing.json"], "contains a walk already"),
        (["label.onnx", "out.rgb", "--walk", "missing.json"], "missing.json: no such file"),
        (["label.onnx", "out.rgb", "--walk", "w.json", "--seed", "1"], "--walk sets seed, frames"),
        (["walk.onnx", "out.rgb", "--seed", "18446744073709551616"], "seed"),
        (["walk.onnx", "out.rgb", "--frames", "0"], "frames"),
        (["walk.onnx", "out.rgb", "--frames", ""], "frames"),
        (["walk.onnx"], "usage"),
        (["walk.onnx", "out.rgb", "--frames"], "--frames"),
    ],
)
def test_a_mistake_is_one_clear_line(player, arguments, says, golden_folder, model_file, tmp_path):
    if "float.onnx" in arguments:
        export.export(model_file, tmp_path / "float.onnx", export.Form(output="float"))
    for name in ("walk.onnx", "label.onnx"):
        shutil.copy(golden_folder / name, tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.rgb").write_bytes(b"an older film")
    text = '<ir_version: 10, opset_import: ["": 18]> g (float[2] a) => (float[2] b) { b = Relu(a) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "other.onnx")
    before = contents(tmp_path)
    done = subprocess.run([*player, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert contents(tmp_path) == before
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr
    assert len(lines) == 1 or lines[0].startswith("usage"), done.stderr


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_film_is_there_whole_or_not_at_all(player, by, golden_folder, tmp_path):
    film = tmp_path / ("out.mp4" if player in SCRIPTS.values() else "out.rgb")
    film.write_bytes(b"an older film")
    command = [*player, golden_folder / "walk.onnx", film, "--force", "--frames", "1000000"]

    def begun():
        return any(part.stat().st_size for part in tmp_path.glob(".part-*"))

    assert interrupted(command, tmp_path, begun, by) == (128 + by, "")
    assert list(tmp_path.iterdir()) == [film] and film.read_bytes() == b"an older film"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_folder_of_pictures_is_there_whole_or_not_at_all(by, golden_folder, tmp_path):
    command = ["node", NODE, golden_folder / "walk.onnx", "pictures/", "--frames", "1000000"]

    def begun():
        return any(tmp_path.glob(".part-*/*.png"))

    assert interrupted(command, tmp_path, begun, by) == (128 + by, "")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "pictures").mkdir()
    command[-1] = "2"
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "pictures/: exists already; give a new folder" in done.stderr


def test_a_player_replaces_a_film_when_it_is_told_to(player, golden_folder, tmp_path):
    film = tmp_path / ("out.mp4" if player in SCRIPTS.values() else "out.rgb")
    film.write_bytes(b"an older film")
    command = [*player, golden_folder / "walk.onnx", film, "--force", "--frames", "2"]
    subprocess.run(command, check=True)
    assert list(tmp_path.iterdir()) == [film] and film.stat().st_size > 1000


def test_a_player_without_what_it_needs_says_how_to_get_it(tmp_path):
    shutil.copytree(EXPORT / "python", tmp_path / "python")
    node, alone = tmp_path / "node", tmp_path / "alone" / "node"
    for folder in (node, alone):
        shutil.copytree(EXPORT / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(EXPORT / "web" / "src", tmp_path / "web" / "src")
    (alone / "node_modules").symlink_to(EXPORT / "node" / "node_modules")
    for command, says in (
        ([sys.executable, "-S", tmp_path / "python" / "render.py"], "pip install -U onnxruntime"),
        (["node", node / "render.mjs"], f"run npm ci in {node} first"),
        (["node", alone / "render.mjs"], f"{alone.parent / 'web' / 'src'} is missing"),
    ):
        done = subprocess.run([*command, "a.onnx", "b.mp4"], capture_output=True, text=True)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1 and says in line


def test_the_player_in_cpp_writes_no_film(cpp, golden_folder, tmp_path):
    """Its raw frames were once called b.mp4."""
    command = [cpp, golden_folder / "walk.onnx", "b.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "pipe that into ffmpeg" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_python_player_needs_neither_vidgan_nor_torch(onnx_file, tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(PYTHON.parent)!r})\n"  # as `python render.py` does
        f"sys.argv = ['render.py', {str(onnx_file)!r}, 'out.mp4', '--frames', '12']\n"
        f"runpy.run_path({str(PYTHON)!r}, run_name='__main__')\n"
        "assert not {'torch', 'vidgan'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 12


@pytest.mark.parametrize(
    ("seed", "frames", "z_dim"), [(7, 120, 100), (2**64 - 5, 7, 33), (2**40 + 3, 135, 8)]
)
def test_the_text_of_the_contract_is_enough_to_make_the_same_latents(seed, frames, z_dim):
    ours = loop(seed=seed, frames=frames, z_dim=z_dim).latents(0, frames)
    theirs = readme_player.default_path(seed, frames, z_dim)
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_the_examples_in_the_text_of_the_contract_are_right():
    def numbers(pattern: str) -> list[float]:
        (found,) = re.findall(pattern, readme_player.TEXT)
        return [float(number) for number in re.findall(r"-?\d+\.\d+|\d{5,}", found)]

    latents = loop(seed=7, frames=120, z_dim=100).latents(0, 2)
    for row, pattern in enumerate(
        (r"seed 7 begins with (.*?\d)\. ", r"100, begins with (.*?\d)\.\n")
    ):
        np.testing.assert_allclose(latents[row, :3], numbers(pattern), atol=5e-8)
    x0, x1 = readme_player.words(7, np.arange(1, dtype=np.uint64), 0)
    assert [x0, x1] == numbers(r"p = 0 gives (.*?)\.\n")


@pytest.mark.parametrize("folder", ["python", "node", "cpp"])
def test_a_player_stays_short(folder):
    """One story per file: render, walk and, but for node, which shares the page's, latents."""
    sources = [
        f for f in (EXPORT / folder).iterdir() if f.suffix in {".py", ".mjs", ".cpp", ".hpp"}
    ]
    assert len(sources) <= 4
    assert all(len(file.read_text().splitlines()) <= 210 for file in sources)


def test_lock_files_record_no_address():
    for folder in ("node", "web"):
        lock = (EXPORT / folder / "package-lock.json").read_text()
        assert "resolved" not in lock and "integrity" in lock


@pytest.mark.parametrize("player", SCRIPTS)
def test_films_of_a_generator_with_transparency_are_on_white(player, tmp_path):
    model = save_model(tmp_path / "clear.safetensors", *small_generator(colours=4))
    export.export(model, file := tmp_path / "clear.onnx")
    words = [*SCRIPTS[player], file, tmp_path / "out.mp4", "--frames", "2", "--scale", "8"]
    subprocess.run([*map(str, words)], check=True)
    walk = Walk(frames=2).bind(open_generator(model))
    wanted = alpha.over(next(iter(pipeline.frames(walk.generator, walk))), 255)
    seen = next(iter(read_frames(tmp_path / "out.mp4")))[4::8, 4::8]
    assert np.abs(seen.astype(int) - wanted).mean() < 3
