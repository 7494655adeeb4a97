"""Troubles are named once, with what to do; healthy beginnings are not."""

import numpy as np
import pytest

from vidgan.watch import ADVICE, Watch, distance

REALS = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
SAME = np.repeat(REALS[:1], 32, axis=0)


def test_the_distance_of_pictures_is_the_mean_over_all_pairs():
    pictures = REALS[:5].reshape(5, -1).astype(float)
    pairs = [((pictures[i] - pictures[j]) ** 2).mean() for i in range(5) for j in range(i)]
    assert distance(REALS[:5]) == pytest.approx(np.mean(pairs) ** 0.5)


def test_a_collapse_is_named_once_and_with_the_way_out():
    watch = Watch(REALS, set())
    assert watch.previews(REALS, 5_000) == {} and watch.variety == pytest.approx(1)
    found = watch.previews(SAME, 6_000)
    assert list(found) == ["collapse"] and "--model r3gan" in found["collapse"]
    assert watch.previews(SAME, 7_000) == {}


def test_grey_fakes_at_the_start_are_no_collapse_but_for_ever_they_are():
    watch = Watch(REALS, set())
    assert watch.previews(SAME, 0) == {}
    assert "collapse" in watch.previews(SAME, 21_000)


def test_a_sure_discriminator_is_named_when_it_stays_sure():
    watch, found = Watch(REALS, set()), {}
    for images in range(0, 100_000, 1000):
        found |= watch.certainty(0.9 if images == 60_000 else 0.999, 0.001, images)
        assert ("overpowered" in found) == (images > 40_000)
    watch = Watch(REALS, set())  # a resumed run begins to count anew
    assert watch.certainty(0.999, 0.001, 500_000) == {}


def test_exploding_gradients_are_named_and_wandering_ones_are_not():
    random = np.random.default_rng(0)
    watch = Watch(REALS, set())
    for _ in range(500):
        assert watch.gradients(*np.exp(random.normal(0, 1.0, 2))) == {}
    found = {}
    for step in range(100):
        found |= watch.gradients(1.0, 2.0**step)
    assert list(found) == ["divergence"] and "gradients of D" in found["divergence"]


def test_what_a_run_named_before_it_was_resumed_is_not_named_again():
    assert Watch(REALS, set(ADVICE)).previews(SAME, 90_000) == {}
