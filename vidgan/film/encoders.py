"""What writes frames: a stream of any codec, a GIF with its palettes, a folder of PNG.

Each is opened with a job, fed uint8 [H, W, 3] RGB, perhaps finished, and closed. Promises colours
right in the pixels and in the tags, and pts by index. Knows nothing of targets, renaming or force:
that a file is whole or absent is the business of `video`.
"""

import contextlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vidgan.errors import UsageError
from vidgan.film import codecs, reader
from vidgan.marks import xmp

logger = logging.getLogger(__name__)

Comment = Mapping[str, object] | None  # how a file was made; goes into it as JSON

_MOST_SIDE = 16_383  # pixels; of WebP, and about that of H.264
ENLARGED_SIDE = 512  # pixels that the short side of a small frame reaches in a film
_MATRICES = {0: Colorspace.DEFAULT, 1: Colorspace.ITU709, 6: Colorspace.ITU601}


@dataclass(frozen=True)
class Job:
    part: Path  # where to write; renamed onto the target at the end
    kind: codecs.Kind
    codec: codecs.Codec
    fps: Fraction
    scale: int | None
    quality: int
    comment: Comment
    told: set[str] = field(default_factory=set)  # said already, of all pieces of a film

    def tell(self, line: str) -> None:
        if line not in self.told:
            self.told.add(line)
            logger.warning(line)


class Encoder:
    """One stream of one codec in one container, by PyAV."""

    def __init__(self, job: Job, height: int, width: int) -> None:
        self._job, self._frames, self._packets, codec = job, 0, 0, job.codec
        self._scale = job.scale or (1 if codec.exact else _scale_for(height, width))
        self._tick = Fraction(1, job.kind.ticks_per_s) if job.kind.ticks_per_s else 1 / job.fps
        self._converter = VideoReformatter()  # one per file: each holds megabytes
        os.environ.setdefault("SVT_LOG", "1")  # or the encoder of AV1 tells its life on stderr
        muxing = codecs.muxer_options(job.kind, job.fps)
        self._container = av.open(
            str(job.part), "w", format=job.kind.container, container_options=muxing
        )
        self._container.metadata.update(xmp.tags(job.comment))
        height, width = height * self._scale, width * self._scale
        sides = codec.padded(height), codec.padded(width)
        if max(sides) > _MOST_SIDE:
            raise UsageError(
                f"--scale {self._scale}: makes {sides[1]}x{sides[0]}; a film has at most "
                f"{_MOST_SIDE:,} pixels a side, a folder of PNG may have more."
            )
        options = codec.options(job.quality, height=sides[0], width=sides[1])
        self._stream = self._container.add_stream(codec.encoder, rate=job.fps, options=options)
        self._stream.height, self._stream.width = sides
        self._stream.pix_fmt = codec.pixel_format
        self._padding = sides[0] - height, sides[1] - width
        if any(self._padding):
            job.tell(
                f"{codec.name} wants {'even ' if codec.even else ''}sides from {codec.least} "
                f"pixels: the last row or column is repeated, to {sides[1]}x{sides[0]}."
            )
        self._set_tags(self._stream.codec_context)

    def write(self, frame: np.ndarray) -> None:
        picture = self._convert(frame)
        picture.time_base, picture.pts = self._tick, self._ticks(self._frames)
        self._frames += 1
        picture.duration = self._ticks(self._frames) - picture.pts
        self._mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Leave a complete, marked file at the job's part."""
        self._mux(self._stream.encode())
        self._container.close()
        xmp.append_mark(self._job.part, self._job.comment)

    def close(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):  # a full disk says so again
            self._container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._job.codec.name == "h265":  # x265 may leave it unset in films of 1 or 2 frames
                packet.dts, self._packets = self._packets - codecs.EARLY, self._packets + 1
            self._container.mux(packet)

    def _ticks(self, frames: int) -> int:
        # From the running total, so that rounding never adds up: 3, 4, 3 hundredths at 30.
        return round(frames / self._job.fps / self._tick)

    def _set_tags(self, context: av.VideoCodecContext) -> None:
        codec = self._job.codec
        context.time_base = self._tick
        context.color_primaries, context.color_trc = 1, codec.transfer  # BT.709
        context.colorspace, context.color_range = codec.matrix, 1 if codec.matrix else 2
        if codec.tag:
            context.codec_tag = codec.tag
        if self._job.kind.voice:
            # x264 writes their number into the stream: fixed, equal input gives equal bytes.
            context.thread_type, context.thread_count = "AUTO", 4

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        """Enlarge, pad and convert to what the codec takes, tags included.

        Under an even factor each chroma sample lies within one pixel of the small frame, so that
        frame is converted at full chroma and its planes are enlarged: nothing is averaged across
        edges, and it takes a sixteenth of the time (measured, 64 to 512 pixels).
        """
        codec, form = self._job.codec, self._job.codec.pixel_format
        halved = form == "yuv420p"
        by_plane = form.startswith("yuv") and not (any(self._padding) or self._scale % (1 + halved))
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
            interpolation=reader.ACCURATE,
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
            job.tell("browsers show at most 50 frames of a GIF per second; .mp4 or .webp do more.")
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


WRITERS = {"gif": _Gif, "": PngFolder}  # by container; else Encoder


def _scale_for(height: int, width: int) -> int:
    """1, or the least even factor that makes the short side large enough."""
    scale = math.ceil(ENLARGED_SIDE / min(height, width))
    scale = min(scale + scale % 2, _MOST_SIDE // max(height, width) // 2 * 2)
    return scale if min(height, width) < ENLARGED_SIDE and scale else 1


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


def save_png(path: Path, frame: np.ndarray, comment: Comment, *, synthetic: bool = True) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    if synthetic:
        mark.add_itxt(xmp.PNG_KEYWORD, xmp.xmp_packet(comment).decode())
    Image.fromarray(frame).save(path, format="png", pnginfo=mark)
