import numpy as np
import pytest

from vidgan.quality.watch import ADVICE, Watch, distance, nearest

REALS = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
SAME = np.repeat(REALS[:1], 32, axis=0)


def test_distances_of_pictures_are_means_over_all_pairs_and_over_nearest_pairs():
    rows = REALS[:5].reshape(5, -1).astype(float)
    squares = [[((rows[i] - rows[j]) ** 2).mean() for j in range(5) if j != i] for i in range(5)]
    assert distance(REALS[:5]) == pytest.approx(np.mean(squares) ** 0.5)
    assert nearest(REALS[:5]) == pytest.approx(np.mean([min(row) ** 0.5 for row in squares]))
    assert nearest(np.concatenate([REALS[:4], REALS[:4]])) == pytest.approx(0, abs=1e-4)


@pytest.fixture
def watch():
    return Watch(REALS)


def test_a_collapse_is_reported_once_and_with_advice(watch, said):
    watch.samples(REALS, {}, 5_000)
    assert watch.variety == pytest.approx(1) and said == []
    watch.samples(SAME, {}, 6_000)
    watch.samples(SAME, {}, 7_000)
    assert len(said) == 1 and said[0].startswith("collapse") and "start again" in said[0]
    assert watch.take_flags() == ("collapse",) and watch.take_flags() == ()
    assert watch.take_varieties() == {"variety": 0, "class_variety": None}
    assert watch.take_varieties() == {"variety": None, "class_variety": None}


def test_grey_samples_are_a_collapse_only_after_the_start(watch):
    watch.samples(SAME, {}, 0)
    assert watch.take_flags() == ()
    watch.samples(SAME, {}, 21_000)
    assert watch.take_flags() == ("collapse",)


def test_a_collapse_within_classes_is_reported_though_the_classes_differ(said):
    reals = {"cats": REALS[:8], "dogs": REALS[8:16], "owls": REALS[16:24]}
    watch, blurred = Watch(REALS, of_class=reals), {}
    for name, pictures in reals.items():
        middle = pictures.mean(0)
        blurred[name] = (middle + 0.5 * (pictures - middle)).astype(np.uint8)
    watch.samples(REALS, reals, 30_000)
    assert watch.class_variety == pytest.approx(1)
    watch.samples(REALS, blurred, 31_000)
    assert watch.class_variety == pytest.approx(0.5, abs=0.01)
    collapsed = blurred | {"dogs": np.repeat(REALS[8:9], 8, axis=0)}
    watch.samples(REALS, collapsed, 15_000)  # too early
    assert said == []
    watch.samples(REALS, collapsed, 32_000)
    watch.samples(REALS, collapsed, 33_000)
    assert watch.class_variety == 0 and watch.variety == pytest.approx(1)
    assert len(said) == 1 and said[0].startswith("class collapse") and "within dogs" in said[0]
    assert watch.take_flags() == ("class collapse",)


def test_the_same_few_pictures_again_and_again_are_reported_though_they_vary(watch, said):
    watch.fakes(REALS, 30_000)
    assert watch.batch_variety == watch.batch_nearest == pytest.approx(1) and said == []
    few = np.concatenate([REALS[:4]] * 8)
    watch.fakes(few, 10_000)
    assert watch.batch_variety > 0.8 and watch.batch_nearest < 0.01 and said == []
    watch.fakes(few, 30_000)
    watch.fakes(few[:2], 31_000)
    assert len(said) == 1 and said[0].startswith("repetition")


def test_a_sure_discriminator_is_reported_when_it_stays_sure(watch, said):
    for images in range(0, 70_000, 1000):
        watch.certainty(0.9 if images == 50_000 else 0.999, 0.001, images)
        assert bool(said) == (images > 40_000)
    assert len(said) == 1 and said[0].startswith("overpowered")


def test_exploding_gradients_are_reported_and_varying_ones_are_not(watch, said):
    random = np.random.default_rng(0)
    for _ in range(500):
        watch.gradients(*np.exp(random.normal(0, 1.0, 2)))
    assert said == []
    for step in range(100):
        watch.gradients(1.0, 2.0**step)
    assert len(said) == 1 and "gradients of D" in said[0]


def test_a_resumed_run_repeats_no_report_and_begins_to_count_at_its_start(watch, said):
    Watch(REALS, set(ADVICE)).samples(SAME, {}, 90_000)
    watch.certainty(0.999, 0.001, 500_000)
    assert said == []


def test_ada_at_its_cap_is_reported_when_it_stays_there(watch, said):
    for images in range(0, 100_000, 1000):
        watch.augmentation(0.9 if images == 30_000 else 1.0 if images > 15_000 else 0.5, images)
        assert bool(said) == (images > 50_000)
    assert said[0].startswith("overfitting")
