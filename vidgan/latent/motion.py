"""Motion that was learned: a linear model of how latents move, and what it plays.

    state s = (y now, y before)    s' = A s + noise    latent z = mean + y basis

y are principal components of the latents of a film. What is played is the process itself, given
what it has to meet: a Gaussian process, so that its mean course to each of these is a sum of
powers of A. Played latents are a function of (motion, seed, what is met, number).

    D components   S = 2 D numbers of a state   Z z_dim   K things met
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vidgan.latent import seeds

_SEGMENT = 128  # states between two that are kept
_FIRST = 2**31  # the index of the noise that decides the first state
_LARGEST = 0.998  # spectral radius, so that it is stable and forgets where it began
_SLACK = 1e-6  # of the variance of what is met, so that things met at nearly one time can be


@dataclass(frozen=True, eq=False)
class Motion:
    """All arrays are float64."""

    mean: np.ndarray  # [Z]
    basis: np.ndarray  # [D, Z], orthonormal rows
    steps: np.ndarray  # [S, S], A
    noise: np.ndarray  # [D, D], lower triangular; its square is the covariance of the noise
    fps: float  # states per second of the film
    label: int | None = None  # the class that it shows, of a generator with classes

    @property
    def radius(self) -> float:
        return radius(self.steps)

    def spread(self) -> np.ndarray:
        """The covariance of states [S, S]: P = A P A^T + noise, by doubling."""
        spread, power = self._driven(), self.steps
        for _ in range(40):  # 2^40 steps
            spread, power = spread + power @ spread @ power.T, power @ power
        return spread

    def _driven(self) -> np.ndarray:
        d = len(self.noise)
        driven = np.zeros((2 * d, 2 * d))
        driven[:d, :d] = self.noise @ self.noise.T
        return driven


def radius(steps: np.ndarray) -> float:
    """The largest of the absolute eigenvalues."""
    return float(np.abs(np.linalg.eigvals(steps)).max())


def stable(steps: np.ndarray) -> np.ndarray:
    """The matrix [S, S] with its eigenvalues scaled until the largest is below 1."""
    d, scale = len(steps) // 2, min(1.0, _LARGEST / radius(steps))
    steps = steps.copy()
    steps[:d, :d] *= scale
    steps[:d, d:] *= scale**2
    return steps


@dataclass(frozen=True, eq=False)
class Played:
    """Maps numbers 0 <= i < count to latents float64 [n, Z]: `paths.Keyframes` of a path.

    closed    state `count` is state 0 again, with its speed
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
        if self.reverse:
            vars(self)["met"] = {self.count - 1 - at: z for at, z in self.met.items()}
        steps, driven = self.motion.steps, self.motion._driven()
        spread = self.motion.spread()
        pulls = self._pulls(spread)
        last = -(-(self.count + 1) // _SEGMENT) * _SEGMENT
        # Backwards in time, what is still to be met: a costate, kept where segments end.
        costate, ends = np.zeros(len(steps)), {}
        for i in range(last, -1, -1):
            costate = steps.T @ costate + pulls.get(i, 0.0)
            if i % _SEGMENT == 0:
                ends[i] = costate
        state, starts = self._first(spread) + spread @ costate, []
        for start in range(0, last, _SEGMENT):
            starts.append(state)
            state = self._segment(start, state, ends[start + _SEGMENT], pulls, driven)[-1]
        vars(self).update(_starts=starts, _ends=ends, _pull=pulls, _drive=driven)

    @property
    def z_dim(self) -> int:
        return len(self.motion.mean)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        index = self.count - 1 - index if self.reverse else index
        z = np.empty((len(index), self.z_dim))
        d = len(self.motion.noise)
        for start in np.unique(index // _SEGMENT * _SEGMENT).tolist():
            # Always a whole segment, so that no number depends on what else is asked for.
            number = start // _SEGMENT
            after = self._ends[start + _SEGMENT]
            states = self._segment(start, self._starts[number], after, self._pull, self._drive)
            rows = self.motion.mean + states[:-1, :d] @ self.motion.basis
            of = index // _SEGMENT == number
            z[of] = rows[index[of] - start]
        for at, latent in self.met.items():
            z += self._beside(index, at) * self._rest(latent)
        return z.astype(np.float32).astype(np.float64)

    def entries(self) -> list[dict[str, list[float]]]:
        """All latents as the keyframes of a walk, with the digits that 32 bits need."""
        rows = self(np.arange(self.count)).tolist()
        return [{"latent": [float(f"{x:.9g}") for x in row]} for row in rows]

    def _segment(
        self,
        start: int,
        state: np.ndarray,
        costate: np.ndarray,
        pulls: Mapping[int, np.ndarray],
        driven: np.ndarray,
    ) -> np.ndarray:
        """The states from a segment's start to the next one's [_SEGMENT + 1, S]."""
        steps, d = self.motion.steps, len(self.motion.noise)
        forces = np.zeros((_SEGMENT, len(steps)))
        if costate.any() or pulls:
            for i in range(_SEGMENT - 1, -1, -1):
                forces[i] = costate
                costate = steps.T @ costate + pulls.get(start + i, 0.0)
            forces = forces @ driven
        draws = seeds.gaussian(self.seed, np.arange(start, start + _SEGMENT), z_dim=d)
        forces[:, :d] += draws @ self.motion.noise.T
        states = np.empty((_SEGMENT + 1, len(steps)))
        states[0] = state
        for i in range(_SEGMENT):
            states[i + 1] = steps @ states[i] + forces[i]
        return states

    def _first(self, spread: np.ndarray) -> np.ndarray:
        """The first state, of the process as it always is."""
        values, vectors = np.linalg.eigh(spread)
        draw = seeds.gaussian(self.seed, np.array([_FIRST]), z_dim=len(spread))[0]
        return vectors @ (np.sqrt(values.clip(min=0)) * draw)

    def _pulls(self, spread: np.ndarray) -> dict[int, np.ndarray]:
        """What to add to the costate at which number [S], so that all is met that has to be.

        Each thing met is a row of states at some numbers: pairs (number, matrix). Kriging gives
        their weights, from the covariances of states and from what is played without them.
        """
        size, d = len(spread), len(self.motion.noise)
        met = [[(at, np.eye(d, size))] for at in self.met]
        wanted = [self.motion.basis @ (z - self.motion.mean) for z in self.met.values()]
        if self.closed:
            met.append([(self.count, np.eye(size)), (0, -np.eye(size))])
            wanted.append(np.zeros(size))
        if not met:
            return {}
        numbers = sorted({at for pairs in met for at, _ in pairs})
        free = self._free(spread, numbers)
        gaps = {b - a for a in numbers for b in numbers if b >= a}
        powers = {gap: np.linalg.matrix_power(self.motion.steps, gap) @ spread for gap in gaps}

        def shared(a: int, b: int) -> np.ndarray:
            return powers[a - b] if a >= b else powers[b - a].T

        table = np.block(
            [
                [sum(m @ shared(a, b) @ n.T for a, m in one for b, n in other) for other in met]
                for one in met
            ]
        )
        table += _SLACK * np.trace(spread) / size * np.eye(len(table))
        missing = [w - sum(m @ free[a] for a, m in one) for one, w in zip(met, wanted, strict=True)]
        weights = np.linalg.solve(table, np.concatenate(missing))
        pulls, row = {}, 0
        for one, want in zip(met, wanted, strict=True):
            for at, matrix in one:
                pulls[at] = pulls.get(at, 0.0) + matrix.T @ weights[row : row + len(want)]
            row += len(want)
        return pulls

    def _free(self, spread: np.ndarray, numbers: list[int]) -> dict[int, np.ndarray]:
        """States at some numbers, if nothing had to be met."""
        state, kept, still = self._first(spread), {}, np.zeros((len(spread),) * 2)
        for start in range(0, numbers[-1] + 1, _SEGMENT):
            states = self._segment(start, state, np.zeros(len(spread)), {}, still)
            kept |= {n: states[n - start] for n in numbers if start <= n < start + _SEGMENT}
            state = states[-1]
        return kept

    def _rest(self, latent: np.ndarray) -> np.ndarray:
        """What of a latent the components do not hold."""
        away = latent - self.motion.mean
        return away - (away @ self.motion.basis.T) @ self.motion.basis

    def _beside(self, index: np.ndarray, at: int) -> np.ndarray:
        """How much of that shows at a number, [n, 1]: all of it at `at`, and none a second away."""
        gap = np.abs(index - at)
        gap = np.minimum(gap, self.count - gap) if self.closed else gap
        return np.exp(-((3 * gap / self.motion.fps) ** 2) / 2)[:, None]


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
