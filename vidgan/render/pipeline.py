"""A path through latent space, made into frames and into a file, as one bounded stream.

Path, generator and encoder work at the same time, with a few batches between them. Memory does not
grow with the number of frames. Knows no torch: it sees a generator only as `Synthesize`.
"""

import contextlib
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import av
import numpy as np

from vidgan import __version__
from vidgan.errors import UsageError
from vidgan.film.segments import Film
from vidgan.film.tiles import tile
from vidgan.film.writer import VideoWriter
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import seeds

_BATCH = 16
_BATCH_BYTES = 16_000_000  # of frames; large frames go in smaller batches
_QUEUED_BATCHES = 2
_LATENTS = 128  # at a time, because a path costs less per latent in larger pieces
_SHEET = (8, 4)  # columns, rows
_SHEET_SIDE = 128  # pixels that the long side of a frame has at most in a contact sheet

# One hour of film. Speed and size as measured: the shipped generator, 512 pixels, 2 cores.
_LARGE_JOB, _FRAMES_PER_S, _BYTES_PER_FRAME = 108_000, 460, 7_400

Item = TypeVar("Item")


class LatentPath(Protocol):
    """What `vidgan.latent.paths` makes."""

    frames: int

    def latents(self, start: int, stop: int) -> np.ndarray: ...


def check_frames(frames: int, *, yes: bool) -> None:
    """Refuse no frames, and so many that nobody asks for them by accident unless `yes`."""
    if frames < 1:
        raise UsageError(f"--frames {frames}: at least 1, for example --frames 120.")
    if frames > _LARGE_JOB and not yes:
        hours, gigabytes = frames / _FRAMES_PER_S / 3600, frames * _BYTES_PER_FRAME / 1e9
        raise UsageError(
            f"--frames {frames}: about {hours:,.1f} hours and {gigabytes:,.1f} GB (estimated at "
            f"{_FRAMES_PER_S} frames/s and {_BYTES_PER_FRAME / 1000} kB each); add --yes to go on."
        )


def frames(
    generator: Synthesize, path: LatentPath, *, batch_size: int = _BATCH
) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3] of a path, in order; the batch size changes none of them."""
    for _, batch in _batches(generator, path, iter([range(path.frames)]), batch_size):
        yield from batch


def render(
    generator: Synthesize,
    path: LatentPath,
    writer: VideoWriter,
    *,
    resume: bool = False,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write all frames of a path. The first error of any stage stops all and is raised.

    resume        go on with what a killed render of the same frames left
    rank, world   this process, and how many share the film; see `segments.Film`
    progress      told how many frames are done, of how many this process has to do
    """
    key = {
        "model": generator.sha256,
        "runtime": generator.runs_on,
        "path": _fingerprint(path),
        "versions": f"vidgan {__version__}, PyAV {av.__version__}",
    }
    film = Film(writer, frames=path.frames, key=key, resume=resume, rank=rank, world=world)
    size = max(1, min(_BATCH, _BATCH_BYTES // (generator.height * generator.width * 3)))
    with film.made():
        done, total = 0, sum(len(piece) for piece in film.missing())
        stream = _ahead(_batches(generator, path, film.missing(), size), _QUEUED_BATCHES)
        with contextlib.closing(stream):
            for piece, batches in itertools.groupby(stream, key=lambda pair: pair[0]):
                with film.open(piece) as part:
                    for _, batch in batches:
                        for frame in batch:
                            part.write(frame)
                        done += len(batch)
                        progress(done, total)


def contact_sheet(generator: Synthesize, path: LatentPath) -> np.ndarray:
    """Frames spread over the film in one picture, uint8 [rows * h, columns * w, 3], h, w <= 128."""
    columns, rows = _SHEET
    index = np.arange(columns * rows) * path.frames // (columns * rows)
    k = -(-max(generator.height, generator.width) // _SHEET_SIDE)
    stills = [generator(path.latents(i, i + 1))[0, ::k, ::k] for i in index.tolist()]
    return tile(np.stack(stills), columns)


def grid(generator: Synthesize, *, seed: int, columns: int, rows: int) -> np.ndarray:
    """Samples of a seed side by side: uint8 [rows * H, columns * W, 3]."""
    if columns < 1 or rows < 1 or columns * rows > 10_000:
        raise UsageError(f"--grid {columns}x{rows}: from 1x1 to 10,000 pictures, for example 8x4.")
    z = seeds.gaussian(seed, np.arange(columns * rows), z_dim=generator.z_dim)
    return tile(generator(z), columns)


def samples(
    generator: Synthesize, folder: Path, *, seed: int, count: int, force: bool = False
) -> None:
    """`count` stills of a seed as marked PNG files, whole folder or none."""
    if count < 1:
        raise UsageError(f"--count {count}: at least 1.")
    comment = {"model": generator.sha256, "seed": seed}
    with VideoWriter(f"{folder}/", scale=1, force=force, comment=comment) as writer:
        for start in range(0, count, _BATCH):
            index = np.arange(start, min(start + _BATCH, count))
            for picture in generator(seeds.gaussian(seed, index, z_dim=generator.z_dim)):
                writer.write(picture)


def _fingerprint(path: LatentPath) -> str:
    """A hash of latents spread over a path: what its settings do, whatever they are called."""
    index = sorted({round(i * (path.frames - 1) / 15) for i in range(16)})
    z = [path.latents(i, i + 1) for i in index]
    return hashlib.sha256(np.concatenate(z).tobytes()).hexdigest()


def _batches(
    generator: Synthesize, path: LatentPath, pieces: Iterator[range], batch_size: int
) -> Iterator[tuple[range, np.ndarray]]:
    """Each piece of a path as (piece, frames uint8 [B, H, W, 3]), the path computed ahead."""
    with contextlib.closing(_ahead(_latents(path, pieces), 1)) as computed:
        for piece, z in computed:
            for start in range(0, len(z), batch_size):
                yield piece, generator(z[start : start + batch_size])


def _latents(path: LatentPath, pieces: Iterator[range]) -> Iterator[tuple[range, np.ndarray]]:
    for piece in pieces:
        for start in range(piece.start, piece.stop, _LATENTS):
            yield piece, path.latents(start, min(start + _LATENTS, piece.stop))


def _ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, made in a thread of its own, at most `count` ahead.

    What the iterator raises is raised here, in its place; closing this closes the iterator.
    """
    end, waiting = object(), deque()
    with contextlib.closing(items), ThreadPoolExecutor(1, "ahead") as worker:
        try:
            while True:
                while len(waiting) <= count:
                    waiting.append(worker.submit(next, items, end))
                if (item := waiting.popleft().result()) is end:
                    return
                yield item
        finally:
            worker.shutdown(cancel_futures=True)
