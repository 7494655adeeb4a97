"""The containers that can be written, and the codecs that each can hold with their settings.

Every lossy codec takes a quality from 0 to 100. Every container but GIF has a lossless codec too.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.container import OutputContainer

logger = logging.getLogger(__name__)
REORDER_FRAMES = 2  # by which the dts of a packet precede its pts, if the encoder reorders frames


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg with its settings."""

    name: str  # for --codec
    encoder: str  # FFmpeg's name
    pixel_format: str = "yuv420p"
    settings: Mapping[str, str] = field(default_factory=dict)
    at_quality: Callable[[int], dict[str, str]] | None = None  # more settings, by quality 0 to 100
    matrix: int = 1  # in ITU-T H.273: 0 RGB, 1 BT.709, 6 BT.601
    transfer: int = 1  # in ITU-T H.273: 1 BT.709, which players show unchanged, 13 sRGB
    min_side: int = 1  # pixels; shorter sides are padded
    even_sides: bool = False  # odd sides are padded
    # More settings for frames with a side below so many pixels.
    small_settings: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    alpha: str | None = None  # the pixel format of frames with transparency, if it takes any
    alpha_settings: Mapping[str, str] = field(default_factory=dict)  # more settings for these
    mp4_tag: str | None = None  # where Apple's players do not take FFmpeg's own
    fallback: "Codec | None" = None  # a software codec, where the hardware may be missing

    @property
    def lossless(self) -> bool:
        return self.at_quality is None and self.encoder != "gif"

    def with_alpha(self) -> "Codec":
        settings = {**self.settings, **self.alpha_settings}
        return replace(self, pixel_format=self.alpha, settings=settings)

    def options(self, quality: int, short_side: int) -> dict[str, str]:
        options = {"flags": "+bitexact"} | dict(self.settings)
        for side, settings in self.small_settings.items():
            options |= settings if short_side < side else {}
        return options | (self.at_quality(quality) if self.at_quality else {})

    def padded(self, side: int) -> int:
        return max(self.min_side, side + side % (1 + self.even_sides))


def _step(option: str, step: float, worst: int) -> Callable[[int], dict[str, str]]:
    """Quality 100 sets the option to 1, each point less adds `step`, up to `worst`."""
    return lambda quality: {option: f"{min(worst, max(1, step * (100 - quality))):g}"}


# PSNR in dB and kB per frame, and frames per CPU second at quality 80, of the shipped generator at
# 512 pixels, by tests/benchmarks/codecs.py. Equal qualities have about equal PSNR:
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
_H264 = Codec(
    "h264", "libx264", settings=_X264, at_quality=_step("crf", 0.6, 51), min_side=2, even_sides=True
)
_H264_RGB = Codec("h264", "libx264rgb", "rgb24", settings=_X264 | {"qp": "0"}, matrix=0)

# The bytes depend on frame-threads, so that it is fixed.
_X265 = "log-level=none:info=0:open-gop=0:frame-threads=2"
# If a side is not longer than one block (64 pixels by default), x265 refers to pixels that the
# decoder does not have: half of the lossless films of 64x64 were a few levels off, no two alike.
_X265_SMALL = f"{_X265}:ctu=16"
# In frames of up to 48 pixels in width, its cutree writes beyond its buffers (seen by valgrind).
_X265_TINY = f"{_X265_SMALL}:cutree=0"
_H265 = Codec(
    "h265",
    "libx265",
    settings={"preset": "medium", "x265-params": _X265},
    at_quality=_step("crf", 0.6, 51),
    min_side=18,  # more than one block of 16
    even_sides=True,
    small_settings={128: {"x265-params": _X265_SMALL}, 56: {"x265-params": _X265_TINY}},
    mp4_tag="hvc1",
)
_H265_RGB = replace(
    _H265,
    pixel_format="gbrp",
    settings={"preset": "medium", "x265-params": f"{_X265}:lossless=1"},
    small_settings={128: {"x265-params": f"{_X265_SMALL}:lossless=1"}},
    at_quality=None,
    matrix=0,
    even_sides=False,
)
# Preset 8 is twice as fast, but needs three times the bytes for the same 43 dB.
_AV1 = Codec(
    "av1", "libsvtav1", settings={"preset": "6"}, at_quality=_step("crf", 0.9, 63), min_side=4
)
_VPX = {"deadline": "good", "cpu-used": "5", "row-mt": "1"}
_VP9 = Codec(
    "vp9",
    "libvpx-vp9",
    settings=_VPX | {"b": "0"},
    at_quality=_step("crf", 0.8, 63),
    alpha="yuva420p",
    alpha_settings={"auto-alt-ref": "0"},  # or it refuses
)
_VP9_RGB = Codec("vp9", "libvpx-vp9", "gbrp", settings=_VPX | {"lossless": "1"}, matrix=0)

