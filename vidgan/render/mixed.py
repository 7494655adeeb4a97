"""Frames that several generators share: chapters that cross-fade, a run's as it trained."""

import hashlib
from collections.abc import Sequence

import numpy as np

from vidgan.errors import UsageError
from vidgan.generator.synthesis import Synthesize


class Mixed:
    """A `Synthesize` of rows: the share of each generator in the frame, then what they take.

    parts  of a row, one for each generator; they may be the same
    """

    def __init__(self, generators: Sequence[Synthesize], parts: Sequence[slice]) -> None:
        self._generators, self._parts, last = generators, parts, generators[-1]
        self.height, self.width, self.z_dim = last.height, last.width, last.z_dim
        self.planes = last.planes
        self.classes, self.class_names = 0, ()
        if len({(one.height, one.width, one.planes) for one in generators}) > 1:
            alpha = {3: "", 4: " with transparency"}
            sizes = ", ".join(f"{g.width}x{g.height}{alpha[g.planes]}" for g in generators)
            raise UsageError(f"frames of {sizes}: a film takes generators of one size.")
        every = "".join(one.sha256 for one in generators)
        self.sha256 = self.weights_sha256 = hashlib.sha256(every.encode()).hexdigest()
        self.runs_on = ", ".join(dict.fromkeys(one.runs_on for one in generators))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        frames = np.zeros((len(rows), self.height, self.width, self.planes), np.float32)
        for number, generator in enumerate(self._generators):
            shown = rows[:, number] > 0
            if shown.any():
                share = rows[shown, number][:, None, None, None]
                frames[shown] += share * generator(rows[shown, self._parts[number]])
        return np.rint(frames).astype(np.uint8)
