import numpy as np

from vidgan.edit import learn_motion
from vidgan.latent.motion import Played


def turning(frames: int, phase: float, rng: np.random.Generator) -> np.ndarray:
    """Latents [F, Z] that turn by 0.1 a frame in one plane, and by 0.23 in another."""
    t = np.arange(frames)[:, None] + phase
    planes = np.concatenate([f(w * t) for w in (0.1, 0.23) for f in (np.cos, np.sin)], 1)
    return planes @ np.eye(4, 20) + 1e-3 * rng.normal(size=(frames, 20))


def test_the_rates_of_turning_are_learned_over_shots():
    rng = np.random.default_rng(0)
    shots = [turning(90, phase, rng) for phase in (0, 50, 300)]
    motion, error = learn_motion.fit(shots, 30.0)
    assert error < 0.5  # of what standing still misses; the last part of the film was not seen
    assert len(motion.triples[0]) == 3 * 88  # none goes from one shot into the next
    z = Played(motion, 7, 400)(np.arange(400)) - motion.mean
    for plane, rate in ((0, 0.1), (2, 0.23)):
        turned = np.diff(np.unwrap(np.arctan2(z[:, plane + 1], z[:, plane])))
        assert abs(np.mean(turned) - rate) < 0.03


def test_shots_are_kept_apart():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    film = np.stack(
        [np.roll(a, i, 1) for i in range(20)] + [np.roll(b // 2, i, 1) for i in range(9)]
    )
    # Rolled noise changes as much from frame to frame as a cut does, so here only the smooth count.
    smooth = np.stack([np.full((32, 32, 3), 60 + i, np.uint8) for i in range(20)])
    other = np.stack([np.full((32, 32, 3), 180 - i, np.uint8) for i in range(9)])
    assert [len(shot) for shot in learn_motion._cut(np.concatenate([smooth, other]))] == [20, 9]
    assert [len(shot) for shot in learn_motion._cut(smooth)] == [20]
    assert len(learn_motion._cut(film)) == 1


def test_a_film_shorter_than_a_second_is_enough_for_something():
    motion, _ = learn_motion.fit([turning(13, 0, np.random.default_rng(0))], 30.0)
    z = Played(motion, 7, 300, closed=True)(np.arange(300))
    assert np.isfinite(z).all() and np.abs(z).max() < 10
