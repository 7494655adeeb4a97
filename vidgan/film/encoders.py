"""The encoders: of any codec in one file, of a GIF with its palettes, of a folder of PNG files.

They give frames uint8 [H, W, 3] exact times, and colours that are right in pixels and in tags.
Frames uint8 [H, W, 4] keep their transparency, or get a ground to be in front of.
"""

import contextlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vidgan.errors import UsageError
from vidgan.film import alpha, codecs, reader
from vidgan.film.fit import Fit
from vidgan.film.target import Target
from vidgan.marks import xmp

logger = logging.getLogger(__name__)
Tagged = TypeVar("Tagged", av.VideoCodecContext, av.VideoFrame)
Comment = Mapping[str, object] | None  # how a file was made; written into it as JSON
_MAX_SIDE = 16_383  # pixels, in WebP; H.264 takes about as many
_LARGE_SIDE = 8192  # pixels; few programs show more
_ENLARGED_SIDE = 512  # pixels of the short side of small frames, after the default enlargement
_MATRICES = {0: Colorspace.DEFAULT, 1: Colorspace.ITU709, 6: Colorspace.ITU601}
_NAMES = {0: "bt709", 1: "bt709", 6: "bt601"}  # for FFmpeg's filters, which ignore it in RGB


@dataclass(frozen=True)
class Job:
    part: Path  # the file or folder to write
    target: Target
    comment: Comment
    logged: set[str] = field(default_factory=set)  # by this and by all other pieces of a film

    def log_once(self, line: str) -> None:
        if line not in self.logged:
            self.logged.add(line)
            logger.warning(line)


class Encoder:
    """A stream of one codec in one container."""

    def __init__(self, job: Job, height: int, width: int, planes: int) -> None:
        self._clear = planes == 4
        if self._clear:
            job = replace(job, target=replace(job.target, codec=job.target.codec.with_alpha()))
        self._job, self._frames, self._packets, target = job, 0, 0, job.target
        codec, kind = target.codec, target.kind
        self._fit = fit_of(target, height, width, planes)
        self._scale, height, width = size_of(target, height, width)
        self._time_base = Fraction(1, kind.ticks_per_s) if kind.ticks_per_s else 1 / target.fps
        self._converter = VideoReformatter()  # one per file, because each takes megabytes
        os.environ.setdefault("SVT_LOG", "1")  # or the encoder of AV1 writes to stderr
        self._container = av.open(
            str(job.part), "w", format=kind.muxer, container_options=kind.options(target.fps)
        )
        self._container.metadata.update(xmp.tags(job.comment))
        sides = codec.padded(height), codec.padded(width)
        options = codec.options(target.quality, min(sides))
        self._stream = self._container.add_stream(codec.encoder, rate=target.fps, options=options)
        self._stream.height, self._stream.width = sides
        self._stream.pix_fmt = codec.pixel_format
        self._padding = sides[0] - height, sides[1] - width
        if any(self._padding):
            job.log_once(
                f"{codec.name} cannot encode {width}x{height} pixels: the last row or column is "
                f"repeated, which makes {sides[1]}x{sides[0]}."
            )
        self._set_tags(self._stream.codec_context)

    def write(self, frame: np.ndarray) -> None:
        picture = self._convert(frame)
        picture.time_base, picture.pts = self._time_base, self._ticks(self._frames)
        self._frames += 1
        picture.duration = self._ticks(self._frames) - picture.pts
        packets = self._stream.encode(picture)
        if self._frames == 1 and self._job.target.codec.encoder == "libsvtav1":
            _end_real_time()
        self._mux(packets)

    def finish(self) -> None:
        """Complete the file and mark it."""
        self._mux(self._stream.encode())
        self._container.close()
        if self._clear and self._job.target.kind.muxer == "webp":
            _end_blending(self._job.part)
        xmp.append_mark(self._job.part, self._job.comment)

    def close(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):  # a full disk was reported before
            self._container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._job.target.codec.name == "h265":  # x265 may set no dts in 1 or 2 frames
                packet.dts = self._packets - codecs.REORDER_FRAMES
                self._packets += 1
            self._container.mux(packet)

    def _ticks(self, frames: int) -> int:
        # Rounding the total, not each frame, adds up no errors: 3, 4, 3 hundredths at 30 fps.
        return round(frames / self._job.target.fps / self._time_base)

    def _set_tags(self, context: av.VideoCodecContext) -> None:
        codec = self._job.target.codec
        context.time_base = self._time_base
        self._tagged(context)
        if codec.mp4_tag:
            context.codec_tag = codec.mp4_tag
        if self._job.target.kind.audio_encoder:
            # x264 writes the number of threads into the file. A fixed number gives equal bytes.
            context.thread_type, context.thread_count = "AUTO", 4

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        """Enlarge, pad and convert a frame to the codec's pixel format, and tag it.

        If the scale is even, each chroma sample lies within one pixel of the small frame. Then the
        small frame is converted at full chroma and its planes are enlarged. This averages nothing
        across edges, and takes a sixteenth of the time (measured, 64 to 512 pixels).
        """
        codec, pixel_format = self._job.target.codec, self._job.target.codec.pixel_format
        if self._clear:
            frame = alpha.straight(self._fit(frame).to_ndarray() if self._fit else frame)
        elif self._fit:
            return self._tagged(self._fit(frame))
        half_chroma = pixel_format in ("yuv420p", "yuva420p")
        by_plane = pixel_format.startswith("yuv") and not (
            any(self._padding) or self._scale % (1 + half_chroma)
        )
        if not by_plane:
            frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
            rows, columns = self._padding
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = self._converter.reformat(
            av.VideoFrame.from_numpy_buffer(frame, format="rgba" if self._clear else "rgb24"),
            format=pixel_format.replace("420p", "444p") if by_plane else pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG if codec.matrix else ColorRange.JPEG,
            dst_colorspace=_MATRICES[codec.matrix],
            interpolation=reader.ACCURATE,
            threads=1,
        )
        if by_plane and self._scale > 1:
            picture = _enlarge(picture, pixel_format, self._scale)
        return self._tagged(picture)

    def _tagged(self, of: Tagged) -> Tagged:
        """Say what its colours are. ProRes takes its tags from the frames."""
        codec = self._job.target.codec
        of.colorspace, of.color_range = codec.matrix, 1 if codec.matrix else 2
        of.color_primaries, of.color_trc = 1, codec.transfer  # 1: BT.709
        return of


