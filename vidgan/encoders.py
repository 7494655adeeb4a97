"""The kinds of file that frames become: one class each, over PyAV or Pillow.

Each is opened with a job, fed uint8 [H, W, 3] RGB, perhaps finished, and closed. Promises colours
right in the pixels and in the tags, and pts by index. Knows nothing of targets, renaming or force:
that a file is whole or absent is the business of `video`.
"""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vidgan import footage, provenance
from vidgan.errors import UsageError
from vidgan.footage import Notice

Comment = Mapping[str, object] | None  # how a file was made; goes into it as JSON

MAX_FPS = 1000
ENLARGED_SIDE = 512  # pixels that the short side of a small frame reaches in a film
_MATRICES = {0: Colorspace.DEFAULT, 1: Colorspace.ITU709, 6: Colorspace.ITU601}


@dataclass(frozen=True)
class Codec:
    """How pictures are compressed, and how a quality of 0 to 100 is said to the encoder."""

    name: str  # as --codec says it
    encoder: str  # as FFmpeg calls it
    pixel_format: str = "yuv420p"
    settings: Mapping[str, str] = field(default_factory=dict)
    graded: Callable[[int], dict[str, str]] | None = None
    matrix: int = 1  # of ITU-T H.273: 0 RGB, 1 BT.709, 6 BT.601
    transfer: int = 1  # of the same: 1 BT.709, which players take as it is; 13 sRGB
    least: int = 1  # pixels; shorter sides are padded
    even: bool = False  # odd sides are padded
    tag: str | None = None  # in MP4, where Apple wants another than FFmpeg's
    instead: "Codec | None" = None  # of what only some machines can do

    @property
    def exact(self) -> bool:
        return self.graded is None and self.encoder != "gif"

    def options(self, quality: int) -> dict[str, str]:
        return dict(self.settings) | (self.graded(quality) if self.graded else {})


# Quality on frames of the shipped generator, 512 pixels: PSNR in dB, kB per frame after decoding.
# The same number is about the same PSNR for the codecs of film, up to their chroma at half size.
#
#            q 20        q 40        q 60        q 80        q 100
# h264
#
# H.264: measured at 512 pixels, on enlarged small frames and on native ones: superfast at crf 12 is
# 1.2 to 1.9 times as fast as veryfast at crf 16 and 1.5 to 2 dB closer to the input, in a file at
# most a tenth larger. Medium at crf 16 takes four times as long, for +1 or -1 dB.
_X265 = "log-level=none:info=0:open-gop=0:frame-threads=2"  # the last changes the bytes: fixed

H264 = Codec(
    "h264",
    "libx264",
    settings={"preset": "superfast"},
    graded=lambda q: {"crf": f"{max(1, 0.6 * (100 - q)):g}"},
    least=2,
    even=True,
)
H264_EXACT = Codec(
    "h264", "libx264rgb", "rgb24", settings={"preset": "superfast", "qp": "0"}, matrix=0
)
H265 = Codec(
    "h265",
    "libx265",
    settings={"preset": "medium", "x265-params": _X265},
    graded=lambda q: {"crf": f"{min(51, max(1, 0.6 * (100 - q))):g}"},
    least=16,
    even=True,
    tag="hvc1",
)
H265_EXACT = replace(
    H265,
    pixel_format="gbrp",
    settings={"preset": "medium", "x265-params": f"{_X265}:lossless=1"},
    graded=None,
    matrix=0,
    even=False,
)
AV1 = Codec(
    "av1",
    "libsvtav1",
    settings={"preset": "6"},
    graded=lambda q: {"crf": f"{min(63, max(1, round(0.9 * (100 - q))))}"},
    least=4,
)
VP9 = Codec(
    "vp9",
    "libvpx-vp9",
    settings={"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"},
    graded=lambda q: {"crf": f"{min(63, max(1, round(0.8 * (100 - q))))}"},
)
VP9_EXACT = replace(
    VP9, pixel_format="gbrp", settings=dict(VP9.settings) | {"lossless": "1"}, graded=None, matrix=0
)
# 4444 at a fixed step: no smaller than 422 HQ, sharper, and ten times as fast as a fixed rate.
PRORES = Codec(
    "prores",
    "prores_ks",
    "yuv444p10le",
    settings={"profile": "4444", "flags": "+bitexact+qscale"},
    graded=lambda q: {"global_quality": f"{118 * (1 + (100 - q) // 5)}"},
)
FFV1 = Codec(
    "ffv1",
    "ffv1",
    "bgr0",
    settings={"level": "3", "slices": "4", "slicecrc": "1", "g": "1"},
    matrix=0,
    least=2,
)
GIF = Codec("gif", "gif", "pal8")
APNG = Codec("apng", "apng", "rgb24", settings={"pred": "mixed"}, matrix=0, transfer=13)
# Level 0 is three times as fast as the default 4, for a file a tenth larger (measured). The matrix
# is fixed by the format.
WEBP = Codec(
    "webp",
    "libwebp",
    settings={"compression_level": "0"},
    graded=lambda q: {"quality": f"{q}"},
    matrix=6,
)
WEBP_EXACT = replace(
    WEBP,
    pixel_format="bgra",
    settings={"lossless": "1", "compression_level": "0"},
    graded=None,
    matrix=0,
)
PNG = Codec("png", "png", "rgb24")


