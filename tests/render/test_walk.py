import json
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vidgan
from tests.films import read_frames
from tests.sounds import write_sound
from vidgan.disk.places import bundled
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.generator.synthesis import open_generator
from vidgan.render import walk


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("latents.npy", np.random.default_rng(0).normal(size=(3, 100)))
    write_sound(tmp_path / "song.wav", duration_s=0.5)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        "--seed 7 --frames 9 --no-loop --fps 24000/1001",
        "--seeds 3,17,99 --frames 9 --path slerp --hold 0.3",
        "--keyframes latents.npy --frames 8 --ease in-out --truncation 0.4>1",
        "--frames 12 --path walk --constant-speed --grid 2x1",
        "--audio song.wav --path noise",
    ],
)
def test_a_saved_walk_makes_identical_frames(options, model_file, here):
    vidgan("render", "--model", model_file, *options.split(), "--save-walk", "walk.json", "one.mp4")
    vidgan("render", "--model", model_file, "--walk", "walk.json", "two.mp4")
    assert (here / "one.mp4").read_bytes() == (here / "two.mp4").read_bytes()
    content = json.loads((here / "walk.json").read_text())
    assert content["format"] == "vidgan-walk-2" and content["z_dim"] == 100
    assert len(list(read_frames(here / "one.mp4"))) == content["frames"]
    assert {tuple(sorted(entry)) for entry in content["keyframes"]} <= {
        ("index", "seed"),
        ("latent",),
    }


@pytest.mark.parametrize("options", ["--frames 20 --constant-speed --grid 2x1", "--audio song.wav"])
def test_a_saved_walk_holds_what_was_measured(options, model_file, here, monkeypatch):
    """Every player can play it, and vidgan need not measure again."""
    target, options = here / "one.mp4", options.split()
    vidgan("render", "--model", model_file, *options, "--save-walk", "walk.json", target)
    saved = json.loads((here / "walk.json").read_text())
    cells = 2 if "--grid" in options else 1
    assert [len(one) for one in saved["positions"]] == [saved["frames"]] * cells
    assert (saved["gain"] is None) == ("--audio" not in options)

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(walk, "constant_speed", never)
    monkeypatch.setattr(walk.sound, "listen", never)
    vidgan("render", "--model", model_file, "--walk", "walk.json", "two.mp4")
    assert target.read_bytes() == (here / "two.mp4").read_bytes()