class _Gif(Encoder):
    """256 colours chosen for each frame. Times are in hundredths, so that durations alternate."""

    def __init__(self, job: Job, height: int, width: int, planes: int) -> None:
        super().__init__(job, height, width, planes)
        if job.target.fps > 50:
            job.log_once("browsers show at most 50 fps of a GIF; .mp4 and .webp can show more.")
        width, height = job.target.resolution or (width, height)
        self._format = "rgba" if self._clear else "rgb24"
        self._palette = _palette_graph(height, width, self._format)

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        if self._clear:
            frame = alpha.straight(self._fit(frame).to_ndarray() if self._fit else frame)
        fits = self._clear or not self._fit
        rgb = av.VideoFrame.from_numpy_buffer(frame, self._format) if fits else self._fit(frame)
        rgb.pts, rgb.time_base = self._frames, self._time_base  # the graph only needs rising times
        self._palette.push(rgb)
        indexed = self._palette.pull()
        large = _enlarge(indexed, "pal8", self._scale)
        large.planes[1].update(bytes(indexed.planes[1]))  # the palette
        return large


class _PngFolder:
    """The files frame000000.png, frame000001.png, ... with the frames unchanged."""

    def __init__(self, job: Job, height: int, width: int, planes: int) -> None:
        self._job, self._frames = job, 0
        self._fit = fit_of(job.target, height, width, planes)
        self._scale, *_ = size_of(job.target, height, width)
        job.part.mkdir()

    def write(self, frame: np.ndarray) -> None:
        if self._fit:
            frame = self._fit(frame).to_ndarray()
        path = self._job.part / f"frame{self._frames:06d}.png"
        frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        save_png(path, frame, self._job.comment)
        self._frames += 1

    def close(self) -> None:
        pass  # each file is complete already

    finish = close


class _OnGround:
    """Frames with transparency in front of a colour or a picture, and then to another encoder."""

    def __init__(self, job: Job, height: int, width: int) -> None:
        from PIL import Image, ImageOps

        # Frames are enlarged before, so that a picture stays sharp and is behind bars, too.
        target, ground = job.target, job.target.ground
        self._fit = fit_of(target, height, width, 4)
        self._scale, height, width = size_of(target, height, width)
        ground = np.full((1, 1, 3), 255, np.uint8) if ground is None else ground
        self._ground = np.asarray(ImageOps.fit(Image.fromarray(ground), (width, height)))
        target = replace(target, scale=1, resolution=None)
        self._encoder = open_encoder(replace(job, target=target), height, width)
        self.finish, self.close = self._encoder.finish, self._encoder.close

    def write(self, frame: np.ndarray) -> None:
        if self._fit:
            frame = self._fit(frame).to_ndarray()
        frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        self._encoder.write(alpha.over(frame, self._ground))


def open_encoder(
    job: Job, height: int, width: int, planes: int = 3
) -> Encoder | _PngFolder | _OnGround:
    if planes == 4 and job.target.flattens:
        return _OnGround(job, height, width)
    kind = {"gif": _Gif, "": _PngFolder}.get(job.target.kind.muxer, Encoder)
    return kind(job, height, width, planes)