def _nvenc(name: str, software: Codec) -> Codec:
    return replace(
        software,
        name=name,
        encoder=name,
        settings={"preset": "p5", "rc": "vbr"},
        graded=lambda q: {"cq": f"{min(51, max(1, round(0.6 * (100 - q))))}"},
        least=160,
        instead=software,
    )


H264_NVENC, H265_NVENC, AV1_NVENC = (
    _nvenc(name, software)
    for name, software in (("h264_nvenc", H264), ("hevc_nvenc", H265), ("av1_nvenc", AV1))
)


@dataclass(frozen=True)
class Job:
    part: Path  # where to write; renamed onto the target at the end
    kind: "Kind"
    codec: Codec
    fps: Fraction
    scale: int | None
    quality: int
    comment: Comment
    notice: Notice


class Encoder:
    """One stream of one codec in one container, by PyAV."""

    def __init__(self, job: Job, height: int, width: int) -> None:
        self._job, self._frames, codec = job, 0, job.codec
        self._scale = job.scale or (1 if codec.exact else _scale_for(height, width))
        self._tick = Fraction(1, job.kind.ticks_per_s) if job.kind.ticks_per_s else 1 / job.fps
        self._converter = VideoReformatter()  # one per file: each holds megabytes
        os.environ.setdefault("SVT_LOG", "1")  # or the encoder of AV1 tells its life on stderr
        self._container = av.open(
            str(job.part),
            "w",
            format=job.kind.container,
            container_options=muxer_options(job.kind, job.fps),
        )
        self._container.metadata.update(provenance.tags(job.comment))
        options = {"flags": "+bitexact"} | codec.options(job.quality)
        self._stream = self._container.add_stream(codec.encoder, rate=job.fps, options=options)
        self._padding = self._pad(height * self._scale, width * self._scale)
        self._set_tags(self._stream.codec_context)

    def write(self, frame: np.ndarray) -> None:
        picture = self._convert(frame)
        picture.time_base = self._tick
        # From the running total, so that rounding never adds up: 3, 4, 3 hundredths at 30.
        start, end = (round(i / self._job.fps / self._tick) for i in self._running())
        picture.pts, picture.duration = start, end - start
        self._container.mux(self._stream.encode(picture))
        self._frames += 1

    def finish(self) -> None:
        """Leave a complete, marked file at the job's part."""
        self._container.mux(self._stream.encode())
        self._container.close()
        provenance.append_mark(self._job.part, self._job.comment)

    def close(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):  # a full disk says so again
            self._container.close()

    def _running(self) -> tuple[int, int]:
        return self._frames, self._frames + 1

    def _pad(self, height: int, width: int) -> tuple[int, int]:
        """Set the size of the stream; rows and columns that a frame lacks for it."""
        codec = self._job.codec
        sides = [max(codec.least, side + side % (1 + codec.even)) for side in (height, width)]
        self._stream.height, self._stream.width = sides
        self._stream.pix_fmt = codec.pixel_format
        if sides != [height, width]:
            self._job.notice(
                f"{codec.name} wants {'even ' if codec.even else ''}sides from {codec.least} "
                f"pixels: the last row or column is repeated, to {sides[1]}x{sides[0]}."
            )
        return sides[0] - height, sides[1] - width

    def _set_tags(self, context: av.VideoCodecContext) -> None:
        codec, kind = self._job.codec, self._job.kind
        context.time_base = self._tick
        context.color_primaries, context.color_trc = 1, codec.transfer  # BT.709
        context.colorspace, context.color_range = codec.matrix, 1 if codec.matrix else 2
        if codec.tag and kind.container == "mp4":
            context.codec_tag = codec.tag
        if kind.voice:
            # x264 writes the number of threads into the stream: fixed, equal input gives equal
            # bytes.
            context.thread_type, context.thread_count = "AUTO", 4

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        """Enlarge, pad and convert to what the codec takes, tags included.

        Under an even factor each chroma sample lies within one pixel of the small frame, so that
        frame is converted at full chroma and its planes are enlarged: nothing is averaged across
        edges, and it takes a sixteenth of the time (measured, 64 to 512 pixels).
        """
        codec = self._job.codec
        form, halved = codec.pixel_format, codec.pixel_format == "yuv420p"
        by_plane = form.startswith("yuv") and not any(self._padding)
        by_plane &= self._scale % 2 == 0 or not halved
        if not by_plane:
            frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
            rows, columns = self._padding
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = self._converter.reformat(
            av.VideoFrame.from_numpy_buffer(frame, format="rgb24"),
            format="yuv444p" if by_plane and halved else form,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG if codec.matrix else ColorRange.JPEG,
            dst_colorspace=_MATRICES[codec.matrix],
            interpolation=footage.ACCURATE,
            threads=1,
        )
        if by_plane and self._scale > 1:
            picture = _enlarge(picture, form, self._scale)
        picture.colorspace, picture.color_range = codec.matrix, 1 if codec.matrix else 2
        # ProRes has the tags of its frames.
        picture.color_primaries, picture.color_trc = 1, codec.transfer
        return picture


