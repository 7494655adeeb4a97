"""Film to frames: what others recorded becomes uint8 [H, W, 3] RGB, upright, pixels square.

A film is hostile until proved otherwise: nothing is opened but the named file, sizes are capped
before decoding, and a damaged one gives the part that can be read. Memory stays flat.
"""

import contextlib
import logging
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

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"}
)
MAX_PIXELS = 64_000_000  # of one frame that is read; 8K has 33 million

# Bicubic, and neither colour nor rounding cut short: what the conversion to and from RGB needs.
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)

Notice = Callable[[str], None]  # takes one line that the user should know and did not ask for


class VideoInfo(NamedTuple):
    width: int  # as displayed: turned upright, pixels square
    height: int


def probe(source: Path | str) -> VideoInfo:
    """Look at the head and the first frame of a video. Raises DataError."""
    with _opened(source) as (container, stream):
        frame = next(_decode(source, container, stream, notice=lambda line: None))
        size = _display_size(frame, stream)
        return VideoInfo(*(size[::-1] if _quarter_turns(frame) % 2 else size))


def read_frames(
    source: Path | str, *, every: int = 1, notice: Notice = logger.warning
) -> Iterator[np.ndarray]:
    """Stream every n-th frame, uint8 [H, W, 3], turned upright, pixels square, full-range RGB.

    A damaged or cut video gives the part that can be read, then a notice. Raises DataError: not a
    video, no frame to decode, frames larger than MAX_PIXELS.
    """
    assert every >= 1
    with _opened(source) as (container, stream):
        stream.thread_type = "AUTO"
        converter = VideoReformatter()
        for index, frame in enumerate(_decode(source, container, stream, notice)):
            if index % every == 0:
                yield _upright_rgb(frame, stream, converter)


@contextlib.contextmanager
def _opened(source: Path | str) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    if not Path(source).is_file():
        remote = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", str(source))
        hint = "only local files are read, download it" if remote else "there is no such file"
        raise DataError(f"{source}: {hint}.")
    # Whatever its name, a file may be a list of other files or addresses (ffconcat, HLS): only
    # plain containers, and only this file. An absolute path is never taken for a protocol.
    formats = "mov,mp4,matroska,webm,avi,mpegts"
    options = {"format_whitelist": formats, "protocol_whitelist": "file"}
    try:
        container = av.open(str(Path(source).resolve()), options=options)
    except (av.FFmpegError, OSError) as error:
        raise DataError(
            f"{source}: cannot be read as video ({error.strerror}). "
            "vidgan reads MP4, MOV, MKV, WebM, AVI and MPEG-TS."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: its tags are not UTF-8; write it without: "
            "ffmpeg -i IN -map_metadata -1 -c copy OUT"
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic  # of a song; and no codec context: codec unknown
        films = (s for s in container.streams.video if s.codec_context)
        stream = next((s for s in films if not s.disposition & cover), None)
        if stream is None:
            raise DataError(f"{source}: no film in it that can be decoded (sound only?).")
        _check_pixels(source, stream.width, stream.height)
        yield container, stream


def _check_pixels(source: Path | str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{source}: frames of {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million "
            "pixels are read, make it smaller first."
        )


def _decode(
    source: Path | str, container: InputContainer, stream: av.VideoStream, notice: Notice
) -> Iterator[av.VideoFrame]:
    frames, broken, end_s, damage = 0, 0, 0.0, ""
    try:
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:  # one bad packet; those after the next keyframe may be good
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
    missing_s = _duration_s(container, stream) - (end_s - start_s) - float(1 / fps)
    if missing_s > max(0.2, 0.02 * end_s):
        damage = damage or f"{missing_s:.1f} s are missing"
    if broken:
        damage = damage or f"broken parts: {broken}"
    if damage:
        notice(f"{source}: damaged or cut short ({damage}); {frames} frames of it are used.")


def _upright_rgb(
    frame: av.VideoFrame, stream: av.VideoStream, converter: VideoReformatter
) -> np.ndarray:
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
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), _quarter_turns(frame)))


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise, as np.rot90 counts; a mirrored picture stays mirrored."""
    return round(frame.rotation / 90)


def _display_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height with square pixels, before rotation. A side only ever grows."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def _colorspace(frame: av.VideoFrame) -> Colorspace:
    """The matrix that the frame's tag (ITU-T H.273) names; untagged, the habit of its size."""
    tagged = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M}
    tagged |= dict.fromkeys((5, 6), Colorspace.ITU601) | dict.fromkeys((9, 10), Colorspace.BT2020)
    untagged = Colorspace.ITU601 if frame.height < 720 else Colorspace.ITU709
    return tagged.get(frame.colorspace, untagged)


def _duration_s(container: InputContainer, stream: av.VideoStream) -> float:
    """What the file says of its length; 0.0 where it says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6  # microseconds
