import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import conftest
from tests.conftest import vidgan
from tests.films import read_frames, write
from vidgan.edit import encoder, learn_motion
from vidgan.errors import DataError, ModelError, UsageError
from vidgan.generator.synthesis import open_generator
from vidgan.latent.paths import Keyframes, circle
from vidgan.render.walk import Walk


@pytest.fixture(scope="module")
def shown(model_file, tmp_path_factory):
    """A film of 60 frames that the generator made: a turn in latent space and a little more."""
    folder = tmp_path_factory.mktemp("film")
    generator = open_generator(model_file, device="cpu")
    at = np.arange(60) / 50 * 2
    z = circle(Keyframes(z_dim=100, count=2, seed=3), at, True).astype(np.float32)
    return write(folder / "turn.mkv", list(generator(z)), fps=30, scale=1)


@pytest.fixture(scope="module")
def known(model_file, shown, tmp_path_factory):
    """A generator with its encoder and what was learned of the film, and what that said."""
    folder = tmp_path_factory.mktemp("known")
    shutil.copy(model_file, folder / "generator.safetensors")
    lines = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(lines):
        quick(patch)
        vidgan("motion", shown, "--model", folder / "generator.safetensors")
    return folder, lines.getvalue()


def quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(encoder, "_SAMPLES", 512)
    patch.setattr(encoder, "_STEPS", 20)
    patch.setattr(learn_motion, "_STEPS", 8)


@pytest.fixture(autouse=True)
def here(known, tmp_path, monkeypatch):
    shutil.copytree(known[0], tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    quick(monkeypatch)
    return Path("generator.safetensors")


def render(*words: object, model: str = "generator.safetensors") -> list[np.ndarray]:
    vidgan("render", "--force", "--model", model, *words)
    return list(read_frames(Path(words[-1])))


CLIP = np.array([0, 2, 3, 5, 6, 8, 9, 11])
PLAY = ("--path", "motion", "--seed", 7, "--frames", 20)


def test_a_film_is_learned_and_played(known):
    assert Path("generator.motion.safetensors").exists()
    assert "60 frames in 1 shot" in known[1] and "dB" in known[1]
    frames = render(*PLAY, "--save-walk", "w.json", "--contact-sheet", "a.mkv")
    assert len(frames) == 20
    assert np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean() > 0.5
    again = render(*PLAY, "b.mkv")
    assert np.array_equal(frames, again)
    other = render("--path", "motion", "--seed", 8, "--frames", 20, "c.mkv")
    assert not np.array_equal(frames, other)
    # The walk holds what was played: any player shows it, without the motion.
    assert json.loads(Path("w.json").read_text())["format"] == "vidgan-walk-2"
    Path("generator.motion.safetensors").rename("moved.motion.safetensors")
    assert np.array_equal(frames, render("--walk", "w.json", "d.mkv"))
    named = render("--motion", "moved.motion.safetensors", *PLAY, "e.mkv")
    assert np.array_equal(frames, named)
    with pytest.raises(UsageError, match="vidgan motion"):
        render(*PLAY, "f.mkv")
    with pytest.raises(UsageError, match="no seed decides"):
        render("--walk", "w.json", "--seed", 9, "f.mkv")


def test_its_options():
    half = render(*PLAY, "--speed", "0.5", "--no-loop", "a.mkv")
    whole = render(*PLAY, "--no-loop", "b.mkv")
    assert np.array_equal(half[0], whole[0]) and np.array_equal(half[-1], whole[10])
    back = render(*PLAY, "--no-loop", "--reverse", "c.mkv")
    assert np.array_equal(back, whole[::-1])
    z = np.random.default_rng(1).normal(size=(1, 100)).astype(np.float32)
    np.save("z.npy", z)
    generator = open_generator("generator.safetensors", device="cpu")
    begun = render(*PLAY, "--start", "z.npy", "--scale", 1, "d.mkv")
    assert np.abs(begun[0].astype(int) - generator(z)[0]).max() <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--path loop --speed 2", "--speed"),
        ("--path motion --hold 0.3", "--hold"),
        ("--path motion --keyframes 5", "--keyframes 5"),
        ("--path motion --speed 0", "--speed 0"),
        ("--path loop --start 5", "--start"),
        ("--path loop --motion generator.motion.safetensors", "--motion"),
    ],
)
def test_wrong_options(words, reason):
    with pytest.raises(UsageError, match=reason):
        render(*words.split(), "a.mkv")


def test_a_motion_of_another_generator_is_refused():
    with pytest.raises(ModelError, match="another generator"):
        render(*PLAY, "--motion", "generator.motion.safetensors", "a.mkv", model="earth")


