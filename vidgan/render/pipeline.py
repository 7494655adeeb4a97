"""A path through latent space, made into frames and into a file.

Path, generator and encoder work at the same time, with a few batches between them.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import av
import numpy as np

from vidgan import __version__
from vidgan.data.ahead import ahead
from vidgan.errors import UsageError
from vidgan.film import alpha
from vidgan.film.segments import Film, Share
from vidgan.film.target import Target
from vidgan.film.tiles import numbered, tile
from vidgan.film.writer import VideoWriter
from vidgan.generator.synthesis import Synthesize, batch_size_for
from vidgan.latent import seeds

_QUEUED_BATCHES = 2
_LATENTS = 128  # computed at once, because one latent costs less in a larger piece
_SHEET = (8, 4)  # columns, rows
_SHEET_SIDE = 128  # pixels of the long side of a frame in a contact sheet, at most
_ALONE = Share()  # one process renders the whole film
# An hour of film. Speed and size as measured: the shipped generator, 512 pixels, 2 cores.
_LARGE_JOB, _FRAMES_PER_S, _BYTES_PER_FRAME = 108_000, 460, 7_400
_MOST_FRAMES = 10**9  # a film of a year
_MOST_STILLS, _MOST_PIXELS = 10**6, 2**28  # of a folder; of a picture with a grid


class LatentPath(Protocol):
    """A `latent.paths.Path`, or a `render.walk.BoundWalk`."""

    frames: int

    def latents(self, start: int, stop: int) -> np.ndarray: ...


def check_frames(frames: int, *, yes: bool) -> None:
    """Refuse a film without frames and, unless `yes`, one that nobody asks for on purpose."""
    if not 1 <= frames <= _MOST_FRAMES:
        raise UsageError(f"--frames {frames}: from 1 to {_MOST_FRAMES:,}, for example 120.")
    if frames > _LARGE_JOB and not yes:
        hours, gigabytes = frames / _FRAMES_PER_S / 3600, frames * _BYTES_PER_FRAME / 1e9
        raise UsageError(
            f"--frames {frames}: about {hours:,.1f} hours and {gigabytes:,.1f} GB (at "
            f"{_FRAMES_PER_S} frames/s and {_BYTES_PER_FRAME / 1000} kB each); add --yes to go on."
        )


def frames(generator: Synthesize, path: LatentPath) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3] of a path, in order."""
    for _, batch in _batches(generator, path, iter([range(path.frames)])):
        yield from batch


