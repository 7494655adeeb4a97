import itertools
import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import films
from tests.conftest import loop, vidgan
from tests.films import (
    COLOURS,
    colour_error,
    decoded,
    enlarged,
    film_writer,
    noise,
    read_frames,
    run_python,
)
from tests.sounds import write_sound
from vidgan.disk.places import bundled
from vidgan.errors import SystemFault
from vidgan.film import codecs, segments, sound
from vidgan.film.segments import Film
from vidgan.film.target import Target
from vidgan.generator import synthesis
from vidgan.marks import xmp
from vidgan.render import pipeline

EARTH = bundled("assets/earth.mp4")
ALL = [
    pytest.param(suffix, codec, id=f"{suffix[1:]}-{codec.name}-{codec.pixel_format}")
    for suffix, kind in codecs.CONTAINERS.items()
    for codec in kind.codecs
    if not codec.fallback
]
FILMS = [case for case in ALL if case.values[0] in codecs.FILM_SUFFIXES]
FEW = ("mp4-h264-yuv420p", "mp4-av1-yuv420p", "webm-vp9-yuv420p", "mov-prores-yuv444p10le")
FEW += ("mkv-ffv1-bgr0",)
NAMES = ("suffix", "codec")
every_codec = pytest.mark.parametrize(NAMES, ALL)
every_film = pytest.mark.parametrize(NAMES, FILMS)


def settings_for(codec: codecs.Codec, **settings: object) -> dict[str, object]:
    defaults = {"scale": 1, "comment": {"seed": 5}, "force": True}
    return {"codec": codec.name, "lossless": codec.lossless} | defaults | settings


def write(path: Path, codec: codecs.Codec, frames: list[np.ndarray], **settings: object) -> Path:
    return films.write(path, frames, **settings_for(codec, **settings))


def time_step(suffix: str) -> Fraction:
    """Matroska and WebM round times to milliseconds. The others keep them exactly."""
    return Fraction(suffix in (".mkv", ".webm"), 1000)


@every_codec
def test_any_size_is_written_and_padding_is_logged_once(tmp_path, suffix, codec, said):
    for width, height in ((1, 1), (2, 2), (7, 5), (16, 16), (64, 36)):
        said.clear()
        frames = noise(3, height, width)
        path = write(tmp_path / f"out{suffix}", codec, frames)
        seen = decoded(path)
        assert len(seen) == 3
        assert bool(said) == (seen.shape[1:3] != (height, width))
        assert not said or f"{seen.shape[2]}x{seen.shape[1]}" in said[0]
        if codec.lossless:
            assert np.array_equal(seen[:, :height, :width], frames)
        assert xmp.find_mark(path)["comment"] == {"seed": 5}


@pytest.mark.parametrize(NAMES, [case for case in ALL if case.values[1].lossless])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_real_footage_comes_back_exactly_from_a_lossless_codec(tmp_path, suffix, codec, side):
    frames = list(itertools.islice(read_frames(EARTH), 24))
    for corner in (0, 32, 64):
        film = [frame[corner : corner + side, corner : corner + side] for frame in frames]
        seen = decoded(write(tmp_path / f"{corner}{suffix}", codec, film))
        assert np.array_equal(seen[:, :side, :side], film)


