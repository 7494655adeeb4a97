"""The kinds of file that frames become: one class each, over PyAV or Pillow.

Each is opened with a job, fed uint8 [H, W, 3] RGB, perhaps finished, and closed. Promises colours
right in the pixels and in the tags, and pts by index. Knows nothing of targets, renaming or force:
that a file is whole or absent is the business of `video`.
"""

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vidgan import footage, provenance
from vidgan.errors import UsageError
from vidgan.footage import Notice

Comment = Mapping[str, object] | None  # how a file was made; goes into it as JSON

MAX_FPS = 1000
ENLARGED_SIDE = 512  # pixels that the short side of a small frame reaches in a film


@dataclass(frozen=True)
class Job:
    part: Path  # where to write; renamed onto the target at the end
    fps: Fraction
    scale: int | None
    quality: int
    comment: Comment
    notice: Notice


class Encoder:
    """One stream in one container, by PyAV. A kind below says with which settings."""

    encoder: ClassVar[str]
    container: ClassVar[str]
    pixel_format: ClassVar[str] = "yuv420p"
    max_fps: ClassVar[int] = MAX_FPS
    ticks_per_s: ClassVar[int | None] = None  # of the container's clock; None: a tick per frame
    even_sides: ClassVar[bool] = False

    def __init__(self, job: Job, height: int, width: int) -> None:
        self._job, self._frames = job, 0
        self._scale = job.scale or _scale_for(height, width)
        self._tick = Fraction(1, self.ticks_per_s) if self.ticks_per_s else 1 / job.fps
        self._converter = VideoReformatter()  # one per file: each holds megabytes
        self._container = av.open(
            str(job.part),
            "w",
            format=self.container,
            container_options={"fflags": "+bitexact"} | self._container_options(),
        )
        self._container.metadata.update(provenance.tags(job.comment))
        options = {"flags": "+bitexact"} | self._options(job.quality)
        self._stream = self._container.add_stream(self.encoder, rate=job.fps, options=options)
        height, width = height * self._scale, width * self._scale
        self._padding = (height % 2, width % 2) if self.even_sides else (0, 0)
        self._stream.height = height + self._padding[0]
        self._stream.width = width + self._padding[1]
        self._stream.pix_fmt = self.pixel_format
        self._stream.codec_context.time_base = self._tick

    def write(self, frame: np.ndarray) -> None:
        picture = self._convert(frame)
        picture.time_base = self._tick
        # From the running total, so that rounding never adds up: 3, 4, 3 hundredths at 30.
        picture.pts = round(self._frames / self._job.fps / self._tick)
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

    def _options(self, quality: int) -> dict[str, str]:
        return {}

    def _container_options(self) -> dict[str, str]:
        return {}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        raise NotImplementedError

    def _yuv420(self, frame: np.ndarray, colorspace: Colorspace) -> av.VideoFrame:
        """Enlarge, pad and convert to limited-range 4:2:0.

        Under an even factor each chroma sample lies within one pixel of the small frame, so that
        frame is converted at full chroma and its planes are enlarged: nothing is averaged across
        edges, and it takes a sixteenth of the time (measured, 64 to 512 pixels).
        """
        by_plane = self._scale % 2 == 0
        if not by_plane:
            frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
            rows, columns = self._padding
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        yuv = self._converter.reformat(
            av.VideoFrame.from_numpy_buffer(frame, format="rgb24"),
            format="yuv444p" if by_plane else "yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=colorspace,
            interpolation=footage.ACCURATE,
            threads=1,
        )
        chroma = self._scale // 2
        return _enlarge(yuv, "yuv420p", (self._scale, chroma, chroma)) if by_plane else yuv