# 4444 at fixed step: smaller and sharper than 422 HQ, and several times as fast as at fixed rate.
_PRORES = Codec(
    "prores",
    "prores_ks",
    "yuv444p10le",
    settings={"profile": "4444", "flags": "+bitexact+qscale"},
    at_quality=lambda quality: {"global_quality": f"{118 * (1 + (100 - quality) // 5)}"},
    alpha="yuva444p10le",
)
# The settings of archives: each frame is coded alone and has checksums.
_ARCHIVE = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
_FFV1 = Codec("ffv1", "ffv1", "bgr0", settings=_ARCHIVE, matrix=0, min_side=2, alpha="bgra")

_GIF = Codec("gif", "gif", "pal8", alpha="pal8")
_APNG = Codec(
    "apng", "apng", "rgb24", settings={"pred": "mixed"}, matrix=0, transfer=13, alpha="rgba"
)
_PNG = Codec("png", "png", "rgb24", alpha="rgba")
# Level 0 is three times as fast as the default 4, for a file a tenth larger. WebP demands BT.601.
_FAST = {"compression_level": "0"}
_WEBP = Codec(
    "webp",
    "libwebp",
    settings=_FAST,
    at_quality=lambda q: {"quality": str(q)},
    matrix=6,
    alpha="yuva420p",
)
_WEBP_RGB = Codec(
    "webp", "libwebp", "bgra", settings=_FAST | {"lossless": "1"}, matrix=0, alpha="bgra"
)
# NVENC exists on some machines only. It takes no H.264 below 145 pixels and no H.265 below 129.
_NVENC = tuple(
    replace(
        software,
        name=name,
        encoder=name,
        settings={"preset": "p5", "rc": "vbr"},
        at_quality=_step("cq", 0.6, 51),
        min_side=160,
        even_sides=True,
        fallback=software,
    )
    for name, software in (("h264_nvenc", _H264), ("hevc_nvenc", _H265), ("av1_nvenc", _AV1))
)


@dataclass(frozen=True)
class Container:
    """A file format, and the codecs that it can hold."""

    muxer: str  # FFmpeg's name
    codecs: tuple[Codec, ...]  # the first is the default
    audio_encoder: str | None = None  # None: it holds no sound, and pieces of it cannot be joined
    settings: Mapping[str, str] = field(default_factory=dict)
    ticks_per_s: int | None = None  # the time base; None: one tick per frame

    def options(self, fps: Fraction) -> dict[str, str]:
        options = {"fflags": "+bitexact"} | dict(self.settings)
        if self.muxer in ("mp4", "mov"):
            # The index comes first, so that a browser can start before it has the whole file. With
            # the time base of the track, the duration of the file is exact, not in milliseconds.
            options |= {"movflags": "+faststart", "movie_timescale": str(fps.numerator)}
        return options


CONTAINERS = {
    ".mp4": Container("mp4", (_H264, _H264_RGB, _H265, _H265_RGB, _AV1, *_NVENC), "aac"),
    ".webm": Container("webm", (_VP9, _VP9_RGB, _AV1), "libopus"),
    ".mov": Container("mov", (_PRORES, _H264, _H264_RGB), "aac"),
    ".mkv": Container("matroska", (_FFV1, _H264, _H264_RGB), "aac"),
    ".gif": Container("gif", (_GIF,), ticks_per_s=100),
    ".webp": Container("webp", (_WEBP, _WEBP_RGB), settings={"loop": "0"}, ticks_per_s=1000),
    ".apng": Container("apng", (_APNG,), settings={"plays": "0"}),
}
PNG_FOLDER = Container("", (_PNG,))
FILM_SUFFIXES = tuple(suffix for suffix, kind in CONTAINERS.items() if kind.audio_encoder)


def has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def or_fallback(codec: Codec) -> Codec:
    """The codec, or its fallback if it has one and cannot encode a test frame."""
    if codec.fallback is None:
        return codec
    try:
        encoder = av.CodecContext.create(codec.encoder, "w")
        encoder.width = encoder.height = 256
        encoder.pix_fmt, encoder.time_base = codec.pixel_format, Fraction(1, 30)
        frame = av.VideoFrame(256, 256, codec.pixel_format)
        if [*encoder.encode(frame), *encoder.encode()]:
            return codec
        reason = "it encoded nothing"
    except (av.FFmpegError, ValueError, OSError) as error:  # ValueError: not in this build
        reason = getattr(error, "strerror", None) or str(error)
    logger.warning(
        f"{codec.name} does not work here ({reason}); encoding with {codec.fallback.encoder}."
    )
    return codec.fallback


def add_copied_stream(film: OutputContainer, template: av.VideoStream) -> av.VideoStream:
    """Add a stream for packets that are copied from another film."""
    stream = film.add_stream_from_template(template, opaque=True)  # or it looks for an encoder
    if film.format.name in ("mp4", "mov"):
        # PyAV does not copy the tag, which tells the variants of ProRes apart.
        stream.codec_context.codec_tag = template.codec_context.codec_tag
    return stream