@every_codec
@pytest.mark.parametrize("scale", [1, 32])
def test_thirty_flat_colours_come_back_through_the_tags(tmp_path, suffix, codec, scale):
    quality = 100 if codec.at_quality else None
    frames = [enlarged(COLOURS, 32 // scale)] * 3
    path = write(tmp_path / f"out{suffix}", codec, frames, scale=scale, quality=quality)
    # Measured: 2 and 0.35 for H.264, 1 and 0.35 for what else is lossy, 0 for ProRes and lossless.
    exact = codec.lossless or codec.name == "prores"
    error = colour_error(decoded(path))
    assert error.max() <= (0 if exact else 2) and error.mean() <= 0.5


@pytest.mark.parametrize("quality", [80, 95])
@pytest.mark.parametrize(("scale", "side"), [(None, 1), (1, 64), (2, 32), (3, 22)])
def test_h264_keeps_colours_at_usual_quality_too(tmp_path, quality, scale, side):
    frames = [enlarged(COLOURS, side)] * 3
    path = films.write(tmp_path / "out.mp4", frames, scale=scale, quality=quality)
    error = colour_error(decoded(path))
    assert error.max() <= 3 and error.mean() <= 1


def test_the_pixels_of_an_mp4_are_in_bt709(tmp_path):
    path = films.write(tmp_path / "out.mp4", [enlarged(COLOURS, 64)], scale=1)
    with av.open(str(path)) as film:
        planes = next(film.decode(video=0)).to_ndarray()  # yuv420p, one plane below the other
    luma, (cb, cr) = planes[:320], planes[320:].reshape(2, 160, 192)
    green, red = (32, 2 * 64 + 32), (32, 4 * 64 + 32)
    # 16 + 219 * (0.2126, 0.7152) for red and green, and the ends of the scale for Cr and Cb.
    assert abs(int(luma[red]) - 63) <= 1 and abs(int(luma[green]) - 173) <= 1
    assert abs(int(cr[16, 4 * 32 + 16]) - 240) <= 1 and abs(int(cb[16, 2 * 32 + 16]) - 42) <= 1


@pytest.mark.parametrize(NAMES, [case for case in ALL if case.values[0] not in (".gif", ".webp")])
def test_a_file_says_how_its_colours_are_meant(tmp_path, suffix, codec):
    path = write(tmp_path / f"out{suffix}", codec, noise(2))
    rgb = codec.matrix == 0
    with av.open(str(path)) as film:
        frame = next(film.decode(video=0))
    tags = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
    assert tags == (1, 13 if suffix == ".apng" else 1, 0 if rgb else 1, 2 if rgb else 1)
    if suffix == ".apng":  # Debian's ffprobe reads no colours there; browsers do
        assert b"sRGB" in path.read_bytes().partition(b"IDAT")[0]
        return
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    (stream,) = json.loads(subprocess.check_output(command))["streams"]
    assert stream["color_primaries"] == stream["color_transfer"] == "bt709"
    assert stream["color_space"] == ("gbr" if rgb else "bt709")
    assert stream["color_range"] == ("pc" if rgb else "tv")
    tag = {"h265": "hvc1", "prores": "ap4h"}.get(codec.name)
    assert tag in (None, stream["codec_tag_string"])


@every_film
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30)])
def test_a_film_has_exactly_its_frames_at_exactly_their_times(tmp_path, suffix, codec, fps):
    for count in (1, 2, 3, 4, 5, 7, 9, 17, 33, 120):
        path = write(tmp_path / f"out{suffix}", codec, noise(count), fps=fps)
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            times = [frame.pts * frame.time_base for frame in film.decode(stream)]
            duration = Fraction(film.duration, 10**6)
            assert stream.average_rate == fps
            if suffix in (".mp4", ".mov"):
                assert stream.frames == count
                assert stream.duration * stream.time_base == count / fps
        step = time_step(suffix)
        assert len(times) == count
        assert all(abs(at - i / fps) <= step / 2 for i, at in enumerate(times))
        assert abs(duration - count / fps) <= max(step, Fraction(1, 10**6))


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30), Fraction(1, 3)])
def test_apng_shows_each_frame_for_exactly_its_time(tmp_path, fps):
    for count in (2, 3, 20):  # one frame alone is a still
        path = films.write(tmp_path / f"{count}.apng", noise(count), fps=fps)
        controls = [part[20:24] for part in path.read_bytes().split(b"fcTL")[1:]]
        assert [Fraction(*struct.unpack(">HH", delay)) for delay in controls] == [1 / fps] * count


@every_codec
def test_equal_frames_give_equal_bytes(tmp_path, suffix, codec):
    one, two = (write(tmp_path / f"{n}{suffix}", codec, noise(20)).read_bytes() for n in "ab")
    assert one == two
    if codec.encoder == "libx264":  # it writes the number of threads, which must not be the cores
        assert b"threads=4 " in one


@pytest.mark.parametrize(NAMES, [case for case in ALL if case.values[1].at_quality])
def test_less_quality_is_a_smaller_file(tmp_path, suffix, codec):
    sizes = [
        write(tmp_path / f"out{suffix}", codec, noise(4), quality=quality).stat().st_size
        for quality in (30, 60, 80, 100)
    ]
    assert sizes == sorted(set(sizes))


