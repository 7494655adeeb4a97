"""Several walks side by side in one film, and walks through classes."""

import numpy as np

from vidgan.film import tiles
from vidgan.generator.synthesis import Synthesize


class Grid:
    """A `Synthesize` of rows [B, cells * (Z + classes)] to frames [B, rows * H, columns * W, C]."""

    def __init__(self, generator: Synthesize, *, columns: int, rows: int) -> None:
        self._generator, self._columns, self._cells = generator, columns, columns * rows
        self.height, self.width = rows * generator.height, columns * generator.width
        self.z_dim, self.classes = generator.z_dim, generator.classes
        self.sha256, self.weights_sha256 = generator.sha256, generator.weights_sha256
        self.runs_on, self.planes = generator.runs_on, generator.planes

    def __call__(self, z: np.ndarray) -> np.ndarray:
        cells = z.reshape(len(z) * self._cells, -1)
        latents, weights = np.split(cells, [self.z_dim], axis=1)
        pictures = self._generator(latents, weights if weights.size else None)
        return np.stack([tiles.tile(cell, self._columns) for cell in np.split(pictures, len(z))])
