"""A GIF or WebP below a size: about the best of a row of smaller and smaller ones that is.

Some frames of a film tell about how large it would be, so that few films are made to find out.
"""

import bisect
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidgan.disk.files import whole
from vidgan.errors import UsageError
from vidgan.film import encoders
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.generator.synthesis import Synthesize
from vidgan.render import pipeline

# From the best to the smallest: a part of the sides, at most so many frames per second, and a part
# of the quality. Each takes about two thirds to four fifths of the bytes of the one before.
_STEPS = (
    *((1, 1000, 1), (1, 1000, 0.75), (0.85, 30, 0.75), (0.7, 30, 0.75), (0.7, 15, 0.75)),
    *((0.6, 15, 0.6), (0.5, 15, 0.6), (0.5, 10, 0.6), (0.4, 10, 0.5), (0.3, 10, 0.5)),
    *((0.2, 10, 0.4), (0.125, 10, 0.3)),
)
# A film is sampled in so many places, at each of so many frames in a row.
_WINDOWS, _LENGTH = 8, 4
_SAFE = 0.94  # of the bytes: what samples tell was at most 7 % too low


@dataclass(frozen=True)
class EveryNth:
    """Every n-th frame of a path, which takes as long at an n-th of the rate."""

    path: pipeline.LatentPath
    n: int

    @property
    def frames(self) -> int:
        return -(-self.path.frames // self.n)

    def latents(self, start: int, stop: int) -> np.ndarray:
        return self.path.latents(start * self.n, (stop - 1) * self.n + 1)[:: self.n]


@dataclass(frozen=True)
class _Films:
    """Films of one path, whole or of some frames, each in the place of the one before."""

    generator: Synthesize
    path: pipeline.LatentPath
    writer: VideoWriter
    part: Path

    def expected(self, target: Target, n: int) -> float:
        """About how many bytes a film of every n-th frame has. Samples are of neighbours, because
        these files hold what changes from frame to frame."""
        film, starts = EveryNth(self.path, n), [0]
        if (length := film.frames) > _WINDOWS * _LENGTH:
            # Steps of the golden ratio meet no rhythm of the film.
            length, last = _LENGTH, film.frames - _LENGTH
            starts = [int(i * 0.618034 % 1 * last) for i in range(_WINDOWS)]
        z = np.concatenate([film.latents(start, start + length) for start in starts])
        frames = np.concatenate(list(pipeline.synthesized(self.generator, z)))
        cuts, whole = self._written(target, frames[::length]), self._written(target, frames)
        change = (whole - cuts) / max(1, len(frames) - len(starts))
        return cuts / len(starts) + change * (film.frames - 1)

    def _written(self, target: Target, frames: np.ndarray) -> int:
        with self.writer.for_piece(replace(target, path=self.part)) as film:
            for frame in frames:
                film.write(frame)
        return self.part.stat().st_size

    def made(self, target: Target, n: int, progress: Callable[[int, int], None]) -> int:
        """Make a whole film. Returns its bytes."""
        path, film = EveryNth(self.path, n), self.writer.for_piece(replace(target, path=self.part))
        pipeline.render(self.generator, path, film, progress=progress)
        return self.part.stat().st_size


def render_below(
    generator: Synthesize,
    path: pipeline.LatentPath,
    writer: VideoWriter,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, int]:
    """Write about the best film of at most `most_bytes` of the target. Returns what it is like, and
    its number of frames. Raises UsageError if none is small enough.

    progress   called with frames done, and to do, those of samples among them
    """
    most, steps = writer.target.most_bytes, list(_smaller(writer.target, generator, path.frames))
    last, sampled, done = len(steps) - 1, _WINDOWS * (_LENGTH + 1), 0
    total = path.frames + len(steps).bit_length() * sampled

    def advance(more: int, _: int = 0) -> None:  # the bar waits while a second film is made
        progress(min(done + more, total - 1), total)

    with whole(writer.target.path, force=writer.force) as part:
        films = _Films(generator, path, writer, part)

        @functools.cache
        def expected(at: int) -> float:
            nonlocal done
            found, done = films.expected(*steps[at]), done + sampled
            advance(0)
            return found

        at = bisect.bisect(range(last), False, key=lambda at: expected(at) <= _SAFE * most)
        while (size := films.made(*steps[at], advance)) > most and at < last:
            more, done = size / expected(at), total
            fitting = (i for i in range(at + 1, last) if expected(i) * more <= _SAFE * most)
            at = next(fitting, last)
        like = _like(generator, steps[at][0])
        if size > most:
            raise UsageError(
                f"--max-size: {path.frames} frames take more than {most / 1e6:g} MB even with "
                f"{like}; make a shorter film, with fewer --seconds."
            )
        writer.complete(part)
    progress(total, total)
    return f"{size / 1e6:.2f} MB, {like}", EveryNth(path, steps[at][1]).frames


def _like(generator: Synthesize, target: Target) -> str:
    _, height, width = encoders.size_of(target, generator.height, generator.width)
    text = f"{width}x{height} pixels, {float(target.fps):.4g} frames/s"
    return text + f", quality {target.quality}" * (target.codec.at_quality is not None)


def _smaller(target: Target, generator: Synthesize, frames: int) -> Iterator[tuple[Target, int]]:
    """Targets, and which n-th frame each shows. A size that was asked for stays."""
    _, height, width = encoders.size_of(target, generator.height, generator.width)
    for part, most_fps, quality in _STEPS:
        n = max(1, min(frames, round(target.fps / most_fps)))
        smaller = replace(target, fps=target.fps / n, quality=round(target.quality * quality))
        if not (target.scale or target.resolution):
            smaller = smaller.at((max(1, round(width * part)), max(1, round(height * part))))
        yield smaller, n