class _Gif(Encoder):
    """256 colours chosen per frame; a clock of hundredths, so that delays alternate."""

    def __init__(self, job: Job, height: int, width: int) -> None:
        super().__init__(job, height, width)
        if job.fps > 50:
            job.notice(
                "browsers show at most 50 frames of a GIF per second; .mp4 or .webp do more."
            )
        self._palette = _palette_graph(height, width)

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        rgb = av.VideoFrame.from_numpy_buffer(frame, format="rgb24")
        rgb.pts, rgb.time_base = self._frames, self._tick  # any clock that goes on will do
        self._palette.push(rgb)
        indexed = self._palette.pull()
        large = _enlarge(indexed, "pal8", self._scale)
        large.planes[1].update(bytes(indexed.planes[1]))  # the palette
        return large


class PngFolder:
    """frame000000.png, frame000001.png, ...: the frames as they came."""

    def __init__(self, job: Job, height: int, width: int) -> None:
        self._job, self._frames = job, 0
        job.part.mkdir()

    def write(self, frame: np.ndarray) -> None:
        scale = self._job.scale or 1
        path = self._job.part / f"frame{self._frames:06d}.png"
        save_png(path, frame.repeat(scale, axis=0).repeat(scale, axis=1), self._job.comment)
        self._frames += 1

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Kind:
    """A kind of file: what holds the pictures, and the codecs that it can hold."""

    codecs: tuple[Codec, ...]  # the first one unless another is asked for
    container: str = ""  # as FFmpeg calls it
    opened: type[Encoder] | type[PngFolder] = Encoder
    voice: str | None = None  # encoder of the sound; None: no sound, and parts cannot be joined
    muxing: Mapping[str, str] = field(default_factory=dict)
    max_fps: int = MAX_FPS
    ticks_per_s: int | None = None  # of the container's clock; None: a tick per frame


_KINDS = {
    ".mp4": Kind(
        (H264, H264_EXACT, H265, H265_EXACT, AV1, H264_NVENC, H265_NVENC, AV1_NVENC),
        "mp4",
        voice="aac",
    ),
    ".mov": Kind((PRORES, H264, H264_EXACT), "mov", voice="aac"),
    ".mkv": Kind((FFV1, H264, H264_EXACT), "matroska", voice="aac"),
    ".webm": Kind((VP9, VP9_EXACT, AV1), "webm", voice="libopus"),
    ".gif": Kind((GIF,), "gif", _Gif, max_fps=100, ticks_per_s=100),
    ".apng": Kind((APNG,), "apng", muxing={"plays": "0"}),
    ".webp": Kind((WEBP, WEBP_EXACT), "webp", muxing={"loop": "0"}, ticks_per_s=1000),
}
_FOLDER = Kind((PNG,), opened=PngFolder)
FILMS = tuple(suffix for suffix, kind in _KINDS.items() if kind.voice)


