import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.conftest import colours, opened, pixels_of, refusal, size_of
from tests.data.making import BLACK, BLUE, GREEN, RED, WHITE, animate, paint, zipped
from vidgan.data import pictures


def _plain(mode, colour, **options):
    return lambda path: Image.new(mode, (8, 8), colour).save(path, **options)


def _palette_with_hole(path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*GREEN, *RED])
    image.save(path, transparency=1)


def _animation(path):
    frames = [np.full((8, 8, 3), colour, np.uint8) for colour in (GREEN, RED, BLUE)]
    animate(path, frames, lossless=True)


MODES = [
    ("grey.png", _plain("L", 77), (77, 77, 77)),
    ("one-bit.png", _plain("1", 1), WHITE),
    ("palette.gif", _plain("P", 0), BLACK),
    ("palette-with-hole.png", _palette_with_hole, BLUE),
    ("palette-with-hole.gif", _palette_with_hole, BLUE),
    ("rgb-with-hole.png", _plain("RGB", RED, transparency=RED), BLUE),
    ("rgba.png", _plain("RGBA", (255, 0, 0, 128)), (128, 0, 127)),
    ("rgba.webp", _plain("RGBA", (255, 0, 0, 0), lossless=True), BLUE),
    ("grey-alpha.png", _plain("LA", (255, 0)), BLUE),
    ("cmyk.jpg", _plain("CMYK", (0, 255, 255, 0), quality=100), (254, 0, 0)),
    ("cmyk.tif", _plain("CMYK", (0, 255, 255, 0)), RED),
    ("animated.gif", _animation, GREEN),
    ("animated.webp", _animation, GREEN),
    ("animated.png", _animation, GREEN),
]


@pytest.mark.parametrize(("name", "save", "expected"), MODES, ids=[row[0] for row in MODES])
def test_every_mode_becomes_rgb(folder, name, save, expected):
    save(folder / name)
    paint(folder / "still.bmp")  # beside a still, an animation is one too
    colour = colours(opened(folder, background="#0000ff")[0])[0]
    assert np.abs(np.subtract(colour, expected)).max() <= 1


def test_transparency_that_is_learned_has_no_background(folder):
    _palette_with_hole(folder / "a.png")
    _plain("RGBA", (255, 100, 0, 128))(folder / "b.png")
    paint(folder / "c.bmp", GREEN)
    dataset, lines = opened(folder, alpha=True)
    wanted = [(0, 0, 0, 0), (128, 50, 0, 128), (*GREEN, 255)]  # multiplied by alpha
    assert colours(dataset) == wanted and dataset.has_holes() and len(lines) == 1
    for _ in range(2):  # the second time from the cache
        dataset, lines = opened(folder)
        assert "#ffffff; to learn transparency too: vidgan train --alpha" in lines[-1]
        assert pixels_of(dataset).shape[3] == 3
    (folder / "a.png").unlink(), (folder / "b.png").unlink()
    dataset, lines = opened(folder, alpha=True)
    assert not dataset.has_holes() and not any("--alpha" in line for line in lines)


def test_an_animation_keeps_its_transparency_and_a_video_is_refused(folder, clip):
    assert "vidgan reads no transparency of video" in refusal(clip, alpha=True)
    frames = [Image.new("RGBA", (16, 16), (9 * i, 0, 0, 10 * i)) for i in range(5)]
    frames[0].save(folder / "a.png", save_all=True, append_images=frames[1:])
    dataset, _ = opened(folder / "a.png", alpha=True)
    assert [pixel[3] for pixel in colours(dataset)] == [0, 10, 20, 30, 40] and dataset.has_holes()


def test_the_background_belongs_to_the_key_of_the_cache(folder):
    _palette_with_hole(folder / "a.png")
    assert colours(opened(folder)[0]) == [WHITE]
    assert colours(opened(folder, background="#00ff00")[0]) == [GREEN]
    assert colours(opened(folder, background="0000FF")[0]) == [BLUE]


