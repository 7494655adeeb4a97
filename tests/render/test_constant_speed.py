import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import loop
from vidgan.disk import places
from vidgan.errors import UsageError
from vidgan.generator import synthesis
from vidgan.latent import paths
from vidgan.render import constant_speed, pipeline


@pytest.fixture(scope="module")
def generator(model_file):
    return synthesis.open_generator(model_file)


@pytest.fixture(scope="module", params=["shipped", "trained by the tests"])
def either(request, generator):
    shipped = places.bundled("assets/generator.safetensors")
    return synthesis.open_generator(shipped) if request.param == "shipped" else generator


def walk_of(generator, kind, frames=60, *, closed=True, count=None):
    points = paths.seeded(
        kind, seed=7, z_dim=generator.z_dim, frames=frames, closed=closed, count=count
    )
    return paths.Path(kind=kind, keyframes=points, frames=frames, closed=closed)


def changes(generator, path):
    frames = list(pipeline.frames(generator, path))
    around = frames + frames[:1] if path.closed else frames
    return np.array([constant_speed.change(a, b) for a, b in itertools.pairwise(around)])


@pytest.mark.parametrize(
    ("kind", "closed"),
    [("loop", True), ("spline", True), ("walk", True), ("loop", False), ("noise", True)],
)
def test_every_frame_changes_as_much_as_the_next_and_so_does_the_seam(either, kind, closed):
    generator = either
    path = walk_of(generator, kind, closed=closed)
    paced, before, after = constant_speed.constant_speed(path, generator)
    change = changes(generator, paced)
    assert len(change) == path.steps
    deviation, peak = change.std() / change.mean(), change.max() / np.median(change)
    assert deviation <= 0.05 and peak <= 1.15  # the bar is 0.10 and 1.3
    assert after.deviation == pytest.approx(deviation, abs=1e-3) and after.peak <= 1.15
    assert before.deviation > 2 * after.deviation
    assert change.min() > 0.5 * np.median(change)  # no frame doubles
    if closed:
        assert change[-1] == pytest.approx(np.median(change), rel=0.05)


def test_only_the_timing_changes_never_the_curve(generator):
    path = walk_of(generator, "loop")
    paced, *_ = constant_speed.constant_speed(path, generator)
    at = paced.positions
    assert (np.diff(at) > 0).all() and at[0] == 0 and 0.9 < at[-1] < 1 and len(at) == 60
    assert np.array_equal(paced.latents(0, 60), path.latents_at(at))


def test_a_long_path_is_measured_at_a_bounded_number_of_places(generator, monkeypatch):
    monkeypatch.setattr(constant_speed, "_PER_SEGMENT", 64)
    asked = 0

    class Counting:
        z_dim = generator.z_dim

        def __call__(self, z, class_weights=None):
            nonlocal asked
            asked += len(z)
            return generator(z)

    path = walk_of(generator, "loop", frames=360, count=4)
    paced, _, _ = constant_speed.constant_speed(path, Counting())
    assert asked <= 2 * 64 * 4 * 8
    change = changes(generator, paced)
    assert change.std() / change.mean() <= 0.10 and change.max() / np.median(change) <= 1.3


def test_a_picture_that_never_changes_keeps_its_timing():
    path = loop(seed=7, frames=20, z_dim=8)
    still = lambda z, _: np.zeros((len(z), 16, 16, 3), np.uint8)  # noqa: E731
    paced, before, after = constant_speed.constant_speed(path, still)
    np.testing.assert_allclose(paced.latents(0, 20), path.latents(0, 20), atol=1e-6)
    assert before.deviation == after.deviation == 0


@pytest.mark.parametrize("closed", [True, False])
def test_a_video_of_one_frame_has_no_speed(generator, closed):
    paced, *_ = constant_speed.constant_speed(
        walk_of(generator, "loop", 1, closed=closed), generator
    )
    assert paced.latents(0, 1).shape == (1, generator.z_dim)


def test_a_change_is_in_grey_levels_and_lies_between_mean_and_root_mean_square():
    black = np.zeros((64, 48, 3), np.uint8)
    assert constant_speed.change(black, black) == 0
    assert constant_speed.change(black, black + 10) == pytest.approx(10, rel=1e-5)
    corner = black.copy()
    corner[:32, :24] = 160  # a quarter, in every picture of the pyramid
    change = constant_speed.change(black, corner)
    assert 40 < change < 80 and change == pytest.approx(160 * 0.25 ** (2 / 3), rel=1e-5)


def test_speed_is_even_by_other_measures_too(generator):
    paced, *_ = constant_speed.constant_speed(walk_of(generator, "spline"), generator)
    frames = np.stack(list(pipeline.frames(generator, paced))).astype(np.float32)
    moved = frames - np.roll(frames, 1, axis=0)
    for norm in (np.abs(moved).mean((1, 2, 3)), np.sqrt((moved**2).mean((1, 2, 3)))):
        assert norm.std() / norm.mean() <= 0.10 and norm.max() / np.median(norm) <= 1.3


def test_what_sets_the_speed_itself_or_is_too_long_is_refused(generator):
    path = walk_of(generator, "loop")
    with pytest.raises(UsageError, match="--hold and --ease"):
        constant_speed.constant_speed(replace(path, hold=0.5), generator)
    with pytest.raises(UsageError, match="too many to measure"):
        constant_speed.constant_speed(walk_of(generator, "loop", 10**9), generator)
