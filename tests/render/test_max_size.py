from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import contents, vidgan
from vidgan.errors import UsageError
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.generator.synthesis import open_generator
from vidgan.render import max_size, pipeline
from vidgan.render.walk import Walk


@pytest.fixture
def render(onnx_file, tmp_path, monkeypatch):
    """Runs a render of 24 frames in tmp_path; returns the file."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        vidgan("render", "--model", onnx_file, "--frames", 24, "--fps", 60, *words)
        return tmp_path / words[-1]

    return run


def facts(path):
    """The size of the picture, the number of frames, and how long they take in milliseconds."""
    with Image.open(path) as picture:
        total = 0
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            total += picture.info["duration"]
        return picture.size, picture.n_frames, total


@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_a_film_is_the_best_that_is_below_the_size_and_takes_as_long(name, render, capsys):
    whole = render("--max-size", "90MB", f"whole-{name}")
    assert facts(whole)[:2] == ((512, 512), 24)
    limit = whole.stat().st_size // 9
    film = render("--max-size", f"{limit / 1000}kB", name)
    assert limit / 3 < film.stat().st_size <= limit
    (width, height), frames, duration_ms = facts(film)
    assert width == height < 512 and abs(duration_ms - 400) <= 20
    said = capsys.readouterr().out.splitlines()[-1]
    size = f"{film.stat().st_size / 1e6:.2f} MB, {width}x{height} pixels"
    assert said.startswith(f"{name} ({size}, {frames / 0.4:g} frames/s")


@pytest.mark.parametrize(("name", "sizes_kb"), [("a.gif", (3000, 200)), ("a.webp", (900, 50))])
def test_it_takes_at_most_two_films_and_a_bar_that_only_rises(name, sizes_kb, onnx_file, tmp_path):
    made, shares, films = [], [], []
    for kb in sizes_kb:
        generator = open_generator(onnx_file)
        bound = Walk(frames=50, hold=0.4).bind(generator)

        def counting(*rows, generator=generator):
            made.append(len(rows[0]))
            return generator(*rows)

        counting.height, counting.width, counting.sha256 = 64, 64, generator.sha256
        counting.runs_on = generator.runs_on
        target = replace(Target.parse(tmp_path / f"{kb}{name}"), most_bytes=1000 * kb)
        made.clear(), shares.clear()
        _, frames = max_size.render_below(
            counting,
            bound,
            VideoWriter(target),
            progress=lambda done, total: shares.append(done / total),
        )
        films.append(facts(target.path))
        assert target.path.stat().st_size <= 1000 * kb and films[-1][1] == frames
        samples = max_size._WINDOWS * max_size._LENGTH * 3  # of every, every second and third
        assert sum(made) <= 2 * 50 + samples
        assert shares == sorted(shares) and shares[-1] == 1
    assert films[0] != films[1]


def test_a_size_that_was_asked_for_stays(render):
    assert facts(render("--max-size", "1MB", "--scale", "1", "a.gif"))[0] == (64, 64)
    film = render("--max-size", "50kB", "--resolution", "160x90", "b.webp")
    assert facts(film)[0] == (160, 90) and film.stat().st_size <= 50_000


def test_every_nth_frame_is_that_of_the_whole_walk(onnx_file, tmp_path):
    generator = open_generator(onnx_file)
    walk = Walk(frames=10).bind(generator)
    every, third = (
        list(pipeline.frames(generator, path)) for path in (walk, max_size.EveryNth(walk, 3))
    )
    assert len(third) == 4
    assert np.abs(np.subtract(every[::3], third, dtype=int)).max() <= 1


def test_what_cannot_be_made_is_refused_and_leaves_nothing(render, tmp_path):
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"24 frames take more than 0\.001 MB even with 64x64"):
        render("--max-size", "1kB", "out.gif")
    assert contents(tmp_path) == before


def test_an_extra_file_is_made_once_of_the_film_that_is_kept(render, tmp_path):
    render("--max-size", "60kB", "--save-walk", "walk.json", "--contact-sheet", "out.webp")
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        *("out.webp", "out-sheet.png", "walk.json")
    }
