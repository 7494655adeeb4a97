from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films import decoded, film_writer, write
from vidgan.film import alpha
from vidgan.film.segments import Film
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter


def all_pairs() -> np.ndarray:
    """Each level of a colour with each alpha that is not below it: uint8 [256, 256, 4]."""
    opacity, level = np.mgrid[:256, :256]
    colour = np.minimum(level, opacity)
    return np.stack([colour, colour // 2, colour, opacity], 2).astype(np.uint8)


def discs(count: int, side: int = 48) -> list[np.ndarray]:
    """A red disc with a soft edge that walks to the right: uint8 [H, W, 4], multiplied."""
    y, x = np.mgrid[:side, :side]
    frames = []
    for i in range(count):
        cover = np.clip(12 - np.hypot(x - 14 - 3 * i, y - 24), 0, 4) / 4
        opacity = np.rint(255 * cover)
        frames.append(np.stack([opacity, opacity // 4, 0 * opacity, opacity], 2).astype(np.uint8))
    return frames


def with_alpha(path: Path) -> np.ndarray:
    """The frames of a file as its players see them: straight colours, uint8 [T, H, W, 4]."""
    if path.is_dir():
        return np.stack([np.asarray(Image.open(file)) for file in sorted(path.iterdir())])
    if path.suffix in (".webp", ".gif"):
        with Image.open(path) as picture:
            frames = []
            for number in range(picture.n_frames):
                picture.seek(number)
                frames.append(np.asarray(picture.convert("RGBA")))
            return np.stack(frames)
    with av.open(str(path)) as film:
        stream, found = film.streams.video[0], []
        vp9 = stream.codec_context.name == "vp9"  # FFmpeg's own decoder leaves alpha out
        decoder = av.CodecContext.create("libvpx-vp9", "r") if vp9 else stream.codec_context
        for packet in film.demux(stream):
            found += decoder.decode(packet if packet.size else None)
    return np.stack([frame.to_ndarray(format="rgba") for frame in found])


def test_straight_and_multiplied_colours_become_each_other_without_loss():
    frames = all_pairs()
    there = alpha.straight(frames)
    assert np.array_equal(alpha.premultiplied(there), frames)
    half = np.uint8([[[100, 255, 0, 128]]])
    assert alpha.premultiplied(half).tolist() == [[[50, 128, 0, 128]]]


def test_frames_in_front_of_a_ground_are_mixed_by_their_alpha():
    frames, ground = all_pairs(), np.uint8([[[10, 200, 255]]])
    wanted = frames[..., :3] + (1 - frames[..., 3:] / 255) * ground
    assert np.abs(alpha.over(frames, ground) - wanted).max() <= 0.5 + 1e-9
    assert (alpha.judged(np.zeros((2, 2, 4), np.uint8)) == 128).all()
    opaque = np.uint8([[[1, 2, 3]]])
    assert alpha.judged(opaque) is opaque and alpha.shown(opaque) is opaque
    assert set(alpha.shown(np.zeros((2, 16, 24, 4), np.uint8)).ravel()) == {176, 224}


KEEPING = ("out.mov", "out.webm", "out.mkv", "out.apng", "out.webp", "out.gif", "frames")


@pytest.mark.parametrize("size", [{"scale": 2}, {"scale": 3}, {"resolution": (160, 96)}])
@pytest.mark.parametrize("name", KEEPING)
def test_files_keep_transparency_frame_by_frame(name, size, tmp_path):
    """No frame shows what an earlier one has left."""
    fit = {"fit": "pad"} if "resolution" in size else {}
    seen = with_alpha(write(f"{tmp_path}/{name}", discs(6), **size, **fit))
    if fit:  # between transparent bars
        assert seen.shape[1:] == (96, 160, 4) and not seen[:, :, :30, 3].any()
        seen = seen[:, ::2, 32:-32:2]
    else:
        seen = seen[:, :: size["scale"], :: size["scale"]]
    wanted = np.stack(discs(6))
    inside, outside = wanted[..., 3] == 255, wanted[..., 3] == 0
    if fit:  # lanczos rings at an edge
        inside[:, 1:-1, 1:-1] &= inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1]
    assert (seen[outside][:, 3] <= (24 if fit else 8)).all()
    assert (seen[inside][:, 3] >= 240).all()
    # Colours of half resolution mix across the edge where the factor is odd.
    worst = 100 if size == {"scale": 3} or fit else 16
    assert np.abs(seen[inside][:, :3].astype(int) - [255, 63, 0]).max() <= worst
    if name != "out.gif":  # which knows no half transparency
        soft = ~inside & ~outside
        assert np.abs(seen[soft][:, 3].astype(int) - wanted[soft][:, 3]).mean() < 16


def test_lossless_webp_and_png_keep_every_pixel(tmp_path):
    for name, how in (("a.webp", {"lossless": True}), ("frames", {})):
        seen = with_alpha(write(f"{tmp_path}/{name}", discs(4), scale=1, **how))
        assert np.array_equal(alpha.premultiplied(seen), np.stack(discs(4)))


@pytest.mark.parametrize("name", ["out.mov", "out.webm"])
def test_films_joined_of_segments_keep_transparency(name, tmp_path):
    film = Film(film_writer(tmp_path / name, scale=2), frames=6, key={}, segment_frames=2)
    with film.made():
        for piece in film.missing():
            with film.open(piece) as part:
                for index in piece:
                    part.write(discs(6)[index])
    seen = with_alpha(tmp_path / name)[:, ::2, ::2, 3]
    assert np.abs(seen.astype(int) - np.stack(discs(6))[..., 3]).max() <= 24


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.gif"])
def test_a_ground_is_behind_frames_in_every_kind_of_file(name, tmp_path):
    """A picture keeps the resolution of the film; the film is as large as without it."""
    colour = np.uint8([[[20, 60, 200]]])
    left = np.zeros((96, 96, 3), np.uint8)
    left[:, :48] = 255
    left[::2, 60:70] = 120  # finer than a pixel of the frames
    for ground, wanted in ((None, 255), (colour, [20, 60, 200]), (left, 255)):
        if ground is None and name != "out.mp4":
            continue
        target = Target.parse(tmp_path / name, scale=2)
        with VideoWriter(replace(target, ground=ground), force=True) as film:
            for frame in discs(2):
                film.write(frame)
        seen = decoded(tmp_path / name)
        assert seen.shape[1:] == (96, 96, 3)
        assert np.abs(seen[0, :8, :8].astype(int) - wanted).max() <= 4
        assert np.abs(seen[0, 48, 28].astype(int) - [255, 63, 0]).max() <= 12
    if name == "out.mov":
        assert seen[0, 0, 65].max() > 100 and seen[0, 1, 65].max() < 20


def test_a_ground_is_behind_bars_too(tmp_path):
    target = Target.parse(tmp_path / "out.mp4").at((160, 96), "pad")
    with VideoWriter(replace(target, ground=np.uint8([[[20, 60, 200]]]))) as film:
        film.write(discs(1)[0])
    (seen,) = decoded(tmp_path / "out.mp4")
    assert seen.shape == (96, 160, 3)
    assert np.abs(seen[::95, ::159].astype(int) - [20, 60, 200]).max() <= 4
    assert np.abs(seen[48, 60].astype(int) - [255, 63, 0]).max() <= 12


def test_settings_of_a_render_that_is_resumed_know_the_ground(tmp_path):
    target = Target.parse(tmp_path / "out.mp4")
    settings = [
        VideoWriter(replace(target, ground=ground)).settings
        for ground in (None, np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8))
    ]
    assert settings[0] != settings[1] != settings[2]
