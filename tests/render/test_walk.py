import json

import numpy as np
import pytest

from tests.sounds import write_sound
from vidgan.cli.main import app
from vidgan.errors import ConfigError, DataError, ModelError, UsageError
from vidgan.film.reader import read_frames
from vidgan.render import walk


def render(*arguments):
    app(["render", *map(str, arguments)], result_action="return_value")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("latents.npy", np.random.default_rng(0).normal(size=(3, 100)))
    np.save("short.npy", np.ones((3, 64)))
    write_sound(tmp_path / "song.wav", duration_s=0.5)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "7", "--frames", "9", "--no-loop", "--fps", "24000/1001"],
        ["--seeds", "3,17,99", "--frames", "9", "--path", "slerp", "--hold", "0.3"],
        [
            "--keyframes",
            "latents.npy",
            "--frames",
            "8",
            "--ease",
            "in-out",
            "--truncation",
            "0.4>1",
        ],
        ["--frames", "12", "--path", "walk", "--constant-speed", "--grid", "2x1"],
        ["--audio", "song.wav", "--path", "noise"],
    ],
)
def test_a_saved_recipe_makes_identical_frames(options, model_file, here):
    render("--model", model_file, *options, "--save-recipe", "walk.json", "one.mp4")
    render("--model", model_file, "--recipe", "walk.json", "two.mp4")
    assert (here / "one.mp4").read_bytes() == (here / "two.mp4").read_bytes()
    content = json.loads((here / "walk.json").read_text())
    assert content["format"] == "vidgan-walk-1" and content["z_dim"] == 100
    assert len(list(read_frames(here / "one.mp4"))) == content["frames"]
    assert {tuple(sorted(entry)) for entry in content["keyframes"]} <= {
        ("index", "seed"),
        ("latent",),
    }


def test_a_recipe_finds_its_sound_from_anywhere(model_file, here, monkeypatch):
    (here / "walks").mkdir()
    options = ["--audio", "song.wav", "--save-recipe", "walks/walk.json"]
    render("--model", model_file, *options, "one.mp4")
    (here / "else").mkdir()
    monkeypatch.chdir(here / "else")
    render("--model", model_file, "--recipe", "../walks/walk.json", "two.mp4")
    assert (here / "one.mp4").read_bytes() == (here / "else/two.mp4").read_bytes()


def test_the_recipe_a_web_page_writes_is_read(here):
    written = {
        "format": "vidgan-walk-1",
        "model": None,
        "z_dim": 4,
        "path": "loop",
        "closed": True,
        "seed": 7,
        "keyframes": [
            {"seed": 7, "index": 0},
            {"seed": 99, "index": 2},
            {"latent": [1, 0.5, 0, 2]},
        ],
        "frames": 30,
        "fps": "30",
        "hold": 0.0,
        "ease": "linear",
        "truncation": 1.0,
    }
    (here / "walk.json").write_text(json.dumps(written))
    (path,) = walk.load(here / "walk.json").paths(classes=0)
    np.testing.assert_allclose(path.latents(20, 21)[0], [1, 0.5, 0, 2], atol=1e-5)


def test_the_comment_tells_one_file_of_latents_from_another():
    """Else --resume would join segments of both, where the changed latent is not looked at."""
    one, other = ([{"latent": [1.0, 2.0]}, {"latent": [3.0, last]}] for last in (4.0, 5.0))
    said = [walk.Recipe(z_dim=2, keyframes=keyframes).comment() for keyframes in (one, other)]
    assert said[0] != said[1] and said[0]["keyframes"] == said[1]["keyframes"] == 2


