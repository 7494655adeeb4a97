"""Every codec in every kind of file: sizes, colours, tags, times, bytes, joints, sound."""

import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image

from tests.paths import loop
from tests.sounds import write_sound
from vidgan.cli import main
from vidgan.disk.places import bundled
from vidgan.errors import SystemFault, UsageError
from vidgan.film import codecs, reader, segments, sound
from vidgan.film.segments import Film
from vidgan.film.writer import VideoWriter, check_target
from vidgan.generator import synthesis
from vidgan.marks import xmp
from vidgan.render import pipeline

EARTH = bundled("assets/earth.mp4")
HELD = [
    pytest.param(suffix, codec, id=f"{suffix[1:]}-{codec.name}-{codec.pixel_format}")
    for suffix, kind in codecs._KINDS.items()
    for codec in kind.codecs
    if not codec.instead
]
FILMS = [held for held in HELD if held.values[0] in codecs.FILMS]
FEW = (
    "mp4-h264-yuv420p",
    "mp4-av1-yuv420p",
    "webm-vp9-yuv420p",
    "mov-prores-yuv444p10le",
    "mkv-ffv1-bgr0",
)
every_codec = pytest.mark.parametrize(("suffix", "codec"), HELD)
every_film = pytest.mark.parametrize(("suffix", "codec"), FILMS)


