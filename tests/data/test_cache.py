import dataclasses
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import listening
from tests.data.conftest import caches, colours, opened, pixels_of, refusal, size_of
from tests.data.making import BLUE, GREEN, RED, paint, png, zipped
from tests.films import noise, write
from tests.waiting import another_process_in, wait_until
from vidgan.config import DataConfig
from vidgan.data import cache, pictures
from vidgan.disk import locks
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, SystemFault


def test_a_batch_is_an_own_contiguous_copy_in_the_order_asked(folder):
    for name, colour in {"a": RED, "b": GREEN, "c": BLUE}.items():
        paint(folder / f"{name}.png", colour)
    dataset, _ = opened(folder)
    images = dataset.take(np.array([2, 0, 2]))
    assert type(images) is np.ndarray and images.flags.c_contiguous and images.dtype == np.uint8
    assert images.shape == (3, 16, 16, 3) and len(dataset) == 3
    assert [tuple(image[0, 0]) for image in images] == [BLUE, RED, BLUE]
    images[:] = 9
    assert colours(dataset) == [RED, GREEN, BLUE]
    assert isinstance(dataset._frames, np.memmap) and not dataset._frames.flags.writeable


def test_a_folder_with_the_name_of_a_set_is_not_taken_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not any("yours" in line for line in opened("earth", every=200)[1])
    paint(tmp_path / "earth/0.png")
    assert "earth: the set of that name; yours here is ./earth" in opened("earth", every=200)[1]
    assert len(opened("./earth")[0]) == 1


def test_data_are_grey_if_every_pixel_of_every_picture_is(folder):
    for index in range(3):
        paint(folder / f"{index}.png", (60 * index,) * 3)
    assert opened(folder)[0].grey
    paint(folder / "3.png", (60, 60, 61))
    assert not opened(folder)[0].grey


def test_the_spread_of_black_and_white_is_that_of_their_difference(folder):
    paint(folder / "a.png")
    halves = np.repeat(np.uint8([0, 255]), 50)[:, None, None, None]
    dataset = dataclasses.replace(opened(folder)[0], _frames=halves)
    assert cache.spread(dataset) == pytest.approx(2.0, rel=1e-3)  # half of all pairs are 2 apart


def test_one_bad_file_among_twenty_is_skipped_and_named(folder):
    for index in range(9):
        paint(folder / f"a/{index}.png", RED)
        paint(folder / f"b/{index}.png", GREEN)
    (folder / "a/05.jpg").write_text("<html>not found</html>")
    message = refusal(folder)
    assert "18 of 19 files" in message and "a/05.jpg: not a picture" in message
    enough = float(message.partition("in a recipe: [data] max_bad = ")[2])
    assert len(opened(folder, max_bad=enough)[0]) == 18
    paint(folder / "b/9.png", GREEN)
    for _ in range(2):  # the second time from the cache
        dataset, lines = opened(folder)
        assert any("1 unreadable, skipped: a/05.jpg: not a picture" in line for line in lines)
        assert dataset.labels.tolist() == [0] * 9 + [1] * 10
        assert colours(dataset) == [RED] * 9 + [GREEN] * 10
    with pytest.raises(DataError):
        opened(folder, max_bad=0.0)


def test_if_nothing_can_be_read_the_first_five_reasons_are_given(folder):
    (folder / "0.jpg").write_bytes(b"")
    (folder / "1.png").write_bytes(png(size=(64, 64))[:60])
    for index in range(2, 8):
        (folder / f"{index}.png").write_text("text")
    message = refusal(folder)
    assert "0 of 8 files" in message and "and 3 more" in message and "vidgan reads" in message
    assert all(f"{index}." in message for index in range(5)) and "5.png" not in message


def test_a_second_opening_decodes_nothing(folder, clip, tmp_path, monkeypatch):
    paint(folder / "a.png")
    sources_of_all_kinds = [folder, clip, zipped(tmp_path / "a.zip", {"a.png": png()})]
    first = [opened(source)[0] for source in sources_of_all_kinds]
    monkeypatch.setattr(cache, "_write", None)
    for source, dataset in zip(sources_of_all_kinds, first, strict=True):
        again, lines = opened(source)
        assert np.array_equal(pixels_of(again), pixels_of(dataset)) and lines == []


