from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films import (
    COLOURS,
    colour_error,
    enlarged,
    moving,
    noise,
    read_frames,
    run_python,
    write,
)
from tests.sounds import write_sound
from vidgan.data import pictures
from vidgan.disk.places import bundled
from vidgan.errors import DataError
from vidgan.film import reader
from vidgan.film.reader import Place, probe, read_on

EARTH = bundled("assets/earth.mp4")


def remuxed(source: Path, target: Path, format: str) -> Path:
    with av.open(str(source)) as old, av.open(str(target), "w", format=format) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


MATRICES = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}


def tagged(
    path: Path, *, matrix: str, tag: int, full: bool, scale: int, deep: bool = False
) -> Path:
    """COLOURS as lossless 4:4:4 H.264 of 8 or 10 bits, converted here, with any tag."""
    red, blue = MATRICES[matrix]
    r, g, b = np.moveaxis(enlarged(COLOURS, scale).astype(float), 2, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = np.stack([(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)])
    y = luma if full else 16 + luma * 219 / 255
    c = 128 + (chroma if full else chroma * 224 / 255)
    planes = np.stack([y, *c]).clip(0, 255)
    frame = av.VideoFrame.from_ndarray(planes.round().astype(np.uint8), format="yuv444p")
    if deep:  # 10 bits, which are the upper ones of 16
        planes = (4 * planes).round().astype(np.uint16) << 6
        frame = av.VideoFrame.from_ndarray(planes.transpose(1, 2, 0).copy(), format="yuv444p16le")
        frame = frame.reformat(format="yuv444p10le")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 6 * scale, 5 * scale, frame.format.name
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "tag", "scale"),
    [("709", 1, 16), ("601", 6, 16), ("601", 5, 16), ("601", 2, 16), ("709", 2, 144)],
)
def test_colours_follow_the_tags_and_without_tags_the_size(tmp_path, matrix, tag, scale, full):
    path = tagged(tmp_path / "in.mp4", matrix=matrix, tag=tag, full=full, scale=scale)
    assert colour_error(next(read_frames(path))).max() <= 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("matrix", "tag"), [("601", 6), ("709", 1), ("2020", 9)])
def test_a_film_that_is_shrunk_keeps_its_colours(tmp_path, matrix, tag, full, deep):
    path = tagged(tmp_path / "in.mp4", matrix=matrix, tag=tag, full=full, scale=48, deep=deep)
    (frame,) = read_frames(path, size=(96, 80))
    assert frame.shape == (80, 96, 3) and colour_error(frame).max() <= 3


@pytest.mark.parametrize("size", [(112, 64), (64, 64), (64, 112)])
def test_frames_are_shrunk_as_pictures_are(size):
    pairs = zip(read_frames(EARTH, every=40), read_frames(EARTH, every=40, size=size), strict=True)
    for whole, small in pairs:
        wanted = pictures.resized(Image.fromarray(whole), size).astype(int)
        assert small.shape == wanted.shape and np.abs(small - wanted).mean() < 2


def test_a_film_smaller_than_the_size_asked_for_stays_as_it_is(tmp_path):
    path = write(tmp_path / "out.mp4", moving(2), scale=1)
    assert next(read_frames(path, size=(64, 64))).shape == (32, 32, 3)


def test_a_phone_held_upright_gives_upright_frames_of_the_size_asked_for(tmp_path):
    frame = enlarged(COLOURS, 16)
    path = turned(write(tmp_path / "out.mp4", [frame], scale=2), (0, 1, -1, 0))
    (seen,) = read_frames(path, size=(40, 48))
    whole = np.asarray(Image.fromarray(np.rot90(frame, 3)).resize((40, 48), Image.LANCZOS))
    assert np.abs(seen.astype(int) - whole).mean() < 3


def test_of_interlaced_frames_only_one_moment_is_seen(tmp_path):
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[::2, 40:80] = frame[1::2, 240:280] = 255  # a bar, a fiftieth of a second later elsewhere
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        options = {"crf": "1", "x264-params": "tff=1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    (seen,) = read_frames(tmp_path / "in.mp4", size=(80, 60))
    assert seen[5:-5, 12:18].min() > 250 and seen[:, 62:68].max() < 5


def test_all_frames_of_a_variable_rate_are_read(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for pts, picture in zip((0, 40, 45, 400, 1400), moving(5), strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert len(list(read_frames(tmp_path / "in.mkv"))) == 5


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts"])
def test_reading_goes_on_after_a_place(tmp_path, kind, every):
    whole = write(tmp_path / "whole.mp4", noise(60), scale=2)
    path = remuxed(whole, tmp_path / f"in.{kind}", kind)
    how = {"every": every, "size": (16, 16), "notice": pytest.fail}
    frames = list(read_on(path, Place(), **how))
    assert len(frames) == len(range(0, 60, every))
    for number in (0, 7, len(frames) - 2):
        rest = list(read_on(path, frames[number][0], **how))
        assert [place.frames for place, _ in rest] == [p.frames for p, _ in frames[number + 1 :]]
        pairs = zip(rest, frames[number + 1 :], strict=True)
        assert all(np.array_equal(a, b) for (_, a), (_, b) in pairs)


def test_some_frames_are_from_all_over_the_film(tmp_path):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for level in range(0, 200):
            picture = np.full((32, 32, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    levels = [int(f.mean()) for f in reader.some_frames(path, 10, size=(16, 16))]
    assert len(levels) == 10 and levels == sorted(levels) and levels[0] < 5 and levels[-1] > 170
    assert reader.frames_in(path) == 200
    levels = [int(f.mean()) for f in reader.some_frames(path, 100, size=(16, 16))]
    assert 20 <= len(levels) == len(set(levels)), levels  # there are 20 keyframes


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
    frame = enlarged(COLOURS, 16)
    path = turned(write(tmp_path / "out.mp4", [frame] * 2, scale=2), matrix)
    wanted = np.rot90(enlarged(frame, 2), quarter_turns)
    seen = next(read_frames(path))
    assert seen.shape == wanted.shape
    assert np.abs(seen.astype(int) - wanted).mean() < 3
    assert probe(path)[::-1] == seen.shape[:2]


@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (64, 128)), ((1, 2), (128, 64))])
def test_pixels_become_square(tmp_path, aspect, size):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    assert next(read_frames(path)).shape[:2] == size
    assert probe(path)[::-1] == size


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
def test_a_playlist_named_like_a_film_opens_no_other_file(tmp_path, name, script):
    write(tmp_path / "secret.mp4", moving(3), scale=2)
    (tmp_path / name).write_text(script)
    for read in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(DataError, match="cannot be read as video"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["http://localhost/x.mp4", "concat:a|b", "file:x.mp4", ".", "no"])
def test_only_local_files_that_exist_are_opened(name):
    with pytest.raises(DataError, match="local files" if ":" in name else "no such file"):
        next(read_frames(name))


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


def test_a_damaged_packet_costs_only_its_frames(tmp_path):
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
    with pytest.raises(DataError, match="sound only"):
        probe(write_sound(tmp_path / "song.mp4"))


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
