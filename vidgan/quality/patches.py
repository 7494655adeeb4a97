"""How far apart two sets of pictures are, without any network: patches, layout and colour.

A distance in the features of a network does not see what that network does not. And it is no judge
of a generator that learned from a relative of that network. This one has no weights. It takes the
sliced Wasserstein distance of small patches from each level of a Laplacian pyramid (Karras et al.
2018, section 5), of whole pictures made tiny, and of single colours.

    N pictures   H W pixels   M points   D numbers of a point
"""

from dataclasses import dataclass

import numpy as np

from vidgan.quality.distances import coverage

_SIDE = 7  # pixels of a patch
_PATCHES = 64  # of a picture, at each level
_SMALLEST = 16  # pixels of the short side of the coarsest level, at least
_TINY = 8  # pixels of the short side of a picture of which only the layout is left
_COLOURS = 64  # pixels of a picture whose colours are compared
_DIRECTIONS = 256
_CHUNK = 64  # pictures that are taken apart at a time
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


@dataclass(frozen=True)
class PatchDistances:
    """Each is a mean distance in standard deviations of the reals, times 1,000; 0 is the best."""

    levels: dict[int, float]  # by the short side of the level in pixels, the finest first
    layout: float
    colour: float

    @property
    def mean(self) -> float:
        return float(np.mean([*self.levels.values(), self.layout, self.colour]))

    def __str__(self) -> str:
        sides = "/".join(map(str, self.levels))
        values = "/".join(f"{value:.0f}" for value in self.levels.values())
        return (
            f"patches-{sides} {values}, layout {self.layout:.0f}, colour {self.colour:.0f}, "
            f"mean {self.mean:.0f}"
        )


def patch_distances(reals: np.ndarray, fakes: np.ndarray, *, seed: int = 0) -> PatchDistances:
    """Of two sets uint8 [N, H, W, 3] of one size, best of equal N. The seed decides the places."""
    assert reals.shape[1:] == fakes.shape[1:], f"pictures {reals.shape} and {fakes.shape}"
    random = np.random.default_rng(seed)
    real, fake = _points(reals, random), _points(fakes, random)
    levels = {
        side: _sliced(real[side], fake[side], random) for side in real if isinstance(side, int)
    }
    layout = _sliced(real["layout"], fake["layout"], random)
    return PatchDistances(levels, layout, _sliced(real["colour"], fake["colour"], random))


def layout_coverage(reals: np.ndarray, fakes: np.ndarray) -> float:
    """Share of reals near whose layout, and colours, there is a fake; real against real 0.97.

    In the features of a network it is 0 as long as all fakes share a flaw, whatever they show.
    """
    tiny = (layouts(pictures).reshape(len(pictures), -1) for pictures in (reals, fakes))
    return coverage(*tiny)


def _points(pictures: np.ndarray, random: np.random.Generator) -> dict[int | str, np.ndarray]:
    """Points [M, D / 3, 3] of what is compared: of each level by its side, of layouts, colours."""
    found: dict[int | str, list[np.ndarray]] = {}
    for start in range(0, len(pictures), _CHUNK):
        chunk = pictures[start : start + _CHUNK]
        for band in _laplacian(chunk):
            found.setdefault(min(band.shape[1:3]), []).append(_some_patches(band, random))
        found.setdefault("layout", []).append(layouts(chunk))
        found.setdefault("colour", []).append(_some_colours(chunk, random))
    return {name: np.concatenate(x).reshape(sum(map(len, x)), -1, 3) for name, x in found.items()}


def _laplacian(pictures: np.ndarray) -> list[np.ndarray]:
    """Float32 [N, h, w, 3], the finest first. A level holds what the next one cannot show."""
    bands, now = [], pictures.astype(np.float32)
    while min(now.shape[1:3]) >= 2 * _SMALLEST:
        coarse = _blurred(now)[:, ::2, ::2]
        bands.append(now - _enlarged(coarse, now.shape[1:3]))
        now = coarse
    return [*bands, now]


def _blurred(x: np.ndarray, *, gain: float = 1.0) -> np.ndarray:
    for axis in (1, 2):
        pads = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        wide, side = np.pad(x, pads, mode="reflect"), x.shape[axis]
        places = (np.arange(k, k + side) for k in range(5))
        x = sum(
            np.float32(gain * weight) * wide.take(place, axis)
            for weight, place in zip(_BINOMIAL, places, strict=True)
        )
    return x


def _enlarged(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    wide = np.zeros((len(x), *size, 3), np.float32)
    wide[:, ::2, ::2] = x
    return _blurred(wide, gain=2.0)


def _some_patches(band: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Patches from random places: [N * _PATCHES, _SIDE * _SIDE * 3]."""
    count, height, width, _ = band.shape
    windows = np.lib.stride_tricks.sliding_window_view(band, (_SIDE, _SIDE), axis=(1, 2))
    number = np.arange(count).repeat(_PATCHES)
    y = random.integers(0, height - _SIDE + 1, len(number))
    x = random.integers(0, width - _SIDE + 1, len(number))
    return windows[number, y, x].reshape(len(number), -1)


def layouts(pictures: np.ndarray) -> np.ndarray:
    """Tiny pictures float32 [N, h, w, 3], of which the short side has 8 pixels."""
    step = max(1, min(pictures.shape[1:3]) // _TINY)
    h, w = (side // step for side in pictures.shape[1:3])
    parts = pictures[:, : h * step, : w * step].reshape(len(pictures), h, step, w, step, 3)
    return parts.mean((2, 4), dtype=np.float32)


def _some_colours(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colours of pixels at random places: [N * _COLOURS, 3]."""
    flat = pictures.reshape(len(pictures), -1, 3)
    number = np.arange(len(flat)).repeat(_COLOURS)
    place = random.integers(0, flat.shape[1], len(number))
    return flat[number, place].astype(np.float32)


def _sliced(reals: np.ndarray, fakes: np.ndarray, random: np.random.Generator) -> float:
    """Sliced Wasserstein-1 distance of points [M, D / 3, 3], times 1,000.

    Each colour channel is measured in standard deviations of the reals, so that a set that is
    brighter or paler than the reals is far from them too.
    """
    mean = reals.mean((0, 1), dtype=np.float64)
    deviation = np.maximum(reals.std((0, 1), dtype=np.float64), 1e-6)
    a, b = (((x - mean) / deviation).astype(np.float32).reshape(len(x), -1) for x in (reals, fakes))
    directions = random.normal(size=(_DIRECTIONS, a.shape[1])).astype(np.float32)
    of_a, of_b = ((np.arange(len(x)) + 0.5) / len(x) for x in (a, b))  # shares of the points
    apart = []
    for direction in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        one, other = np.sort(a @ direction), np.sort(b @ direction)
        if len(a) != len(b):
            other = np.interp(of_a, of_b, other)
        apart.append(np.abs(one - other).mean())
    return 1000 * float(np.mean(apart))