def film_of(path: Path, codec: codecs.Codec, **settings: object) -> Film:
    writer = film_writer(path, **settings_for(codec))
    return Film(writer, frames=23, segment_frames=7, key={}, **settings)


def fill_pieces(film: Film, pieces: int = 4) -> None:
    for piece in itertools.islice(film.missing(), pieces):
        films.fill(film, piece, noise(23))


@every_film
def test_a_film_resumes_from_its_segments_to_the_same_bytes(tmp_path, suffix, codec):
    target, wanted, aside = tmp_path / f"out{suffix}", tmp_path / f"wanted{suffix}", tmp_path / "x"
    film = film_of(wanted, codec)
    with film.made():
        fill_pieces(film)
    film = film_of(target, codec)
    with pytest.raises(KeyboardInterrupt), film.made():
        fill_pieces(film, 2)
        shutil.copytree(segments.folder_of(target), aside)  # what a kill would have left
        raise KeyboardInterrupt
    aside.rename(segments.folder_of(target))
    film = film_of(target, codec, resume=True)
    with film.made():
        assert [len(piece) for piece in film.missing()] == [7, 2]
        fill_pieces(film)
    assert target.read_bytes() == wanted.read_bytes()

    # Joining changes nothing: the frames are those of films that nobody joined.
    frames = noise(23)
    pieces = [
        decoded(write(tmp_path / f"piece{suffix}", codec, frames[start : start + 7]))
        for start in range(0, 23, 7)
    ]
    assert np.array_equal(decoded(target), np.concatenate(pieces))
    with av.open(str(target)) as film, av.open(str(tmp_path / f"piece{suffix}")) as piece:
        stream, apart = film.streams.video[0], piece.streams.video[0]
        assert stream.average_rate == 30
        assert stream.codec_context.codec_tag == apart.codec_context.codec_tag
        step = time_step(suffix)
        assert abs(Fraction(film.duration, 10**6) - Fraction(23, 30)) <= max(step, 10**-6)
    assert xmp.find_mark(target)["comment"] == {"seed": 5}


def test_a_film_joined_to_any_length_has_exactly_its_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # 600 times, on a disk that others use
    # From segments of up to 40 frames, of which the last may have any number.
    lengths = 0
    for at, case in enumerate(case for case in FILMS if case.id in FEW):
        suffix, codec = case.values
        frames = noise(40, 16, 16)
        tails = {n: write(tmp_path / f"{n}{suffix}", codec, frames[:n]) for n in range(1, 41)}
        whole = [shutil.copy(tails[40], tmp_path / f"whole{i}{suffix}") for i in range(12)]
        joined = tmp_path / f"joined{suffix}"
        for count in range(at, 501, 20) if at else range(1, 501):
            full, rest = divmod(count, 40)
            counts = dict.fromkeys(whole[:full], 40) | ({tails[rest]: rest} if rest else {})
            segments.join(counts, joined, Target.parse(joined))
            with av.open(str(joined)) as film:
                stream = film.streams.video[0]
                if count == max(at, 1):  # once per container: the pts wanted
                    grid = [round(Fraction(n, 30) / stream.time_base) for n in range(500)]
                packets = [packet for packet in film.demux(stream) if packet.size]
                times = sorted(packet.pts for packet in packets)
                duration = Fraction(film.duration, 10**6)
                if suffix in (".mp4", ".mov"):
                    assert stream.frames == count
                    assert stream.duration * stream.time_base == Fraction(count, 30)
                    decoding = [packet.dts for packet in packets]
                    assert decoding == sorted(set(decoding))
            assert times == grid[:count]
            assert abs(duration - Fraction(count, 30)) <= max(time_step(suffix), 10**-6)
            lengths += 1
    assert lengths == 500 + 4 * 25