def size_of(target: Target, height: int, width: int) -> tuple[int, int, int]:
    """The scale of frames, and their height and width in the film. Raises UsageError."""
    scale = target.scale or (1 if target.codec.lossless else _default_scale(height, width))
    if target.resolution:
        scale, (width, height) = 1, target.resolution
    sides = height * scale, width * scale
    if max(map(target.codec.padded, sides)) > _MAX_SIDE:
        raise UsageError(
            f"frames of {sides[1]}x{sides[0]} pixels; at most {_MAX_SIDE:,} per side are possible."
        )
    return scale, *sides


def fit_of(target: Target, height: int, width: int, planes: int) -> Fit | None:
    """What brings frames to the exact size that is asked for; those with alpha stay as they are."""
    if not (size := target.resolution):
        return None
    codec = target.codec
    pixels = "rgb24" if codec.pixel_format == "pal8" else codec.pixel_format
    pixels, matrix = "rgba" if planes == 4 else pixels, _NAMES[codec.matrix]
    return Fit((width, height), size, how=target.fit, pixel_format=pixels, matrix=matrix)


def check_size(target: Target, height: int, width: int, *, yes: bool) -> None:
    """Refuse frames that are too large and, unless `yes`, ones that nobody asks for on purpose."""
    aspect = width / height
    _, height, width = size_of(target, height, width)
    if max(height, width) > _LARGE_SIDE and not yes:
        raise UsageError(
            f"frames of {width}x{height} pixels, which few programs show; add --yes to go on."
        )
    lost = 1 - min(width / height / aspect, aspect * height / width)
    if target.fit == "crop" and lost > 0.02:
        logger.info(f"{lost:.0%} of each frame is cut off; to show all: --fit pad or --fit blur.")


def save_png(
    path: Path | BinaryIO, frame: np.ndarray, comment: Comment, *, synthetic: bool = True
) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text("Software", "vidgan")
    if synthetic:
        mark.add_itxt(xmp.PNG_KEYWORD, xmp.xmp_packet(comment).decode())
    frame = alpha.straight(frame) if frame.shape[2] == 4 else frame
    Image.fromarray(frame).save(path, format="png", pnginfo=mark)


def _end_blending(webp: Path) -> None:
    """Let each frame of a WebP replace the last. FFmpeg lays it over that, which would stay."""
    with webp.open("r+b") as file:
        at, end = 12, os.fstat(file.fileno()).st_size  # behind RIFF, its size, and WEBP
        while at < end:
            file.seek(at)
            kind, size = file.read(4), int.from_bytes(file.read(4), "little")
            if kind == b"ANMF":
                file.seek(at + 23)  # the flags are the last of 16 bytes; bit 1 is for no blending
                file.write(b"\x02")
            at += 8 + size + size % 2


def _end_real_time() -> None:
    """Make all threads of this process ordinary ones again.

    If the user is root, SVT-AV1 makes its threads, and the one that opens it, real-time. They and
    every program started later would then take the cores from all others.
    """
    for task in Path("/proc/self/task").glob("*"):  # none outside Linux
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            if os.sched_getscheduler(int(task.name)) == os.SCHED_FIFO:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


def _default_scale(height: int, width: int) -> int:
    """How much to enlarge small frames, whose colour at half resolution would blur: even, or 1."""
    scale = math.ceil(_ENLARGED_SIDE / min(height, width))
    scale = min(scale + scale % 2, _MAX_SIDE // max(height, width) // 2 * 2)
    return scale if min(height, width) < _ENLARGED_SIDE and scale else 1


def _enlarge(frame: av.VideoFrame, pixel_format: str, scale: int) -> av.VideoFrame:
    """Repeat the samples of each plane both ways; those of chroma in yuv420p half as often."""
    large = av.VideoFrame(frame.width * scale, frame.height * scale, pixel_format)
    dtype = np.uint16 if pixel_format.endswith("10le") else np.uint8
    planes = 1 if pixel_format == "pal8" else None  # the second plane of pal8 is the palette
    for source, target in zip(frame.planes[:planes], large.planes[:planes], strict=True):
        factor = target.height // source.height
        samples = np.frombuffer(source, dtype).reshape(source.height, -1)
        wide = samples[:, : source.width].repeat(factor, axis=1)  # [h, w * factor]
        rows = np.frombuffer(target, dtype).reshape(source.height, factor, -1)
        rows[:, :, : wide.shape[1]] = wide[:, None]
    return large


def _palette_graph(height: int, width: int, pixel_format: str) -> av.filter.Graph:
    """A filter to pal8. It does not dither, because enlarged noise would be visible."""
    graph = av.filter.Graph()
    time_base = Fraction(1, 100)
    source = graph.add_buffer(width=width, height=height, format=pixel_format, time_base=time_base)
    split, sink = graph.add("split"), graph.add("buffersink")
    choose = graph.add("palettegen", "stats_mode=single")
    apply = graph.add("paletteuse", "new=1:dither=none")
    graph.link_nodes(source, split, choose)
    split.link_to(apply, 1, 0)
    choose.link_to(apply, 0, 1)
    graph.link_nodes(apply, sink).configure()
    return graph