def noise(frames: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    """One noise that becomes another, so that encoders reorder frames and have much to lose."""
    one, other = np.random.default_rng(0).integers(0, 256, (2, height, width, 3))
    mixes = [(one * (frames - i) + other * i) // frames for i in range(frames)]
    return [mix.astype(np.uint8) for mix in mixes]


def writer(target: Path, codec: codecs.Codec, **settings: object) -> VideoWriter:
    settings = {"scale": 1, "comment": {"seed": 5}} | settings
    return VideoWriter(target, codec=codec.name, lossless=codec.exact, force=True, **settings)


def write(target: Path, codec: codecs.Codec, frames: list[np.ndarray], **settings: object) -> Path:
    with writer(target, codec, **settings) as film:
        for frame in frames:
            film.write(frame)
    return target


def decoded(path: Path) -> np.ndarray:
    """RGB as a reader sees it that believes the file's own tags."""
    if path.suffix == ".webp":  # FFmpeg reads none that move
        with Image.open(path) as picture:
            frames = []
            for index in range(picture.n_frames):
                picture.seek(index)
                frames.append(np.asarray(picture.convert("RGB")))
            return np.stack(frames)
    to_rgb = VideoReformatter()
    with av.open(str(path)) as film:
        return np.stack(
            [
                to_rgb.reformat(
                    frame,
                    format="rgb24",
                    src_colorspace=reader._colorspace(frame),
                    dst_color_range=ColorRange.JPEG,
                    interpolation=reader.ACCURATE,
                    threads=1,
                ).to_ndarray()
                for frame in film.decode(video=0)
            ]
        )


def clock_of(suffix: str) -> Fraction:
    """The step of a film's clock: Matroska and WebM count milliseconds, the others fractions."""
    return Fraction(suffix in (".mkv", ".webm"), 1000)


@every_codec
def test_any_size_is_written_and_a_padded_one_is_said_once(tmp_path, suffix, codec, said):
    for width, height in ((1, 1), (2, 2), (7, 5), (16, 16), (64, 36)):
        said.clear()
        frames = noise(3, height, width)
        path = write(tmp_path / f"out{suffix}", codec, frames)
        seen = decoded(path)
        assert len(seen) == 3
        assert bool(said) == (seen.shape[1:3] != (height, width))
        assert not said or f"{seen.shape[2]}x{seen.shape[1]}" in said[0]
        if codec.exact:
            assert np.array_equal(seen[:, :height, :width], frames)
        assert xmp.find_mark(path)["comment"] == {"seed": 5}


@pytest.mark.parametrize(("suffix", "codec"), [h for h in HELD if h.values[1].exact])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_real_footage_comes_back_exactly_where_nothing_may_be_lost(tmp_path, suffix, codec, side):
    with av.open(str(EARTH)) as clip:
        frames = [f.to_ndarray(format="rgb24") for f in itertools.islice(clip.decode(video=0), 24)]
    for corner in (0, 32, 64):
        film = [frame[corner : corner + side, corner : corner + side] for frame in frames]
        seen = decoded(write(tmp_path / f"{corner}{suffix}", codec, film))
        assert np.array_equal(seen[:, :side, :side], film)


@every_codec
@pytest.mark.parametrize("scale", [1, 32])
def test_thirty_flat_colours_come_back_through_the_tags(tmp_path, suffix, codec, scale):
    corners = list(itertools.product((0, 255), repeat=3))
    others = np.random.default_rng(0).integers(0, 256, (22, 3)).tolist()
    colours = np.array(corners + others, np.uint8).reshape(5, 6, 3)
    side = 32 // scale
    quality = 100 if codec.graded else None
    frame = colours.repeat(side, axis=0).repeat(side, axis=1)
    path = write(tmp_path / f"out{suffix}", codec, [frame] * 3, scale=scale, quality=quality)
    fields = decoded(path).reshape(3, 5, 32, 6, 32, 3)
    error = fields[:, :, 8:24, :, 8:24].astype(int) - colours[:, None, :, None]
    # Measured: 2 and 0.35 for H.264, 1 and 0.35 for what else is lossy, 0 for ProRes and exact.
    assert np.abs(error).max() <= (0 if codec.exact or codec.name == "prores" else 2)
    assert np.abs(error).mean() <= 0.5


@pytest.mark.parametrize("quality", [80, 95])
def test_h264_keeps_colours_at_usual_quality_too(tmp_path, quality):
    codec = codecs.codec_for("out.mp4", "h264", lossless=False)
    frame = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    path = write(tmp_path / "out.mp4", codec, [frame] * 3, scale=None, quality=quality)
    side = decoded(path).shape[1] // 5
    fields = decoded(path).reshape(3, 5, side, 6, side, 3)[:, :, side // 4 : -side // 4]
    error = np.abs(fields[..., side // 4 : -side // 4, :].astype(int) - frame[:, None, :, None])
    assert error.max() <= 3 and error.mean() <= 1


@pytest.mark.parametrize(
    ("suffix", "codec"), [h for h in HELD if h.values[0] not in (".gif", ".webp")]
)
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
def test_frames_are_as_many_and_when_they_should_be(tmp_path, suffix, codec, fps):
    for count in (1, 2, 3, 4, 5, 9, 17, 33):
        path = write(tmp_path / f"out{suffix}", codec, noise(count), fps=fps)
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            times = [frame.pts * frame.time_base for frame in film.decode(stream)]
            length = Fraction(film.duration, 10**6)
            assert stream.average_rate == fps
        step = clock_of(suffix)
        assert len(times) == count
        assert all(abs(at - i / fps) <= step / 2 for i, at in enumerate(times))
        assert abs(length - count / fps) <= max(step, Fraction(1, 10**6))


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30), Fraction(1, 3)])
def test_apng_waits_exactly_the_time_of_a_frame(tmp_path, fps):
    codec = codecs.codec_for("out.apng", None, lossless=False)
    for count in (2, 3, 20):  # one alone is a still
        data = write(tmp_path / "out.apng", codec, noise(count), fps=fps).read_bytes()
        controls = [part[20:24] for part in data.split(b"fcTL")[1:]]
        assert [Fraction(*struct.unpack(">HH", delay)) for delay in controls] == [1 / fps] * count


@every_codec
def test_equal_frames_give_equal_bytes(tmp_path, suffix, codec):
    one, two = (write(tmp_path / f"{n}{suffix}", codec, noise(20)).read_bytes() for n in "ab")
    assert one == two
    if codec.encoder == "libx264":  # which writes its threads into the file: not this machine's
        assert b"threads=4 " in one


@pytest.mark.parametrize(("suffix", "codec"), [h for h in HELD if h.values[1].graded])
def test_less_quality_is_a_smaller_file(tmp_path, suffix, codec):
    sizes = [
        write(tmp_path / f"out{suffix}", codec, noise(4), quality=quality).stat().st_size
        for quality in (30, 60, 80, 100)
    ]
    assert sizes == sorted(set(sizes))


@every_codec
def test_small_frames_grow_but_where_nothing_is_lost(tmp_path, suffix, codec):
    frame = np.full((64, 72, 3), 90, np.uint8)
    seen = decoded(write(tmp_path / f"out{suffix}", codec, [frame], scale=None))
    assert seen.shape == ((1, 64, 72, 3) if codec.exact else (1, 512, 576, 3))


# Films: joined, resumed, with sound.


def film_of(target: Path, codec: codecs.Codec, **settings: object) -> Film:
    return Film(writer(target, codec), frames=23, segment_frames=7, key={}, **settings)


def fill(film: Film, pieces: int = 4) -> None:
    frames = noise(23)
    for piece in itertools.islice(film.missing(), pieces):
        with film.open(piece) as part:
            for index in piece:
                part.write(frames[index])


@every_film
def test_a_film_goes_on_from_its_segments_to_the_same_bytes(tmp_path, suffix, codec):
    target, wanted, aside = tmp_path / f"out{suffix}", tmp_path / f"wanted{suffix}", tmp_path / "x"
    film = film_of(wanted, codec)
    with film.made():
        fill(film)
    film = film_of(target, codec)
    with pytest.raises(KeyboardInterrupt), film.made():
        fill(film, pieces=2)
        shutil.copytree(segments.folder_of(target), aside)  # what a kill would have left
        raise KeyboardInterrupt
    aside.rename(segments.folder_of(target))
    film = film_of(target, codec, resume=True)
    with film.made():
        assert [len(piece) for piece in film.missing()] == [7, 2]
        fill(film)
    assert target.read_bytes() == wanted.read_bytes()

    # Nothing is changed by joining: frames are those of films that nobody joined.
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
        step = clock_of(suffix)
        assert abs(Fraction(film.duration, 10**6) - Fraction(23, 30)) <= max(step, 10**-6)
    assert xmp.find_mark(target)["comment"] == {"seed": 5}


def test_a_film_of_any_length_has_exactly_its_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # 600 times, on a disk that others use
    # From segments of up to 40 frames, of which the last may have any number.
    lengths = 0
    for at, held in enumerate(h for h in FILMS if h.id in FEW):
        suffix, codec = held.values
        frames = noise(40, 16, 16)
        tails = {n: write(tmp_path / f"{n}{suffix}", codec, frames[:n]) for n in range(1, 41)}
        whole = [shutil.copy(tails[40], tmp_path / f"whole{i}{suffix}") for i in range(12)]
        for count in range(at, 501, 20) if at else range(1, 501):
            full, rest = divmod(count, 40)
            counts = dict.fromkeys(whole[:full], 40) | ({tails[rest]: rest} if rest else {})
            joined = tmp_path / f"joined{suffix}"
            segments.join(counts, joined, fps=Fraction(30))
            with av.open(str(joined)) as film:
                stream = film.streams.video[0]
                if count == max(at, 1):  # first of a kind: the grid of times, to compare numbers
                    grid = [round(Fraction(n, 30) / stream.time_base) for n in range(500)]
                times = sorted(packet.pts for packet in film.demux(stream) if packet.size)
                length = Fraction(film.duration, 10**6)
            assert times == grid[:count]
            assert abs(length - Fraction(count, 30)) <= max(clock_of(suffix), Fraction(1, 10**6))
            lengths += 1
    assert lengths == 500 + 4 * 25


@every_film
def test_sound_goes_into_every_film(tmp_path, suffix, codec):
    song = write_sound(tmp_path / "song.flac")
    path = write(tmp_path / f"film{suffix}", codec, noise(50), fps=25, sound=song)
    with av.open(str(path)) as film:
        picture, voice = film.streams.video[0], film.streams.audio[0]
        # Matroska gives no sound packet a length: the last one may stand out by as much as one.
        assert 0 <= film.duration - 2_000_000 <= (22_000 if suffix in (".mkv", ".webm") else 0)
        assert picture.start_time == voice.start_time == 0
        step = clock_of(suffix)
        times = [frame.pts * frame.time_base for frame in film.decode(picture)]
        assert all(abs(at - Fraction(i, 25)) <= step / 2 for i, at in enumerate(times))
        assert len(times) == 50
    before, after = (np.concatenate(list(sound._mono(file))) for file in (song, path))
    window = slice(21_000, 33_000)
    assert abs(np.correlate(after[window], before[window], "full").argmax() - 11_999) <= 2
    assert np.array_equal(
        decoded(path), decoded(write(tmp_path / f"mute{suffix}", codec, noise(50), fps=25))
    )
    assert xmp.find_mark(path)["comment"] == {"seed": 5}


# What can be asked for, and what is said where it cannot be.


@pytest.mark.parametrize(
    ("name", "codec", "lossless", "said"),
    [
        ("out.mp4", "vp9", False, r"can hold h264, h265, av1.*vp9 goes into \.webm"),
        ("out.mp4", "divx", False, "divx is not known"),
        ("out", "h264", False, r"can hold png; h264 goes into \.mp4 or \.mov or \.mkv"),
        ("out.mp4", "av1", True, r"av1 cannot.*\.mp4 \(h264, h265\); \.webm \(vp9\)"),
        ("out.gif", None, True, r"out\.gif cannot; a folder of PNG can, and \.mp4"),
        ("out.mov", "prores", True, r"prores cannot.*\.mov \(h264\); \.mkv \(ffv1, h264\)"),
    ],
)
def test_a_codec_that_cannot_be_is_refused_with_one_that_can(tmp_path, name, codec, lossless, said):
    with pytest.raises(UsageError, match=said):
        check_target(tmp_path / name, codec=codec, lossless=lossless)


@pytest.mark.parametrize("name", ["out.gif", "out.apng", "out.mkv", "out"])
def test_a_quality_that_would_change_nothing_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"--quality 50: .* none here; leave it out"):
        VideoWriter(tmp_path / name, quality=50)


def test_a_codec_that_this_build_lacks_is_named_before_the_model_is_looked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(codecs, "has_encoder", lambda name: name != "libsvtav1")
    command = ["render", "--codec", "av1", "--model", "none.onnx", str(tmp_path / "out.mp4")]
    with pytest.raises(SystemFault, match=r"lacks the encoder libsvtav1.*pip install"):
        main.app(command, result_action="return_value")


@pytest.mark.parametrize("name", ["h264_nvenc", "hevc_nvenc", "av1_nvenc"])
def test_nvenc_makes_way_for_software_where_a_trial_frame_fails(tmp_path, name, said):
    with VideoWriter(tmp_path / "out.mp4", codec=name, scale=8) as film:
        for frame in noise(5):
            film.write(frame)
    assert len(decoded(tmp_path / "out.mp4")) == 5
    fallen_back = "nvenc" not in film.settings["codec"]
    assert [f"{name} does not work here" in line for line in said] == [True] * fallen_back


def test_a_trial_of_what_is_not_in_the_build_falls_back_and_one_that_works_does_not(said):
    works = codecs.codec_for("out.mp4", "h264", lossless=False)
    absent = replace(works, name="h264_none", encoder="h264_none", instead=works)
    assert codecs.usable(absent) is works
    assert said == ["h264_none does not work here (h264_none); libx264 encodes instead."]
    working = replace(works, instead=works)
    assert codecs.usable(working) is working and len(said) == 1


def test_encoders_tell_nothing_on_the_terminal(tmp_path):
    code = (
        "import numpy as np\n"
        "from vidgan.film.writer import VideoWriter\n"
        "for codec in ('h264', 'h265', 'av1'):\n"
        "    with VideoWriter(f'{codec}.mp4', codec=codec, scale=1) as film:\n"
        "        for level in range(3): film.write(np.full((64, 64, 3), level, np.uint8))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_writes_the_frames_of_the_generator_where_nothing_may_be_lost(
    onnx_file, tmp_path
):
    def run(*words: str) -> Path:
        command = ["render", "--frames", "20", "--model", str(onnx_file), *words]
        main.app(command, result_action="return_value")
        return Path(words[-1])

    generator = synthesis.open_generator(onnx_file)
    wanted = np.stack(
        list(pipeline.frames(generator, loop(seed=0, frames=20, z_dim=generator.z_dim)))
    )
    for name in ("out.mkv", "out.mp4", "out.webm", "out.webp"):
        assert np.array_equal(decoded(run("--lossless", str(tmp_path / name))), wanted)
    small, large = (
        run(
            "--codec",
            "av1",
            "--scale",
            "1",
            "--quality",
            quality,
            str(tmp_path / f"{quality}.webm"),
        )
        for quality in ("30", "90")
    )
    with av.open(str(small)) as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == "av1"
    assert small.stat().st_size < large.stat().st_size
