import numpy as np
import pytest

from vidgan.errors import UsageError
from vidgan.latent import paths, seeds

Z = 100


def make(kind, frames=120, *, seed=7, count=None, closed=True, given=None, **settings):
    points = paths.seeded(kind, seed=seed, z_dim=Z, frames=frames, closed=closed, count=count)
    if given is not None:
        given = np.asarray(given, np.float32)
        points = paths.Keyframes(z_dim=given.shape[1], count=len(given), given=given)
    return paths.Path(kind=kind, keyframes=points, frames=frames, closed=closed, **settings)


def steps(z):
    return np.linalg.norm(np.diff(z, axis=0, append=z[:1]), axis=1)


OPEN = [kind for kind in paths.PATHS if kind not in paths.ALWAYS_CLOSED]
BOTH = [(kind, True) for kind in paths.PATHS] + [(kind, False) for kind in OPEN]


@pytest.mark.parametrize(("kind", "closed"), BOTH)
@pytest.mark.parametrize("frames", [1, 2, 97])
def test_a_frame_is_a_function_of_its_index_alone(kind, closed, frames):
    path = make(kind, frames, closed=closed, truncation=(0.5, 1.0))
    whole = path.latents(0, frames)
    parts = [path.latents(i, min(i + 7, frames)) for i in range(0, frames, 7)]
    assert whole.shape == (frames, Z) and whole.dtype == np.float32 and np.isfinite(whole).all()
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("kind", paths.PATHS)
def test_every_path_closes_with_a_step_like_its_neighbours_and_doubles_no_frame(kind):
    step = steps(make(kind, 240, truncation=(0.5, 1.0)).latents(0, 240))
    assert 0.8 < step[-1] / np.median(step[[0, 1, -3, -2]]) < 1.25
    assert step.min() > 0.1 * np.median(step)


@pytest.mark.parametrize("kind", ["loop", "lerp", "slerp", "spline"])
def test_keyframes_are_met_exactly_whether_held_or_eased(kind):
    expected = seeds.gaussian(7, np.arange(4), z_dim=Z)
    for settings in ({}, {"hold": 0.5}, {"ease": "in-out"}, {"ease": "smoothstep"}):
        z = make(kind, 120, **settings).latents(0, 120)
        np.testing.assert_allclose(z[::30], expected, atol=1e-5)


def test_a_loop_keeps_the_length_of_its_keyframes():
    norms = np.linalg.norm(make("loop").latents(0, 120), axis=1)
    bounds = np.linalg.norm(seeds.gaussian(7, np.arange(4), z_dim=Z), axis=1)
    assert bounds.min() - 0.3 < norms.min() and norms.max() < bounds.max() + 0.3


def test_an_open_path_starts_and_ends_at_keyframes():
    z = make("loop", 121, closed=False, count=5).latents(0, 121)
    np.testing.assert_allclose(z[::30], seeds.gaussian(7, np.arange(5), z_dim=Z), atol=1e-5)


def test_a_hold_stands_still_for_its_share_and_an_ease_starts_slowly():
    held = steps(make("slerp", 120, hold=0.5).latents(0, 120))
    assert (held < 1e-6).mean() == pytest.approx(0.5, abs=0.05)
    for ease in ("smoothstep", "in-out"):
        eased, plain = (steps(make("slerp", 120, ease=e).latents(0, 120)) for e in (ease, "linear"))
        assert eased[0] < 0.1 * plain[0] and eased[15] > 1.4 * plain[15]


def test_half_way_lerp_is_short_and_slerp_is_not():
    ends = np.linalg.norm(seeds.gaussian(7, np.arange(2), z_dim=Z), axis=1)
    middle = {kind: make(kind, 120).latents(15, 16)[0] for kind in ("lerp", "slerp")}
    a, b = seeds.gaussian(7, np.arange(2), z_dim=Z)
    np.testing.assert_allclose(middle["lerp"], (a + b) / 2, atol=1e-6)
    assert np.linalg.norm(middle["lerp"]) < 0.8 * ends.mean()
    assert np.linalg.norm(middle["slerp"]) == pytest.approx(ends.mean(), rel=1e-5)


def test_slerp_turns_evenly_and_survives_parallel_and_opposite_keyframes():
    quarter = make("slerp", 91, given=[[1, 0], [0, 2]], closed=False).latents(0, 91)
    angle = np.degrees(np.arctan2(quarter[:, 1], quarter[:, 0]))
    np.testing.assert_allclose(angle, np.arange(91), atol=1e-4)
    z = make("slerp", 40, given=[[1, 0], [1, 0], [-1, 0]]).latents(0, 40)
    assert np.isfinite(z).all()


def test_catmull_rom_has_the_slope_of_its_neighbours_at_a_keyframe():
    given = np.array([[3.0, 0], [0, 3], [-3, 0], [0, -3]])
    path = make("spline", 4000, given=given)
    slope = (path.latents(1001, 1002) - path.latents(999, 1000)) / (2 / 1000)
    np.testing.assert_allclose(slope[0], (given[2] - given[0]) / 2, atol=0.02)


def test_a_circle_has_orthonormal_axes_equal_steps_and_the_first_keyframe():
    z = make("circle", 60).latents(0, 60)
    start = seeds.gaussian(7, np.array([0]), z_dim=Z)[0]
    np.testing.assert_allclose(z[0], start, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(start), rtol=1e-5)
    assert abs(z[0] @ z[15]) < 1e-3
    assert steps(z).max() / steps(z).min() < 1.001


def test_a_walk_is_smooth_and_keeps_the_typical_norm():
    z = make("walk", 300).latents(0, 300)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), Z**0.5, rtol=1e-5)
    bend = np.linalg.norm(np.diff(z, 2, axis=0), axis=1)
    assert bend.max() < 0.2 * steps(z).mean()


