import errno
import shutil
import tempfile
from fractions import Fraction

import numpy as np
import pytest

from tests.films import write
from vidgan.disk.places import bundled
from vidgan.errors import SystemFault, UsageError
from vidgan.film.target import Target, parse_fps

FRAMES = [np.zeros((32, 32, 3), np.uint8)]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "frames").mkdir()
    assert len(list(write(tmp_path / "frames", FRAMES).iterdir())) == 1


def test_force_replaces_no_film_of_another_program(tmp_path):
    film = tmp_path / "film.mp4"
    shutil.copy(bundled("assets/earth.mp4"), film)
    with pytest.raises(UsageError, match=r"film\.mp4: is not of vidgan"):
        Target.parse(film).check(force=True)
    film.unlink()
    write(film, FRAMES)
    Target.parse(film).check(force=True)


def test_a_folder_that_takes_no_files_is_the_fault_of_the_machine(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(SystemFault, match="cannot be written to"):
        Target.parse(tmp_path / "out.mp4").check()


@pytest.mark.parametrize(
    ("name", "codec", "lossless", "says"),
    [
        ("out.mp4", "vp9", False, r"--codec vp9: .*out\.mp4.*\.mp4 \(h264, .*\.webm \(vp9"),
        ("out.mp4", "divx", False, r"--codec divx: .*\.mov \(prores, h264\)"),
        ("out", "h264", False, r"--codec h264: .*\.mkv \(ffv1, h264\).*a folder of PNG"),
        ("out.mp4", "av1", True, r"av1 --lossless: .*\.mp4 \(h264, h265\); \.webm \(vp9\)"),
        ("out.gif", None, True, r"--lossless: .*\.mkv \(ffv1, h264\); \.webp \(webp\)"),
    ],
)
def test_an_impossible_codec_is_refused_with_the_possible_ones(name, codec, lossless, says):
    with pytest.raises(UsageError, match=says):
        Target.parse(name, codec=codec, lossless=lossless)


@pytest.mark.parametrize("name", ["out.gif", "out.apng", "out.mkv", "out"])
def test_a_quality_that_would_change_nothing_is_refused(name):
    with pytest.raises(UsageError, match=r"--quality 50: .* takes no quality"):
        Target.parse(name, quality=50)


@pytest.mark.parametrize("setting", [{"fps": 120}, {"scale": 0}, {"quality": 101}])
def test_an_impossible_setting_is_refused(setting):
    with pytest.raises(UsageError, match=f"--{next(iter(setting))}"):
        Target.parse("out.webp" if "quality" in setting else "out.gif", **setting)


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (30, Fraction(30)),
        (29.97, Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        ("24000/1001", Fraction(24000, 1001)),
        (12.5, Fraction(25, 2)),
        ("0.5", Fraction(1, 2)),
        (Fraction(1, 3), Fraction(1, 3)),
        (30.0, Fraction(30)),
    ],
)
def test_a_frame_rate_is_an_exact_fraction(given, rate):
    assert parse_fps(given) == rate


@pytest.mark.parametrize(
    "given", [0, -1, "abc", "", "1/0", float("nan"), float("inf"), 1e9, True, "1e999999999"]
)
def test_an_impossible_frame_rate_is_refused(given):
    with pytest.raises(UsageError, match="--fps"):
        parse_fps(given)
