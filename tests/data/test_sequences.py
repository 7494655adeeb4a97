import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.conftest import caches, colours, opened, refusal, size_of
from tests.data.making import GREEN, RED, animate, grey_frames, paint
from tests.films import write
from vidgan.data import pictures, sequences

LEVELS = np.arange(6) * 50


def pages(levels=LEVELS, size=(8, 12), kind=np.uint16):
    scale = np.iinfo(kind).max // 255
    return np.stack([np.full(size, scale * level, kind) for level in levels])


def greys(dataset):
    return [colour[0] for colour in colours(dataset)]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16), "bigtiff": True},
        {"imagej": True},
        {"imagej": True, "truncate": True},  # one page is listed, as above 4 GB
        {"ome": True},
    ],
    ids=str,
)
def test_the_pages_of_a_stack_become_pictures(tmp_path, kind, how):
    path = tmp_path / "Stack 1.tif"
    tifffile.imwrite(path, pages(kind=kind), photometric="minisblack", **how)
    dataset, _ = opened(path)
    assert greys(dataset) == LEVELS.tolist() and dataset.name == "stack-1"
    assert size_of(path) == (96, 64)


def test_an_imagej_stack_of_colours_whose_pages_are_not_listed_is_read(tmp_path):
    colour = np.array([RED, GREEN], np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    tifffile.imwrite(tmp_path / "a.tif", colour, imagej=True, truncate=True)
    assert colours(opened(tmp_path / "a.tif")[0]) == [RED, GREEN]


def test_pages_of_a_stack_have_the_class_of_their_folder_and_thumbnails_are_left_out(folder):
    for label, name in enumerate(("a", "b")):
        (folder / name).mkdir()
        with tifffile.TiffWriter(folder / name / "s.tif") as writer:
            for page in pages([label, 100, 200]):
                writer.write(page, photometric="minisblack", contiguous=False)
            writer.write(pages([9], (4, 6))[0], subfiletype=1)
    paint(folder / "b/t.png")
    dataset, _ = opened(folder)
    assert dataset.labels.tolist() == [0] * 3 + [1] * 4
    assert greys(dataset) == [0, 100, 200, 1, 100, 200, 255]


def test_a_damaged_stack_costs_only_itself(folder):
    for number in range(20):
        paint(folder / f"{number}.png")
    tifffile.imwrite(folder / "cut.tif", pages(), compression="zlib", photometric="minisblack")
    content = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[:-20])
    dataset, lines = opened(folder)
    assert len(dataset) == 25  # with the five pages before the damage
    assert any("skipped: cut.tif: " in line for line in lines)
    for path in folder.glob("*.png"):
        path.unlink()
    for cache in caches():
        cache.rename(folder.parent / "aside")
    assert "0 of 1" in refusal(folder)


def _tiff(width, height, next_page=0, note=b""):
    """A TIFF of one page that has no pixels, by hand."""
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 99}
    entries = [(tag, 4, 1, value) for tag, value in tags.items()]
    entries += [(270, 2, len(note), 200)] if note else []
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    return (head + body + struct.pack("<I", next_page)).ljust(200, b"\0") + note


def test_hostile_stacks_are_refused_before_memory_is_taken(folder, monkeypatch):
    note = b"ImageJ=1.11a\nimages=%d\nframes=%d\n\0"
    (folder / "huge.tif").write_bytes(_tiff(60_000, 60_000))
    (folder / "many.tif").write_bytes(_tiff(8, 8, note=note % (10**9, 10**9)))
    (folder / "round.tif").write_bytes(_tiff(8, 8, next_page=8))
    tifffile.imwrite(folder / "long.tif", pages(np.zeros(9)), photometric="minisblack")
    with tifffile.TiffWriter(folder / "grows.tif") as writer:
        writer.write(pages()[0])
        writer.write(np.zeros((50, 50), np.uint16))
    monkeypatch.setattr(sequences, "MAX_PICTURES", 8)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2000)
    tracemalloc.start()
    try:
        message = refusal(folder)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert "1 of 5" in message and "huge.tif: Image size (3600000000" in message
    assert "grows.tif: 50 x 50 pixels" in message
    assert "long.tif: more than 8 pictures" in message and "many.tif: it is shorter" in message


