"""Paths through latent space: functions from a frame index to a latent.

A path depends on nothing but its settings and the index. It holds no table of its frames, except
for what was measured elsewhere (a constant speed, a sound).

    K keyframes   Z z_dim   t position on the path, 0 to 1   at position counted in keyframes
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidgan.errors import ConfigError, UsageError
from vidgan.latent import seeds
from vidgan.latent.directions import Slider

# A C2 cubic spline with unit spacing has slopes m with m[i-1] + 4 m[i] + m[i+1] = 3 (p[i+1] -
# p[i-1]). The inverse of (1, 4, 1) on an endless line is r^|d| / (2 sqrt 3), r = sqrt 3 - 2. Beyond
# 24 neighbours it is below 1e-13, so a sum over a window replaces the solution of a linear system.
_CUBIC = 3 / (2 * 3**0.5) * (3**0.5 - 2) ** np.abs(np.arange(-24, 25))
_CATMULL_ROM = np.array([0.5])
_FRAMES_PER_KEYFRAME = 30
_SMOOTHING = 0.7  # standard deviation of the Gaussian of `walk`, in keyframes
_REACH = 5  # keyframes; beyond them that Gaussian is below 1e-11
_OCTAVES = 4
_CENTRE = 2**32 - 1  # the index of the latent that truncation turns to


@dataclass(frozen=True, kw_only=True, eq=False)
class Keyframes:
    """Maps an array of numbers 0 <= i < count to latents, drawn from a seed or given as [K, Z]."""

    z_dim: int
    count: int
    seed: int = 0
    given: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"keyframes = {self.count}: at least 1.")
        if self.given is None:
            return
        if self.given.shape != (self.count, self.z_dim) or self.given.dtype.kind not in "fiu":
            shape = list(self.given.shape)
            raise UsageError(f"keyframes of shape {shape}: this model takes [K, {self.z_dim}].")
        if not np.isfinite(self.given).all() or not self.given.any(axis=1).all():
            raise UsageError("keyframes: a latent is all zero, or contains NaN or infinity.")

    def __call__(self, index: np.ndarray) -> np.ndarray:
        if self.given is not None:
            return self.given[index].astype(np.float64)
        return seeds.gaussian(self.seed, index, z_dim=self.z_dim).astype(np.float64)


# The curves. Each maps positions at float64 [n] to latents float64 [n, Z]. A closed curve goes on
# from the last keyframe to the first.


def lerp(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """Straight lines. Half-way, the norm of a Gaussian latent falls to 0.71 of the usual."""
    p, q, u = _between(keyframes, at, closed)
    return (1 - u) * p + u * q


def slerp(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """Great circles between directions, with norms interpolated linearly (Shoemake 1985)."""
    p, q, u = _between(keyframes, at, closed)
    p_norm, q_norm = _norm(p), _norm(q)
    a, b = p / p_norm, q / q_norm
    angle = np.arccos(np.clip((a * b).sum(1, keepdims=True), -1, 1))
    flat = np.sin(angle) < 1e-6  # parallel directions span no great circle, or many
    sine = np.where(flat, 1, np.sin(angle))
    p_weight = np.where(flat, 1 - u, np.sin((1 - u) * angle) / sine)
    q_weight = np.where(flat, u, np.sin(u * angle) / sine)
    return (p_weight * a + q_weight * b) * ((1 - u) * p_norm + u * q_norm)


def cubic(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """A C2 cubic spline. If open, it is a natural spline, which is straight at its ends."""
    return _hermite(keyframes, at, closed, _CUBIC)


def spline(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """A C1 Catmull-Rom spline. A keyframe changes only the two segments on either side of it."""
    return _hermite(keyframes, at, closed, _CATMULL_ROM)


def circle(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """One turn around the origin from keyframe 0 towards keyframe 1, with the norm of the first."""
    a, b = keyframes(np.arange(2))
    radius = np.linalg.norm(a)
    a = a / radius
    b = b - (a * b).sum() * a
    if np.linalg.norm(b) < 1e-6 * radius:
        raise UsageError("--path circle: both keyframes point the same way; give others.")
    angle = 2 * np.pi * at[:, None] / keyframes.count
    return radius * (np.cos(angle) * a + np.sin(angle) * (b / np.linalg.norm(b)))


def walk(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """A random walk: the keyframes smoothed by a Gaussian, scaled to the usual norm sqrt Z."""
    first = np.floor(at).astype(np.int64)
    low = int(first.min()) - _REACH
    index = np.arange(low, int(first.max()) + _REACH + 2)
    last = keyframes.count - 1
    points = keyframes(index % keyframes.count if closed else np.clip(index, 0, last))
    z = np.zeros((len(at), keyframes.z_dim))
    for offset in range(-_REACH, _REACH + 2):
        near = first + offset
        z += np.exp(-(((at - near) / _SMOOTHING) ** 2) / 2)[:, None] * points[near - low]
    return z * (keyframes.z_dim**0.5 / _norm(z))


def noise(keyframes: Keyframes, at: np.ndarray, closed: bool) -> np.ndarray:
    """Octaves of looping noise. Every point is exactly N(0, I).

    sum of w_f (cos(2 pi f t) a_f + sin(2 pi f t) b_f) with w_f ~ 1 / f and sum of w_f^2 = 1. Odd
    frequencies f, each twice the next plus or minus one, keep any part of the loop from repeating.
    """
    top = max(1, keyframes.count // 2)
    frequencies = sorted({(top >> octave) | 1 for octave in range(_OCTAVES)})
    scale = sum(f**-2 for f in frequencies) ** -0.5
    z = np.zeros((len(at), keyframes.z_dim))
    for pair, f in enumerate(frequencies):
        a, b = keyframes(np.array([2 * pair, 2 * pair + 1]))
        angle = 2 * np.pi * f * at[:, None] / keyframes.count
        z += scale / f * (np.cos(angle) * a + np.sin(angle) * b)
    return z


Curve = Callable[[Keyframes, np.ndarray, bool], np.ndarray]
PATHS: dict[str, Curve] = {"loop": cubic}
PATHS |= {curve.__name__: curve for curve in (lerp, slerp, spline, circle, walk, noise)}
THROUGH_KEYFRAMES = ("loop", "lerp", "slerp", "spline")  # these can hold and ease
ALWAYS_CLOSED = ("circle", "noise")
EASES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda u: u,
    "smoothstep": lambda u: 3 * u**2 - 2 * u**3,
    "in-out": lambda u: (1 - np.cos(np.pi * u)) / 2,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """A curve of PATHS and its timing. Raises UsageError for settings that exclude each other.

    On a closed path, frame i is at i / frames of the round: the first frame follows the last, and
    none is doubled. On an open path, the first and the last frame are the two ends.

    hold         the part of the time between two keyframes that stands still on them, below 1
    truncation   from 1, as they are, to 0, all at one centre; several are gone through in turn
    labels       classes to go through over the film, of the `classes` that the model knows
    positions    where on the path each frame is, [frames], from 0 to 1; None: at equal steps
    gain         a factor of the angle from the centre per frame, [frames], from 0 to 1
    sliders      along which the latents are moved at last
    """

    kind: str
    keyframes: Keyframes
    frames: int
    closed: bool = True
    hold: float = 0.0
    ease: str = "linear"
    truncation: Sequence[float] = (1.0,)
    labels: Sequence[int] = ()
    classes: int = 0
    positions: np.ndarray | None = None
    gain: np.ndarray | None = None
    sliders: Sequence[Slider] = ()

    def __post_init__(self) -> None:
        if self.ease not in EASES:
            raise UsageError(f"--ease {self.ease}: known are {', '.join(EASES)}.")
        if not 0 <= self.hold < 1:
            raise UsageError(f"--hold {self.hold:g}: a part of the time, from 0 to below 1.")
        if self.kind in ALWAYS_CLOSED and not self.closed:
            raise UsageError(f"--path {self.kind} is always a loop: --loop, or --path walk.")
        if self.kind in ALWAYS_CLOSED and self.keyframes.count < 2:
            raise UsageError(f"--path {self.kind}: at least two keyframes.")
        if self.kind == "circle" and self.keyframes.count > 2:
            raise UsageError(
                "--path circle: takes two keyframes (--keyframes 2); --path loop more."
            )
        if self.keyframes.count > 1000 * self.frames:  # all keyframes between two frames are kept
            raise UsageError(f"keyframes = {self.keyframes.count}: at most 1000 per frame.")
        if (self.hold or self.ease != "linear") and self.kind not in THROUGH_KEYFRAMES:
            raise UsageError(f"--path {self.kind} stops at no keyframe: omit --hold and --ease.")
        scales = np.array(self.truncation)
        if not len(scales) or not ((scales >= 0) & (scales <= 1)).all():
            raise UsageError("--truncation: a number from 0 to 1, or a list of them: 0.5,1.")
        _check_table("positions", self.positions, self.frames)
        _check_table("gain", self.gain, self.frames)

    @property
    def steps(self) -> int:
        """Steps from frame to frame. A loop also has one from the last to the first."""
        return self.frames if self.closed else self.frames - 1

    @property
    def segments(self) -> int:
        return self.keyframes.count if self.closed else self.keyframes.count - 1

    def position(self, start: int, stop: int) -> np.ndarray:
        """Where on the path the frames start <= i < stop are, float64 [stop - start]."""
        if self.positions is not None:
            return self.positions[start:stop]
        return np.arange(start, stop) / max(self.steps, 1)

    def latents(self, start: int, stop: int) -> np.ndarray:
        """Latents float32 [stop - start, Z] of the frames start <= i < stop."""
        gain = 1.0 if self.gain is None else self.gain[start:stop, None]
        return self.latents_at(self.position(start, stop), gain)

    def class_weights(self, start: int, stop: int) -> np.ndarray | None:
        """Class weights float32 [stop - start, classes] of these frames; None without labels."""
        return self.class_weights_at(self.position(start, stop))

    def latents_at(self, t: np.ndarray, gain: np.ndarray | float = 1.0) -> np.ndarray:
        """The curve itself: float32 [n, Z] at positions [n] from 0 to 1; gain [n, 1]."""
        at = t * self.segments
        if self.hold or self.ease != "linear":
            whole = np.floor(at)
            # Half of the hold is before a keyframe, the other half after it.
            u = np.clip((at - whole - self.hold / 2) / (1 - self.hold), 0, 1)
            at = whole + EASES[self.ease](u)
        z = PATHS[self.kind](self.keyframes, at, self.closed)
        z = moved(self._truncated(z, t, gain), self.sliders, t, self.closed)
        return z.astype(np.float32)

    def class_weights_at(self, t: np.ndarray) -> np.ndarray | None:
        if not len(self.labels):
            return None
        one_hot = np.eye(self.classes)[list(self.labels)]
        return _in_turn(one_hot, t, self.closed).astype(np.float32)

    def _truncated(self, z: np.ndarray, t: np.ndarray, gain: np.ndarray | float) -> np.ndarray:
        """truncation z + sqrt(1 - truncation^2) centre: as Gaussian as z and the centre are.

        A latent scaled towards 0 is one that no generator was trained on; its picture is dark and
        blurred. The angle between both changes evenly, since that square root does not.
        """
        angles = np.arccos(np.array(self.truncation, float))[:, None]  # 0 exactly for 1
        away = 1 - _in_turn(angles * (2 / np.pi), t, self.closed)  # from 0, at the centre, to 1
        turn = (1 - away * gain) * (np.pi / 2)
        centre = seeds.gaussian(self.keyframes.seed, np.array([_CENTRE]), z_dim=z.shape[1])
        return np.cos(turn) * z + np.sin(turn) * centre


def latent_of(entry: object, z_dim: int) -> np.ndarray:
    """The latent float32 [Z] that a keyframe of a file stands for."""
    match entry:
        case {"seed": int(seed), "index": int(index)} if len(entry) == 2 and 0 <= index < 2**32:
            return seeds.gaussian(seed, np.array([index]), z_dim=z_dim)[0]
        case {"latent": list(latent)} if len(entry) == 1:
            if len(latent) != z_dim:
                raise ConfigError(f"keyframes of {len(latent)} numbers; this model takes {z_dim}.")
            if all(type(number) in (int, float) for number in latent):
                return np.array(latent, np.float32)
    examples = '{"seed": 7, "index": 0} or {"latent": [0.1, -1.2, ...]}'
    raise ConfigError(f"keyframe {json.dumps(entry)[:60]}: it must be like {examples}.")


def moved(z: np.ndarray, sliders: Sequence[Slider], t: np.ndarray, closed: bool) -> np.ndarray:
    """Latents [n, Z] along directions, by what their strengths are at positions [n]."""
    for slider in sliders:
        z = z + _in_turn(np.array(slider.strengths)[:, None], t, closed) * slider.vector
    return z


def seeded(
    kind: str, *, seed: int, z_dim: int, frames: int, closed: bool = True, count: int | None = None
) -> Keyframes:
    """Keyframes 0, 1, 2, ... of a seed, by default one per 30 frames or what the path needs."""
    seeds.check_seed(seed)
    if kind not in PATHS:
        raise UsageError(f"--path {kind}: known are {', '.join(PATHS)}.")
    if frames < 1:
        raise UsageError(f"frames = {frames}: at least 1, for example --frames 120.")
    if count is None:
        least = {"circle": 2, "noise": 4, "walk": 4}.get(kind, 3 if closed else 2)
        count = 2 if kind == "circle" else max(least, round(frames / _FRAMES_PER_KEYFRAME))
    return Keyframes(z_dim=z_dim, count=count, seed=seed)


def _check_table(name: str, table: np.ndarray | None, frames: int) -> None:
    if table is None or (len(table) == frames and ((table >= 0) & (table <= 1)).all()):
        return
    raise UsageError(f"{name}: one number from 0 to 1 for each of {frames} frames.")


def _norm(z: np.ndarray) -> np.ndarray:
    return np.linalg.norm(z, axis=-1, keepdims=True)


def _in_turn(values: np.ndarray, t: np.ndarray, closed: bool) -> np.ndarray:
    """Values [V, D] one after the other over the path, with smooth changes: [n, D]."""
    if closed and len(values) > 1 and np.array_equal(values[0], values[-1]):
        values = values[:-1]  # a closed path returns by itself
    at = t * (len(values) if closed else len(values) - 1)
    i = np.floor(at).astype(np.int64)
    u = EASES["smoothstep"](at - i)[:, None]
    return (1 - u) * values[i % len(values)] + u * values[(i + 1) % len(values)]


def _segment(keyframes: Keyframes, at: np.ndarray, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The number i of the segment, and u [n, 1], from 0 at keyframe i to 1 at the next."""
    i = np.floor(at).astype(np.int64)
    if not closed:
        i = np.minimum(i, max(keyframes.count - 2, 0))
    return i, (at - i)[:, None]


