"""Directions in latent space, with names that nobody gave by hand.

What can be measured in a picture (how bright it is, how warm, ...) is measured in pictures of
random latents. A linear map from z to each measure gives its direction, which is then tried on
other latents: a slider is offered only as far as its measure follows it. A direction without a name
is one along which the first layers of the network change most.

    B batch   N latents   Z z_dim   M measures   S strengths
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidgan.film import alpha
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import seeds
from vidgan.render.pipeline import synthesized

if TYPE_CHECKING:
    import torch

MEASURES = (
    *("brighter", "contrast", "warmer", "greener", "colourful", "sharper", "darks", "whites"),
    *("light-left", "light-top", "symmetric", "area-warmer", "area-greener"),
    *("larger", "right", "lower"),  # of the subject
)
LEAST_CORRELATION, LEAST_COSINE = 0.9, 0.95
_OF_SUBJECT = 3  # the last of them
# Those of a row say nearly the same, so that none of them can stand still while another moves.
_ALIKE = (
    ("brighter", "contrast", "darks", "whites"),
    ("warmer", "colourful", "area-warmer"),
    ("greener", "area-greener"),
    ("sharper", "contrast", "whites"),
)
_PAIRS, _PER_NUMBER = 8192, 8  # pairs of latents at least: in all, and for each number in one
_FRESH, _RANGES = 32, (3, 2, 1)  # latents to try a direction on; strengths to try up to
_STEPS = np.arange(-2 * _RANGES[0], 2 * _RANGES[0] + 1) / 2
_HELD = 0.5  # how far others may move; less holds them better, but follows chance more
_UNNAMED = 4  # directions of each kind without a name
_SIDE = 64  # pixels of the short side of a picture that is measured, at least
Progress = Callable[[int, int], None]  # called with the pictures done and the pictures to do


@dataclass(frozen=True, eq=False)
class Direction:
    """A latent z becomes z + strength * vector, with strengths from -range to range.

    A strength of 1 is about a standard deviation of what the name says.

    correlation  of strength and measure (Spearman), the mean over fresh latents; 0 without a name
    cosine       between this vector and that of other samples, as two halves of these let expect
    moves        what a strength of 1 adds to each measure, in its standard deviations
    """

    vector: np.ndarray  # [Z]
    range: int  # 0 for one that is not offered
    correlation: float
    cosine: float
    moves: dict[str, float]


def directions(generator: Synthesize, *, seed: int = 0) -> dict[str, Direction]:
    """The named directions of a generator, best first. The same seed finds the same."""
    return {name: one for name, one in find(generator, seed=seed).items() if one.range}


def find(
    generator: Synthesize,
    *,
    network: "torch.nn.Module | None" = None,
    pairs: int = _PAIRS,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> dict[str, Direction]:
    """All directions that were tried, best first; of a network also those without names.

    network  the generator itself, for what needs its layers
    pairs    of latents z and -z to measure; more if z is long
    """
    pairs = max(pairs, _PER_NUMBER * generator.z_dim)
    z = seeds.gaussian(seed, np.arange(pairs + _FRESH), z_dim=generator.z_dim).astype(np.float64)
    unnamed = _unnamed(network, z[:pairs], generator.classes) if network else {}
    total = 2 * pairs + (len(MEASURES) + len(unnamed)) * _FRESH * len(_STEPS)
    measured = _measuring(generator, progress, total)
    whole, cosine, spread, subjects = _vectors(measured(z[:pairs]), measured(-z[:pairs]), z[:pairs])
    cosines = dict(zip(MEASURES, cosine, strict=True))
    vectors = dict(zip(named(subjects), whole, strict=False)) | unnamed
    found = {}
    for name, vector in vectors.items():
        swept = (z[pairs:, None] + _STEPS[:, None] * vector).reshape(-1, generator.z_dim)
        values = measured(swept, each=len(_STEPS))[:, :-1] / spread
        values = values.reshape(_FRESH, len(_STEPS), len(MEASURES))
        found[name] = _tried(name, vector, float(cosines.get(name, 1)), values)
    progress(total, total)
    return dict(sorted(found.items(), key=lambda item: -item[1].correlation))


def named(subjects: float) -> tuple[str, ...]:
    """The first of MEASURES, or all if enough pictures have a subject."""
    return MEASURES if subjects >= 0.75 else MEASURES[:-_OF_SUBJECT]


def _vectors(
    one: np.ndarray, other: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Of what z and -z look like, [N, M + 1] each: vectors [M, Z], the cosines to expect between
    them and those of other samples, the spread of each measure, the share that has a subject."""
    both, pairs = np.concatenate([one, other]), len(z)
    spread, ranks = both[:, :-1].std(0), np.apply_along_axis(_ranks, 0, both[:, :-1])
    ranks /= np.maximum(ranks.std(0), 1e-9)  # no rare picture outweighs others, as in a spread
    # What z and -z have in common is no part of a line, and would only be chance in it.
    odd = (ranks[:pairs] - ranks[pairs:]) / 2
    whole, *halves = (
        _apart(np.linalg.lstsq(z[part], odd[part], rcond=None)[0])
        for part in (slice(pairs), slice(0, pairs, 2), slice(1, pairs, 2))
    )
    lengths = np.linalg.norm(halves, axis=2).prod(0)
    between = np.maximum((halves[0] * halves[1]).sum(1), 0) / np.maximum(lengths, 1e-9)
    return whole, 2 * between / (1 + between), np.maximum(spread, 1e-9), both[:, -1].mean()


