import json
import shutil

import numpy as np
import pytest

from tests.conftest import save_model, small_generator, vidgan
from tests.films import read_frames
from tests.sounds import write_sound
from vidgan.errors import ConfigError, UsageError
from vidgan.film.segments import SEGMENT_FRAMES, folder_of
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.render import chapters, pipeline
from vidgan.render.walk import Walk


@pytest.fixture
def here(tmp_path, monkeypatch, model_file):
    """Two walks of 12 and 10 frames, and a second generator."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(model_file, tmp_path / "day.safetensors")
    generator, model = small_generator()
    generator.layers[-2].weight.data *= -1
    save_model(tmp_path / "night.safetensors", generator, model)
    for name, settings in {"a": {"frames": 12}, "b": {"frames": 10, "path": "lerp"}}.items():
        Walk(z_dim=100, seed=7, fps="10", **settings).save(tmp_path / f"{name}.json")
    return tmp_path


def shown(film):
    return np.stack(list(read_frames(film))).astype(int)


def render(*words):
    vidgan("render", "--scale", "1", "--lossless", *words)


def test_a_film_of_two_walks_cross_fades_between_their_generators(here):
    render("--walk", "a.json", "--model", "day.safetensors", "a.mkv")
    render("--walk", "b.json", "--model", "night.safetensors", "b.mkv")
    models = ["--model", "day.safetensors,night.safetensors", "--fade", "0.4"]
    render("--walk", "a.json,b.json", *models, "--save-walk", "film.json", "film.mkv")
    a, b, film = (shown(here / f"{name}.mkv") for name in ("a", "b", "film"))
    assert len(film) == 12 + 10 - 4
    assert np.array_equal(film[:8], a[:8]) and np.array_equal(film[12:], b[4:])
    for i, share in enumerate((0.2, 0.4, 0.6, 0.8)):
        assert np.abs(film[8 + i] - ((1 - share) * a[8 + i] + share * b[i])).max() <= 0.51
    content = json.loads((here / "film.json").read_text())
    assert [one["generator"] for one in content] == ["day.safetensors", "night.safetensors"]
    render("--walk", "film.json", "again.mkv")
    assert (here / "again.mkv").read_bytes() == (here / "film.mkv").read_bytes()


def test_a_frame_of_chapters_depends_on_its_index_alone(here):
    walks = [Walk.load(here / f"{name}.json") for name in ("a", "b", "a")]
    walks[1:] = [walk.changed({"fade": 0.3}) for walk in walks[1:]]
    bound, generator, _ = chapters.bind(walks, here / "day.safetensors", "day")
    whole = np.stack(list(pipeline.frames(generator, bound)))
    assert len(whole) == bound.frames == 12 + 10 + 12 - 6
    for i in (0, 8, 9, 10, 13, 16, 17, 27):
        assert np.array_equal(generator(bound.latents(i, i + 1))[0], whole[i])


def test_options_bend_all_walks_of_a_film(here):
    common = ["--walk", "a.json,b.json", "--model", "day.safetensors"]
    render(*common, "--fps", "20", "--fade", "0.4", "--save-walk", "film.json", "fine.mkv")
    assert len(shown(here / "fine.mkv")) == 2 * (12 + 10 - 4)
    assert [one["frames"] for one in json.loads((here / "film.json").read_text())] == [24, 20]
    walk = json.loads((here / "b.json").read_text()) | {"fps": "20"}
    (here / "b.json").write_text(json.dumps(walk))  # of another rate: it is as long as it was
    render(*common, "mixed.mkv")
    assert len(shown(here / "mixed.mkv")) == 12 + 5


def test_one_sound_goes_through_all_walks(here):
    write_sound(here / "song.wav", duration_s=2.5)
    common = ["--walk", "a.json,b.json", "--model", "day.safetensors", "--fade", "0.2"]
    render(
        *common, "--audio", "song.wav", "--audio-part", "0:00.3-", "--save-walk", "f.json", "a.mkv"
    )
    first, second = json.loads((here / "f.json").read_text())
    assert first["audio_part"] == pytest.approx([0.3, 1.5]) and first["frames"] == 12
    assert second["audio_part"] == pytest.approx([1.3, 2.3]) and second["frames"] == 10
    speed = np.diff(second["positions"][0])
    assert first["gain"] != second["gain"] and np.ptp(speed) > 0
    render("--walk", "f.json", "again.mkv", "--model", "day.safetensors")
    assert (here / "again.mkv").read_bytes() == (here / "a.mkv").read_bytes()
    with pytest.raises(UsageError, match=r"song\.wav: is only 2\.5 seconds long"):
        render(*common, "--audio", "song.wav", "--audio-part", "0:01-", "b.mkv")


def test_a_stopped_film_of_chapters_goes_on(here):
    words = ["--fade", "0.4", "--resume", "--walk", "c.json,a.json", "--model", "day.safetensors"]
    Walk(z_dim=100, seed=7, fps="10", frames=280).save(here / "c.json")
    render(*words, "whole.mp4")
    walks = [Walk.load(here / f"{name}.json").changed({"fade": 0.4}) for name in "ca"]
    bound, generator, _ = chapters.bind(walks, here / "day.safetensors", "day")

    def stop(done, total):
        if done > SEGMENT_FRAMES:
            raise KeyboardInterrupt

    target = Target.parse(here / "film.mp4", fps=10, scale=1, lossless=True)
    writer = VideoWriter(target, comment=bound.comment())
    with pytest.raises(KeyboardInterrupt):
        pipeline.render(generator, bound, writer, resume=True, progress=stop)
    assert len(list(folder_of(here / "film.mp4").glob("*.mp4"))) == 1
    with pytest.raises(UsageError, match="another frames, walk"):
        render("--fade", "0.3", *words[2:], "film.mp4")
    render(*words, "film.mp4")
    assert (here / "film.mp4").read_bytes() == (here / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--walk", "a.json", "--fade", "1"], "needs several"),
        (["--walk", "a.json,b.json", "--fade", "1.1"], "one of the walks is 1 s long"),
        (["--walk", "a.json,b.json", "--fade", "-1"], "--fade -1: "),
        (["--walk", "a.json,b.json", "--frames", "9"], "omit --frames"),
        (["--walk", "a.json,b.json", "--model", "a,b,c"], "3 models for 2 of --walk"),
        (["--walk", "a.json,b.json", "--audio-strength", "2"], "no sound"),
        (["--walk", "a.json,b.json", "--model", "day.safetensors,wide.safetensors"], "of one size"),
    ],
)
def test_a_film_of_walks_that_cannot_be_is_one_line(words, says, here):
    save_model(here / "wide.safetensors", *small_generator(96, 64))
    with pytest.raises(UsageError, match=says) as caught:
        render(*words, "out.mp4")
    assert "\n" not in str(caught.value) and not (here / "out.mp4").exists()


def test_export_and_load_say_that_a_list_is_several_walks(here):
    text = f"[{(here / 'a.json').read_text()}, {(here / 'b.json').read_text()}]"
    (here / "film.json").write_text(text)
    with pytest.raises(ConfigError, match="a list of walks"):
        vidgan("export", "--model", "day.safetensors", "--walk", "film.json", "walk.onnx")
    assert [walk.frames for walk in Walk.load_all(here / "film.json")] == [12, 10]
    for wrong in ("[]", "[[]]", "[1]"):
        (here / "film.json").write_text(wrong)
        with pytest.raises(ConfigError, match="not a walk"):
            Walk.load_all(here / "film.json")