ANIMATIONS = [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {}), ("a.apng", {})]


@pytest.mark.parametrize(("name", "how"), ANIMATIONS, ids=[row[0] for row in ANIMATIONS])
def test_an_animation_by_itself_is_a_film(tmp_path, name, how):
    levels = [0, 40, 40, 80, 120, 160]
    path = animate(tmp_path / name, grey_frames(levels, (18, 32)), **how)
    assert greys(opened(path)[0]) == [0, 40, 80, 120, 160]  # without the near-duplicate
    assert greys(opened(path, every=3)[0])[0] == 0 and len(opened(path, every=3)[0]) == 2
    assert size_of(path) == (128, 72)


def test_the_still_that_a_png_shows_instead_of_its_animation_is_no_frame(tmp_path):
    path = animate(tmp_path / "a.png", grey_frames([7, 50, 90]), default_image=True)
    assert greys(opened(path)[0]) == [50, 90]


def test_transparent_pixels_of_an_animation_show_the_background(tmp_path):
    frames = [np.full((8, 8, 4), (level, 0, 0, 0), np.uint8) for level in (0, 255)]
    path = animate(tmp_path / "a.webp", frames, lossless=True, exact=True)
    assert colours(opened(path, background="#00ff00", min_change=0)[0]) == [GREEN] * 2


def test_animations_beside_films_are_films_too_and_a_bad_one_costs_only_itself(clip, folder):
    (folder / "b.mp4").write_bytes(clip.read_bytes())
    animate(folder / "a.gif", grey_frames([0, 200]))
    (folder / "bad.webp").write_bytes(b"RIFF")
    dataset, lines = opened(folder, max_bad=0.5)
    assert len(dataset) == 14 and any("skipped: bad.webp: " in line for line in lines)
    paint(folder / "z.png")
    assert len(opened(folder, max_bad=0.5)[0]) == 2  # the still, and the first frame of the GIF


def test_a_damaged_or_hostile_animation_is_refused_in_one_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), dtype=np.uint8)
    path = animate(tmp_path / "a.gif", list(noise))
    path.write_bytes(path.read_bytes()[:-3000])
    assert "a.gif: cannot be read as film" in refusal(path)
    content = bytearray(animate(path, grey_frames([0, 90], (8, 8))).read_bytes())
    at = content.rindex(b"," + struct.pack("<4H", 0, 0, 8, 8))  # the second frame
    content[at + 5 : at + 9] = struct.pack("<2H", 12_000, 12_000)
    path.write_bytes(content)
    assert "12000 x 12000 pixels; 100,000,000 at most" in refusal(path)
    Image.fromarray(noise[0]).save(tmp_path / "still.gif")
    assert "not something to train on" in refusal(tmp_path / "still.gif")


@pytest.mark.parametrize("name", ["zlib.tif", "unlisted.tif", "a.gif", "a.mkv"])
def test_memory_does_not_grow_with_the_pictures_in_a_file(tmp_path, name):
    grey = (np.arange(40, dtype=np.uint8) * 6)[:, None, None] * np.ones((500, 500), np.uint8)
    path = tmp_path / name
    if name == "a.mkv":
        write(path, (frame[..., None].repeat(3, -1) for frame in grey))
    elif name == "a.gif":
        animate(path, grey)
    else:
        listed = name == "zlib.tif"
        how = {"compression": "zlib"} if listed else {"imagej": True, "truncate": True}
        tifffile.imwrite(path, grey, **how)
    del grey  # of 10 MB
    tracemalloc.start()
    try:
        dataset, _ = opened(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset) == 40 and peak_bytes < 5e6
