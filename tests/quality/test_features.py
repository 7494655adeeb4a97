import numpy as np
import pytest

from vidgan.quality import distances, features

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(0, 1, (400, 16)), RANDOM.normal(0, 1, (400, 16))


@pytest.fixture(scope="module")
def lite0():
    return features.Lite0()


def test_features_are_those_of_the_published_network(lite0):
    # From efficientnet-lite-pytorch 0.1.0, the code the weights were published with.
    y, x = np.mgrid[0:64, 0:64]
    picture = np.stack([4 * x, 4 * y, x * y % 256], -1).astype(np.uint8)
    (found,) = lite0(picture[None])
    expected = [2.7915537, 1.4804561, 0.74022806, 1.9120815, -1.578767, 1.8253261]
    assert found[:6] == pytest.approx(expected, abs=1e-4)
    assert np.square(found).sum() == pytest.approx(1262.5278, rel=1e-5)


def test_features_do_not_depend_on_the_number_of_pictures(lite0):
    pictures = RANDOM.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    one = np.concatenate([lite0(picture[None]) for picture in pictures])
    assert lite0(pictures) == pytest.approx(one, abs=1e-5)


def test_the_frechet_distance_of_gaussians_is_the_closed_form():
    # Diagonal covariances: |m|^2 + sum (sx - sy)^2, with the moments of the samples themselves.
    x = RANDOM.normal(size=(500, 5))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T  # exactly N(0, I)
    y = 3 * x[:, ::-1] + 2
    assert distances.frechet(x, y) == pytest.approx(5 * 4 + 5 * 4)
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_is_exact_with_fewer_rows_than_dimensions():
    wide, other = (np.pad(rows, ((0, 0), (0, 884))) for rows in (X, Y))
    assert distances.frechet(wide, other) == pytest.approx(distances.frechet(X, Y))


def test_kid_is_unbiased_and_sees_a_shift():
    assert abs(distances.kid(X, Y)) < 0.02 < 0.5 < distances.kid(X, Y + 1)
    xx, yy, xy = ((a @ b.T / 16 + 1) ** 3 for a, b in ((X, X), (Y, Y), (X, Y)))
    expected = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (400 * 399) - 2 * xy.mean()
    assert distances.kid(X, Y) == pytest.approx(expected)


def test_recall_falls_with_lost_modes_and_precision_with_strangers(monkeypatch):
    monkeypatch.setattr(distances, "_ROWS", 37)  # the table is computed in parts
    reals = np.concatenate([X, Y + 20])
    assert distances.recall(reals, np.concatenate([Y, X + 20])) > 0.7
    one_mode = np.concatenate([Y, Y + 0.01])
    assert 0.2 < distances.recall(reals, one_mode) <= 0.5  # half of the reals are out of reach
    assert distances.recall(one_mode, reals) > 0.7  # all fakes look real
    strangers = np.concatenate([X, X + 90])
    assert distances.recall(strangers, reals) <= 0.5


def test_variety_is_a_share_of_the_distances_between_reals():
    assert distances.variety(X, 0.3 * X + 7) == pytest.approx(0.3)
    equal = np.ones_like(X)
    assert distances.variety(equal, equal) == 1