def test_changed_data_are_decoded_again(folder):
    a, b = paint(folder / "a.png", RED), paint(folder / "b.png", GREEN)
    assert colours(opened(folder)[0]) == [RED, GREEN]
    status = paint(a, BLUE).stat()
    os.utime(a, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert colours(opened(folder)[0]) == [BLUE, GREEN]
    paint(folder / "c.png", RED)
    assert colours(opened(folder)[0]) == [BLUE, GREEN, RED]
    b.unlink()
    assert colours(opened(folder)[0]) == [BLUE, RED]


def test_a_copy_has_the_same_fingerprint_and_another_size_has_another(folder, tmp_path):
    paint(folder / "a.png")
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert opened(folder)[0].fingerprint == opened(tmp_path / "copy")[0].fingerprint
    assert opened(folder)[0].fingerprint != opened(folder, 24, 24)[0].fingerprint


@pytest.mark.parametrize("damage", ["cut", "no meta", "bad meta", "no labels"])
def test_a_damaged_cache_is_built_again(folder, damage):
    for name in ("a/1.png", "b/1.png"):
        paint(folder / name)
    first, _ = opened(folder)
    (place,) = caches()
    assert sorted(path.name for path in place.iterdir()) == ["images.u8", "labels.i32", "meta.json"]
    if damage == "cut":
        os.truncate(place / "images.u8", 100)
    elif damage == "bad meta":
        (place / "meta.json").write_text('{"count": 2')
    else:
        (place / {"no meta": "meta.json", "no labels": "labels.i32"}[damage]).unlink()
    second, _ = opened(folder)
    assert second.fingerprint == first.fingerprint and second.labels.tolist() == [0, 1]
    assert caches() == [place]


SLOW_BUILDER = """
import sys, time
from vidgan.config import DataConfig
from vidgan.data import cache, pictures
fit = pictures.fitted
def slow(*picture, **how):
    with open(sys.argv[2], "a") as file:
        file.write("x")
    time.sleep(0.1)  # so that the processes meet while one of them decodes
    return fit(*picture, **how)
pictures.fitted = slow
cache.open_dataset(DataConfig(source=sys.argv[1]), width=16, height=16)
"""


@pytest.fixture
def decoded(folder, tmp_path):
    """A file that gets a letter for each of 40 pictures that is decoded."""
    for index in range(40):
        paint(folder / f"{index}.png", (index, 0, 0))
    (tmp_path / "decoded").touch()
    return tmp_path / "decoded"


def start_builder(folder, decoded):
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILDER, folder, decoded])


def test_of_two_processes_one_decodes_the_data_and_the_other_waits(folder, decoded):
    processes = [start_builder(folder, decoded) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert decoded.read_text() == "x" * 40 and len(caches()) == 1
    assert len(opened(folder)[0]) == 40


def test_a_killed_builder_blocks_nobody_and_what_it_left_is_removed(folder, decoded):
    process = start_builder(folder, decoded)
    wait_until(lambda: len(decoded.read_text()) > 4, process)
    process.kill()
    process.wait()
    (left,) = caches()
    assert len(opened(folder)[0]) == 40 and left not in caches() and len(caches()) == 1


def test_an_interrupt_leaves_nothing(folder, monkeypatch):
    paint(folder / "a.png")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "fitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(folder)
    assert caches() == []


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
    monkeypatch.setattr(cache, "_write", None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    assert "need 1 MB, 0 MB are free" in refusal(folder, SystemFault)


def test_a_cache_folder_that_cannot_be_made_is_a_system_fault(folder, tmp_path, monkeypatch):
    paint(folder / "a.png")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "file/cache"))
    assert "VIDGAN_CACHE" in refusal(folder, SystemFault) and not cache_root().exists()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100)], (64, 64)),
        ([(66, 64)], (64, 64)),
        ([(160, 90)], (128, 72)),
        ([(90, 160)], (72, 128)),
        ([(160, 120)], (96, 72)),
        ([(900, 100)], (256, 56)),
        ([(160, 90)] * 9 + [(100, 100)], (128, 72)),
        ([(150, 100)] * 5 + [(100, 150)] * 5, (64, 64)),
        ([(1, 1)], (64, 64)),
    ],
)
def test_the_size_follows_the_common_aspect_ratio(folder, sizes, expected):
    for index, size in enumerate(sizes):
        paint(folder / f"{index}.png", size=size)
    assert size_of(folder) == expected


def test_the_size_is_that_of_the_upright_picture(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    paint(folder / "a.jpg", size=(160, 90), exif=exif)
    assert size_of(folder) == (72, 128)


def test_films_and_zips_have_a_size_too_and_nothing_has_none(clip, folder, tmp_path):
    assert size_of(clip) == (128, 72)
    archive = zipped(tmp_path / "a.zip", {"a.png": png(size=(90, 160)), "b.png": b"bad"})
    assert size_of(archive) == (72, 128)
    with pytest.raises(DataError):
        size_of(folder)


def test_the_size_is_taken_from_no_more_than_64_pictures_of_all_classes(folder, monkeypatch):
    for index in range(100):
        paint(folder / f"a/{index:03}.png", size=(16, 9))
        paint(folder / f"b/{index:03}.png", size=(9, 16))
    looked = []
    look = pictures.open_picture
    monkeypatch.setattr(pictures, "open_picture", lambda file: looked.append(1) or look(file))
    assert size_of(folder) == (64, 64) and len(looked) == 64


# Films become data while one waits, and what was decoded is kept.


def decode(source, **how):
    return cache.open_dataset(DataConfig(source=str(source), every=2), width=16, height=16, **how)


@pytest.fixture
def films(tmp_path):
    """Two films of 30 different frames, of which every second one is taken."""
    (tmp_path / "films").mkdir()
    for name in "ab":
        write(tmp_path / "films" / f"{name}.mp4", noise(30)[:: 1 if name == "a" else -1], scale=2)
    return tmp_path / "films"


def interrupted_at(number):
    def progress(done, total):
        if done == number:
            raise KeyboardInterrupt

    return progress


def test_progress_counts_all_frames_that_are_taken(films):
    seen = []
    decode(films, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 30) for i in range(30)]


