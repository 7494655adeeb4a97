"""A GIF or WebP below a size: the best of a row of smaller and smaller ones that is."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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


class _TooLarge(Exception):
    pass


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


def render_below(
    generator: Synthesize,
    path: pipeline.LatentPath,
    writer: VideoWriter,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write the best film of at most `most_bytes` of the target, and return what it is like.

    A film is given up as soon as it is too large. Raises UsageError if none is small enough.
    """
    most = writer.target.most_bytes

    def advance(done: int, total: int) -> None:
        progress(done, total)
        if film.bytes_written > most:
            raise _TooLarge

    with whole(writer.target.path, force=writer.force) as part:
        for target, n in _smaller(writer.target, generator, path.frames):
            _, height, width = encoders.size_of(target, generator.height, generator.width)
            text = f"{width}x{height} pixels, {float(target.fps):.4g} frames/s"
            text += f", quality {target.quality}" * (target.codec.at_quality is not None)
            film = writer.for_piece(replace(target, path=part))
            film.force = True  # it takes the place of one that was too large
            with contextlib.suppress(_TooLarge):
                pipeline.render(generator, EveryNth(path, n), film, progress=advance)
                if (size := part.stat().st_size) <= most:
                    writer.complete(part)
                    return f"{size / 1e6:.2f} MB, {text}"
        raise UsageError(
            f"--max-size: {path.frames} frames take more than {most / 1e6:g} MB even with {text}; "
            "make a shorter film, with fewer --seconds."
        )


def _smaller(target: Target, generator: Synthesize, frames: int) -> Iterator[tuple[Target, int]]:
    """Targets, and which n-th frame each shows. A size that was asked for stays."""
    _, height, width = encoders.size_of(target, generator.height, generator.width)
    for part, most_fps, quality in _STEPS:
        n = max(1, min(frames, round(target.fps / most_fps)))
        smaller = replace(target, fps=target.fps / n, quality=round(target.quality * quality))
        if not (target.scale or target.resolution):
            smaller = smaller.at((max(1, round(width * part)), max(1, round(height * part))))
        yield smaller, n