def kind_of(target: Path | str) -> Kind:
    suffix = Path(target).suffix.lower()
    if not suffix or str(target).endswith(("/", os.sep)):
        return _FOLDER
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
    names = dict.fromkeys(codec.name for codec in kind.codecs)
    others = {
        suffix: dict.fromkeys(c.name for c in other.codecs if c.exact or not lossless)
        for suffix, other in _KINDS.items()
    }
    if name is None or name in names:
        able = "; ".join(f"{suffix} ({', '.join(held)})" for suffix, held in others.items() if held)
        raise UsageError(f"--lossless: {name or target} cannot; a folder of PNG can, and {able}.")
    able = " or ".join(suffix for suffix, held in others.items() if name in held)
    hint = f"{name} goes into {able}" if able else f"{name} is no codec known here"
    raise UsageError(f"--codec {name}: {target} can hold {', '.join(names)}; {hint}.")


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


def usable(codec: Codec, notice: Notice) -> Codec:
    """The codec, or what stands in for it where one frame for trial does not come out of it."""
    if codec.instead is None:
        return codec
    try:
        context = av.CodecContext.create(codec.encoder, "w")
        context.width = context.height = 256
        context.pix_fmt, context.time_base = codec.pixel_format, Fraction(1, 30)
        frame = av.VideoFrame.from_ndarray(np.zeros((256, 256, 3), np.uint8), format="rgb24")
        if [*context.encode(frame.reformat(format=codec.pixel_format)), *context.encode()]:
            return codec
        fault = "no frame came out of it"
    except (av.FFmpegError, ValueError, OSError) as error:  # ValueError: not in this build
        fault = getattr(error, "strerror", None) or str(error)
    notice(f"{codec.name} does not work here ({fault}); {codec.instead.encoder} encodes instead.")
    return codec.instead


def has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _scale_for(height: int, width: int) -> int:
    """1, or the least even factor that makes the short side large enough."""
    scale = math.ceil(ENLARGED_SIDE / min(height, width))
    return scale if scale == 1 else scale + scale % 2


def _enlarge(frame: av.VideoFrame, pixel_format: str, scale: int) -> av.VideoFrame:
    """Repeat the samples of each plane both ways, those of chroma half as often in yuv420p."""
    large = av.VideoFrame(frame.width * scale, frame.height * scale, pixel_format)
    kind = np.uint16 if pixel_format.endswith("10le") else np.uint8
    planes = 1 if pixel_format == "pal8" else 3  # not the palette
    for source, target in zip(frame.planes[:planes], large.planes[:planes], strict=True):
        factor = target.height // source.height
        samples = np.frombuffer(source, kind).reshape(source.height, -1)
        wide = samples[:, : source.width].repeat(factor, axis=1)  # [h, w * factor]
        rows = np.frombuffer(target, kind).reshape(source.height, factor, -1)
        rows[:, :, : wide.shape[1]] = wide[:, None]
    return large


def _palette_graph(height: int, width: int) -> av.filter.Graph:
    """rgb24 in, pal8 out, one frame at a time. Undithered: enlarged noise would be large noise."""
    graph = av.filter.Graph()
    clock = Fraction(1, 100)
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=clock)
    split, sink = graph.add("split"), graph.add("buffersink")
    choose = graph.add("palettegen", "stats_mode=single")
    apply = graph.add("paletteuse", "new=1:dither=none")
    source.link_to(split)
    split.link_to(choose, 0, 0)
    split.link_to(apply, 1, 0)
    choose.link_to(apply, 0, 1)
    apply.link_to(sink)
    graph.configure()
    return graph


def save_png(path: Path, frame: np.ndarray, comment: Comment) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_itxt(provenance.PNG_KEYWORD, provenance.xmp_packet(comment).decode())
    Image.fromarray(frame).save(path, format="png", pnginfo=mark)
