"""Which kind of file holds which codec, and how each codec is asked for: one table.

A kind is told by the name of a file. Promises a quality of 0 to 100 for all that lose something,
and an exact codec wherever the kind has one. Knows nothing of frames and files.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer

from vidgan.errors import UsageError

logger = logging.getLogger(__name__)

MAX_FPS = 1000
_SMALL = 128  # pixels: two of x265's blocks, see there
EARLY = 2  # frames that a packet comes before its time, where frames are reordered


@dataclass(frozen=True)
class Codec:
    """How pictures are compressed."""

    name: str  # as --codec says it
    encoder: str  # as FFmpeg calls it
    pixel_format: str = "yuv420p"
    settings: Mapping[str, str] = field(default_factory=dict)
    graded: Callable[[int], dict[str, str]] | None = None  # settings for a quality of 0 to 100
    matrix: int = 1  # of ITU-T H.273: 0 RGB, 1 BT.709, 6 BT.601
    transfer: int = 1  # of the same: 1 BT.709, which players take as it is; 13 sRGB
    least: int = 1  # pixels; shorter sides are padded
    even: bool = False  # odd sides are padded
    small: Mapping[str, str] = field(default_factory=dict)  # settings where a side is below _SMALL
    tag: str | None = None  # in MP4, where Apple wants another than FFmpeg's
    instead: "Codec | None" = None  # of what only some machines can do

    @property
    def exact(self) -> bool:
        return self.graded is None and self.encoder != "gif"

    def options(self, quality: int, *, height: int, width: int) -> dict[str, str]:
        graded = self.graded(quality) if self.graded else {}
        small = self.small if min(height, width) < _SMALL else {}
        return {"flags": "+bitexact"} | dict(self.settings) | dict(small) | graded

    def padded(self, side: int) -> int:
        return max(self.least, side + side % (1 + self.even))


def _grade(option: str, step: float, worst: int) -> Callable[[int], dict[str, str]]:
    return lambda quality: {option: f"{min(worst, max(1, step * (100 - quality))):g}"}


# PSNR in dB and kB per frame, and frames per CPU second at quality 80, of the shipped generator at
# 512 pixels, by tests/benchmarks/codecs.py. One number, about one PSNR:
#
#           q 20        q 40        q 60        q 80        q 100       frames/s
#   h264    26.8  0.26  31.6  0.67  36.5  2.43  41.3  8.23  42.6  21.5  311
#   h265    27.1  0.18  32.4  0.58  37.3  2.13  41.3  7.69  42.6  24.7  26
#   av1     29.0  0.17  33.3  0.45  37.1  1.24  40.4  3.46  44.2  20.3  55
#   vp9     28.5  0.29  33.0  0.81  37.4  2.30  40.6  5.44  44.1  25.8  33
#   prores  44.6  27.2  46.4  32.8  48.9  42.3  52.5  61.5  66.3   145  248
#   webp    33.9  5.18  35.7  6.63  37.2  8.31  39.4  11.9  43.2  41.6  339

# Measured at 512 pixels, on enlarged small frames and on native ones: superfast at crf 12 is 1.2 to
# 1.9 times as fast as veryfast at crf 16 and 1.5 to 2 dB closer to the input, in a file at most a
# tenth larger. Medium at crf 16 takes four times as long, for +1 or -1 dB. Whole-pixel motion and
# even quantisation then make the same PSNR in two thirds of the bytes and five sixths of the time
# on enlarged frames, 0.8 dB less in two thirds of both on native ones.
_X264 = {"preset": "superfast", "x264-params": "subme=0:aq-mode=0:b-adapt=0"}
_H264 = Codec("h264", "libx264", settings=_X264, graded=_grade("crf", 0.6, 51), least=2, even=True)
_H264_RGB = Codec("h264", "libx264rgb", "rgb24", settings=_X264 | {"qp": "0"}, matrix=0)

_X265 = "log-level=none:info=0:open-gop=0:frame-threads=2"  # the last changes the bytes
# Where a side is of one block (of 64 pixels, unless told), x265 refers to pixels that the decoder
# does not have: with lossless, half of the films of 64x64 were a few levels off, and no two alike.
_X265_SMALL = f"{_X265}:ctu=16"
_H265 = Codec(
    "h265",
    "libx265",
    settings={"preset": "medium", "x265-params": _X265},
    graded=_grade("crf", 0.6, 51),
    least=18,  # two small blocks
    even=True,
    small={"x265-params": _X265_SMALL},
    tag="hvc1",
)
_H265_RGB = replace(
    _H265,
    pixel_format="gbrp",
    settings={"preset": "medium", "x265-params": f"{_X265}:lossless=1"},
    small={"x265-params": f"{_X265_SMALL}:lossless=1"},
    graded=None,
    matrix=0,
    even=False,
)

# Preset 8 is twice as fast, but needs three times the bytes for the same 43 dB.
_AV1 = Codec("av1", "libsvtav1", settings={"preset": "6"}, graded=_grade("crf", 0.9, 63), least=4)

_VPX = {"deadline": "good", "cpu-used": "5", "row-mt": "1"}
_VP9 = Codec("vp9", "libvpx-vp9", settings=_VPX | {"b": "0"}, graded=_grade("crf", 0.8, 63))
_VP9_RGB = Codec("vp9", "libvpx-vp9", "gbrp", settings=_VPX | {"lossless": "1"}, matrix=0)

# 4444 at a fixed step: smaller than 422 HQ, sharper, several times as fast as at a fixed rate.
_PRORES = Codec(
    "prores",
    "prores_ks",
    "yuv444p10le",
    settings={"profile": "4444", "flags": "+bitexact+qscale"},
    graded=lambda quality: {"global_quality": f"{118 * (1 + (100 - quality) // 5)}"},
)

# As archives keep it: every frame stands alone and proves itself.
_ARCHIVE = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
_FFV1 = Codec("ffv1", "ffv1", "bgr0", settings=_ARCHIVE, matrix=0, least=2)

_GIF = Codec("gif", "gif", "pal8")
_APNG = Codec("apng", "apng", "rgb24", settings={"pred": "mixed"}, matrix=0, transfer=13)
_PNG = Codec("png", "png", "rgb24")

# Level 0 is three times as fast as the default 4, for a file a tenth larger. BT.601 by the format.
_QUICK = {"compression_level": "0"}
_WEBP = Codec("webp", "libwebp", settings=_QUICK, graded=lambda q: {"quality": str(q)}, matrix=6)
_WEBP_RGB = Codec("webp", "libwebp", "bgra", settings=_QUICK | {"lossless": "1"}, matrix=0)


# On some machines only. NVENC takes no H.264 below 145 pixels, no H.265 below 129.
_NVENC = tuple(
    replace(
        software,
        name=name,
        encoder=name,
        settings={"preset": "p5", "rc": "vbr"},
        graded=_grade("cq", 0.6, 51),
        least=160,
        even=True,
        instead=software,
    )
    for name, software in (("h264_nvenc", _H264), ("hevc_nvenc", _H265), ("av1_nvenc", _AV1))
)


@dataclass(frozen=True)
class Kind:
    """What holds the pictures, and the codecs that it can hold."""

    container: str  # as FFmpeg calls it
    codecs: tuple[Codec, ...]  # the first one unless another is asked for
    voice: str | None = None  # encoder of its sound; None: neither sound nor joining of parts
    muxing: Mapping[str, str] = field(default_factory=dict)
    ticks_per_s: int | None = None  # of the container's clock; None: a tick per frame


_KINDS = {
    ".mp4": Kind("mp4", (_H264, _H264_RGB, _H265, _H265_RGB, _AV1, *_NVENC), "aac"),
    ".webm": Kind("webm", (_VP9, _VP9_RGB, _AV1), "libopus"),
    ".mov": Kind("mov", (_PRORES, _H264, _H264_RGB), "aac"),
    ".mkv": Kind("matroska", (_FFV1, _H264, _H264_RGB), "aac"),
    ".gif": Kind("gif", (_GIF,), ticks_per_s=100),
    ".webp": Kind("webp", (_WEBP, _WEBP_RGB), muxing={"loop": "0"}, ticks_per_s=1000),
    ".apng": Kind("apng", (_APNG,), muxing={"plays": "0"}),
}
FOLDER = Kind("", (_PNG,))  # of PNG
FILMS = tuple(suffix for suffix, kind in _KINDS.items() if kind.voice)


def kind_of(target: Path | str) -> Kind:
    suffix = Path(target).suffix.lower()
    if not suffix or str(target).endswith(("/", os.sep)):
        return FOLDER
    if suffix not in _KINDS:
        raise UsageError(
            f"{target}: {suffix} is no kind of file that can be written; known are "
            f"{', '.join(_KINDS)}, and a name without a suffix for a folder of PNG."
        )
    return _KINDS[suffix]


def codec_for(target: Path | str, name: str | None, *, lossless: bool) -> Codec:
    """What goes into a target, by --codec and --lossless. Raises UsageError."""
    kind = kind_of(target)
    for codec in kind.codecs:
        if name in (None, codec.name) and (codec.exact or not lossless):
            return codec
    names, able = dict.fromkeys(codec.name for codec in kind.codecs), {}
    for suffix, other in _KINDS.items():
        able[suffix] = dict.fromkeys(c.name for c in other.codecs if c.exact or not lossless)
    if name is None or name in names:
        known = "; ".join(f"{suffix} ({', '.join(held)})" for suffix, held in able.items() if held)
        raise UsageError(f"--lossless: {name or target} cannot; a folder of PNG can, and {known}.")
    homes = " or ".join(suffix for suffix, held in able.items() if name in held)
    hint = f"{name} goes into {homes}" if homes else f"{name} is not known here"
    raise UsageError(f"--codec {name}: {target} can hold {', '.join(names)}; {hint}.")


def has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def usable(codec: Codec) -> Codec:
    """The codec, or what stands in for it where one frame for trial does not come out of it."""
    if codec.instead is None:
        return codec
    try:
        trial = av.CodecContext.create(codec.encoder, "w")
        trial.width = trial.height = 256
        trial.pix_fmt, trial.time_base = codec.pixel_format, Fraction(1, 30)
        frame = av.VideoFrame(256, 256, codec.pixel_format)
        if [*trial.encode(frame), *trial.encode()]:
            return codec
        fault = "no frame came out of it"
    except (av.FFmpegError, ValueError, OSError) as error:  # ValueError: not in this build
        fault = getattr(error, "strerror", None) or str(error)
    logger.warning(
        f"{codec.name} does not work here ({fault}); {codec.instead.encoder} encodes instead."
    )
    return codec.instead


def muxer_options(kind: Kind, fps: Fraction) -> dict[str, str]:
    options = {"fflags": "+bitexact"} | dict(kind.muxing)
    if kind.container in ("mp4", "mov"):
        # The index in front, so that a browser starts before it has the whole file; and the file's
        # clock as fine as the track's: its length is exact, not in milliseconds.
        options |= {"movflags": "+faststart", "movie_timescale": str(fps.numerator)}
    return options


def add_copied(film: OutputContainer, template: av.VideoStream) -> av.VideoStream:
    """A stream for the packets of another. (PyAV forgets the tag, by which ProRes has its kind.)"""
    stream = film.add_stream_from_template(template, opaque=True)  # or it looks for an encoder
    if film.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = template.codec_context.codec_tag
    return stream