def _measuring(generator: Synthesize, progress: Progress, total: int) -> Callable[..., np.ndarray]:
    """A function from latents [N, Z] to `measures` [N, M + 1] of their pictures.

    Of a model of classes, they show these in turn, and `each` neighbours the same.
    """
    done = 0

    def measured(z: np.ndarray, each: int = 1) -> np.ndarray:
        nonlocal done
        inputs, parts = [z.astype(np.float32)], []
        if generator.classes:
            one_hot = np.eye(generator.classes, dtype=np.float32)
            inputs.append(one_hot[np.arange(len(z)) // each % generator.classes])
        for frames in synthesized(generator, *inputs):
            parts.append(measures(alpha.judged(frames)))
            done += len(frames)
            progress(done, total)
        return np.concatenate(parts)

    return measured


def _apart(maps: np.ndarray) -> np.ndarray:
    """Vectors [M, Z] that move their own measure by 1 and those unlike it little, of [Z, M].

    The shortest one moves all measures that go along with its own. One that moves none of them is
    long and full of chance, so that the best is between the two.
    """
    vectors = []
    for own, name in enumerate(MEASURES):
        alike = {name}.union(*(row for row in _ALIKE if name in row))
        others = maps[:, [other not in alike for other in MEASURES]]
        vector = np.linalg.solve(others @ others.T + _HELD * np.eye(len(maps)), maps[:, own])
        vectors.append(vector / max(maps[:, own] @ vector, 1e-9))
    return np.stack(vectors)


def _tried(name: str, vector: np.ndarray, cosine: float, values: np.ndarray) -> Direction:
    """A direction with what it did to the measures [N, S, M] of fresh latents.

    Its range is the largest over which its own measure follows it.
    """
    correlation = 0.0
    for furthest in _RANGES:
        kept = abs(_STEPS) <= furthest
        swept = values[:, kept]
        change = (swept[:, -1] - swept[:, 0]).mean(0) / (2 * furthest)
        moves = dict(zip(MEASURES, change.tolist(), strict=True))
        if name in MEASURES:
            own = swept[:, :, MEASURES.index(name)]
            correlation = float(np.mean([rank_correlation(_STEPS[kept], one) for one in own]))
        if name not in MEASURES or (correlation >= LEAST_CORRELATION and cosine >= LEAST_COSINE):
            return Direction(vector, furthest, correlation, cosine, moves)
    return Direction(vector, 0, correlation, cosine, moves)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 if all numbers of one are equal."""
    a, b = _ranks(a), _ranks(b)
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norm) if norm else 0.0


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """Around 0, in steps of 2, and the same for equal numbers."""
    order = np.sort(numbers)
    below, up_to = (np.searchsorted(order, numbers, side) for side in ("left", "right"))
    return (below + up_to - len(numbers)).astype(np.float64)


def measures(frames: np.ndarray) -> np.ndarray:
    """MEASURES of pictures uint8 [B, H, W, 3], and whether there is a subject: [B, M + 1]."""
    k = max(1, min(frames.shape[1:3]) // _SIDE)
    n, h, w = len(frames), frames.shape[1] // k, frames.shape[2] // k
    blocks = frames[:, : h * k, : w * k].reshape(n, h, k, w, k, 3)
    pixels = blocks.mean((2, 4), dtype=np.float32) / 255 if k > 1 else blocks[:, :, 0, :, 0] / 255
    red, green, blue = np.moveaxis(pixels, -1, 0)
    grey, least = pixels @ np.array([0.299, 0.587, 0.114]), pixels.min(-1)
    mean = lambda of: of.mean((1, 2))  # noqa: E731
    area = _largest_area(pixels)
    half, mirrored = (h // 2, w // 2), pixels[:, :, ::-1]
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    ground = np.median(border, axis=1)[:, None]
    subject = abs(pixels - ground[:, None]).mean(-1) > 0.1  # what is unlike the border
    size = mean(subject)
    there = (abs(border - ground).mean((1, 2)) < 0.05) & (size > 0.02) & (size < 0.9)
    sides = [np.linspace(0, 1, side) for side in (w, h)]
    right, lower = (
        (subject.mean(axis) @ at) / np.maximum(size * len(at), 1e-9)
        for axis, at in zip((1, 2), sides, strict=True)
    )
    columns = [
        mean(grey),
        grey.std((1, 2)),
        mean(red - blue),
        mean(green - (red + blue) / 2),
        mean(pixels.max(-1) - least),
        mean(abs(np.diff(grey, axis=1))) + mean(abs(np.diff(grey, axis=2))),
        mean(grey < 0.25),
        mean(least > 0.75),
        mean(grey[:, :, : half[1]]) - mean(grey[:, :, -half[1] :]),
        mean(grey[:, : half[0]]) - mean(grey[:, -half[0] :]),
        -abs(pixels - mirrored).mean((1, 2, 3)),
        area[:, 0] - area[:, 2],
        area[:, 1] - (area[:, 0] + area[:, 2]) / 2,
        size,
        np.where(there, right, 0.5),
        np.where(there, lower, 0.5),
        there,
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _largest_area(pixels: np.ndarray) -> np.ndarray:
    """The mean colour [B, 3] of the commonest of 64 kinds of colour in each picture."""
    levels = (pixels * 3.999).astype(np.int64) @ np.array([16, 4, 1])
    kinds = levels.reshape(len(pixels), -1) + 64 * np.arange(len(pixels))[:, None]
    counts = np.bincount(kinds.ravel(), minlength=64 * len(pixels)).reshape(-1, 64)
    inside = levels == counts.argmax(1)[:, None, None]
    return np.einsum("bhw,bhwc->bc", inside, pixels) / inside.sum((1, 2))[:, None]


def _unnamed(network: "torch.nn.Module", z: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Unit vectors along which the first layer changes most (Shen and Zhou 2021, "SeFa"), and the
    first activations (Härkönen et al. 2020, "GANSpace", by a linear map from z to them)."""
    import torch

    if hasattr(network, "blocks"):  # r3gan
        layers = network.start, network.blocks[0]
    else:
        active = (torch.nn.ReLU, torch.nn.LeakyReLU)
        layers = network.layers[0], next(m for m in network.layers if isinstance(m, active))
    seen: tuple[list, list] = ([], [])
    hooks = []
    for layer, outputs in zip(layers, seen, strict=True):
        keep = lambda _, __, output, into=outputs: into.append(output.flatten(1).double().numpy())  # noqa: E731
        hooks.append(layer.register_forward_hook(keep))
    z = z[: max(1024, 4 * z.shape[1])]
    for batch in torch.from_numpy(z.astype(np.float32)).split(64):
        network(batch, *([torch.zeros(len(batch), dtype=torch.int64)] if classes else []))
    for hook in hooks:
        hook.remove()
    z, first, later = (of - of.mean(0) for of in (z, *map(np.concatenate, seen)))
    of_layer = np.linalg.lstsq(z, first, rcond=None)[0]  # [Z, features]
    scores = np.linalg.svd(later, full_matrices=False)[0][:, :_UNNAMED]
    kinds = {
        "sefa": np.linalg.svd(of_layer, full_matrices=False)[0][:, :_UNNAMED],
        "pca": np.linalg.lstsq(z, scores, rcond=None)[0],
    }
    found = {}
    for kind, columns in kinds.items():
        for number, vector in enumerate(columns.T, start=1):
            vector = vector * np.sign(vector[abs(vector).argmax()])  # else its sign is chance
            found[f"{kind}{number}"] = vector / np.linalg.norm(vector)
    return found
