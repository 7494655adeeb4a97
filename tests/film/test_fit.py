from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.conftest import vidgan
from tests.films import COLOURS, colour_error, decoded, enlarged, film_writer, moving, write
from vidgan.errors import UsageError
from vidgan.film.fit import Fit, inside
from vidgan.film.segments import Film
from vidgan.film.target import Target

KINDS = {
    **{"h264.mp4": {}, "h265.mp4": {"codec": "h265"}, "av1.mp4": {"codec": "av1"}},
    **{"rgb.mp4": {"lossless": True}, "out.webm": {}, "rgb.webm": {"lossless": True}},
    **{"out.mov": {}, "out.mkv": {}, "out.gif": {}, "out.webp": {}, "out.apng": {}},
    "rgb.webp": {"lossless": True},
}


@pytest.mark.parametrize("fit", ["crop", "pad", "blur"])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_has_exactly_the_size_and_the_right_colours(name, fit, tmp_path):
    frames = [enlarged(COLOURS, 8)] * 2  # 48x40
    film = write(tmp_path / name, frames, **KINDS[name], resolution=(480, 320), fit=fit)
    seen = decoded(film)
    assert seen.shape[1:] == (320, 480, 3)
    if fit != "crop":  # the picture is 384 wide, with 48 on both sides
        error = colour_error(seen[:, :, 48:-48])
        assert error.max() <= (40 if name == "out.gif" else 14) and error.mean() <= 3
        assert (seen[:, :, :24].max() <= 3) == (fit == "pad")


def test_a_folder_has_exactly_the_size_too(tmp_path):
    folder = write(f"{tmp_path}/out", moving(2), resolution=(81, 57), fit="pad")
    assert [np.asarray(Image.open(file)).shape for file in folder.iterdir()] == [(57, 81, 3)] * 2


def test_lossless_files_hold_the_same_enlarged_pixels(tmp_path):
    size = {"resolution": (96, 160), "lossless": True}
    one, *others = (
        decoded(write(tmp_path / name, moving(3), **size)) for name in ("a.mkv", "a.mp4", "a.webp")
    )
    assert all(np.array_equal(one, other) for other in others)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "gbrp"])
def test_enlarging_is_smooth_as_lanczos_of_pillow(pixel_format):
    wave = np.sin(np.arange(64) / 4) * 60 + 128
    frame = np.repeat((wave[:, None] + wave / 2 - 64)[..., None], 3, axis=2).astype(np.uint8)
    fit = Fit((64, 64), (512, 512), how="crop", pixel_format=pixel_format, matrix="bt709")
    wanted = np.asarray(Image.fromarray(frame).resize((512, 512), Image.Resampling.LANCZOS))
    seen = fit(frame)
    seen.colorspace = 1
    assert np.abs(seen.to_ndarray(format="gray").astype(int) - wanted[..., 0]).max() <= 3


@pytest.mark.parametrize("size", [(2, 2), (33, 35), (500, 20), (20, 500), (64, 96), (1920, 1080)])
@pytest.mark.parametrize("how", ["crop", "pad", "blur"])
def test_any_shape_becomes_any_size(how, size):
    frame = np.full((64, 96, 3), 200, np.uint8)
    fit = Fit((96, 64), size, how=how, pixel_format="rgb24", matrix="bt709")
    seen = fit(frame).to_ndarray()
    assert seen.shape == (*size[::-1], 3)
    middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
    assert np.abs(middle.astype(int) - 200).max() <= 1


def test_a_picture_of_the_size_stays_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    for how in ("crop", "pad", "blur"):
        fit = Fit((64, 40), (64, 40), how=how, pixel_format="rgb24", matrix="bt709")
        assert np.array_equal(fit(frame).to_ndarray(), frame)


def test_the_shape_of_a_picture_stays_in_a_box_turned_to_it():
    sizes = [inside(sides, (1280, 720)) for sides in ((64, 64), (128, 72), (72, 128), (2048, 256))]
    assert sizes == [(720, 720), (1280, 720), (720, 1280), (1280, 160)]


def test_a_size_that_the_codec_cannot_have_is_refused_with_the_next_one():
    with pytest.raises(UsageError, match="h264 can make 1922x1080"):
        Target.parse("out.mp4").at((1921, 1079))
    assert Target.parse("out.mkv").at((1921, 1079)).resolution == (1921, 1079)


def test_a_segment_has_the_frames_of_the_whole_film_and_of_no_other_size(tmp_path):
    frames, pieces = moving(12), {}
    for length in (12, 4):
        writer = film_writer(tmp_path / f"{length}.mkv", resolution=(160, 90), fit="blur")
        film = Film(writer, frames=12, key={}, segment_frames=length)
        with film.made():
            for piece in film.missing():
                with film.open(piece) as part:
                    for index in piece:
                        part.write(frames[index])
        pieces[length] = decoded(tmp_path / f"{length}.mkv")
    assert np.array_equal(pieces[12], pieces[4])
    assert film_writer(tmp_path / "x.mkv", resolution=(64, 64)).settings != writer.settings


def test_the_command_makes_the_size_also_of_a_grid_and_says_what_it_cuts(
    onnx_file, tmp_path, monkeypatch, said
):
    monkeypatch.chdir(tmp_path)
    render = ["render", "--model", onnx_file, "--frames", 3, "--resolution", "320x180"]
    vidgan(*render, "one.mp4")
    assert said[-1].startswith("44% of each frame is cut off")
    said.clear()
    vidgan(*render, "--fit", "pad", "two.mp4")
    vidgan(*render, "--grid", "16x9", "grid.mp4")
    assert not [line for line in said if "cut off" in line]
    for path in Path().glob("*.mp4"):
        with av.open(str(path)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == (320, 180)
