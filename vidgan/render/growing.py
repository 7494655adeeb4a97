"""One film from several generators: a run's as it trained."""

import hashlib
from collections.abc import Sequence

import numpy as np

from vidgan.generator.synthesis import Synthesize


class Growing:
    """A `Synthesize` of rows [B, N + 1]: what its stages take, and a time from 0 to 1.

    The first stage is shown at 0, the last one at 1. In between, each fades into the next.
    """

    def __init__(self, stages: Sequence[Synthesize]) -> None:
        self._stages, last = stages, stages[-1]
        self.height, self.width, self.z_dim = last.height, last.width, last.z_dim
        self.classes, self.runs_on = last.classes, last.runs_on
        every = "".join(stage.sha256 for stage in stages)
        self.sha256 = self.weights_sha256 = hashlib.sha256(every.encode()).hexdigest()

    def __call__(self, z: np.ndarray) -> np.ndarray:
        at, frames = z[:, -1].astype(float) * (len(self._stages) - 1), 0.0
        for number, stage in enumerate(self._stages):
            share = np.clip(1 - np.abs(at - number), 0, 1)[:, None, None, None]
            if share.any():
                frames = frames + share * stage(z[:, :-1])
        return np.rint(frames).astype(np.uint8)
