"""Film to frames: films that others recorded, as uint8 [H, W, 3] RGB, upright, with square pixels.

A film may be hostile. Only the named file is opened, and its size is checked before it is decoded.
A damaged film gives the part that can be read. Memory does not grow with the film.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidgan.errors import DataError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"}
)
MAX_PIXELS = 64_000_000  # of one frame; 8K has 33 million
_MOST_FRAMES, _PIECE = 960, 96  # of a long film, pieces all over it are looked at
# Conversion to and from RGB needs full chroma and exact rounding.
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
# Shrinking by the filter that pictures are shrunk by, in the film's own colour space, where it
# takes a tenth of the time. Pixels differ by one grey level on average.
_SHRINKING = ACCURATE & ~Interpolation.BICUBIC | Interpolation.LANCZOS
Notice = Callable[[str], None]  # takes one line for the user
Size = tuple[int, int]  # width, height in pixels


class Place(NamedTuple):
    """How far a film was decoded."""

    frames: int = 0
    pts: int | None = None  # of the last of them, in the film's unit of time; None = it has none


_START = Place()
# FFmpeg's names of containers in which it finds a place exactly. In others, a film is decoded from
# its start.
_WITH_INDEX = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


def probe(source: Path | str) -> tuple[int, int]:
    """Read the width and height at which a video is displayed. Raises DataError."""
    with _opened(source) as (container, stream):
        _, frame = next(_decode(source, container, stream, notice=lambda line: None))
        size = _display_size(frame, stream)
        return size[::-1] if round(frame.rotation / 90) % 2 else size


def frames_in(source: Path | str) -> int:
    """About how many frames it has, as its head says; 0 = it does not say. Raises DataError."""
    with _opened(source) as (container, stream):
        seconds = (container.duration or 0) / 1e6  # from microseconds
        rate = stream.average_rate or stream.guessed_rate or 0
        return stream.frames or round(seconds * rate)


def fps_of(source: Path | str) -> float:
    """Frames per second, as its head says, else 25. Raises DataError."""
    with _opened(source) as (_, stream):
        return float(stream.average_rate or stream.guessed_rate or 25)


def read_on(
    source: Path | str, after: Place, *, every: int, size: Size | None, notice: Notice
) -> Iterator[tuple[Place, np.ndarray]]:
    """Every n-th frame after a place, each with its own: uint8 [H, W, 3], upright, with square
    pixels, as full-range RGB.

    size   crop frames about their centre and shrink them to this size; larger frames than the
           film's are not made
    A damaged or cut video gives the part that can be read, and then a notice. Raises DataError.
    """
    assert every >= 1
    with _opened(source) as (container, stream):
        stream.thread_type = "AUTO"
        convert = _Converter(stream, size)
        for place, frame in _decode(source, container, stream, notice, after):
            if (place.frames - 1) % every == 0:
                yield place, convert(frame)


def some_frames(source: Path | str, count: int, *, size: Size) -> Iterator[np.ndarray]:
    """At most `count` frames, evenly spaced over the film, found without decoding all of it."""
    with _opened(source) as (container, stream):
        convert, start_us, last = _Converter(stream, size), container.start_time or 0, None
        for number in range(count):
            at_us = start_us + (container.duration or 0) * number // count
            with contextlib.suppress(av.FFmpegError, StopIteration):
                container.seek(at_us)  # to the last keyframe before
                frame = next(container.decode(stream))
                _check_pixels(source, *_display_size(frame, stream))
                if last is None or frame.pts != last:
                    yield convert(frame)
                last = frame.pts


def pieces(source: Path | str, size: Size, *, every: int, notice: Notice) -> list[np.ndarray]:
    """All of a film, or of a long one pieces all over it: frames uint8 [F, H, W, 3] as `read_on`
    gives them. Raises DataError."""
    total = max(frames_in(source) // every, 1)
    stride = max(_PIECE, total * _PIECE // _MOST_FRAMES)
    stream = read_on(source, _START, every=every, size=size, notice=notice)
    found: dict[int, list[np.ndarray]] = {}
    for number, (_, frame) in enumerate(stream):
        if number % stride < _PIECE:
            found.setdefault(number // stride if stride > _PIECE else 0, []).append(frame)
        if sum(map(len, found.values())) >= 2 * _MOST_FRAMES:  # its head said that it were shorter
            break
    return [np.stack(piece) for piece in found.values()]


class _Converter:
    """Frames of a film to uint8 [H, W, 3]."""

    def __init__(self, stream: av.VideoStream, size: Size | None) -> None:
        self._stream, self._size = stream, size
        self._reformat, self._fields = VideoReformatter().reformat, _Fields()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        turns = round(frame.rotation / 90)  # counter-clockwise; a mirrored frame stays mirrored
        whole = _display_size(frame, self._stream)
        width, height = self._size[::-1] if self._size and turns % 2 else self._size or whole
        share, scaled = max(width / whole[0], height / whole[1]), whole
        if shrinks := share < 1:
            scaled = max(width, round(whole[0] * share)), max(height, round(whole[1] * share))
        matrix = _colorspace(frame)
        if shrinks and frame.interlaced_frame and frame.height >= 2 * scaled[1]:
            frame = self._fields.first_of(frame)
        rgb = self._reformat(
            frame,
            width=scaled[0],
            height=scaled[1],
            format="rgb24",
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=_SHRINKING if shrinks else ACCURATE,
            threads=1,
        ).to_ndarray()
        if shrinks:
            left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
            rgb = rgb[top : top + height, left : left + width]
        return np.ascontiguousarray(np.rot90(rgb, turns))


class _Fields:
    """The first field of interlaced frames: every other line, all of one moment."""

    def __init__(self) -> None:
        self._graph, self._kind = None, None

    def first_of(self, frame: av.VideoFrame) -> av.VideoFrame:
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:  # a film may change its size
            self._graph, self._kind = av.filter.Graph(), kind
            source = self._graph.add_buffer(None, *kind, time_base=frame.time_base or 1)
            field, sink = self._graph.add("field"), self._graph.add("buffersink")
            self._graph.link_nodes(source, field, sink).configure()
        self._graph.push(frame)
        return self._graph.pull()


@contextlib.contextmanager
def _opened(source: Path | str) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    if not Path(source).is_file():
        remote = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", str(source))
        hint = "only local files are read, download it" if remote else "there is no such file"
        raise DataError(f"{source}: {hint}.")
    # A file of any name may be a list of other files or addresses (ffconcat, HLS). So only plain
    # containers are read, and only this file. FFmpeg takes no absolute path for a protocol.
    formats = "mov,mp4,matroska,webm,avi,mpegts"
    options = {"format_whitelist": formats, "protocol_whitelist": "file"}
    try:
        container = av.open(str(Path(source).resolve()), options=options)
    except (av.FFmpegError, OSError) as error:
        reads = "vidgan reads MP4, MOV, MKV, WebM, AVI and MPEG-TS."
        raise DataError(f"{source}: cannot be read as video ({error.strerror}). {reads}") from error
    except UnicodeDecodeError as error:
        remove = "remove them: ffmpeg -i IN -map_metadata -1 -c copy OUT"
        raise DataError(f"{source}: its tags are not UTF-8; {remove}") from error
    with container:
        cover = av.stream.Disposition.attached_pic  # the picture of a song
        films = (s for s in container.streams.video if s.codec_context)  # None: unknown codec
        stream = next((s for s in films if not s.disposition & cover), None)
        if stream is None:
            raise DataError(f"{source}: it has no video that can be decoded (sound only?).")
        _check_pixels(source, stream.width, stream.height)
        yield container, stream


def _check_pixels(source: Path | str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{source}: frames of {width}x{height} pixels; vidgan reads at most "
            f"{MAX_PIXELS // 10**6} million pixels. Make the film smaller first."
        )


def _decode(
    source: Path | str,
    container: InputContainer,
    stream: av.VideoStream,
    notice: Notice,
    after: Place = _START,
) -> Iterator[tuple[Place, av.VideoFrame]]:
    frames, broken, end_s, damage = 0, 0, 0.0, ""
    sought = after.pts is not None and container.format.name in _WITH_INDEX
    if sought:
        frames = after.frames
        container.seek(after.pts, stream=stream)  # to the last keyframe before
    try:
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:  # a damaged packet; after the next keyframe all may be well
                broken += 1
                continue
            for frame in pictures:
                if frame.is_corrupt:
                    broken += 1
                    continue
                if sought and (frame.pts is None or frame.pts <= after.pts):
                    continue
                _check_pixels(source, *_display_size(frame, stream))
                frames, end_s = frames + 1, max(end_s, frame.time or 0.0)
                if frames > after.frames:
                    yield Place(frames, frame.pts), frame
    except av.FFmpegError as error:
        damage = error.strerror
    if not frames:
        raise DataError(f"{source}: not one frame of it can be decoded; is it damaged?")
    start_s = float((stream.start_time or 0) * stream.time_base)
    fps = stream.average_rate or stream.guessed_rate or 25
    file_s = (container.duration or 0) / 1e6  # microseconds
    stated_s = float(stream.duration * stream.time_base) if stream.duration else file_s
    missing_s = stated_s - (end_s - start_s) - float(1 / fps)
    if missing_s > max(0.2, 0.02 * end_s):
        damage = damage or f"{missing_s:.1f} s are missing"
    if broken:
        damage = damage or f"broken parts: {broken}"
    if damage:
        notice(f"{source}: damaged or cut short ({damage}); {frames} frames of it are used.")


def _display_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height with square pixels, before rotation. One side grows, none shrinks."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def _colorspace(frame: av.VideoFrame) -> Colorspace:
    """The matrix of the frame's tag (ITU-T H.273); without one, what is usual for its height."""
    tagged = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M}
    tagged |= dict.fromkeys((5, 6), Colorspace.ITU601) | dict.fromkeys((9, 10), Colorspace.BT2020)
    untagged = Colorspace.ITU601 if frame.height < 720 else Colorspace.ITU709
    return tagged.get(frame.colorspace, untagged)
