import numpy as np
import pytest

from vidgan.errors import UsageError
from vidgan.latent.motion import Motion, Played, play

RATE = 0.1  # radians per frame


def turning(z_dim: int = 20) -> Motion:
    """Of a film in two shots: a plane that turns, and another at twice the rate."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(z_dim, 4)))[0].T
    turns = [RATE * k * np.arange(150)[:, None] for k in (1, 2)]
    film = 2 * np.concatenate([f(turn) for turn in turns for f in (np.cos, np.sin)], 1)
    mean = np.random.default_rng(1).normal(size=z_dim)
    return Motion(mean, basis, film, np.array([70]), fps=30.0)


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
    short, long = (Played(turning(), 7, count)(np.arange(100)) for count in (100, 3000))
    assert np.array_equal(short, long)


def test_what_is_played_turns_as_the_film_did_for_long():
    z = Played(turning(), 7, 4000)(np.arange(4000)) - turning().mean
    planes = z @ turning().basis.T
    for plane, rate in ((0, RATE), (2, 2 * RATE)):
        y, x = planes[:, plane + 1], planes[:, plane]
        assert np.mean(np.diff(np.unwrap(np.arctan2(y, x)))) == pytest.approx(rate, rel=0.1)
        assert np.hypot(y, x)[-500:].mean() == pytest.approx(2, rel=0.1)  # as large as ever
    assert np.abs(z - planes @ turning().basis).max() < 1e-5  # in its components alone


def test_a_closed_one_comes_back_at_its_speed():
    z = Played(turning(), 7, 300, closed=True)(np.arange(300))
    steps = np.diff(np.concatenate([z, z[:3]]), axis=0)
    speed, turn = np.linalg.norm(steps, axis=1), np.linalg.norm(np.diff(steps, axis=0), axis=1)
    assert speed[-3] < 1.5 * np.percentile(speed, 90)  # from the last to the first
    assert turn[-3:].max() < 1.5 * np.percentile(turn, 90)
    free = Played(turning(), 7, 300)(np.arange(300))
    assert np.linalg.norm(free[-1] - free[0]) > 2 * speed.mean()  # which it did not by chance


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_what_has_to_be_met_is_met(closed, reverse):
    a, b = np.random.default_rng(2).normal(size=(2, 20))
    played = play(turning(), 7, 200, 1.0, closed, met=[a, b], reverse=reverse)
    z = played(np.arange(played.count))
    assert np.allclose(z[0], a, atol=1e-3)
    assert np.allclose(z[100 if closed else 199], b, atol=1e-3)
    speed = np.linalg.norm(np.diff(z, axis=0), axis=1)
    assert speed.max() < 1.5  # on the way, nothing jumps
    free = play(turning(), 7, 200, 1.0, closed, reverse=reverse)
    assert free.count == 200


def test_reverse_is_the_same_film_from_its_end():
    forth, back = (Played(turning(), 7, 150, reverse=r)(np.arange(150)) for r in (False, True))
    assert np.array_equal(forth, back[::-1])


def test_a_film_at_half_speed_has_half_the_states():
    assert [play(turning(), 7, 100, rate, True).count for rate in (1.0, 0.5, 2.0)] == [100, 50, 200]
    assert play(turning(), 7, 101, 0.5, False).count == 51
    with pytest.raises(UsageError):
        Played(turning(), -1, 10)