def test_another_model_is_a_notice_not_an_error(model_file, here, said):
    content = {"format": "vidgan-walk-1", "z_dim": 100, "model": "0" * 64, "frames": 2}
    (here / "walk.json").write_text(json.dumps(content))
    render("--model", model_file, "--recipe", "walk.json", "out.mp4")
    assert "another model" in said[0]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"trunction": 1}, ConfigError, "did you mean truncation"),
        ({"frames": "9"}, ConfigError, "frames"),
        ({"closed": 1}, ConfigError, "closed"),
        ({"seed": True}, ConfigError, "seed"),
        ({"truncation": ["x"]}, ConfigError, "truncation"),
        ({"truncation": 10**400}, UsageError, "truncation"),
        ({"seed": 10**400}, ConfigError, "seed"),
        ({"labels": [0.5]}, ConfigError, "labels"),
        ({"format": "vidgan-walk-9"}, ConfigError, "format"),
        ({"keyframes": [{"seed": 3}]}, ConfigError, "keyframe"),
        ({"keyframes": [{"latent": ["x"] * 100}]}, ConfigError, "keyframe"),
        ({"keyframes": [{"latent": [1.0] * 64}]}, ConfigError, "this model takes 100"),
        ({"keyframes": []}, UsageError, "keyframes"),
        ({"grid": [3]}, UsageError, "grid"),
        ({"frames": 0}, UsageError, "frames"),
        ({"path": "zigzag"}, UsageError, "known are"),
        ({"z_dim": 64}, ModelError, "takes 100"),
    ],
)
def test_a_recipe_is_read_strictly(change, error, says, model_file, here):
    content = {"format": "vidgan-walk-1", "z_dim": 100, "frames": 3, "seed": 7}
    (here / "walk.json").write_text(json.dumps(content | change))
    with pytest.raises(error, match=says) as caught:
        render("--model", model_file, "--recipe", "walk.json", "out.mp4")
    assert type(caught.value) is error and "\n" not in str(caught.value)
    assert not (here / "out.mp4").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"format": "vidgan-walk-1"}'])
def test_what_is_no_recipe_is_refused(text, here):
    (here / "walk.json").write_text(text)
    with pytest.raises(ConfigError, match=r"walk\.json"):
        walk.load(here / "walk.json")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (["--keyframes", "short.npy"], UsageError, "this model takes 100"),
        (["--keyframes", "absent.npy"], UsageError, "absent.npy"),
        (["--keyframes", "song.wav"], UsageError, "song.wav"),
        (["--seeds", "3,x"], UsageError, "--seeds 3,x"),
        (["--seeds", "3,4", "--keyframes", "3"], UsageError, "one of the two"),
        (["--labels", "3>7"], UsageError, "without classes"),
        (["--seeds", "3,4,5", "--path", "circle"], UsageError, "two keyframes"),
        (["--seeds", "3,4", "--grid", "2x1"], UsageError, "--grid"),
        (["--audio", "latents.npy"], DataError, "sound"),
        (["--audio", "song.wav", "--frames", "5"], UsageError, "--frames"),
        (["--save-recipe", "absent/walk.json"], UsageError, "folder"),
        (["--save-recipe", "out.mp4"], UsageError, r"must end in \.json"),
        (["--recipe", "walk.json", "--seed", "3"], UsageError, "seed"),
        (["--constant-speed", "--hold", "0.2"], UsageError, "--hold"),
    ],
)
def test_a_mistake_in_a_walk_is_one_line_and_nothing_is_written(
    options, error, says, model_file, here
):
    before = sorted(here.iterdir())
    with pytest.raises(error, match=says) as caught:
        render("--model", model_file, *options, "out.mp4")
    assert "\n" not in str(caught.value) and sorted(here.iterdir()) == before


def test_a_grid_shows_each_walk_as_it_is_alone(model_file, here):
    common = ["--model", model_file, "--frames", "4", "--scale", "1"]
    render(*common, "--grid", "3x2", "--seed", "5", "grid")
    render(*common, "--seed", "9", "alone")  # cell 4: second row, second column
    grid, alone = (next(read_pngs(here / name)) for name in ("grid", "alone"))
    assert grid.shape == (128, 192, 3)
    assert np.array_equal(grid[64:, 64:128], alone)


def read_pngs(folder):
    from PIL import Image

    for file in sorted(folder.glob("*.png")):
        yield np.asarray(Image.open(file))


def test_classes_reach_the_generator_beside_their_latents():
    class Painter:
        z_dim, height, width, classes, sha256, runs_on = 6, 8, 8, 3, "", ""

        def __call__(self, z, class_weights):
            self.heard = z, class_weights
            return np.zeros((len(z), 8, 8, 3), np.uint8)

    asked = walk.Recipe(z_dim=6, frames=12, labels=[0, 2], grid=[2, 1])
    painter = Painter()
    walks, mosaic = asked.timed(painter, None, lambda line: None)
    frames = mosaic(walks.latents(0, 12))
    z, weights = painter.heard
    assert frames.shape == (12, 8, 16, 3) and mosaic.width == 16
    left, right = asked.paths(classes=3)
    assert np.array_equal(z[::2], left.latents(0, 12))
    assert np.array_equal(z[1::2], right.latents(0, 12))
    assert np.array_equal(weights[1::2], right.class_weights(0, 12)) and weights[12, 2] == 1