def _between(
    keyframes: Keyframes, at: np.ndarray, closed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, u = _segment(keyframes, at, closed)
    return keyframes(i % keyframes.count), keyframes((i + 1) % keyframes.count), u


def _hermite(keyframes: Keyframes, at: np.ndarray, closed: bool, weights: np.ndarray) -> np.ndarray:
    """A cubic through keyframes. Its slopes are weighted differences of neighbours.

    The norm is interpolated as one more coordinate, and the result is scaled to it, because the
    middle between two Gaussian latents is too short.
    """
    i, u = _segment(keyframes, at, closed)
    window = len(weights) // 2
    low = int(i.min()) - window - 1
    points = _continued(keyframes, np.arange(low, int(i.max()) + window + 3), closed)
    difference = points[2:] - points[:-2]
    count = len(difference) - 2 * window
    slopes = sum(w * difference[d : d + count] for d, w in enumerate(weights))
    i = i - low
    p, q, m, n = points[i], points[i + 1], slopes[i - window - 1], slopes[i - window]
    v = (
        (2 * u**3 - 3 * u**2 + 1) * p
        + (u**3 - 2 * u**2 + u) * m
        + (3 * u**2 - 2 * u**3) * q
        + (u**3 - u**2) * n
    )
    return v[:, :-1] * (v[:, -1:] / _norm(v[:, :-1]))


def _continued(keyframes: Keyframes, index: np.ndarray, closed: bool) -> np.ndarray:
    """Keyframes float64 [n, Z + 1], continued beyond both ends. The last column is the norm."""

    def point(index: np.ndarray) -> np.ndarray:
        z = keyframes(index)
        return np.concatenate([z, _norm(z)], axis=1)

    if closed:
        return point(index % keyframes.count)
    span = keyframes.count - 1
    if span == 0:
        return point(np.zeros_like(index))
    # Point reflection at each end makes the second derivative zero there.
    turn, rest = np.divmod(index, 2 * span)
    inside = point(np.where(rest > span, 2 * span - rest, rest))
    ends = point(np.array([0, span]))
    inside = np.where((rest > span)[:, None], 2 * ends[1] - inside, inside)
    return inside + 2 * turn[:, None] * (ends[1] - ends[0])
