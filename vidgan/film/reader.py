"""Film to frames: films that others recorded, as uint8 [H, W, 3] RGB, upright, with square pixels.

A film may be hostile. Only the named file is opened, and its size is checked before it is decoded.
A damaged film gives the part that can be read. Memory does not grow with the film.
"""

import contextlib
import itertools
import logging
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidgan.errors import DataError

logger = logging.getLogger(__name__)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"}
)
MAX_PIXELS = 64_000_000  # of one frame; 8K has 33 million
# Conversion to and from RGB needs full chroma and exact rounding.
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
Notice = Callable[[str], None]  # takes one line for the user


def probe(source: Path | str) -> tuple[int, int]:
    """Read the width and height at which a video is displayed. Raises DataError."""
    with _opened(source) as (container, stream):
        frame = next(_decode(source, container, stream, notice=lambda line: None))
        size = _display_size(frame, stream)
        return size[::-1] if round(frame.rotation / 90) % 2 else size


def read_frames(
    source: Path | str, *, every: int = 1, notice: Notice = logger.warning
) -> Iterator[np.ndarray]:
    """Give every n-th frame, uint8 [H, W, 3], upright, with square pixels, as full-range RGB.

    A damaged or cut video gives the part that can be read, and then a notice. Raises DataError.
    """
    assert every >= 1
    with _opened(source) as (container, stream):
        stream.thread_type = "AUTO"
        converter = VideoReformatter()
        for frame in itertools.islice(_decode(source, container, stream, notice), 0, None, every):
            width, height = _display_size(frame, stream)
            rgb = converter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                src_colorspace=_colorspace(frame),
                dst_color_range=ColorRange.JPEG,
                interpolation=ACCURATE,
                threads=1,
            )
            turns = round(frame.rotation / 90)  # counter-clockwise; a mirrored frame stays mirrored
            yield np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns))


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
    source: Path | str, container: InputContainer, stream: av.VideoStream, notice: Notice
) -> Iterator[av.VideoFrame]:
    frames, broken, end_s, damage = 0, 0, 0.0, ""
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
                _check_pixels(source, *_display_size(frame, stream))
                frames, end_s = frames + 1, max(end_s, frame.time or 0.0)
                yield frame
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
