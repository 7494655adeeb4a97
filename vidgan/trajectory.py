"""Paths through latent space: a frame index goes in, a latent comes out.

A path is a pure function of its settings and the index; it holds no table, so a path of a million
frames costs what one of ten costs. numpy only. It knows no model, no video and no clock.
"""

from dataclasses import dataclass

import numpy as np

from vidgan import latents
from vidgan.errors import UsageError

# A C2 cubic spline with unit spacing has slopes m with m[i-1] + 4 m[i] + m[i+1] = 3 (p[i+1] -
# p[i-1]). The inverse of (1, 4, 1) on an endless line is r^|d| / (2 sqrt 3), r = sqrt 3 - 2; its
# tail beyond 24 neighbours is below 1e-13, so the sum over a window is the exact spline, with no
# system to solve.
_RATIO = 3**0.5 - 2
_WINDOW = 24
_FRAMES_PER_KEYFRAME = 30


@dataclass(frozen=True, kw_only=True)
class Spline:
    """A twice continuously differentiable cubic through keyframes drawn from a seed.

    Closed: frame i stands at i / frames of the round, so that the last is followed by the first
    with no frame doubled. Open: the first and the last frame are the first and the last keyframe,
    where the curve runs straight (natural spline). Norms are carried along as one more coordinate
    and restored, because the middle between two latents of a Gaussian is too short.
    """

    seed: int
    frames: int
    z_dim: int
    keyframes: int
    closed: bool = True
    truncation: float = 1.0

    def latents(self, start: int, stop: int) -> np.ndarray:
        """Latents float32 [stop - start, z_dim] of the frames start <= i < stop."""
        at = self._position(np.arange(start, stop))
        segment = np.floor(at).astype(np.int64)
        if not self.closed:
            segment = np.minimum(segment, max(self.keyframes - 2, 0))
        u = (at - segment)[:, None]
        low = int(segment.min()) - _WINDOW - 1
        points = self._points(np.arange(low, int(segment.max()) + _WINDOW + 3))
        slopes = _slopes(points)  # of keyframe low + 1 + _WINDOW and on
        i = segment - low
        p, q = points[i], points[i + 1]
        m, n = slopes[i - _WINDOW - 1], slopes[i - _WINDOW]
        v = (
            (2 * u**3 - 3 * u**2 + 1) * p
            + (u**3 - 2 * u**2 + u) * m
            + (3 * u**2 - 2 * u**3) * q
            + (u**3 - u**2) * n
        )
        z, norm = v[:, :-1], v[:, -1:]
        z = z * (norm / np.linalg.norm(z, axis=1, keepdims=True))
        return (self.truncation * z).astype(np.float32)

    def _position(self, index: np.ndarray) -> np.ndarray:
        if self.closed:
            return index * (self.keyframes / self.frames)
        return index * ((self.keyframes - 1) / max(self.frames - 1, 1))

    def _points(self, index: np.ndarray) -> np.ndarray:
        """Keyframes float64 [n, z_dim + 1], norm last, continued past both ends."""
        if self.closed:
            return self._keyframes(index % self.keyframes)
        span = self.keyframes - 1
        if span == 0:
            return self._keyframes(np.zeros_like(index))
        # Reflection through each end point makes the second derivative vanish there.
        turn, rest = np.divmod(index, 2 * span)
        back = rest > span
        mirrored = np.where(back, 2 * span - rest, rest)
        ends = self._keyframes(np.array([0, span]))
        inside = self._keyframes(mirrored)
        inside = np.where(back[:, None], 2 * ends[1] - inside, inside)
        return inside + 2 * turn[:, None] * (ends[1] - ends[0])

    def _keyframes(self, index: np.ndarray) -> np.ndarray:
        z = latents.gaussian(self.seed, index, z_dim=self.z_dim).astype(np.float64)
        return np.concatenate([z, np.linalg.norm(z, axis=1, keepdims=True)], axis=1)


def loop(
    *,
    seed: int,
    frames: int,
    z_dim: int,
    keyframes: int | None = None,
    closed: bool = True,
    truncation: float = 1.0,
) -> Spline:
    """The default path: a smooth walk through keyframes 0, 1, 2, ... of `seed`, closed into a loop.

    keyframes    all of them share the frames; by default one per 30 frames, at least 3 (open: 2)
    truncation   scale of the latents; below 1 safer pictures, less variety
    Raises UsageError on counts below one.
    """
    latents.check_seed(seed)
    if frames < 1:
        raise UsageError(f"frames = {frames}: at least 1, for example --frames 120.")
    if keyframes is None:
        keyframes = max(3 if closed else 2, round(frames / _FRAMES_PER_KEYFRAME))
    if keyframes < 1:
        raise UsageError(f"keyframes = {keyframes}: at least 1.")
    return Spline(
        seed=seed,
        frames=frames,
        z_dim=z_dim,
        keyframes=keyframes,
        closed=closed,
        truncation=truncation,
    )


def _slopes(points: np.ndarray) -> np.ndarray:
    """Slopes [n - 2 - 2 W, D] at points[W + 1 : n - W - 1] of the spline through points [n, D]."""
    difference = points[2:] - points[:-2]
    reach = np.abs(np.arange(-_WINDOW, _WINDOW + 1))
    weights = 3 / (2 * 3**0.5) * _RATIO**reach
    count = len(difference) - 2 * _WINDOW
    return sum(w * difference[d : d + count] for d, w in enumerate(weights))