def render(
    generator: Synthesize,
    path: LatentPath,
    writer: VideoWriter,
    *,
    resume: bool = False,
    share: Share = _ALONE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write all frames of a path. The first error of any stage stops all of them and is raised.

    resume    continue what a killed render of the same frames has left
    share     the part of the film that this process renders, see `segments.Film`
    progress  called with the frames done and the frames to do, both of this process
    """
    # Of the path, latents spread over it count: what settings do, not what they are called.
    index = sorted({round(i * (path.frames - 1) / 15) for i in range(16)})
    z = np.concatenate([path.latents(i, i + 1) for i in index])
    key = {
        "model": generator.sha256,
        "runtime": generator.runs_on,
        "path": hashlib.sha256(z.tobytes()).hexdigest(),
        "versions": f"vidgan {__version__}, PyAV {av.__version__}",
    }
    film = Film(writer, frames=path.frames, key=key, resume=resume, share=share)
    with film.made():
        done, total = 0, sum(len(piece) for piece in film.missing())
        stream = ahead(_batches(generator, path, film.missing()), _QUEUED_BATCHES)
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
    return alpha.shown(tile(small_frames(generator, path, index), columns))


def small_frames(generator: Synthesize, path: LatentPath, index: np.ndarray) -> np.ndarray:
    z = np.concatenate([path.latents(i, i + 1) for i in index.tolist()])
    return np.concatenate([small(batch) for batch in synthesized(generator, z)])


def small(frames: np.ndarray) -> np.ndarray:
    k = -(-max(frames.shape[1:3]) // _SHEET_SIDE)
    return frames[:, ::k, ::k]


def check_grid(generator: Synthesize, columns: int, rows: int) -> None:
    most = min(10_000, _MOST_PIXELS // (generator.height * generator.width))
    if columns < 1 or rows < 1 or columns * rows > most:
        raise UsageError(f"--grid {columns}x{rows}: from 1x1 to {most:,} pictures, like 8x4.")


def grid_of_stills(
    generator: Synthesize,
    z: np.ndarray,
    *,
    columns: int,
    labels: Sequence[int] = (),
    numbers: Sequence[int] = (),
) -> np.ndarray:
    """Pictures of latents, and of a class for each, side by side: uint8 [rows * H, columns * W, 3].

    The end of the last row may be black. `numbers` are drawn into the pictures.
    """
    rows = -(-len(z) // columns)
    check_grid(generator, columns, rows)
    made = list(_stills(generator, z, np.array(labels) if labels else None))
    pictures = alpha.shown(np.concatenate(made))
    pictures = numbered(pictures, numbers) if numbers else pictures
    return tile(np.pad(pictures, [(0, rows * columns - len(z)), *[(0, 0)] * 3]), columns)


def write_stills(
    generator: Synthesize,
    folder: Path,
    *,
    seed: int,
    count: int,
    labels: Sequence[int] = (),
    force: bool = False,
) -> None:
    """Write pictures of seed, seed + 1, ... as marked PNG files: the whole folder, or none.

    One picture after the other shows the next one of the labels, over and over.
    """
    if not 1 <= count <= _MOST_STILLS:
        raise UsageError(f"--count {count}: from 1 to {_MOST_STILLS:,}.")
    comment = {"model": generator.sha256, "seed": seed} | ({"labels": labels} if labels else {})
    target = Target.parse(f"{folder}/", scale=1)
    with VideoWriter(target, force=force, comment=comment) as writer:
        for start in range(0, count, _LATENTS):
            index = np.arange(start, min(start + _LATENTS, count))
            given = np.array(labels)[index % len(labels)] if labels else None
            z = seeds.numbered([seed + i for i in index.tolist()], z_dim=generator.z_dim)
            for batch in _stills(generator, z, given):
                for picture in batch:
                    writer.write(picture)


def _stills(
    generator: Synthesize, z: np.ndarray, labels: np.ndarray | None
) -> Iterator[np.ndarray]:
    one_hot = np.eye(generator.classes, dtype=np.float32)
    return synthesized(generator, z, *([] if labels is None else [one_hot[labels]]))


def _batches(
    generator: Synthesize, path: LatentPath, pieces: Iterator[range]
) -> Iterator[tuple[range, np.ndarray]]:
    """Each piece of a path as (piece, frames uint8 [B, H, W, 3]).

    The latents are computed ahead, in a thread. Frame i always is in the batch that starts at the
    multiple of B below i, so that it does not depend on who renders which pieces.
    """
    with contextlib.closing(ahead(_latents(path, pieces), 1)) as computed:
        for piece, z in computed:
            assert piece.start % batch_size_for(generator.height, generator.width) == 0
            for batch in synthesized(generator, z):
                yield piece, batch


def _latents(path: LatentPath, pieces: Iterator[range]) -> Iterator[tuple[range, np.ndarray]]:
    for piece in pieces:
        for start in range(piece.start, piece.stop, _LATENTS):
            yield piece, path.latents(start, min(start + _LATENTS, piece.stop))


def synthesized(generator: Synthesize, *inputs: np.ndarray) -> Iterator[np.ndarray]:
    """Frames uint8 [B, H, W, 3] of latents [N, Z], and class weights [N, classes] or none, in
    batches that keep memory small."""
    size = batch_size_for(generator.height, generator.width)
    for start in range(0, len(inputs[0]), size):
        yield generator(*(rows[start : start + size] for rows in inputs))