def test_a_file_may_refer_to_the_motion():
    Walk(path="motion", motion="generator.motion.safetensors", seed=7, frames=20, z_dim=100).save(
        Path("w.json")
    )
    assert json.loads(Path("w.json").read_text())["format"] == "vidgan-walk-4"
    seven = render("--walk", "w.json", "a.mkv")
    assert np.array_equal(seven, render(*PLAY, "b.mkv"))
    assert not np.array_equal(seven, render("--walk", "w.json", "--seed", 8, "c.mkv"))


@pytest.mark.parametrize(("frames", "reason"), [(8, "no shot of 12 frames"), (30, "nothing moves")])
def test_a_film_that_has_no_motion(frames, reason, here, shown):
    some = list(read_frames(shown))
    write(Path("f.mkv"), some[:8] if frames == 8 else some[:1] * frames, fps=30, scale=1)
    with pytest.raises(DataError, match=reason):
        vidgan("motion", "f.mkv", "--force", "--model", here)


def test_a_contact_sheet_shows_the_nearest_clips_of_the_film(shown, capsys):
    render(*PLAY, "--no-loop", "--contact-sheet", "a.mkv")
    assert re.search(
        r"are \d+ grey levels from the nearest of .*turn.mkv, whose own are \d+ from",
        said := capsys.readouterr().err,
    ), said
    sheet = np.asarray(Image.open("a-sheet.png"))
    assert sheet.shape == (8 * 64, 8 * 64, 3)
    film = np.stack(list(read_frames(shown)))
    made, below = sheet.reshape(4, 2, 64, 8, 64, 3).transpose(1, 0, 3, 2, 4, 5)
    for row, other in zip(made, below, strict=True):
        apart = [np.square(film[i + CLIP].astype(float) - row).mean() for i in range(49)]
        assert np.array_equal(other, film[np.argmin(apart) + CLIP])
    # Backwards, it is the clip that shows the same, from its end.
    render(*PLAY, "--no-loop", "--reverse", "--contact-sheet", "b.mkv")
    back = np.asarray(Image.open("b-sheet.png")).reshape(4, 2, 64, 8, 64, 3)
    assert np.array_equal(back[::-1], sheet.reshape(4, 2, 64, 8, 64, 3))


def test_without_its_film_there_is_no_contact_sheet_of_a_motion(here, shown):
    film = shutil.copy(shown, "gone.mkv")
    vidgan("motion", film, "new.motion.safetensors", "--model", here)
    Path(film).unlink()
    with pytest.raises(DataError, match=r"gone\.mkv, is gone"):
        render(*PLAY, "--motion", "new.motion.safetensors", "--contact-sheet", "a.mkv")
    assert not Path("a.mkv").exists()


def test_a_film_without_motion_is_refused_before_an_encoder_is_trained(here, shown, monkeypatch):
    Path("generator.encoder.safetensors").unlink()
    write(Path("still.mkv"), list(read_frames(shown))[:1] * 30, fps=30, scale=1)
    with pytest.raises(DataError, match="nothing moves"):
        vidgan("motion", "still.mkv", "new.motion.safetensors", "--model", here)
    assert not Path("generator.encoder.safetensors").exists()


def test_a_hundred_short_cuts_and_no_film(here):
    rng = np.random.default_rng(0)
    flat = [np.tile(rng.integers(0, 256, (1, 1, 3), np.uint8), (64, 64, 1)) for _ in range(100)]
    write(Path("cuts.mkv"), [one for one in flat for _ in range(3)], fps=30, scale=1)
    with pytest.raises(DataError, match="fewer cuts"):
        vidgan("motion", "cuts.mkv", "new.motion.safetensors", "--model", here)
    with pytest.raises(UsageError, match="learned from no film"):
        vidgan("motion", "--model", here)


def test_it_is_shown_through_a_training_whose_last_snapshot_is_another_generator(here):
    Path("generators").mkdir()
    for seen, name in enumerate(("dcgan", "r3gan")):
        file = Path(f"generators/{seen:012d}.safetensors")
        conftest.save_model(file, *conftest.small_generator(name=name))
    alone = open_generator("generators/000000000001.safetensors", device="cpu")
    options = (*PLAY, "--no-loop", "--scale", 1)
    through = render(*options, "--through-training", "--save-walk", "w.json", "a.mkv")
    z = Walk.load(Path("w.json")).bind(alone).latents(19, 20)
    assert np.abs(through[-1].astype(int) - alone(z)[0]).max() <= 1