class _Mp4(Encoder):
    """H.264 that every browser and phone plays, BT.709 in pixels and tags."""

    encoder = "libx264"
    container = "mp4"
    even_sides = True

    def __init__(self, job: Job, height: int, width: int) -> None:
        super().__init__(job, height, width)
        if any(self._padding):
            size = f"{self._stream.width}x{self._stream.height}"
            job.notice(f"H.264 wants even sides: the last row or column is doubled, to {size}.")
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        # x264 writes the number of threads into the stream: fixed, equal input gives equal bytes.
        context.thread_type, context.thread_count = "AUTO", 4

    def _container_options(self) -> dict[str, str]:
        # The index in front, so that a browser starts before it has the whole file; and the
        # file's clock as fine as the track's: its length is exact, not in milliseconds.
        return {"movflags": "+faststart", "movie_timescale": str(self._job.fps.numerator)}

    def _options(self, quality: int) -> dict[str, str]:
        # Measured at 512 pixels, on enlarged small frames and on native ones: superfast at crf 12
        # is 1.2 to 1.9 times as fast as veryfast at crf 16 and 1.5 to 2 dB closer to the input, in
        # a file at most a tenth larger. Medium at crf 16 takes four times as long, for +1 or -1 dB.
        return {"preset": "superfast", "crf": f"{max(1, 0.6 * (100 - quality)):g}"}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        return self._yuv420(frame, Colorspace.ITU709)


class _Gif(Encoder):
    """256 colours chosen per frame; a clock of hundredths, so that delays alternate."""

    encoder = container = "gif"
    pixel_format = "pal8"
    ticks_per_s = max_fps = 100

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
        large = _enlarge(indexed, "pal8", (self._scale,))
        large.planes[1].update(bytes(indexed.planes[1]))  # the palette
        return large


class _Webp(Encoder):
    """Lossy animated WebP: every frame stands alone, so that none waits in memory or is merged."""

    encoder = "libwebp"
    container = "webp"
    ticks_per_s = 1000

    def _container_options(self) -> dict[str, str]:
        return {"loop": "0"}

    def _options(self, quality: int) -> dict[str, str]:
        # Measured: level 0 is three times as fast as the default 4, for a file a tenth larger.
        return {"quality": str(quality), "compression_level": "0"}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        return self._yuv420(frame, Colorspace.ITU601)  # fixed by the format


class PngFolder:
    """frame000000.png, frame000001.png, ...: the frames as they came."""

    encoder = "png"
    max_fps = MAX_FPS

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


_KINDS = {".mp4": _Mp4, ".gif": _Gif, ".webp": _Webp}


def kind_of(target: Path | str) -> type[Encoder] | type[PngFolder]:
    suffix = Path(target).suffix.lower()
    if not suffix or str(target).endswith(("/", os.sep)):
        return PngFolder
    if suffix not in _KINDS:
        raise UsageError(
            f"{target}: {suffix} is no kind of file that can be written; known are "
            f"{', '.join(_KINDS)}, and a name without a suffix for a folder of PNG."
        )
    return _KINDS[suffix]


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


def _enlarge(frame: av.VideoFrame, pixel_format: str, factors: Sequence[int]) -> av.VideoFrame:
    """Repeat the samples of each plane, plane i by factors[i] both ways; 1 byte per sample."""
    width, height = frame.width * factors[0], frame.height * factors[0]
    large = av.VideoFrame(width, height, pixel_format)
    for source, target, factor in zip(frame.planes, large.planes, factors, strict=False):
        samples = np.frombuffer(source, np.uint8).reshape(source.height, source.line_size)
        wide = samples[:, : source.width].repeat(factor, axis=1)  # [h, w * factor]
        rows = np.frombuffer(target, np.uint8).reshape(source.height, factor, target.line_size)
        rows[:, :, : wide.shape[1]] = wide[:, None]
    return large


def _palette_graph(height: int, width: int) -> av.filter.Graph:
    """rgb24 in, pal8 out, one frame at a time. Undithered: enlarged noise would be large noise."""
    graph = av.filter.Graph()
    clock = Fraction(1, _Gif.ticks_per_s)
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