def test_noise_is_gaussian_at_every_point_and_hides_no_shorter_loop():
    z = np.stack([make("noise", 37, seed=s).latents(0, 37) for s in range(60)])  # [seeds, T, Z]
    assert abs(z.mean()) < 0.02
    np.testing.assert_allclose(z.std(axis=(0, 2)), 1, atol=0.05)
    np.testing.assert_allclose((z**4).mean(axis=(0, 2)), 3, atol=0.5)
    z = make("noise", 64, count=64).latents(0, 64)
    for shift in range(1, 64):
        assert np.linalg.norm(z - np.roll(z, shift, axis=0)) > 1


def centre(seed=7):
    return seeds.gaussian(seed, np.array([2**32 - 1]), z_dim=Z)


@pytest.mark.parametrize("truncation", [1.0, 0.7, 0.3, 0.0])
def test_truncation_draws_latents_to_one_and_keeps_them_typical(truncation):
    """Scaled latents have pictures that no training has seen: 0.3 made them half as bright."""
    plain = make("noise", 60).latents(0, 60)
    z = make("noise", 60, truncation=(truncation,)).latents(0, 60)
    expected = truncation * plain + (1 - truncation**2) ** 0.5 * centre()
    np.testing.assert_allclose(z, expected, atol=1e-5)
    if truncation == 1:
        assert np.array_equal(z, plain)
    many = [make("noise", 1, seed=s, truncation=(truncation,)).latents(0, 1)[0] for s in range(200)]
    assert np.std(many) == pytest.approx(1, abs=0.02)


def test_truncation_in_turn_is_smooth_and_comes_back():
    still = {"given": np.tile(seeds.gaussian(3, np.array([0]), z_dim=Z), (2, 1)), "frames": 240}
    moved = make("lerp", truncation=(0.5, 1.0), **still).latents(0, 240)
    plain = make("lerp", **still).latents(0, 240)
    near = make("lerp", truncation=(0.5,), **still)
    assert np.array_equal(moved[120], plain[120])
    centre_of_0 = make("lerp", truncation=(0.0,), **still).latents(0, 1)
    np.testing.assert_allclose(centre_of_0, centre(0), atol=1e-5)
    np.testing.assert_allclose(moved[0], near.latents(0, 1)[0], atol=1e-5)
    np.testing.assert_allclose(moved[1:], moved[1:][::-1], atol=1e-5)
    bend = np.linalg.norm(np.diff(moved, 2, axis=0), axis=1)
    assert bend.max() < 0.05 * steps(moved).max()  # at 1 too, where sqrt(1 - t^2) has a corner
    same = make("lerp", truncation=(0.5, 1.0, 0.5), **still).latents(0, 240)
    assert np.array_equal(moved, same)  # a closed path returns anyway


def test_a_gain_moves_frames_towards_the_centre():
    gain = np.array([1.0, 0.5, 0.0])
    z = make("lerp", 3, gain=gain).latents(0, 3)
    plain = make("lerp", 3).latents(0, 3)
    np.testing.assert_allclose(z[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(z[1], (plain[1] + centre()[0]) / 2**0.5, atol=1e-5)
    np.testing.assert_allclose(z[2], centre()[0], atol=1e-5)


def test_classes_in_turn_are_weights_that_sum_to_one():
    path = make("loop", 60, labels=(3, 7, 3), classes=10)
    weights = np.concatenate([path.class_weights(0, 13), path.class_weights(13, 60)])
    assert weights.shape == (60, 10) and weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert weights[0, 3] == 1 and weights[30, 7] == 1 and weights[15, 3] == pytest.approx(0.5)
    assert make("loop", 60).class_weights(0, 60) is None
    ends = make("loop", 61, labels=(3, 7), classes=10, closed=False).class_weights(0, 61)
    assert ends[0, 3] == 1 and ends[-1, 7] == 1


def test_positions_move_frames_along_the_curve_and_nothing_else():
    positions = np.linspace(0, 1, 40) ** 2
    fast, curve = make("loop", 40, positions=positions), make("loop", 40)
    assert np.array_equal(fast.latents(3, 40), curve.latents_at(positions[3:]))


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("zigzag", {}, "known are loop"),
        ("loop", {"frames": 0}, "frames = 0: at least 1"),
        ("loop", {"seed": -1}, "seed -1"),
        ("loop", {"count": 0}, "keyframes = 0: at least 1"),
        ("loop", {"hold": 1.0}, "--hold"),
        ("loop", {"hold": -0.1}, "--hold"),
        ("loop", {"ease": "out"}, "smoothstep"),
        ("walk", {"hold": 0.1}, "stops at no keyframe"),
        ("circle", {"closed": False}, "always a loop"),
        ("circle", {"count": 1}, "two keyframes"),
        ("loop", {"count": 10**9}, "at most 1000 per frame"),
        ("loop", {"truncation": ()}, "--truncation"),
        ("loop", {"truncation": (1.0, float("nan"))}, "--truncation"),
        ("loop", {"truncation": (1.01,)}, "from 0 to 1"),
        ("loop", {"positions": np.zeros(7)}, "positions: one number"),
        ("loop", {"gain": np.full(120, 2.0)}, "gain: one number"),
        ("loop", {"given": [[1.0, 2], [np.inf, 1]]}, "NaN or infinity"),
        ("loop", {"given": [[1.0, 2], [0, 0]]}, "all zero"),
        ("circle", {"given": [[1, 2], [2, 4]]}, "same way"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(kind, settings, says):
    with pytest.raises(UsageError, match=says):
        make(kind, **settings).latents(0, 1)


def test_latents_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"takes \[K, 100\]"):
        paths.Keyframes(z_dim=100, count=3, given=np.ones((3, 64)))
