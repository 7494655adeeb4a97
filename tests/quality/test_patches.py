import functools

import numpy as np
import pytest

from vidgan.quality.distances import coverage
from vidgan.quality.patches import layout_coverage, patch_distances

RANDOM = np.random.default_rng(0)
COUNT, SIDE = 160, 64


@functools.cache
def landscapes(seed: int) -> np.ndarray:
    """Ground in random colours under a sky, with texture: uint8 [COUNT, SIDE, SIDE, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE][:, None, :, :, None]
    ground, sky = random.uniform(30, 220, (2, COUNT, 1, 1, 3))
    horizon = random.uniform(10, SIDE - 10, (COUNT, 1, 1, 1))
    waves = sum(
        random.uniform(2, 12, (COUNT, 1, 1, 1))
        * np.sin(
            f * (random.uniform(-1, 1, (COUNT, 1, 1, 1)) * x + y)
            + random.uniform(0, 6, (COUNT, 1, 1, 1))
        )
        for f in (0.2, 0.7, 2.5)
    )
    return np.clip(np.where(y < horizon, sky, ground) + waves, 0, 255).astype(np.uint8)


def blurred(pictures):
    wide = np.pad(pictures.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return (
        sum(wide[:, i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3)) / 9
    ).astype(np.uint8)


def noisy(pictures):
    return np.clip(pictures + RANDOM.normal(0, 10, pictures.shape), 0, 255).astype(np.uint8)


def chequered(pictures):
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.clip(pictures + 8.0 * ((x + y) % 2 * 2 - 1)[:, :, None], 0, 255).astype(np.uint8)


def brighter(pictures):
    return np.clip(pictures + 20.0, 0, 255).astype(np.uint8)


def only_dark(pictures):
    order = pictures.mean((1, 2, 3)).argsort()[: COUNT // 2]
    return pictures[np.concatenate([order, order])]


def shuffled(pictures):
    tiles = pictures.reshape(COUNT, 4, 16, 4, 16, 3).swapaxes(2, 3).reshape(COUNT, 16, 16, 16, 3)
    tiles = np.stack([picture[RANDOM.permutation(16)] for picture in tiles])
    return tiles.reshape(COUNT, 4, 4, 16, 16, 3).swapaxes(2, 3).reshape(pictures.shape)


def ten_copies(pictures):
    return pictures[RANDOM.integers(0, 10, COUNT)]


@pytest.mark.parametrize(
    ("flaw", "seen_by", "not_seen_by"),
    [
        (blurred, ("64", "32"), ("layout", "colour")),
        (noisy, ("64",), ("16", "layout")),
        (chequered, ("64",), ("16", "32", "layout")),
        (brighter, ("16", "layout", "colour"), ("64",)),
        (only_dark, ("16", "layout", "colour"), ()),
        (shuffled, ("64", "32"), ("colour",)),
        (ten_copies, ("layout",), ()),
    ],
)
def test_each_flaw_is_seen_where_it_is(flaw, seen_by, not_seen_by):
    found, floor = patch_distances(landscapes(0), flaw(landscapes(1))), of_reals()

    def times(name):
        of = [x.levels[int(name)] if name.isdigit() else getattr(x, name) for x in (found, floor)]
        return of[0] / of[1]

    assert {name: times(name) for name in seen_by if times(name) < 1.8} == {}
    assert {name: times(name) for name in not_seen_by if times(name) > 1.5} == {}


@functools.cache
def of_reals():
    return patch_distances(landscapes(0), landscapes(1))


def test_copies_of_a_few_pictures_cover_few_layouts():
    assert layout_coverage(landscapes(0), landscapes(1)) > 0.9
    assert layout_coverage(landscapes(0), ten_copies(landscapes(1))) < 0.5
    assert layout_coverage(landscapes(0), only_dark(landscapes(1))) < 0.75


def test_coverage_is_the_closed_form_for_equal_sets_and_falls_with_lost_modes():
    x, y = RANDOM.normal(0, 1, (2, 600, 8))
    assert coverage(x, y, neighbours=3) == pytest.approx(1 - 2**-3, abs=0.05)
    two = np.concatenate([x, y + 30])
    assert coverage(two, np.concatenate([y, y])) < 0.51


def test_sets_of_other_numbers_and_shapes_are_compared_and_a_set_is_0_from_itself():
    wide = landscapes(0)[:, 12:48, :]
    assert list(patch_distances(wide, wide).levels) == [36, 18]
    half, whole = patch_distances(wide, wide[::2]), patch_distances(wide, wide)
    assert whole.layout == 0 and half.layout > 0 and half.mean < 200
