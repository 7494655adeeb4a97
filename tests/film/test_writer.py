"""Film out is exact, whole or absent; film in is right, whatever the file says of itself."""

import errno
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.film import codecs, reader, writer
from vidgan.film.reader import probe, read_frames
from vidgan.film.writer import VideoWriter, check_fps, check_target, write_png

KINDS = ("out.mp4", "out.gif", "out.webp", "out")


def moving(frames: int, side: int = 32) -> list[np.ndarray]:
    """A white square that walks over a gradient, so that no two frames are equal."""
    ramp = np.linspace(0, 200, side).astype(np.uint8)
    pictures = []
    for index in range(frames):
        blue = np.full((side, side), index * 2 % 256, np.uint8)
        picture = np.stack([np.tile(ramp, (side, 1)), np.tile(ramp, (side, 1)).T, blue], axis=2)
        at = index % (side - 6)
        picture[at : at + 6, at : at + 6] = 255
        pictures.append(picture)
    return pictures


def fading(frames: int, side: int = 32) -> list[np.ndarray]:
    """One noise that becomes another: what makes x264 reorder frames even in the shortest film."""
    one, other = np.random.default_rng(0).integers(0, 256, (2, side, side, 3))
    mixes = [(one * (frames - i) + other * i) // frames for i in range(frames)]
    return [mix.astype(np.uint8) for mix in mixes]


def patches(side: int = 64) -> np.ndarray:
    """Black, white, and the six saturated colours, in 4 x 2 flat fields."""
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0)]
    colours += [(0, 0, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0)]
    fields = np.array(colours, np.uint8).reshape(2, 4, 3)
    return fields.repeat(side // 2, axis=0).repeat(side // 4, axis=1)


def write(target: Path, frames: list[np.ndarray], **settings: object) -> Path:
    with VideoWriter(target, **settings) as film:
        for frame in frames:
            film.write(frame)
    return target


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def run_python(code: str, folder: Path, *, check: bool = True) -> str:
    """Run code in a process of its own, for what would hurt this one: limits, signals, memory."""
    start = (
        "import os, resource, signal, sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]\n"
        "from test_writer import *\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=folder,
        check=check,
        capture_output=True,
        text=True,
    )
    return done.stdout


def peak_mb() -> int:
    import resource

    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def remuxed(source: Path, target: Path, format: str) -> Path:
    with av.open(str(source)) as old, av.open(str(target), "w", format=format) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


def inner_error(seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Differences inside the 4 x 2 fields of `patches`, away from where fields meet."""
    assert seen.shape == wanted.shape
    difference = np.abs(seen.astype(int) - wanted)
    height, width = difference.shape[0] // 2, difference.shape[1] // 4
    fields = difference.reshape(2, height, 4, width, 3)
    return fields[:, height // 4 : -height // 4, :, width // 4 : -width // 4]


# MP4: exact.


@pytest.mark.parametrize("fps", ["24000/1001", "30"])
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 30, 47, 120])
def test_mp4_holds_exactly_the_frames_at_exactly_their_times(tmp_path, frames, fps):
    path = write(tmp_path / "out.mp4", fading(frames), fps=fps, scale=2)
    rate = Fraction(fps)
    assert [f.pts * f.time_base for f in decoded(path)] == [i / rate for i in range(frames)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == frames
        assert stream.average_rate == rate
        assert stream.duration * stream.time_base == frames / rate


def test_frames_come_back_in_order_and_shape(tmp_path):
    frames = moving(40)
    with VideoWriter(tmp_path / "out.mp4", scale=4) as film:
        for frame in frames:
            film.write(frame)
        assert film.frames_written == 40
    seen = list(read_frames(tmp_path / "out.mp4"))
    assert [f.shape for f in seen] == [(128, 128, 3)] * 40
    nearest = [
        int(np.argmin([np.abs(f[2::4, 2::4].astype(int) - g).sum() for g in frames])) for f in seen
    ]
    assert nearest == list(range(40))


@pytest.mark.parametrize(("scale", "side"), [(None, 64), (1, 64), (3, 48), (2, 50)])
def test_mp4_colours_are_right_through_its_own_tags(tmp_path, scale, side):
    wanted = patches(64) if side != 48 else patches(48)
    path = write(tmp_path / "out.mp4", [wanted] * 3, scale=scale)
    factor = scale or 8
    wanted = wanted.repeat(factor, axis=0).repeat(factor, axis=1)
    for frame in read_frames(path):
        error = inner_error(frame, wanted)
        assert error.max() <= 3
        assert error.mean() <= 1


def test_mp4_says_bt709_in_its_tags_and_has_it_in_its_pixels(tmp_path):
    path = write(tmp_path / "out.mp4", [patches()] * 2)
    frame = decoded(path)[0]
    tags = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
    assert tags == (1, 1, 1, 1)
    assert frame.format.name == "yuv420p"
    # Red and green by the book: 16 + 219 * (0.2126, 0.7152), and Cr of red, Cb of green.
    at = {"red": (128, 320), "green": (128, 448)}
    y, cb, cr = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        for plane in frame.planes
    )
    assert abs(int(y[at["red"]]) - 63) <= 1 and abs(int(y[at["green"]]) - 173) <= 1
    assert abs(int(cr[64, 160]) - 240) <= 1 and abs(int(cb[64, 224]) - 42) <= 1


def test_enlarged_pixels_stay_flat_blocks_of_the_colour_they_had(tmp_path):
    small = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    path = write(tmp_path / "out.mp4", [small], scale=8, quality=100)
    centres = next(read_frames(path))[4::8, 4::8]
    assert np.abs(centres.astype(int) - small).mean() <= 2


def test_mp4_starts_playing_before_it_is_whole(tmp_path):
    data = write(tmp_path / "out.mp4", moving(10), scale=2).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data  # an ordinary film, not in fragments


@pytest.mark.parametrize(
    ("size", "scale", "seen"),
    [((33, 35), 1, (34, 36)), ((33, 35), 2, (66, 70)), ((33, 34), 3, (100, 102))],
)
def test_odd_sides_are_padded_with_a_notice_only_where_they_stay_odd(
    tmp_path, size, scale, seen, said
):
    frame = np.full((*size, 3), 90, np.uint8)
    path = write(tmp_path / "out.mp4", [frame] * 2, scale=scale)
    info = probe(path)
    assert (info.height, info.width) == seen
    assert bool(said) == (scale % 2 == 1)
    assert np.abs(next(read_frames(path)).astype(int) - 90).max() <= 2


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((64, 64), 8),
        ((32, 64), 16),
        ((96, 171), 6),
        ((512, 512), 1),
        ((400, 600), 2),
        ((180, 240), 4),
    ],
)
def test_small_frames_grow_by_a_whole_factor_to_512_pixels(tmp_path, size, factor):
    path = write(tmp_path / "out.mp4", [np.zeros((*size, 3), np.uint8)])
    info = probe(path)
    assert (info.height, info.width) == (size[0] * factor, size[1] * factor)


# GIF, WebP, PNG.


@pytest.mark.parametrize("fps", [24, 30, 50, 60, Fraction(24000, 1001)])
@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_animations_last_as_long_as_asked(tmp_path, name, fps, said):
    path = write(tmp_path / name, moving(60), fps=fps, scale=1)
    durations_ms = []
    with Image.open(path) as picture:
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            durations_ms.append(picture.info["duration"])
        assert picture.info["loop"] == 0  # for ever
    assert len(durations_ms) == 60
    assert abs(sum(durations_ms) - 60_000 / fps) <= 10
    assert max(durations_ms) - min(durations_ms) <= 10
    assert len(said) == (name == "out.gif" and fps > 50)


@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_equal_frames_keep_their_time(tmp_path, name):
    path = write(tmp_path / name, [moving(1)[0]] * 30 + moving(2), fps=25, scale=1)
    with Image.open(path) as picture:
        total_ms = 0
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            total_ms += picture.info["duration"]
    assert total_ms == 32 * 40


@pytest.mark.parametrize(("name", "worst"), [("out.gif", 8), ("out.webp", 12)])
def test_animation_colours_are_right_in_every_frame(tmp_path, name, worst):
    frames = [patches(), patches() // 2, patches() // 3]
    with Image.open(write(tmp_path / name, frames)) as picture:
        for index, frame in enumerate(frames):
            picture.seek(index)
            seen = np.asarray(picture.convert("RGB"))
            error = inner_error(seen, frame.repeat(8, axis=0).repeat(8, axis=1))
            assert error.max() <= worst and error.mean() <= 2


def test_a_folder_holds_the_frames_byte_for_byte(tmp_path):
    frames = moving(12)
    folder = write(tmp_path / "frames", frames)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"frame{i:06d}.png" for i in range(12)]
    for file, frame in zip(files, frames, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), frame)


def test_a_slash_at_the_end_makes_a_folder_of_any_name(tmp_path):
    with VideoWriter(f"{tmp_path}/take.2/") as film:
        film.write(moving(1)[0])
    assert [file.name for file in (tmp_path / "take.2").iterdir()] == ["frame000000.png"]


def test_a_picture_is_written_whole_and_replaces_the_last(tmp_path):
    target = tmp_path / "fakes.png"
    for frame in moving(2):
        write_png(target, frame)
    assert np.array_equal(np.asarray(Image.open(target)), moving(2)[1])
    assert list(tmp_path.iterdir()) == [target]


# Whole or absent.


@pytest.mark.parametrize("name", KINDS)
def test_an_exception_leaves_nothing(tmp_path, name):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / name) as film:
        for frame in moving(8):
            film.write(frame)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KINDS)
def test_an_exception_leaves_what_force_would_have_replaced(tmp_path, name):
    write(tmp_path / name, moving(3))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / name, force=True) as film:
        film.write(moving(1)[0])
        1 / 0  # noqa: B018
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", KINDS)
def test_no_frame_no_file(tmp_path, name):
    with VideoWriter(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KINDS)
def test_the_target_is_absent_while_it_grows(tmp_path, name):
    with VideoWriter(tmp_path / name) as film:
        film.write(moving(1)[0])
        assert not (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", KINDS)
def test_force_replaces(tmp_path, name):
    write(tmp_path / name, moving(5))
    write(tmp_path / name, moving(2), force=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "out":
        assert len(list((tmp_path / name).iterdir())) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    said = run_python(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)\n"
        "for name in KINDS:\n"
        "    try: write(Path(name), [noise, noise[::-1]] * 50)\n"
        "    except SystemFault as fault: print(fault)",
        tmp_path,
    ).splitlines()
    assert [line.split(":")[0] for line in said] == list(KINDS)
    assert all("no space left after" in line and "MB" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_at_the_last_moment_leaves_nothing(tmp_path, monkeypatch):
    def full(self: Path, target: Path) -> None:
        assert len(list(tmp_path.iterdir())) == 1  # the finished film under its hidden name
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SystemFault, match="no space left after 3 frames"):
        write(tmp_path / "out.mp4", moving(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KINDS[:3])
def test_a_buffer_may_be_used_again_after_each_write(tmp_path, name):
    fresh, reused = tmp_path / f"fresh-{name}", tmp_path / f"reused-{name}"
    write(fresh, moving(20))
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
        write(Path(name), moving(2))
        assert len(list(read_frames(name))) == 2
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", KINDS[:3])
def test_memory_does_not_grow_with_frames(tmp_path, name):
    # 1,400 more frames of 128 x 128 would be 69 MB if they were kept.
    peaks_mb = run_python(
        "frames = moving(100, side=128)\n"
        f"with VideoWriter({name!r}, scale=1) as film:\n"
        "    for round in range(15):\n"
        "        for frame in frames: film.write(frame // 32 * 32)\n"
        "        print(peak_mb())",
        tmp_path,
    ).split()
    assert int(peaks_mb[-1]) - int(peaks_mb[0]) < 25


# Refused early.


def test_an_existing_target_is_refused_without_force(tmp_path):
    for name in KINDS:
        path = write(tmp_path / name, moving(1))
        with pytest.raises(UsageError, match="--force"):
            check_target(path)
        check_target(path, force=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.wmv", r"\.wmv.*\.mp4, \.webm, \.mov, \.mkv, \.gif.*folder"),
        ("missing/out.mp4", "no folder .*missing"),
        ("folder.mp4", "is a folder"),
        ("file", "not a folder"),
        ("pictures", "holds more than frames"),
    ],
)
def test_a_target_that_cannot_be_is_refused(tmp_path, name, said):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.png").touch()
    with pytest.raises(UsageError, match=said):
        check_target(tmp_path / name, force=True)


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "frames").mkdir()
    assert len(list(write(tmp_path / "frames", moving(2)).iterdir())) == 2


def test_a_folder_that_takes_no_files_is_the_fault_of_the_machine(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(writer.tempfile, "TemporaryFile", refuse)
    with pytest.raises(SystemFault, match="cannot be written to"):
        check_target(tmp_path / "out.mp4")


def test_a_missing_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "has_encoder", lambda name: False)
    with pytest.raises(SystemFault, match=r"libx264.*pip install"):
        check_target(tmp_path / "out.mp4")


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
    assert check_fps(given) == rate


@pytest.mark.parametrize(
    "given", [0, -1, "abc", "", "1/0", float("nan"), float("inf"), 1e9, True, "1e999999999"]
)
def test_a_frame_rate_that_cannot_be_is_refused(given):
    with pytest.raises(UsageError, match="--fps"):
        check_fps(given)


@pytest.mark.parametrize("setting", [{"fps": 120}, {"scale": 0}, {"quality": 101}])
def test_a_setting_that_cannot_be_is_refused_before_the_first_frame(tmp_path, setting):
    with pytest.raises(UsageError, match=f"--{next(iter(setting))}"):
        VideoWriter(tmp_path / "out.gif", **setting)


# Film in.


def tagged(path: Path, *, matrix: str, tag: int, full: bool, side: int = 64) -> Path:
    """`patches` as lossless 4:4:4 H.264, converted here by BT.601 or BT.709, tagged as told."""
    red, blue = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    r, g, b = np.moveaxis(patches(side).astype(float), 2, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = np.stack([(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)])
    y = luma if full else 16 + luma * 219 / 255
    c = 128 + (chroma if full else chroma * 224 / 255)
    planes = np.stack([y, *c]).round().clip(0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv444p"
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv444p")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "tag", "side"),
    [("709", 1, 64), ("601", 6, 64), ("601", 5, 64), ("601", 2, 64), ("709", 2, 720)],
)
def test_colours_of_a_film_follow_its_tags_and_untagged_its_size(tmp_path, matrix, tag, side, full):
    path = tagged(tmp_path / "in.mp4", matrix=matrix, tag=tag, full=full, side=side)
    error = inner_error(next(read_frames(path)), patches(side))
    assert error.max() <= 3


def turned(path: Path, matrix: tuple[int, ...]) -> Path:
    """Put a QuickTime display matrix (a, b, c, d) into the track header of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (int(v * 65536).to_bytes(4, "big", signed=True) for v in matrix)
    zero, one = bytes(4), (1 << 30).to_bytes(4, "big")
    data[at : at + 36] = a + b + zero + c + d + zero + zero + zero + one
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "quarter_turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_a_phone_held_upright_gives_upright_frames(tmp_path, matrix, quarter_turns):
    # x' = a x + c y, y' = b x + d y: (0, 1, -1, 0) moves the top left corner to the top right.
    frame = patches()[:32]
    path = turned(write(tmp_path / "out.mp4", [frame] * 2, scale=2), matrix)
    wanted = np.rot90(frame.repeat(2, axis=0).repeat(2, axis=1), quarter_turns)
    seen = next(read_frames(path))
    assert seen.shape == wanted.shape
    assert np.abs(seen.astype(int) - wanted).mean() < 3
    info = probe(path)
    assert (info.height, info.width) == seen.shape[:2]


@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (64, 128)), ((1, 2), (128, 64))])
def test_pixels_become_square(tmp_path, aspect, size):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(patches(), format="rgb24")))
        container.mux(stream.encode())
    assert next(read_frames(path)).shape[:2] == size
    info = probe(path)
    assert (info.height, info.width) == size