FILES = {
    "a loop": {"seed": 7, "frames": 8},
    "an open walk": {
        "seed": 7,
        "frames": 9,
        "closed": False,
        "keyframes": [{"seed": 7, "index": 0}],
    },
    "a steady walk": {"seed": 7, "frames": 8, "constant_speed": True, "positions": [[0.5] * 8]},
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
@pytest.mark.parametrize(("fps", "times"), [("60", 2), ("15", 0.5), ("30", 1)])
def test_another_fps_walks_finer_along_the_same_path_for_the_same_time(content, fps, times, here):
    (here / "w.json").write_text(json.dumps({"format": walk.FORMAT, "z_dim": 6} | content))
    asked = walk.Walk.load(here / "w.json")
    changed = asked.changed({"fps": fps})
    assert changed.frames == round(asked.frames * times)
    assert changed.positions == (asked.positions if times == 1 else None)
    old, new = (replace(one, positions=None).paths()[0] for one in (asked, changed))
    at = np.array([0, 0.2, 0.7])
    assert np.array_equal(old.latents_at(at), new.latents_at(at))


def test_options_win_over_the_keys_of_a_file(model_file, here):
    """And what they change makes the film that the options alone would make."""
    first = "render --seed 3 --frames 8 --path slerp --fps 25 --hold 0.2 --truncation 0.5"
    vidgan(*first.split(), "--model", model_file, "--save-walk", "w.json", "first.mp4")
    bend = "render --seed 4 --frames 6 --fps 50 --path lerp --hold 0 --truncation 1 --no-loop"
    common = [*bend.split(), "--model", model_file, "--keyframes", "4"]
    vidgan(*common, "--walk", "w.json", "--save-walk", "a.json", "a.mp4")
    vidgan(*common, "--save-walk", "b.json", "b.mp4")
    assert (here / "a.json").read_bytes() == (here / "b.json").read_bytes()
    assert (here / "a.mp4").read_bytes() == (here / "b.mp4").read_bytes()
    vidgan("render", "--model", model_file, "--walk", "w.json", "--fps", "50", "long.mp4")
    assert len(list(read_frames(here / "long.mp4"))) == 16
    vidgan("render", "--model", model_file, "--walk", "w.json", "--seconds", "0.4", "short.mp4")
    assert len(list(read_frames(here / "short.mp4"))) == 10


def test_what_was_measured_is_measured_again_where_an_option_changes_it(model_file, here):
    vidgan("render", "--model", model_file, "--audio", "song.wav", "--save-walk", "w.json", "a.mp4")
    common = ["render", "--model", model_file, "--fps", "60", "--save-walk"]
    vidgan(*common, "again.json", "--walk", "w.json", "b.mp4")
    vidgan(*common, "anew.json", "--audio", "song.wav", "--keyframes", "3", "c.mp4")
    again, anew = (json.loads((here / f"{name}.json").read_text()) for name in ("again", "anew"))
    assert again["frames"] == 30 and again == anew
    vidgan(*common, "off.json", "--walk", "w.json", "--seed", "5", "d.mp4")
    off = json.loads((here / "off.json").read_text())
    assert off["keyframes"] == [{"seed": 5, "index": index} for index in range(3)]


def test_a_file_is_made_to_be_read_and_edited(model_file, here):
    options = ["--keyframes", "latents.npy", "--save-walk", "walk.json"]
    vidgan("render", "--model", model_file, "--frames", "3", *options, "out.gif")
    lines = (here / "walk.json").read_text().splitlines()
    assert (
        len(lines) == len(fields(walk.Walk)) - len(walk._NEWER) + 2 + 3 + 1
    )  # the keyframes have a line each
    assert lines[:4] == ["{", '  "format": "vidgan-walk-2",', '  "frames": 3,', '  "fps": "30",']
    edited = (here / "walk.json").read_text().replace('"fps": "30"', '"fps": 60')
    (here / "walk.json").write_text(edited)
    assert walk.Walk.load(here / "walk.json").fps == "60"


def test_the_speed_of_another_model_is_measured_again(here, said):
    painter = Painter()
    settings = {
        "z_dim": 6,
        "frames": 3,
        "labels": [0],
        "constant_speed": True,
        "positions": [[0, 0.1, 0.2]],
    }
    (path,) = walk.Walk(model="0" * 64, **settings).bind(painter).paths
    np.testing.assert_allclose(path.positions, [0, 1 / 3, 2 / 3], atol=1e-6)
    assert walk.Walk(**settings).bind(painter).paths[0].positions.tolist() == [0, 0.1, 0.2]


def test_a_walk_finds_its_sound_from_anywhere(model_file, here, monkeypatch):
    (here / "walks").mkdir()
    options = ["--audio", "song.wav", "--save-walk", "walks/walk.json"]
    vidgan("render", "--model", model_file, *options, "one.mp4")
    (here / "else").mkdir()
    monkeypatch.chdir(here / "else")
    vidgan("render", "--model", model_file, "--walk", "../walks/walk.json", "two.mp4")
    assert (here / "one.mp4").read_bytes() == (here / "else/two.mp4").read_bytes()


def test_the_comment_tells_one_file_of_latents_from_another():
    """Else --resume could join segments of both: its hash of the path skips most latents."""
    one, other = ([{"latent": [1.0] * 6}, {"latent": [3.0] * 5 + [last]}] for last in (4.0, 5.0))
    a, b = (walk.Walk(keyframes=keyframes).bind(Painter()).comment() for keyframes in (one, other))
    assert a != b and a["keyframes"] == b["keyframes"] == 2


def test_a_walk_knows_the_exported_file_of_its_model(model_file, onnx_file, here, said):
    vidgan("render", "--model", model_file, "--frames", 2, "--save-walk", "walk.json", "out.gif")
    vidgan("render", "--model", onnx_file, "--walk", "walk.json", "--save-walk", "b.json", "b.gif")
    assert said == [] and (here / "walk.json").read_bytes() == (here / "b.json").read_bytes()


def test_another_model_is_a_warning_not_an_error(model_file, here, said):
    content = {"format": "vidgan-walk-2", "z_dim": 100, "model": "0" * 64, "frames": 2}
    (here / "walk.json").write_text(json.dumps(content))
    vidgan("render", "--model", model_file, "--walk", "walk.json", "out.mp4")
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
        (
            {"format": "vidgan-walk-1", "truncation": 0.5},
            ConfigError,
            "scaled latents by the trunc",
        ),
        ({"format": "vidgan-walk-1", "audio": "song.wav"}, ConfigError, 'to "vidgan-walk-2"'),
        ({"seed": 10**400}, ConfigError, "seed"),
        ({"positions": [[0.0, 0.5]]}, UsageError, "each of 3 frames"),
        ({"positions": []}, UsageError, "positions: 0 lists"),
        ({"gain": []}, UsageError, "each of 3 frames"),
        ({"labels": [0.5]}, ConfigError, "labels"),
        ({"format": "vidgan-walk-9"}, ConfigError, "format"),
        ({"keyframes": [{"seed": 3}]}, ConfigError, "keyframe"),
        ({"keyframes": [{"latent": ["x"] * 100}]}, ConfigError, "keyframe"),
        ({"keyframes": [{"latent": [1.0] * 64}]}, ConfigError, "this model takes 100"),
        ({"keyframes": []}, UsageError, "keyframes"),
        ({"grid": [3]}, UsageError, "grid"),
        ({"frames": 0}, UsageError, "frames"),
        ({"z_dim": 64}, ModelError, "takes 100"),
    ],
)
def test_a_file_is_read_strictly(change, error, says, model_file, here):
    content = {"format": "vidgan-walk-2", "z_dim": 100, "frames": 3, "seed": 7}
    (here / "walk.json").write_text(json.dumps(content | change))
    with pytest.raises(error, match=says) as caught:
        vidgan("render", "--model", model_file, "--walk", "walk.json", "out.mp4")
    assert type(caught.value) is error and "\n" not in str(caught.value)
    assert not (here / "out.mp4").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON: .*line 1"),
        ('{\n"z_dim": }', "not JSON: .*line 2"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a walk"),
        ('{"format": "vidgan-walk-2"}', "z_dim is missing"),
    ],
)
def test_a_file_that_holds_no_walk_is_refused(text, says, here):
    (here / "walk.json").write_text(text)
    with pytest.raises(ConfigError, match=rf"walk\.json: .*{says}"):
        walk.Walk.load(here / "walk.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        walk.Walk.load(here)


def test_a_walk_of_the_older_format_that_means_the_same_is_played(here):
    content = {"format": "vidgan-walk-1", "z_dim": 100, "seed": 7, "truncation": 1.0}
    (here / "walk.json").write_text(json.dumps(content))
    loaded = walk.Walk.load(here / "walk.json")
    assert loaded == walk.Walk(z_dim=100, seed=7)


def test_truncated_pictures_vary_less_and_stay_bright():
    """The figures of README.md, means of three seeds, since each is drawn to another picture."""
    generator, truncations = (
        open_generator(bundled("assets/generator.safetensors")),
        (1, 0.7, 0.5, 0.3),
    )
    bright, apart = np.zeros((2, 3, 4))
    for row, seed in enumerate((7, 8, 9)):
        for column, truncation in enumerate(truncations):
            settings = {"path": "lerp", "keyframes": 64, "frames": 64, "truncation": truncation}
            (path,) = walk.Walk(z_dim=generator.z_dim, seed=seed, **settings).paths()
            pictures = generator(path.latents(0, 64)).astype(np.float32)
            bright[row, column] = pictures.mean()
            apart[row, column] = np.abs(pictures - np.roll(pictures, 5, axis=0)).mean()
    assert abs(bright.mean(0) - bright[:, 0].mean()).max() < 4
    np.testing.assert_allclose(apart.mean(0), (35, 30, 24, 16), atol=1)


def test_a_grid_shows_each_walk_as_it_is_alone(model_file, here):
    common = ["--model", model_file, "--frames", "4", "--scale", "1"]
    vidgan("render", *common, "--grid", "3x2", "--seed", "5", "grid/")
    vidgan("render", *common, "--seed", "9", "alone/")  # cell 4: second row, second column
    grid, alone = (np.asarray(Image.open(f"{name}/frame000000.png")) for name in ("grid", "alone"))
    assert grid.shape == (128, 192, 3)
    assert np.array_equal(grid[64:, 64:128], alone)


class Painter:
    z_dim, height, width, classes, sha256, weights_sha256, runs_on = 6, 8, 8, 3, "", "", ""
    class_names, planes = ("owl", "cat", "3"), 3

    def __call__(self, z, class_weights=None):
        self.inputs = z, class_weights
        return np.zeros((len(z), 8, 8, 3), np.uint8)


def test_classes_reach_the_generator_beside_their_latents():
    painter = Painter()
    bound = walk.Walk(frames=12, labels=[0, 2], grid=[2, 1]).bind(painter)
    frames = bound.generator(bound.latents(0, 12))
    z, weights = painter.inputs
    assert frames.shape == (12, 8, 16, 3) and bound.generator.width == 16
    left, right = bound.paths
    assert np.array_equal(z[::2], left.latents(0, 12))
    assert np.array_equal(z[1::2], right.latents(0, 12))
    assert np.array_equal(weights[1::2], right.class_weights(0, 12)) and weights[12, 2] == 1


def test_names_of_classes_in_a_file_become_numbers_when_it_is_bound(here):
    content = {"format": walk.FORMAT, "z_dim": 6, "labels": ["cat", 0, "3"]}
    (here / "walk.json").write_text(json.dumps(content))
    bound = walk.Walk.load(here / "walk.json").bind(Painter())
    assert bound.walk.labels == [1, 0, 2]
    bound.save(here / "saved.json")
    assert json.loads((here / "saved.json").read_text())["labels"] == [1, 0, 2]
    asked = walk.Walk(labels=["dog"])
    with pytest.raises(UsageError, match="dog: no such class; known are 0 owl, 1 cat, 2 3"):
        asked.bind(Painter())
