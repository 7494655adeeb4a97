import numpy as np
import pytest

from vidgan.errors import UsageError
from vidgan.latent import motion
from vidgan.latent.motion import Motion, Played, play, radius, stable


def turning(d: int = 6, z_dim: int = 20) -> Motion:
    """Planes that turn at different rates, and a little noise."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(z_dim, d)))[0].T
    now, before = np.zeros((d, d)), -0.96 * np.eye(d)
    for k in range(0, d, 2):
        now[k : k + 2, k : k + 2] = 2 * 0.98 * np.cos(0.05 * (k + 1)) * np.eye(2)
    steps = np.block([[now, before], [np.eye(d), np.zeros((d, d))]])
    return Motion(rng.normal(size=z_dim), basis, steps, 0.05 * np.eye(d), fps=30.0)


def test_a_latent_is_the_same_whatever_else_is_asked_for():
    played = Played(turning(), 7, 700, closed=True)
    everything = played(np.arange(700))
    for index in ([0], [699], [127, 128, 129], [400, 3, 3, 256]):
        assert np.array_equal(played(np.array(index)), everything[index])
    again = Played(turning(), 7, 700, closed=True)
    assert np.array_equal(again(np.arange(600, 700)), everything[600:])
    other = Played(turning(), 8, 700, closed=True)
    assert np.abs(other(np.arange(9)) - everything[:9]).max() > 0.1


def test_an_open_film_is_as_it_was_however_long_it_is():
    short, long = (Played(turning(), 7, count)(np.arange(100)) for count in (100, 5000))
    assert np.array_equal(short, long)


def test_a_closed_one_comes_back_at_its_speed():
    z = Played(turning(), 7, 300, closed=True)(np.arange(300))
    steps = np.diff(np.concatenate([z, z[:2]]), axis=0)
    speed = np.linalg.norm(steps, axis=1)
    turn = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    assert speed[-2] < 1.5 * np.percentile(speed, 95)
    assert turn[-2:].max() < 1.5 * np.percentile(turn, 95)
    assert np.linalg.norm(Played(turning(), 7, 300)(np.array([299])) - z[0]) > 3 * speed.mean()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_what_has_to_be_met_is_met(closed, reverse):
    a, b = np.random.default_rng(1).normal(size=(2, 20))
    played = play(turning(), 7, 200, 1.0, closed, met=[a, b], reverse=reverse)
    z = played(np.arange(played.count))
    assert np.allclose(z[0], a, atol=1e-3)
    assert np.allclose(z[100 if closed else 199], b, atol=1e-3)
    speed = np.linalg.norm(np.diff(z, axis=0), axis=1)
    assert speed.max() < 1.5  # on the way, nothing jumps


def test_reverse_is_the_same_film_from_its_end():
    forth, back = (Played(turning(), 7, 150, reverse=r)(np.arange(150)) for r in (False, True))
    assert np.array_equal(forth, back[::-1])


def test_it_keeps_its_spread_for_long():
    z = Played(turning(), 7, 20_000)(np.arange(20_000)) - turning().mean
    early, late = z[:5000].std(), z[-5000:].std()
    expected = np.sqrt(np.trace(turning().spread()[:6, :6]) / 20)
    assert 0.8 < early / expected < 1.25 and 0.8 < late / expected < 1.25


def test_a_step_that_would_grow_is_made_stable():
    d = 4
    growing = np.block([[2.2 * np.eye(d), -1.1 * np.eye(d)], [np.eye(d), np.zeros((d, d))]])
    assert radius(growing) > 1
    tamed = stable(growing)
    assert radius(tamed) == pytest.approx(motion._LARGEST) and radius(tamed) < 1
    # Every eigenvalue is scaled alike, so that what turned still turns at its rate.
    angles = [np.sort(np.angle(np.linalg.eigvals(steps))) for steps in (growing, tamed)]
    assert np.allclose(*angles, atol=1e-6)
    assert np.array_equal(stable(turning().steps), turning().steps)


def test_a_film_at_half_speed_has_half_the_states():
    assert [play(turning(), 7, 100, rate, True).count for rate in (1.0, 0.5, 2.0)] == [100, 50, 200]
    assert play(turning(), 7, 101, 0.5, False).count == 51
    with pytest.raises(UsageError):
        Played(turning(), -1, 10)
