"""Motion that was learned: how latents of a film moved, and what moves on as they did.

y are principal components of latents: z = mean + y basis. The next y moves as the film did where
it was most alike, in place and in speed, with a little noise; it is drawn a little to where the
film was, so that it stays a latent of a whole picture. What is played is a function of (motion,
seed, what is met, number).

    F frames of the film   D components   Z z_dim   K latents met
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vidgan.latent import seeds

_SEGMENT = 128  # states between two that are kept
_DRAWN, _NOISE, _SHARP = 0.1, 0.3, 4.0  # to the film; of its bends; how much only the nearest count
_APART = 24  # frames between two that show different things
_BLEND_S, _BESIDE_S = 1.0, 1 / 3  # the end of a loop; how long what is met is near


@dataclass(frozen=True, eq=False)
class Motion:
    """Arrays are float64."""

    mean: np.ndarray  # [Z]
    basis: np.ndarray  # [D, Z], orthonormal rows
    film: np.ndarray  # [F, D]
    shots: np.ndarray  # int64, how many of the frames are of each; all but the last
    fps: float  # frames of the film per second
    label: int | None = None  # the class that it shows, of a generator with classes
    source: str | None = None  # the film, to show beside what is made of it

    @cached_property
    def triples(self) -> np.ndarray:
        """Places before, now and after, of one shot each: [3, T, D]."""
        shots = np.split(self.film, np.cumsum(self.shots))
        return np.concatenate([np.stack([y[:-2], y[1:-1], y[2:]]) for y in shots], axis=1)

    @cached_property
    def scales(self) -> tuple[float, float]:
        """Squares: how far a place is from the nearest of another moment, and the mean speed."""
        before, now, _ = self.triples
        speed = float(np.square(now - before).sum(1).mean()) + 1e-12
        some = np.arange(0, len(now), 1 + len(now) // 128)
        apart = np.square(now[some, None] - now).sum(-1)
        apart[np.abs(some[:, None] - np.arange(len(now))) <= _APART] = np.inf
        nearest = apart.min(1)
        far = nearest[np.isfinite(nearest)]
        return max(float(np.median(far)) if len(far) else 0.0, speed), speed

    def step(self, y: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """By how much a place moves on, and without noise."""
        before, now, after = self.triples
        scale, usual = self.scales
        far = np.square(y - now).sum(1) / scale
        off = far + np.square(speed - now + before).sum(1) / (2 * usual)
        like = np.exp(-_SHARP * (off - off.min()))
        like /= like.sum()
        step = (speed + like @ (2 * after - 3 * now + before)) / 2
        return step + _DRAWN * (like @ now - y)


@dataclass(frozen=True, eq=False)
class Played:
    """Maps numbers 0 <= i < count to latents float64 [n, Z]: `paths.Keyframes` of a path.

    closed    after the last, the first would follow: the end turns into what was before it
    met       latents [Z] by the number at which they are met
    reverse   from the last to the first
    """

    motion: Motion
    seed: int
    count: int
    closed: bool = False
    met: Mapping[int, np.ndarray] = field(default_factory=dict)
    reverse: bool = False

    def __post_init__(self) -> None:
        seeds.check_seed(self.seed)
        met = {self.count - 1 - at: z for at, z in self.met.items()} if self.reverse else self.met
        before, now, after = self.motion.triples
        first = int(seeds.bits(self.seed, np.zeros(1))[0]) % len(now)
        if 0 in met:
            places = self.motion.basis @ (met[0] - self.motion.mean)
            first = int(np.square(now - places).sum(1).argmin())
        bends = (after - 2 * now + before).std(0)
        lead = min(self.count // 2, max(1, round(_BLEND_S * self.motion.fps))) * self.closed
        vars(self).update(_lead=lead, _noise=_NOISE * bends)
        state, starts = np.stack([now[first], before[first]]), []
        for start in range(0, lead + self.count, _SEGMENT):
            starts.append(state)
            state = self._segment(start, state)[1]
        vars(self).update(_starts=starts, _added={})
        if met:
            at = np.array(list(met))
            missing = np.stack(list(met.values())) - self._unmet(at)
            shares = np.concatenate([self._beside(at, other) for other in at], 1)
            added = np.linalg.solve(shares + 1e-6 * np.eye(len(at)), missing)
            vars(self).update(_added=dict(zip(at.tolist(), added, strict=True)))

    @property
    def z_dim(self) -> int:
        return len(self.motion.mean)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        index = self.count - 1 - index if self.reverse else index
        z = self._unmet(index)
        for at, added in self._added.items():
            z = z + self._beside(index, at) * added
        return z.astype(np.float32).astype(np.float64)

    def _unmet(self, index: np.ndarray) -> np.ndarray:
        """Latents by numbers, if nothing had to be met."""
        z = self._free(index + self._lead)
        if self._lead:
            share = np.clip((index - self.count + self._lead) / self._lead, 0, 1)[:, None]
            share = 3 * share**2 - 2 * share**3
            earlier = self._free(np.maximum(index + self._lead - self.count, 0))
            z = (1 - share) * z + share * earlier
        return z

    def _free(self, index: np.ndarray) -> np.ndarray:
        """Latents by numbers that count from the lead, which is before the first."""
        z = np.empty((len(index), self.z_dim))
        for number in np.unique(index // _SEGMENT).tolist():
            # Always a whole segment, so that no number depends on what else is asked for.
            places, _ = self._segment(number * _SEGMENT, self._starts[number])
            rows = self.motion.mean + places @ self.motion.basis
            of = index // _SEGMENT == number
            z[of] = rows[index[of] - number * _SEGMENT]
        return z

    def _segment(self, start: int, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places of a segment [_SEGMENT, D], and the state [2, D] where the next one starts."""
        (y, last), places = state, []
        draws = seeds.gaussian(self.seed, np.arange(start, start + _SEGMENT), z_dim=len(y))
        for draw in draws:
            places.append(y)
            y, last = y + self.motion.step(y, y - last) + self._noise * draw, y
        return np.stack(places), np.stack([y, last])

    def entries(self) -> list[dict[str, list[float]]]:
        """All latents as the keyframes of a walk, with the digits that 32 bits need."""
        rows = self(np.arange(self.count)).tolist()
        return [{"latent": [float(f"{x:.9g}") for x in row]} for row in rows]

    def _beside(self, index: np.ndarray, at: int) -> np.ndarray:
        """How much of what is added to meet a latent counts at numbers, [n, 1]: at `at` all."""
        gap = np.abs(index - at)
        gap = np.minimum(gap, self.count - gap) if self.closed else gap
        return np.exp(-((gap / (_BESIDE_S * self.motion.fps)) ** 2) / 2)[:, None]


def play(
    motion: Motion,
    seed: int,
    frames: int,
    rate: float,
    closed: bool,
    *,
    met: Sequence[np.ndarray] = (),
    reverse: bool = False,
) -> Played:
    """The keyframes of a film, one for each state.

    rate   states per frame
    met    latents [Z] to meet at equal distances, the first of them in the first frame
    """
    steps = (frames if closed else frames - 1) * rate
    count = max(3, round(steps)) if closed else max(1, round(steps)) + 1
    last, parts = (count, len(met)) if closed else (count - 1, len(met) - 1)
    numbers = [round(k * last / max(parts, 1)) for k in range(len(met))]
    return Played(motion, seed, count, closed, dict(zip(numbers, met, strict=True)), reverse)
