"""Constant speed: frames are moved along their path until each changes as much as the next.

Only the timing changes, never the curve. The change between two pictures is measured without any
network, over a pyramid of ever smaller pictures. Knows no file and no option.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidgan.errors import UsageError
from vidgan.generator.synthesis import Synthesize
from vidgan.latent.paths import Path

_BATCH = 16
_SMALLEST_SIDE = 8  # pixels of the last picture of the pyramid
_PER_SEGMENT = 128  # at most this many measurements between two keyframes,
_MOST = 200_000  # and in all
_EVEN_ENOUGH = 0.01
_ROUNDS = 6


@dataclass(frozen=True)
class Unevenness:
    """How much the change per frame varies; a perfectly steady video has 0 and 1."""

    deviation: float  # standard deviation over mean
    peak: float  # largest over median

    def __str__(self) -> str:
        return f"std/mean {self.deviation:.3f}, max/median {self.peak:.2f}"


def change(a: np.ndarray, b: np.ndarray) -> float:
    """How different two frames uint8 [H, W, 3] look, in grey levels.

    The mean over the pyramid of the 3/2-norm. That lies between the mean absolute difference and
    the root mean square: steady in it, a video is steady enough in both (measured: a deviation of
    0.005 in one of these two alone leaves 0.16 in the other, this leaves 0.09 in either).
    """
    difference, levels = a.astype(np.float32) - b, []
    while True:
        levels.append(float((np.abs(difference) ** 1.5).mean() ** (2 / 3)))
        h, w = (side // 2 for side in difference.shape[:2])
        if min(h, w) < _SMALLEST_SIDE:
            return sum(levels) / len(levels)
        d = difference[: 2 * h, : 2 * w]
        difference = (d[::2, ::2] + d[1::2, ::2] + d[::2, 1::2] + d[1::2, 1::2]) / 4


def constant_speed(path: Path, generator: Synthesize) -> tuple[Path, Unevenness, Unevenness]:
    """The path re-timed for this generator, and its unevenness before and after.

    Looks at every frame up to six times, or at 128 pairs between two keyframes where those are
    fewer. Raises UsageError for a path that holds or eases, or that has too many keyframes.
    """
    if path.hold or path.ease != "linear":
        raise UsageError("--constant-speed sets the speed itself: leave out --hold and --ease.")
    if path.segments > _MOST // 8:
        raise UsageError(
            f"--constant-speed: {path.segments} keyframes are too many to measure; at most "
            f"{_MOST // 8}: render parts, or set --keyframes."
        )
    measured = max(1, min(path.steps, _PER_SEGMENT * path.segments, _MOST))
    if not path.steps:
        return path, Unevenness(0, 1), Unevenness(0, 1)
    table = np.linspace(0, 1, measured + 1)
    trials = []
    for _ in range(_ROUNDS):
        changes = np.array(list(_changes(path, generator, table)))
        trials.append((_unevenness(changes), table))
        if trials[-1][0].deviation <= _EVEN_ENOUGH:
            break
        table = _even(table, changes, whole=measured == path.steps, closed=path.closed)
    after, table = min(trials, key=lambda trial: trial[0].deviation)
    return replace(path, timings=(*path.timings, table)), trials[0][0], after


def _changes(path: Path, generator: Synthesize, table: np.ndarray) -> Iterator[float]:
    """The change over one frame's step from each position of the table but the last."""
    if len(table) == path.steps + 1:
        frames = _frames(path, generator, table)
        before = next(frames)
        for frame in frames:
            yield change(before, frame)
            before = frame
        return
    # Fewer measurements than frames: a pair as close as two frames are, at every position.
    step = np.diff(table) * ((len(table) - 1) / path.steps)
    frames = _frames(path, generator, np.stack([table[:-1], table[:-1] + step], 1).reshape(-1))
    for before in frames:
        yield change(before, next(frames))


def _frames(path: Path, generator: Synthesize, t: np.ndarray) -> Iterator[np.ndarray]:
    for part in np.split(t, range(_BATCH, len(t), _BATCH)):
        weights = path.class_weights_at(part)
        z = path.latents_at(part)
        yield from generator(z) if weights is None else generator(z, weights)


def _even(table: np.ndarray, changes: np.ndarray, *, whole: bool, closed: bool) -> np.ndarray:
    """Positions at equal shares of the change; between measurements it grows evenly."""
    if not whole:  # each change was measured where its step begins: take the mean of both ends
        after = np.roll(changes, -1)
        after[-1] = changes[0] if closed else changes[-1]
        changes = (changes + after) / 2
    changes = changes + 1e-6 * changes.mean() + 1e-12  # strictly rising
    length = np.concatenate([[0], np.cumsum(changes)])
    return np.interp(np.linspace(0, length[-1], len(table)), length, table)


def _unevenness(changes: np.ndarray) -> Unevenness:
    mean, median = max(changes.mean(), 1e-12), max(float(np.median(changes)), 1e-12)
    return Unevenness(float(changes.std() / mean), float(changes.max() / median))
