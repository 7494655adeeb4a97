"""Several walks in one video, and walks through classes, as one plain path and one generator.

The pipeline moves rows of numbers from a path to a generator. Here such a row holds the latents of
all cells, each followed by its class weights; the generator beside it takes the row apart again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidgan.film import tiles
from vidgan.generator.synthesis import Synthesize
from vidgan.latent.paths import Path


@dataclass(frozen=True)
class Walks:
    """A `render.LatentPath` of rows float32 [n, cells * (Z + classes)]."""

    paths: Sequence[Path]

    @property
    def frames(self) -> int:
        return self.paths[0].frames

    def latents(self, start: int, stop: int) -> np.ndarray:
        parts = []
        for path in self.paths:
            weights = path.class_weights(start, stop)
            parts += [path.latents(start, stop)] + ([] if weights is None else [weights])
        return np.concatenate(parts, axis=1)


class Mosaic:
    """The `Synthesize` for `Walks`: rows [B, ...] -> frames uint8 [B, rows * H, columns * W, 3]."""

    def __init__(self, generator: Synthesize, *, columns: int, rows: int) -> None:
        self._generator, self._columns, self._cells = generator, columns, columns * rows
        self.height, self.width = rows * generator.height, columns * generator.width
        self.z_dim, self.classes = generator.z_dim, getattr(generator, "classes", 0)
        self.sha256, self.runs_on = generator.sha256, generator.runs_on

    def __call__(self, z: np.ndarray) -> np.ndarray:
        cells = z.reshape(len(z) * self._cells, -1)
        latents, weights = np.split(cells, [self.z_dim], axis=1)
        pictures = self._generator(latents, weights) if weights.size else self._generator(latents)
        return np.stack([tiles.tile(cell, self._columns) for cell in np.split(pictures, len(z))])
