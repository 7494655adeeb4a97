"""Constant speed: moves frames along their path until each differs from the next by as much.

Only the timing changes, never the curve. How much two frames differ is measured without a network,
on a pyramid of ever smaller copies of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidgan.errors import UsageError
from vidgan.generator.synthesis import Synthesize
from vidgan.latent.paths import Path

_BATCH = 16
_SMALLEST_SIDE = 8  # pixels of the smallest copy in the pyramid
_PER_SEGMENT = 128  # measurements between two keyframes, at most
_MOST = 200_000  # measurements in all, at most
_EVEN_ENOUGH = 0.01
_ROUNDS = 6


@dataclass(frozen=True)
class Unevenness:
    """How much the change per frame varies. A perfectly steady film has 0 and 1."""

    deviation: float  # standard deviation over mean
    peak: float  # largest over median

    def __str__(self) -> str:
        return f"{self.peak:.1f} times the usual"


def change(a: np.ndarray, b: np.ndarray) -> float:
    """How much two frames uint8 [H, W, 3] differ, in grey levels: the mean 3/2-norm of the pyramid.

    This norm lies between the mean absolute difference and the root mean square. A film that is
    steady in it is steady enough in both. Measured: a deviation of 0.005 in one of those two
    leaves 0.16 in the other; a deviation of 0.005 in this norm leaves 0.09 in either.
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
    """The path timed anew for this generator, and its unevenness before and after.

    It computes up to six times every frame, or 128 pairs of frames between two keyframes if those
    are fewer. Raises UsageError for a path that holds or eases, or that has too many keyframes.
    """
    if path.hold or path.ease != "linear":
        raise UsageError("--constant-speed sets the speed itself: omit --hold and --ease.")
    if path.segments > _MOST // 8:
        many = f"{path.segments} keyframes are too many to measure"
        raise UsageError(f"--constant-speed: {many}; give at most {_MOST // 8}.")
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
    at = path.position(0, path.frames) * (len(table) - 1)
    positions = np.interp(at, np.arange(len(table)), table).clip(0, 1)
    return replace(path, positions=positions), trials[0][0], after


def _changes(path: Path, generator: Synthesize, table: np.ndarray) -> Iterator[float]:
    """The change from each position of the table, except the last, to one frame later."""
    if len(table) == path.steps + 1:
        frames = _frames(path, generator, table)
        before = next(frames)
        for frame in frames:
            yield change(before, frame)
            before = frame
        return
    # There are fewer measurements than frames. Each takes a pair that is one frame apart.
    step = np.diff(table) * ((len(table) - 1) / path.steps)
    frames = _frames(path, generator, np.stack([table[:-1], table[:-1] + step], 1).reshape(-1))
    for before in frames:
        yield change(before, next(frames))


def _frames(path: Path, generator: Synthesize, t: np.ndarray) -> Iterator[np.ndarray]:
    for part in np.split(t, range(_BATCH, len(t), _BATCH)):
        yield from generator(path.latents_at(part), path.class_weights_at(part))


def _even(table: np.ndarray, changes: np.ndarray, *, whole: bool, closed: bool) -> np.ndarray:
    """Positions between which the change is equal, if it grows evenly between measurements."""
    if not whole:  # a change was measured at the start of its step: take the mean of both ends
        after = np.roll(changes, -1)
        after[-1] = changes[0] if closed else changes[-1]
        changes = (changes + after) / 2
    changes = changes + 1e-6 * changes.mean() + 1e-12  # strictly rising
    length = np.concatenate([[0], np.cumsum(changes)])
    return np.interp(np.linspace(0, length[-1], len(table)), length, table)


def _unevenness(changes: np.ndarray) -> Unevenness:
    mean, median = max(changes.mean(), 1e-12), max(float(np.median(changes)), 1e-12)
    return Unevenness(float(changes.std() / mean), float(changes.max() / median))