def test_sixteen_bits_become_eight_by_rounding(folder):
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", every, byteorder=">")
    expected = ((every.astype(int) + 128) // 257)[..., None].repeat(3, -1)
    assert (pixels_of(opened(folder, 256, 256)[0]) == expected).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_pictures_share_the_white_of_the_fewest_bits_they_need(folder, tmp_path, bits):
    white = 2**bits - 1
    for number in range(200):  # more than are decoded at a time; the brightest comes late
        dark = np.full((8, 8), white // 16, np.uint16)
        Image.fromarray(dark).save(folder / f"{number:03}.png")
    stack = np.stack([dark, dark + white // 2])  # its maximum needs `bits` too, but is no white
    tifffile.imwrite(folder / "150.tif", stack, photometric="minisblack")
    paint(folder / "200.png")
    dataset, lines = opened(folder)
    found = np.array(colours(dataset))[:, 0]
    assert set(found[:151]) == {round(255 * (white // 16) / white)} and len(found) == 203
    assert found[152] == round(255 * (white // 16 + white // 2) / white) and found[-1] == 255
    assert any(f"above {white}" in line for line in lines) == (bits < 16)
    members = {path.name: path.read_bytes() for path in folder.iterdir()}
    from_zip, _ = opened(zipped(tmp_path / "a.zip", dict(sorted(members.items()))))
    assert from_zip.fingerprint == dataset.fingerprint


def test_grey_of_32_bits_or_with_a_sign_is_refused_because_nobody_knows_its_white(folder):
    Image.new("F", (8, 8), 0.5).save(folder / "a.tif")
    tifffile.imwrite(folder / "b.tif", np.zeros((8, 8), np.int16))
    message = refusal(folder)
    assert "0 of 2" in message and "a.tif: grey of 32 bits or" in message and "sign" in message


UPRIGHT = ("rg/bw", "gr/wb", "wb/gr", "bw/rg", "rb/gw", "br/wg", "wg/br", "gw/rb")


@pytest.mark.parametrize(("orientation", "upright"), [*enumerate(UPRIGHT, 1)])
def test_the_exif_orientation_is_honoured(folder, orientation, upright):
    letters = {"r": RED, "g": GREEN, "b": BLUE, "w": WHITE}
    corners = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners).save(folder / "a.png", exif=exif)
    (image,) = pixels_of(opened(folder)[0])
    found = [tuple(image[y, x]) for y in (4, 12) for x in (4, 12)]
    expected = [letters[letter] for letter in upright.replace("/", "")]
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 2


def test_pictures_are_cropped_about_the_centre_not_squeezed(folder):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = GREEN
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(folder / "tall.png")
    inner = pixels_of(opened(folder)[0])[:, 3:-3, 3:-3]  # the filter reaches across the edge
    assert np.abs(inner.astype(int) - GREEN).max() <= 2


def test_shrinking_averages_so_that_fine_patterns_do_not_alias(folder):
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(folder / "a.png")
    Image.fromarray(board).save(folder / "b.jpg", quality=95)
    assert np.abs(pixels_of(opened(folder)[0]).astype(int) - 127).max() <= 4


def test_a_large_jpeg_decoded_small_is_the_same_picture(folder):
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    planes = np.broadcast_arrays(ramp[None], ramp[:1200, None], np.uint8(60))
    image = Image.fromarray(np.stack(planes, axis=-1))
    image.save(folder / "a.jpg", quality=95)
    image.save(folder / "b.png")
    jpeg, exact = pixels_of(opened(folder, 64, 64)[0]).astype(int)
    assert np.abs(jpeg - exact).max() <= 4


def test_a_decompression_bomb_is_refused_by_its_header(folder):
    content = bytearray(paint(folder / "bomb.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 14_200, 14_100)
    (folder / "bomb.bmp").write_bytes(content)
    assert "200220000 pixels" in refusal(folder)  # not that its data end early


def test_a_picture_beyond_the_limit_is_refused_and_pillow_does_not_warn(folder, monkeypatch):
    paint(folder / "large.png", size=(50, 41))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert "50 x 41 pixels; 2,000 at most" in refusal(folder)
    assert size_of(folder) == (64, 64)
