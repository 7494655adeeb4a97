import os
import shutil

import numpy as np
import pytest

from tests.data.conftest import colours, opened, pixels_of, refusal, size_of
from tests.data.making import BLUE, GREEN, RED, grey_frames, paint
from tests.films import write
from vidgan.data import sources
from vidgan.film.writer import write_png


def test_a_folder_is_read_recursively_in_the_order_of_names(folder):
    paint(folder / "b.bmp", GREEN)
    paint(folder / "a.PNG", RED)
    paint(folder / "deep/er/c.webp", BLUE, lossless=True)
    dataset, _ = opened(folder)
    assert colours(dataset) == [RED, GREEN, BLUE]
    assert dataset.labels is None and dataset.class_names == ()
    assert dataset.name == "pictures"


@pytest.mark.parametrize("above", ["", "images/", "a/b/"])
def test_folders_of_classes_give_labels_in_sorted_order(folder, above):
    paint(folder / f"{above}dog/1.png", GREEN)
    paint(folder / f"{above}cat/2.png", RED)
    paint(folder / f"{above}cat/more/3.png", BLUE)
    dataset, _ = opened(folder)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.dtype == np.int32 and dataset.labels.tolist() == [0, 0, 1]


def test_there_are_no_labels_unless_all_pictures_lie_in_two_classes(folder):
    paint(folder / "cat/1.png")
    assert opened(folder)[0].labels is None
    paint(folder / "dog/1.png")
    assert opened(folder)[0].class_names == ("cat", "dog")
    paint(folder / "loose.png")
    dataset, _ = opened(folder)
    assert dataset.labels is None and dataset.class_names == ()


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    paint(tmp_path / "elsewhere/1.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked/round").symlink_to(folder)
    assert len(opened(folder)[0]) == 1


def test_a_film_gives_every_nth_frame_without_near_duplicates(clip):
    dataset, lines = opened(clip, 16, 8)
    assert "left out 12 of 24 frames, too like the last one taken" in lines[-1]
    levels = pixels_of(dataset).mean((1, 2, 3))
    assert len(levels) == 12 and np.abs(np.diff(levels) - 16).max() < 4
    assert len(opened(clip, every=6)[0]) == 4
    assert len(opened(clip, min_change=0)[0]) == 24


def test_every_nth_of_still_pictures_is_no_setting_and_that_is_said(clip, folder):
    paint(folder / "a.png")
    assert any(
        "no film, so every = 5 changes nothing" in line for line in opened(folder, every=5)[1]
    )
    assert opened(folder)[1] == opened(folder, every=1)[1]
    assert not any("every = " in line for line in opened(clip, every=5)[1])


def test_change_is_measured_against_the_last_frame_that_was_kept(tmp_path):
    path = write(tmp_path / "slow.mp4", grey_frames(range(40, 80)), quality=100, scale=1)
    assert 5 <= len(opened(path, min_change=7.5)[0]) <= 6


def test_a_folder_of_films_is_one_set_and_a_broken_film_is_named(clip, folder):
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, folder / name)
    (folder / "c.mp4").write_bytes(b"no film")
    dataset, lines = opened(folder, max_bad=0.5)
    assert len(dataset) == 24  # the first frame of b is far from the last of a
    assert any("skipped: c.mp4: " in line for line in lines)


def test_pictures_win_over_films_in_one_folder_and_a_line_says_so(clip, folder):
    paint(folder / "a.png")
    shutil.copy(clip, folder)
    dataset, lines = opened(folder)
    (line,) = (line for line in lines if "1 x .mp4" in line)
    assert len(dataset) == 1 and "to learn from a film, name it" in line
    assert line in opened(folder)[1]  # also where the pictures are decoded already


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.gif", "film.webp", "film.apng"])
def test_what_vidgan_made_is_left_out_and_counted_unless_there_is_nothing_else(name, folder):
    write(folder / name, grey_frames(range(0, 250, 25), (16, 16)), scale=1)
    write_png(folder / "samples.png", np.zeros((8, 8, 3), np.uint8))
    write_png(folder / "plot.png", np.zeros((8, 8, 3), np.uint8), synthetic=False)
    for run in ("runs/00000-earth", "runs/00001-earth"):
        paint(folder / run / "reals.png")
        (folder / run / "config.toml").touch()
        (folder / run / "checkpoints").mkdir()
    assert len(opened(folder)[0]) == (2 + (name[-4:] in (".gif", "webp", "apng")))
    paint(folder / "photo.png", GREEN)
    dataset, lines = opened(folder)
    assert colours(dataset) == [GREEN]
    assert f"{folder}: left out what vidgan made of other pictures (3)." in lines
    assert f"{folder}: left out runs (2)." in lines
    assert len(opened(folder / "runs/00000-earth")[0]) == 1
    assert len(opened(folder / name, min_change=0)[0]) == 10


def test_a_cut_film_gives_its_readable_part_and_a_notice_every_time(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "cut.mp4", noise, scale=1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        dataset, lines = opened(path)
        assert 10 < len(dataset) < 55
        assert any("cut" in line for line in lines)


def test_earth_is_the_footage_that_ships_with_vidgan(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "bundled", lambda name: asked.append(name) or clip)
    dataset, _ = opened("earth")
    assert asked == ["assets/earth.mp4"] and dataset.name == "earth"


def test_hidden_files_and_texts_are_left_out_silently_and_other_files_are_counted(folder):
    paint(folder / "a.png")
    for name in (".DS_Store", "._a.png", "__MACOSX/a.png", ".hidden/a.png", "readme.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("nothing")
    dataset, lines = opened(folder)
    assert len(dataset) == 1 and len(lines) == 1  # only where the cache is
    (folder / "b.heic").write_text("nothing")
    paint(folder / "c.png")
    assert any("1 x .heic" in line for line in opened(folder)[1])


def test_a_pipe_named_like_a_picture_is_no_trap(folder):
    os.mkfifo(folder / "a.png")
    assert "no pictures or films in it" in refusal(folder)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda place: place.mkdir(), "no pictures or films in it (empty)"),
        (lambda place: place.mkdir() or (place / "a.txt").write_text("x"), "1 x .txt"),
        (lambda place: None, "there is no such file or folder"),
        (lambda place: place.write_text("text"), "not something to train on"),
    ],
)
def test_a_source_without_pictures_is_refused_with_what_can_be_read(tmp_path, make, expected):
    make(tmp_path / "thing")
    message = refusal(tmp_path / "thing")
    assert expected in message and "vidgan reads" in message
    assert message in refusal(tmp_path / "thing", width=64, height=64)


@pytest.mark.parametrize("source", ["", "https://example.org/a.zip", "x" * 5000, "nul\0l"])
def test_a_source_that_is_no_path_here_is_refused(source):
    refusal(source)


@pytest.mark.parametrize("name", ["text.mp4", "list.mkv"])
def test_a_file_that_is_only_named_like_a_film_is_refused(tmp_path, name):
    (tmp_path / name).write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert name in refusal(tmp_path / name)
    assert size_of(tmp_path / name) == (64, 64)
