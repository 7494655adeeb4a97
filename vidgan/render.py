"""A path through latent space, made into frames and into a file, as one bounded stream.

The generator and the encoder work at the same time, with a few frames between them. Memory does not
grow with the number of frames. Knows no torch: it sees a generator only as `Synthesize`.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgan import latents
from vidgan.errors import UsageError
from vidgan.synthesis import Synthesize
from vidgan.video import VideoWriter

_BATCH = 16
_QUEUED_FRAMES = 8


class LatentPath(Protocol):
    """What `vidgan.trajectory` makes."""

    frames: int

    def latents(self, start: int, stop: int) -> np.ndarray: ...


def frames(
    generator: Synthesize, path: LatentPath, *, batch_size: int = _BATCH
) -> Iterator[np.ndarray]:
    """The frames uint8 [H, W, 3] of a path, in order; the batch size changes none of them."""
    for start in range(0, path.frames, batch_size):
        z = path.latents(start, min(start + batch_size, path.frames))
        yield from generator(z)


def render(
    generator: Synthesize,
    path: LatentPath,
    writer: VideoWriter,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write all frames of a path. The first error of either side stops both and is raised."""
    waiting: queue.Queue[np.ndarray | None] = queue.Queue(_QUEUED_FRAMES)
    failed: list[BaseException] = []

    def encode() -> None:
        done = 0
        while (frame := waiting.get()) is not None:
            if failed:
                continue  # drain, so that the generator never waits for a dead encoder
            try:
                writer.write(frame)
            except BaseException as error:  # handed to the caller's thread below
                failed.append(error)
            done += 1
            progress(done)

    encoder = threading.Thread(target=encode, name="encoder")
    with writer:
        encoder.start()
        try:
            for frame in frames(generator, path):
                if failed:
                    break
                waiting.put(frame)
        finally:
            waiting.put(None)
            encoder.join()
        if failed:
            raise failed[0]


def grid(generator: Synthesize, *, seed: int, columns: int, rows: int) -> np.ndarray:
    """Samples of a seed side by side: uint8 [rows * H, columns * W, 3]."""
    if columns < 1 or rows < 1 or columns * rows > 10_000:
        raise UsageError(f"--grid {columns}x{rows}: from 1x1 to 10,000 pictures, for example 8x4.")
    z = latents.gaussian(seed, np.arange(columns * rows), z_dim=generator.z_dim)
    return tile(generator(z), columns)


def tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N, H, W, 3] -> uint8 [N / columns * H, columns * W, 3]."""
    n, h, w, c = pictures.shape
    rows = pictures.reshape(n // columns, columns, h, w, c).swapaxes(1, 2)  # [R, H, columns, W, C]
    return rows.reshape(n // columns * h, columns * w, c)


def samples(
    generator: Synthesize, folder: Path, *, seed: int, count: int, force: bool = False
) -> None:
    """`count` stills of a seed as marked PNG files, whole folder or none."""
    if count < 1:
        raise UsageError(f"--count {count}: at least 1.")
    with VideoWriter(f"{folder}/", scale=1, force=force) as writer:
        for start in range(0, count, _BATCH):
            index = np.arange(start, min(start + _BATCH, count))
            for picture in generator(latents.gaussian(seed, index, z_dim=generator.z_dim)):
                writer.write(picture)
