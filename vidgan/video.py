"""Frames to film: uint8 [H, W, 3] RGB on one side, a file on the other.

Promises: exactly the frames given, at exactly the rate asked; colours right in the pixels and in
the tags; a target that is whole or absent; memory that does not grow with the number of frames.
Knows neither models nor latents, nor where frames come from.
"""

import contextlib
import errno
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vidgan import footage, provenance
from vidgan.errors import SystemFault, UsageError

Comment = Mapping[str, object] | None  # how a file was made; goes into it as JSON
Notice = Callable[[str], None]  # takes one line that the user should know and did not ask for

MAX_FPS = 1000
ENLARGED_SIDE = 512  # pixels that the short side of a small frame reaches in a film


# Writing: what can be refused is refused before a model is loaded.


def check_target(target: Path | str, *, force: bool = False) -> None:
    """Refuse a target that could not be written, while nothing is lost yet.

    Raises UsageError (unknown kind, exists without `force`, no such folder) or SystemFault (folder
    not writable, encoder missing).
    """
    path, kind = Path(target), _kind(target)
    if not path.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {path.parent}; create it first.")
    if kind is _PngFolder:
        _check_folder(path, force)
    elif path.is_dir():
        raise UsageError(f"{target}: this is a folder; give the file another name.")
    elif path.exists() and not force:
        raise UsageError(f"{target}: exists already; give another name, or --force to replace it.")
    if not _has_encoder(kind.encoder):
        raise SystemFault(
            f"{target}: this PyAV lacks the encoder {kind.encoder}, its wheel has it: "
            "pip install --force-reinstall --only-binary av av"
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SystemFault(f"{path.parent}: cannot be written to ({error.strerror}).") from error


def check_fps(fps: Fraction | float | str) -> Fraction:
    """Frames per second as an exact fraction: 30, 12.5, "24000/1001"; 23.976 means 24000/1001."""
    try:
        rate = Fraction(str(fps)).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_FPS:
        raise UsageError(
            f"--fps {fps}: a number above 0, at most {MAX_FPS}: for example 30, 12.5, 24000/1001."
        )
    # Decimals such as 23.98 and 29.97 are how people write the rates of NTSC.
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    if rate.denominator > 1 and "/" not in str(fps) and abs(rate - ntsc) < rate / 5000:
        return ntsc
    return rate


class VideoWriter:
    """Write frames to a target whose name tells the kind: .mp4, .gif, .webp, or a folder of PNG.

        with VideoWriter("out.mp4", fps=30) as video:
            video.write(frame)

    scale    whole factor of nearest-neighbour enlargement; None: small frames grow until the short
             side has 512 pixels (PNG: never), because film keeps colour at half resolution
    quality  0 (smallest file) to 100 (best); GIF and PNG take no notice

    The target appears at the end of the with-block, complete and marked as synthetic, or not at
    all: after an exception, or without a frame, nothing is left. Raises what `check_target` and
    `check_fps` raise, and SystemFault when the disk fills.
    """

    def __init__(
        self,
        target: Path | str,
        *,
        fps: Fraction | float | str = 30,
        scale: int | None = None,
        quality: int = 80,
        force: bool = False,
        comment: Comment = None,
        notice: Notice = lambda line: None,
    ) -> None:
        check_target(target, force=force)
        self.target, self._kind = Path(target), _kind(target)
        self.fps = check_fps(fps)
        if self.fps > self._kind.max_fps:
            raise UsageError(f"--fps {fps}: {target} can hold at most {self._kind.max_fps}.")
        if scale is not None and scale < 1:
            raise UsageError(f"--scale {scale}: a whole number from 1.")
        if not 0 <= quality <= 100:
            raise UsageError(f"--quality {quality}: from 0 (smallest file) to 100 (best).")
        self.frames_written = 0
        self._job = _Job(_part(self.target), self.fps, scale, quality, comment, notice)
        self._file: _Encoder | _PngFolder | None = None  # opened when a frame tells the size

    def __enter__(self) -> Self:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3]; all frames are of one size."""
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        with self._disk_faults():
            if self._file is None:
                self._file = self._kind(self._job, *frame.shape[:2])
            self._file.write(np.ascontiguousarray(frame))
        self.frames_written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._file and error is None:
                with self._disk_faults():
                    self._file.finish()
                    _publish(self._job.part, self.target)
        finally:
            if self._file:
                self._file.close()
            _remove(self._job.part)
            _remove(self._job.copy)

    @contextlib.contextmanager
    def _disk_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.FFmpegError) as error:  # FFmpeg's errors of the disk are both
            reason = f"cannot be written ({error.strerror})."
            # EFBIG: a limit of the file system or the process on the size of one file.
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                # Twice: an MP4 is copied once to bring its index to the front.
                needed_mb = 2 * _size_mb(self._job.part)
                reason = (
                    f"no space left after {self.frames_written} frames, and these alone need "
                    f"about {needed_mb} MB; free some, or write elsewhere."
                )
            raise SystemFault(f"{self.target}: {reason}") from error


def write_png(target: Path | str, frame: np.ndarray, comment: Comment = None) -> None:
    """Write one marked picture, uint8 [H, W, 3], whole or not at all. Raises SystemFault."""
    target = Path(target)
    part = _part(target)
    try:
        _save_png(part, frame, comment)
        _publish(part, target)
    except OSError as error:
        raise SystemFault(f"{target}: cannot be written ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


# The kinds of file. Each is opened with a job, fed frames, perhaps finished, and closed.


@dataclass(frozen=True)
class _Job:
    part: Path  # where to write; renamed onto the target at the end
    fps: Fraction
    scale: int | None
    quality: int
    comment: Comment
    notice: Notice

    @property
    def copy(self) -> Path:  # a second file that a kind may need beside `part`
        return self.part.with_name(f"{self.part.name}-copy")


class _Encoder:
    """One stream in one container, by PyAV. A kind below says with which settings."""

    encoder: ClassVar[str]
    container: ClassVar[str]
    container_options: ClassVar[dict[str, str]]
    pixel_format: ClassVar[str] = "yuv420p"
    max_fps: ClassVar[int] = MAX_FPS
    ticks_per_s: ClassVar[int | None] = None  # of the container's clock; None: a tick per frame
    even_sides: ClassVar[bool] = False

    def __init__(self, job: _Job, height: int, width: int) -> None:
        self._job, self._frames = job, 0
        self._scale = job.scale or _scale_for(height, width)
        self._tick = Fraction(1, self.ticks_per_s) if self.ticks_per_s else 1 / job.fps
        self._converter = VideoReformatter()  # one per file: each holds megabytes
        self._container = av.open(
            str(job.part), "w", format=self.container, container_options=self.container_options
        )
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
        self._polish()
        provenance.append_mark(self._job.part, self._job.comment)

    def close(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):  # a full disk says so again
            self._container.close()

    def _options(self, quality: int) -> dict[str, str]:
        return {}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        raise NotImplementedError

    def _polish(self) -> None:
        """What a kind does to its closed file."""

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


class _Mp4(_Encoder):
    """H.264 that every browser and phone plays, BT.709 in pixels and tags."""

    encoder = "libx264"
    container = "mp4"
    even_sides = True
    # While it grows the file is in fragments, so that a killed process leaves something that plays.
    container_options: ClassVar[dict[str, str]] = {
        "movflags": "+hybrid_fragmented+frag_every_frame",
        "flush_packets": "1",
        "fflags": "+bitexact",
    }

    def __init__(self, job: _Job, height: int, width: int) -> None:
        super().__init__(job, height, width)
        if any(self._padding):
            size = f"{self._stream.width}x{self._stream.height}"
            job.notice(f"H.264 wants even sides: the last row or column is doubled, to {size}.")
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        # x264 writes the number of threads into the stream: fixed, equal input gives equal bytes.
        context.thread_type, context.thread_count = "AUTO", 4
        self._tell(self._container)

    def _options(self, quality: int) -> dict[str, str]:
        # Measured at 512 pixels, on enlarged small frames and on native ones: superfast at crf 12
        # is 1.2 to 1.9 times as fast as veryfast at crf 16 and 1.5 to 2 dB closer to the input, in
        # a file at most a tenth larger. Medium at crf 16 takes four times as long, for +1 or -1 dB.
        return {"preset": "superfast", "crf": f"{max(1, 0.6 * (100 - quality)):g}"}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        return self._yuv420(frame, Colorspace.ITU709)

    def _tell(self, container: OutputContainer) -> None:
        if self._job.comment:
            container.metadata["comment"] = provenance.comment_json(self._job.comment)

    def _polish(self) -> None:
        """Bring the index to the front, so that a browser starts before it has the whole file."""
        with av.open(str(self._job.part)) as source:
            film = source.streams.video[0]
            # The file's clock as fine as the track's: its length is exact, not in milliseconds.
            options = {
                "movflags": "+faststart",
                "movie_timescale": str(film.time_base.denominator),
                "fflags": "+bitexact",
            }
            with av.open(str(self._job.copy), "w", format="mp4", container_options=options) as copy:
                self._tell(copy)
                stream, start = copy.add_stream_from_template(film), None
                for packet in source.demux(film):
                    if packet.dts is None:  # the last one is empty and only ends the stream
                        break
                    # Time in fragments cannot begin below zero, so frame 0 stands a bit late.
                    start = packet.pts if start is None else start
                    packet.pts, packet.dts = packet.pts - start, packet.dts - start
                    packet.stream = stream
                    copy.mux(packet)
        self._job.copy.replace(self._job.part)


class _Gif(_Encoder):
    """256 colours chosen per frame; a clock of hundredths, so that delays alternate."""

    encoder = container = "gif"
    container_options: ClassVar[dict[str, str]] = {"fflags": "+bitexact"}
    pixel_format = "pal8"
    ticks_per_s = max_fps = 100

    def __init__(self, job: _Job, height: int, width: int) -> None:
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


class _Webp(_Encoder):
    """Lossy animated WebP: every frame stands alone, so that none waits in memory or is merged."""

    encoder = "libwebp"
    container = "webp"
    container_options: ClassVar[dict[str, str]] = {"loop": "0", "fflags": "+bitexact"}
    ticks_per_s = 1000

    def _options(self, quality: int) -> dict[str, str]:
        # Measured: level 0 is three times as fast as the default 4, for a file a tenth larger.
        return {"quality": str(quality), "compression_level": "0"}

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        return self._yuv420(frame, Colorspace.ITU601)  # fixed by the format


class _PngFolder:
    """frame000000.png, frame000001.png, ...: the frames as they came."""

    encoder = "png"
    max_fps = MAX_FPS

    def __init__(self, job: _Job, height: int, width: int) -> None:
        self._job, self._frames = job, 0
        job.part.mkdir()

    def write(self, frame: np.ndarray) -> None:
        scale = self._job.scale or 1
        path = self._job.part / f"frame{self._frames:06d}.png"
        _save_png(path, frame.repeat(scale, axis=0).repeat(scale, axis=1), self._job.comment)
        self._frames += 1

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


_KINDS = {".mp4": _Mp4, ".gif": _Gif, ".webp": _Webp}


def _kind(target: Path | str) -> type[_Encoder] | type[_PngFolder]:
    suffix = Path(target).suffix.lower()
    if not suffix or str(target).endswith(("/", os.sep)):
        return _PngFolder
    if suffix not in _KINDS:
        raise UsageError(
            f"{target}: {suffix} is no kind of file that can be written; known are "
            f"{', '.join(_KINDS)}, and a name without a suffix for a folder of PNG."
        )
    return _KINDS[suffix]


def _check_folder(path: Path, force: bool) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: exists and is not a folder; give another name.")
    held = list(path.iterdir()) if path.is_dir() else []
    if held and not force:
        raise UsageError(f"{path}: holds files already; give another name, or --force.")
    if other := [p.name for p in held if not re.fullmatch(r"frame\d{6,}\.png", p.name)]:
        # --force replaces earlier frames, never somebody's pictures.
        raise UsageError(f"{path}: holds more than frames ({other[0]}); give another name.")


def _part(target: Path) -> Path:
    # An absolute path, so that FFmpeg never takes "a:b.mp4" for a protocol.
    return target.absolute().with_name(f".{target.name}.part-{os.getpid()}")


def _has_encoder(name: str) -> bool:
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


def _save_png(path: Path, frame: np.ndarray, comment: Comment) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_itxt(provenance.PNG_KEYWORD, provenance.xmp_packet(comment).decode())
    Image.fromarray(frame).save(path, format="png", pnginfo=mark)


def _publish(part: Path, target: Path) -> None:
    """Rename a finished file or folder onto its target, whose old content goes."""
    if part.is_dir():
        if target.is_dir():
            old = part.with_name(f"{part.name}-old")
            target.rename(old)
            part.rename(target)
            shutil.rmtree(old)
        else:
            part.rename(target)
        return
    with part.open("r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())
    part.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size_mb(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return max(1, math.ceil(sum(file.stat().st_size for file in files if file.is_file()) / 1e6))