def test_every_nth_frame(tmp_path):
    path = write(tmp_path / "out.mp4", moving(20), scale=2)
    every_frame = list(read_frames(path))
    third = list(read_frames(path, every=3))
    assert len(third) == 7
    assert all(np.array_equal(a, b) for a, b in zip(third, every_frame[::3], strict=True))


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "<html>",
        "",
    ],
)
@pytest.mark.parametrize("name", ["evil.mp4", "evil.ts", "evil.ffconcat"])
def test_a_script_in_the_clothes_of_a_film_opens_no_other_file(tmp_path, name, script):
    write(tmp_path / "secret.mp4", moving(3), scale=2)
    (tmp_path / name).write_text(script)
    for read in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(DataError, match="cannot be read as video"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["http://localhost/x.mp4", "concat:a.mp4|b.mp4", "file:x.mp4"])
def test_only_local_files_are_opened(name):
    with pytest.raises(DataError, match="local files"):
        next(read_frames(name))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(DataError, match="no such file"):
            next(read_frames(path))


@pytest.mark.parametrize(
    ("name", "format"), [("in.mp4", "mp4"), ("in.mkv", "matroska"), ("in.ts", "mpegts")]
)
def test_a_film_cut_short_gives_its_part_and_a_notice(tmp_path, name, format):
    whole = write(tmp_path / "whole.mp4", moving(90), scale=2)
    path = remuxed(whole, tmp_path / name, format) if format != "mp4" else whole
    frames, data = list(read_frames(path, notice=pytest.fail)), path.read_bytes()
    assert len(frames) == 90
    for percent in (40, 50, 60):
        path.write_bytes(data[: len(data) * percent // 100])
        notices = []
        part = list(read_frames(path, notice=notices.append))
        assert 20 < len(part) < 70
        # Whole frames only: none that was patched up from half of its bytes.
        # (With one thread the decoder still gives the frame after those that were cut away.)
        whole_ones = iter(frames)
        assert all(any(np.array_equal(a, b) for b in whole_ones) for a in part)
        if format != "mpegts":  # a broadcast may end anywhere, so that a cut one may be whole
            assert len(notices) == 1 and f"{len(part)} frames" in notices[0]


def test_a_hole_in_a_film_costs_its_frames_only(tmp_path):
    path = write(tmp_path / "in.mp4", moving(90), scale=2)
    with av.open(str(path)) as container:
        position, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][40]
    data = bytearray(path.read_bytes())
    data[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(data)
    notices = []
    assert 80 <= len(list(read_frames(path, notice=notices.append))) < 90
    assert len(notices) == 1 and "broken parts: " in notices[0]


def test_random_damage_is_a_notice_or_a_data_error_never_a_crash(tmp_path):
    whole = write(tmp_path / "whole.mp4", moving(40), scale=2).read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "in.mp4"
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(0, len(data), 20)] = random.integers(0, 256, 20)
        path.write_bytes(data.tobytes())
        try:
            frames = len(list(read_frames(path, notice=str)))
        except DataError:
            continue
        assert frames > 0


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="sound only"):
        probe(path)


def test_frames_too_large_to_hold_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "out.mp4", moving(2), scale=2)
    monkeypatch.setattr(reader, "MAX_PIXELS", 1000)
    monkeypatch.setattr(reader, "_decode", pytest.fail)  # by the head alone: decoding takes memory
    with pytest.raises(DataError, match="64x64"):
        next(read_frames(path))


def test_memory_does_not_grow_while_reading(tmp_path):
    write(tmp_path / "out.mp4", moving(100, side=128) * 8, scale=1)
    peaks_mb = run_python(
        "for index, frame in enumerate(read_frames('out.mp4')):\n"
        "    if index in (100, 799): print(peak_mb())",
        tmp_path,
    ).split()
    assert int(peaks_mb[1]) - int(peaks_mb[0]) < 15
