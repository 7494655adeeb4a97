import errno
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import contents
from tests.films import COLOURS, colour_error, enlarged, moving, read_frames, run_python, write
from vidgan.errors import SystemFault
from vidgan.film.reader import probe
from vidgan.film.writer import VideoWriter, write_png

NAMES = ("out.mp4", "out.gif", "out.webp", "out")


def test_frames_come_back_in_order_and_shape(tmp_path):
    frames = moving(40)
    seen = list(read_frames(write(tmp_path / "out.mp4", frames, scale=4)))
    assert [f.shape for f in seen] == [(128, 128, 3)] * 40
    nearest = [
        int(np.argmin([np.abs(f[2::4, 2::4].astype(int) - g).sum() for g in frames])) for f in seen
    ]
    assert nearest == list(range(40))


def test_mp4_starts_playing_before_it_is_whole(tmp_path):
    data = write(tmp_path / "out.mp4", moving(10), scale=2).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data  # an ordinary film, not in fragments


@pytest.mark.parametrize(
    ("size", "scale", "seen"),
    [((33, 35), 1, (34, 36)), ((33, 35), 2, (66, 70)), ((33, 34), 3, (100, 102))],
)
def test_sides_that_stay_odd_are_padded_and_that_is_logged(tmp_path, size, scale, seen, said):
    frame = np.full((*size, 3), 90, np.uint8)
    path = write(tmp_path / "out.mp4", [frame] * 2, scale=scale)
    assert probe(path)[::-1] == seen
    assert bool(said) == (scale % 2 == 1)
    assert np.abs(next(read_frames(path)).astype(int) - 90).max() <= 2


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(64, 64, 8), (32, 64, 16), (96, 171, 6), (512, 512, 1), (400, 600, 2), (180, 240, 4)],
)
def test_small_frames_grow_by_a_whole_factor_to_512_pixels(tmp_path, height, width, factor):
    film = write(tmp_path / "out.mp4", [np.zeros((height, width, 3), np.uint8)])
    assert probe(film) == (width * factor, height * factor)


def durations_ms(path: Path) -> list[int]:
    durations = []
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0  # for ever
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            durations.append(picture.info["duration"])
    return durations


@pytest.mark.parametrize("fps", [24, 30, 50, 60, Fraction(24000, 1001)])
@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_animations_last_as_long_as_asked(tmp_path, name, fps, said):
    durations = durations_ms(write(tmp_path / name, moving(60), fps=fps, scale=1))
    assert len(durations) == 60
    assert abs(sum(durations) - 60_000 / fps) <= 10
    assert max(durations) - min(durations) <= 10
    assert len(said) == (name == "out.gif" and fps > 50)


@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_equal_frames_keep_their_time(tmp_path, name):
    path = write(tmp_path / name, [moving(1)[0]] * 30 + moving(2), fps=25, scale=1)
    assert sum(durations_ms(path)) == 32 * 40


@pytest.mark.parametrize(("name", "worst"), [("out.gif", 8), ("out.webp", 12)])
def test_animation_colours_are_right_in_every_frame(tmp_path, name, worst):
    colours = [COLOURS, COLOURS // 2, COLOURS // 3]
    path = write(tmp_path / name, [enlarged(frame, 16) for frame in colours])
    with Image.open(path) as picture:
        for index, wanted in enumerate(colours):
            picture.seek(index)
            error = colour_error(np.asarray(picture.convert("RGB")), wanted)
            assert error.max() <= worst and error.mean() <= 2


@pytest.mark.parametrize("name", ["frames", "take.2/"])
def test_a_folder_holds_the_frames_byte_for_byte(tmp_path, name):
    frames = moving(12)
    files = sorted(write(f"{tmp_path}/{name}", frames).iterdir())
    assert [file.name for file in files] == [f"frame{i:06d}.png" for i in range(12)]
    for file, frame in zip(files, frames, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), frame)


def test_a_picture_is_written_whole_and_replaces_the_last(tmp_path):
    target = tmp_path / "samples.png"
    for frame in moving(2):
        write_png(target, frame)
    assert np.array_equal(np.asarray(Image.open(target)), moving(2)[1])
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_leaves_nothing_but_what_force_would_have_replaced(tmp_path, name):
    for existing in (False, True):
        if existing:
            write(tmp_path / name, moving(3))
        before = contents(tmp_path)
        with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / name, force=True) as film:
            for frame in moving(8):
                film.write(frame)
            raise KeyboardInterrupt
        assert contents(tmp_path) == before and bool(before) == existing


@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_absent_without_a_frame_and_while_it_grows(tmp_path, name):
    with VideoWriter(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []
    with VideoWriter(tmp_path / name) as film:
        film.write(moving(1)[0])
        assert not (tmp_path / name).exists() and film.frames_written == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_force_replaces(tmp_path, name):
    write(tmp_path / name, moving(5))
    write(tmp_path / name, moving(2), force=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "out":
        assert len(list((tmp_path / name).iterdir())) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    lines = run_python(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)\n"
        f"for name in {NAMES}:\n"
        "    try: write(name, [noise, noise[::-1]] * 50)\n"
        "    except Exception as fault: print(type(fault).__name__, fault)",
        tmp_path,
    ).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"SystemFault {name}" for name in NAMES]
    assert all("no space left after" in line and "MB" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_at_the_last_moment_leaves_nothing(tmp_path, monkeypatch):
    def full(number: int) -> None:
        assert len(list(tmp_path.iterdir())) == 1  # the finished film under its hidden name
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemFault, match="no space left after 3 frames"):
        write(tmp_path / "out.mp4", moving(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_buffer_may_be_used_again_after_each_write(tmp_path, name):
    fresh, reused = write(tmp_path / f"fresh-{name}", moving(20)), tmp_path / f"reused-{name}"
    with VideoWriter(reused) as film:
        buffer = np.empty((32, 32, 3), np.uint8)
        for frame in moving(20):
            buffer[:] = frame
            film.write(buffer)
            buffer[:] = 0
    assert fresh.read_bytes() == reused.read_bytes()


def test_names_that_ffmpeg_would_take_for_a_protocol_or_pattern_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b c.mp4", "http:x.mp4", "50%03d.mp4", "-dash.mp4", "zeile\nzwei é.mp4"):
        assert len(list(read_frames(write(name, moving(2))))) == 2
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", NAMES[:3])
def test_memory_does_not_grow_with_frames(tmp_path, name):
    # 1,400 more frames of 128 x 128 would be 69 MB if they were kept.
    peaks_mb = run_python(
        "frames = moving(100, side=128)\n"
        f"with film_writer({name!r}, scale=1) as film:\n"
        "    for round in range(15):\n"
        "        for frame in frames: film.write(frame // 32 * 32)\n"
        "        print(peak_mb())",
        tmp_path,
    ).split()
    assert int(peaks_mb[-1]) - int(peaks_mb[0]) < 25
