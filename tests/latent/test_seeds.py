import numpy as np
import pytest

from tests.paths import loop
from vidgan.errors import UsageError
from vidgan.latent import seeds


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_known_answers(counter, key, words):
    x0, x1 = seeds.threefry2x32(key, tuple(np.array([c], np.uint32) for c in counter))
    assert (int(x0[0]), int(x1[0])) == words


def test_a_latent_depends_on_seed_and_index_only():
    many = seeds.gaussian(7, np.arange(50), z_dim=101)
    one = seeds.gaussian(7, np.array([33]), z_dim=101)
    assert many.dtype == np.float32 and many.shape == (50, 101)
    assert np.array_equal(many[33:34], one)
    assert not np.array_equal(many, seeds.gaussian(7 + 2**32, np.arange(50), z_dim=101))


def test_latents_are_standard_normal():
    z = seeds.gaussian(3, np.arange(2000), z_dim=100)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01 and abs((z**4).mean() - 3) < 0.1


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 3, 120, 301])
def test_frames_of_a_path_do_not_depend_on_the_chunking(closed, frames):
    path = loop(seed=7, frames=frames, z_dim=20, closed=closed)
    whole = path.latents(0, frames)
    parts = [path.latents(i, min(i + 7, frames)) for i in range(0, frames, 7)]
    assert whole.shape == (frames, 20) and np.isfinite(whole).all()
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_loop_closes_without_doubling_a_frame():
    z = loop(seed=7, frames=120, z_dim=100).latents(0, 120)
    steps = np.linalg.norm(np.diff(z, axis=0, append=z[:1]), axis=1)
    assert 0.8 < steps[-1] / np.median(steps[[0, 1, -3, -2]]) < 1.2


def test_a_loop_passes_its_keyframes_and_keeps_their_length():
    z = loop(seed=7, frames=120, z_dim=100).latents(0, 120)
    keyframes = seeds.gaussian(7, np.arange(4), z_dim=100)
    np.testing.assert_allclose(z[::30], keyframes, atol=1e-5)
    norms = np.linalg.norm(z, axis=1)
    bounds = np.linalg.norm(keyframes, axis=1)
    assert bounds.min() - 0.3 < norms.min() and norms.max() < bounds.max() + 0.3


def test_an_open_path_starts_and_ends_at_keyframes_and_is_straight_there():
    path = loop(seed=7, frames=121, z_dim=100, closed=False, keyframes=5)
    z = path.latents(0, 121)
    np.testing.assert_allclose(z[::30], seeds.gaussian(7, np.arange(5), z_dim=100), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"frames": -3}, {"seed": -1}, {"keyframes": 0}])
def test_impossible_paths_are_refused(wrong):
    with pytest.raises(UsageError):
        loop(**({"seed": 7, "frames": 10, "z_dim": 8} | wrong))