@every_film
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_sound_goes_into_every_film_in_time_and_both_are_as_long(tmp_path, suffix, codec, rate):
    song = write_sound(tmp_path / "song.flac", rate=rate)
    path = write(tmp_path / f"film{suffix}", codec, noise(50), fps=25, sound=song)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, "song.flac"]
    step = time_step(suffix)
    with av.open(str(path)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        # Matroska gives no sound packet a duration: the last one may end up to its length later.
        assert 0 <= film.duration - 2_000_000 <= (22_000 if step else 0)
        if not step:
            assert video.duration * video.time_base == 2 == audio.duration * audio.time_base
        assert video.start_time == audio.start_time == 0
        assert '"seed":5' in film.metadata.get("comment", film.metadata.get("COMMENT"))
        times = [frame.pts * frame.time_base for frame in film.decode(video)]
        assert all(abs(at - Fraction(i, 25)) <= step / 2 for i, at in enumerate(times))
        assert len(times) == 50
    before, after = (np.concatenate(list(sound._mono(file, 0, np.inf))) for file in (song, path))
    window = slice(21_000, 33_000)
    lag = np.correlate(after[window], before[window], "full").argmax() - 11_999
    assert abs(lag) <= 2  # samples of 22,050 a second
    mute = write(tmp_path / f"mute{suffix}", codec, noise(50), fps=25)
    assert np.array_equal(decoded(path), decoded(mute))
    assert xmp.find_mark(path)["comment"] == {"seed": 5}


@pytest.mark.parametrize(("codec", "encoder"), [("h264", "libx264"), ("av1", "libsvtav1")])
def test_a_missing_encoder_is_named_before_a_model_is_read(tmp_path, monkeypatch, codec, encoder):
    monkeypatch.setattr(codecs, "has_encoder", lambda name: name != encoder)
    with pytest.raises(SystemFault, match=rf"lacks the encoder {encoder}.*pip install"):
        vidgan("render", "--codec", codec, "--model", "none.onnx", tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["h264_nvenc", "hevc_nvenc", "av1_nvenc"])
def test_nvenc_is_replaced_by_software_if_it_cannot_encode_a_test_frame(tmp_path, name, said):
    target = Target.parse(tmp_path / "out.mp4", codec=name, scale=8)
    fallen_back = "nvenc" not in target.codec.encoder
    assert [f"{name} does not work here" in line for line in said] == [True] * fallen_back
    assert len(decoded(films.write(target.path, noise(5), codec=name, scale=8))) == 5


def test_an_encoder_that_is_missing_falls_back_and_one_that_works_does_not(said):
    works = Target.parse("out.mp4").codec
    absent = replace(works, name="h264_none", encoder="h264_none", fallback=works)
    assert codecs.or_fallback(absent) is works
    assert said == ["h264_none does not work here (h264_none); encoding with libx264."]
    working = replace(works, fallback=works)
    assert codecs.or_fallback(working) is working and len(said) == 1


@pytest.mark.parametrize("side", [40, 64])
def test_encoders_print_nothing_and_do_not_crash(tmp_path, side):
    """x265 wrote beyond its buffers in frames of 40x40 pixels."""
    code = (
        "for codec in ('h264', 'h265', 'av1'):\n"
        f"    write(f'{{codec}}.mp4', noise(33, {side}, {side}), codec=codec, scale=1)"
    )
    assert run_python(code, tmp_path) == ""


def test_av1_leaves_no_real_time_thread_to_root(tmp_path):
    """They took both cores, as did every browser that a test started after them."""
    code = (
        "import os; write('out.mp4', noise(3, 64, 64), codec='av1', scale=1)\n"
        "tasks = [int(task) for task in os.listdir('/proc/self/task')]\n"
        "print({os.sched_getscheduler(task) for task in tasks} == {os.SCHED_OTHER})"
    )
    assert run_python(code, tmp_path) == "True\n"


def test_the_command_writes_the_frames_of_the_generator_without_loss(onnx_file, tmp_path):
    def run(name: str, *options: str) -> Path:
        vidgan("render", "--frames", 20, "--model", onnx_file, *options, tmp_path / name)
        return tmp_path / name

    generator = synthesis.open_generator(onnx_file)
    path = loop(seed=0, frames=20, z_dim=generator.z_dim)
    wanted = np.stack(list(pipeline.frames(generator, path)))
    for name in ("out.mkv", "out.mp4", "out.webm", "out.webp"):
        assert np.array_equal(decoded(run(name, "--lossless")), wanted)
    small, large = (
        run(f"{quality}.webm", "--codec", "av1", "--scale", "1", "--quality", quality)
        for quality in ("30", "90")
    )
    with av.open(str(small)) as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == "av1"
    assert small.stat().st_size < large.stat().st_size
