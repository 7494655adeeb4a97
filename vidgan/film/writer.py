"""Frames to film: uint8 [H, W, 3] RGB on one side, a file on the other.

Promises: exactly the frames given, at exactly the rate asked; colours right in the pixels and in
the tags; a target that is whole or absent; memory that does not grow with the number of frames.
Knows neither models nor latents, nor where frames come from.
"""

import contextlib
import copy
import dataclasses
import errno
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from vidgan.disk.files import check_new, part_of, publish, remove, whole
from vidgan.errors import SystemFault, UsageError
from vidgan.film import codecs, encoders
from vidgan.film import sound as audio
from vidgan.film.encoders import Comment

# Writing: what can be refused is refused before a model is loaded.


def check_target(
    target: Path | str,
    *,
    force: bool = False,
    codec: str | None = None,
    quality: int | None = None,
    lossless: bool = False,
) -> None:
    """Refuse a target that could not be written, while nothing is lost yet.

    Raises UsageError (unknown kind, one without this codec or quality; exists without `force`; no
    such folder) or SystemFault (folder not writable, encoder missing).
    """
    path, kind = Path(target), codecs.kind_of(target)
    chosen = codecs.codec_for(target, codec, lossless=lossless)
    encoder = (chosen.instead or chosen).encoder
    if quality is not None and not (chosen.graded and 0 <= quality <= 100):
        able = (
            "from 0 (smallest file) to 100 (best)" if chosen.graded else "none here; leave it out"
        )
        raise UsageError(f"--quality {quality}: {chosen.name} takes {able}.")
    check_new(path, force=force or path.is_dir())
    if kind is codecs.FOLDER:
        _check_folder(path, force)
    elif path.is_dir():
        raise UsageError(f"{target}: this is a folder; give the file another name.")
    if not codecs.has_encoder(encoder):
        raise SystemFault(
            f"{target}: this PyAV lacks the encoder {encoder}, its wheel has it: "
            "pip install --force-reinstall --only-binary av av"
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SystemFault(f"{path.parent}: cannot be written to ({error.strerror}).") from error


def check_fps(fps: Fraction | float | str) -> Fraction:
    """Frames per second as an exact fraction: 30, 12.5, "24000/1001"; 23.976 means 24000/1001."""
    text = str(fps).lower()
    try:  # of 1e999999999 the digits would never end
        rate = Fraction(0 if "e" in text else text).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= codecs.MAX_FPS:
        raise UsageError(
            f"--fps {fps}: above 0, at most {codecs.MAX_FPS}: for example 30, 12.5, 24000/1001."
        )
    # Decimals such as 23.98 and 29.97 are how people write the rates of NTSC.
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    if rate.denominator > 1 and "/" not in text and abs(rate - ntsc) < rate / 5000:
        return ntsc
    return rate


class VideoWriter:
    """Write frames to a target whose name tells the kind: .mp4, .webm, ..., or a folder of PNG.

        with VideoWriter("out.mp4", fps=30) as video:
            video.write(frame)

    scale     whole factor of nearest-neighbour enlargement; None: small frames grow until the short
              side has 512 pixels, because film keeps colour at half resolution; exact ones stay
    codec     one that the kind can hold, see `codecs`; None: its first
    quality   0 (smallest file) to 100 (best), None: 80; of codecs that lose something
    lossless  what is decoded equals what was written
    sound     a file whose sound goes into the film, as far as both reach; see `audio.check`
    finish    told the finished file or folder before it gets its name; may change it in its place

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
        codec: str | None = None,
        quality: int | None = None,
        lossless: bool = False,
        force: bool = False,
        sound: Path | None = None,
        finish: Callable[[Path], None] | None = None,
        comment: Comment = None,
    ) -> None:
        check_target(target, force=force, codec=codec, quality=quality, lossless=lossless)
        quality = 80 if quality is None else quality
        chosen = codecs.usable(codecs.codec_for(target, codec, lossless=lossless))
        self.target, self._kind = Path(target), codecs.kind_of(target)
        self.fps = check_fps(fps)
        if self.fps > (most := self._kind.ticks_per_s or codecs.MAX_FPS):
            raise UsageError(f"--fps {fps}: {target} can hold at most {most}.")
        if scale is not None and scale < 1:
            raise UsageError(f"--scale {scale}: a whole number from 1.")
        self.frames_written, self._sound, self._finish = 0, sound, finish
        self._job = encoders.Job(
            part_of(self.target), self._kind, chosen, self.fps, scale, quality, comment
        )
        # Opened when a frame tells the size.
        self._file: encoders.Encoder | encoders.PngFolder | None = None

    @property
    def settings(self) -> dict[str, object]:
        """All but the target that the file depends on."""
        job = {name: getattr(self._job, name) for name in ("fps", "scale", "quality", "comment")}
        return job | {"codec": f"{self._job.codec.encoder} {self._job.codec.pixel_format}"}

    def copy(self, target: Path) -> "VideoWriter":
        """A writer with the same settings for another target of the same kind, in a folder of
        one's own."""
        other = copy.copy(self)
        other.target, other._job = target, dataclasses.replace(self._job, part=part_of(target))
        other._sound = other._finish = None  # belong to the whole film
        return other

    def seal(self, film: Path) -> None:
        """What a film needs once, when all of its frames are together."""
        if self._sound:
            audio.add_sound(film, self._sound, self._kind, self._job.comment)
        if self._finish:
            self._finish(film)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3]; all frames are of one size."""
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        with self._disk_faults():
            if self._file is None:
                opened = encoders.WRITERS.get(self._kind.container, encoders.Encoder)
                self._file = opened(self._job, *frame.shape[:2])
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
                    self.seal(self._job.part)
                    publish(self._job.part, self.target)
        finally:
            if self._file:
                self._file.close()
            remove(self._job.part)

    @contextlib.contextmanager
    def _disk_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.FFmpegError) as error:  # FFmpeg's errors of the disk are both
            reason = f"cannot be written ({error.strerror})."
            # EFBIG: a limit of the file system or the process on the size of one file.
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                needed_mb = _size_mb(self._job.part)
                reason = (
                    f"no space left after {self.frames_written} frames, and these alone need "
                    f"about {needed_mb} MB; free some, or write elsewhere."
                )
            raise SystemFault(f"{self.target}: {reason}") from error


def write_png(
    target: Path | str, frame: np.ndarray, comment: Comment = None, *, synthetic: bool = True
) -> None:
    """Write one picture, uint8 [H, W, 3], marked unless it shows what no model made, whole or not
    at all. Raises SystemFault."""
    with whole(Path(target)) as part:
        encoders.save_png(part, frame, comment, synthetic=synthetic)


def _check_folder(path: Path, force: bool) -> None:
    if path.is_file():
        raise UsageError(f"{path}: exists and is not a folder; give another name.")
    held = list(path.iterdir()) if path.is_dir() else []
    if held and not force:
        raise UsageError(f"{path}: holds files already; give another name, or --force.")
    if other := [p.name for p in held if not re.fullmatch(r"frame\d{6,}\.png", p.name)]:
        # --force replaces earlier frames, never somebody's pictures.
        raise UsageError(f"{path}: holds more than frames ({other[0]}); give another name.")


def _size_mb(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return max(1, math.ceil(sum(file.stat().st_size for file in files if file.is_file()) / 1e6))
