"""Frames to a file or a folder. Memory does not grow with their number."""

import contextlib
import copy
import errno
import hashlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np

from vidgan.disk.files import claimed, disk_faults, publish, whole
from vidgan.errors import SystemFault
from vidgan.film import encoders
from vidgan.film.encoders import Comment
from vidgan.film.sound import add_sound
from vidgan.film.target import Target


class VideoWriter:
    """Write frames to a target: .mp4, .webm, ..., or a folder of PNG files.

        with VideoWriter("out.mp4", fps=30) as video:
            video.write(frame)

    target   a path, or a `Target`, which also sets the codec, the scale and the frame rate
    fps      the frame rate if the target is a path
    sound    a file whose sound is put into the film, from a time in it, and cut where the film ends
    finish   called with the finished file or folder before it gets its name; it may change it

    The target appears at the end of the with-block, complete and marked as synthetic. After an
    exception, or without a frame, nothing is left. Raises what `Target.parse` and `Target.check`
    raise, and SystemFault if the disk is full.
    """

    def __init__(
        self,
        target: Target | Path | str,
        *,
        fps: Fraction | float | str = 30,
        force: bool = False,
        sound: Path | str | None = None,
        sound_from_s: float = 0.0,
        finish: Callable[[Path], None] | None = None,
        comment: Comment = None,
    ) -> None:
        self.target = target if isinstance(target, Target) else Target.parse(target, fps=fps)
        self.target.check(force=force)
        self.force, self.frames_written, self._sound, self._finish = force, 0, sound, finish
        self._comment, self._logged, self._sound_from_s = comment, set(), sound_from_s
        self._claim = contextlib.ExitStack()
        self._job = self._encoder = None  # opened by the first frame, which has the size

    @property
    def settings(self) -> dict[str, object]:
        """All that the file depends on, except its path and the frames."""
        target, codec = self.target, self.target.codec
        settings = {"fps": target.fps, "scale": target.scale, "quality": target.quality}
        settings |= {"resolution": target.resolution, "fit": target.fit}
        if target.ground is not None:
            settings["background"] = hashlib.sha256(target.ground.tobytes()).hexdigest()
        encoder = f"{codec.encoder} {codec.pixel_format}"
        return settings | {"comment": self._comment, "codec": encoder}

    def for_piece(self, target: Target) -> "VideoWriter":
        """A writer of a piece of the film, or of one that may become it; it replaces the last."""
        other = copy.copy(self)
        other.target, other.force, other._claim = target, True, contextlib.ExitStack()
        other._sound = other._finish = None  # they belong to the film
        return other

    def complete(self, film: Path) -> None:
        """Add the sound to a film that has all frames, and call `finish`."""
        if self._sound:
            add_sound(film, Path(self._sound), self.target, self._comment, self._sound_from_s)
        if self._finish:
            self._finish(film)

    def __enter__(self) -> Self:
        with disk_faults(self.target.path):
            part = self._claim.enter_context(claimed(self.target.path))
        self._job = encoders.Job(part, self.target, self._comment, self._logged)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3], or 4 as in `film.alpha`. All have the same size."""
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] in (3, 4)
        with self._disk_faults():
            if self._encoder is None:
                self._encoder = encoders.open_encoder(self._job, *frame.shape)
            self._encoder.write(np.ascontiguousarray(frame))
        self.frames_written += 1

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._encoder and error is None:
                with self._disk_faults():
                    self._encoder.finish()
                    self.complete(self._job.part)
                    self.target.check(force=self.force)  # it may be there, or hold more, by now
                    publish(self._job.part, self.target.path, force=self.force)
        finally:
            with self._claim:
                if self._encoder:
                    self._encoder.close()

    @contextlib.contextmanager
    def _disk_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.FFmpegError) as error:  # both have errno and strerror
            reason = f"cannot be written ({error.strerror})."
            # EFBIG: a limit of the file system or the process on the size of one file.
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                part = self._job.part
                files = [file for file in (part, *part.rglob("*")) if file.is_file()]
                size_mb = max(1, math.ceil(sum(file.stat().st_size for file in files) / 1e6))
                reason = (
                    f"no space left after {self.frames_written} frames, which take about {size_mb} "
                    "MB. Free some space, or write to another disk."
                )
            raise SystemFault(f"{self.target.path}: {reason}") from error


def write_png(
    target: Path | str,
    frame: np.ndarray,
    comment: Comment = None,
    *,
    synthetic: bool = True,
    force: bool = True,
) -> None:
    """Write a picture, uint8 [H, W, 3 or 4], complete or not at all. Raises what `whole` raises."""
    with whole(Path(target), force=force) as part:
        encoders.save_png(part, frame, comment, synthetic=synthetic)