@pytest.mark.parametrize("number", [2, 9, 20, 30])
def test_after_an_interrupt_decoding_goes_on_to_the_same_data(films, monkeypatch, tmp_path, number):
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        decode(films, progress=interrupted_at(number))
    (begun,) = caches()
    assert begun.name.endswith(".begun")
    done = []
    again = decode(films, progress=lambda now, total: done.append(now))
    assert done == list(range(number, 31)) and begun not in caches()
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "other"))
    anew = decode(films)
    assert np.array_equal(pixels_of(again), pixels_of(anew))
    assert again.fingerprint == anew.fingerprint


def test_what_was_begun_of_another_state_of_the_films_is_deleted(films, monkeypatch):
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        decode(films, progress=interrupted_at(20))
    (films / "b.mp4").unlink()
    assert len(decode(films)) == 15 and [path.name[0] for path in caches()] == ["f"]


def test_what_was_begun_of_other_films_of_that_name_is_kept(films, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        decode(films, progress=interrupted_at(20))
    shutil.copytree(films, tmp_path / "other/films")
    assert len(decode(tmp_path / "other/films")) == 30 and len(caches()) == 2
    done = []
    decode(films, progress=lambda now, total: done.append(now))
    assert done[0] == 20


def test_what_another_process_is_decoding_is_kept(films, monkeypatch):
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        decode(films, progress=interrupted_at(20))
    (begun,) = caches()
    (films / "b.mp4").unlink()
    with another_process_in(locks.locked, begun.with_suffix(".lock")) as other:
        assert len(decode(films)) == 15 and begun.exists()
        other.kill()


@pytest.mark.parametrize("damaged", ["{}", "[]", "{"])
def test_a_damaged_note_of_what_was_begun_is_as_none(films, monkeypatch, damaged):
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        decode(films, progress=interrupted_at(20))
    (begun,) = caches()
    (begun / "begun.json").write_text(damaged)
    done = []
    assert len(decode(films, progress=lambda now, total: done.append(now))) == 30
    assert done[0] == 1


def test_a_damaged_cache_of_films_leaves_nothing_behind(films):
    decode(films)
    (cached,) = caches()
    (cached / "images.u8").write_bytes(b"")
    assert len(decode(films)) == 30 and caches() == [cached]


def test_a_long_film_gives_some_pictures_at_once_and_all_later(films, monkeypatch):
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    with listening() as lines:
        some = decode(films, early=True)
    assert "training begins with 2 of its 30 frames" in lines[0]  # a keyframe of each
    assert len(some) == 2 and some.fingerprint == ""
    whole = some.whole.get()
    assert some.whole.is_there() and len(whole) == 30 and whole.whole is None
    assert some.whole.progress == (30, 30)
    assert decode(films, early=True).whole is None  # it is decoded


def test_films_smaller_than_the_pictures_give_some_of_their_size(films, monkeypatch):
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    write(films / "c.mp4", noise(30), scale=1)
    config = DataConfig(source=str(films), every=2)
    some = cache.open_dataset(config, width=48, height=48, early=True)
    assert pixels_of(some).shape == (3, 48, 48, 3)
    some.whole.stop()


def test_pictures_that_wait_for_another_process_can_be_left(films, monkeypatch, said):
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    first = pixels_of(decode(films))
    (cached,) = caches()
    shutil.rmtree(cached)
    with another_process_in(locks.locked, cached.with_name(f".{cached.name}.lock")) as other:
        some = decode(films, early=True)
        wait_until(lambda: any("waiting for it" in line for line in said))
        some.whole.stop()
        assert other.poll() is None and some.whole.is_there() and not caches()
        other.kill()
    assert np.array_equal(pixels_of(decode(films)), first)


def test_a_short_film_is_waited_for(films):
    assert decode(films, early=True).whole is None


def test_what_a_thread_decoded_before_it_was_stopped_is_kept(films, monkeypatch):
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    monkeypatch.setattr(cache, "_SAVE_EVERY_S", 0.0)
    some = decode(films, early=True)
    some.whole.stop()
    assert len(decode(films)) == 30
