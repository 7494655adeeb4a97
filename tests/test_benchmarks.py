"""What the benchmarks judge by."""

import numpy as np

from tests.benchmarks.lattice import lattice
from tests.quality.test_patches import blurred

SIDE = 64


def clouds(seed: int) -> np.ndarray:
    """Noise, finer and finer with less and less contrast: uint8 [200, 64, 64, 3]."""
    random = np.random.default_rng(seed)
    waves = np.fft.rfft2(random.normal(size=(200, SIDE, SIDE)))
    down, across = np.fft.fftfreq(SIDE)[:, None] * SIDE, np.arange(SIDE // 2 + 1)
    pictures = np.fft.irfft2(waves / (1 + np.hypot(down, across)) ** 1.5)
    return np.repeat(
        np.clip(40 * pictures / pictures.std() + 128, 0, 255).astype(np.uint8)[..., None], 3, -1
    )


def test_only_what_stands_in_step_in_all_pictures_is_a_lattice():
    reals, others = clouds(0), clouds(1)
    honest = lattice(others, reals)
    assert honest < 2
    assert lattice(blurred(others), blurred(reals)) < 3  # equally fine
    place = np.arange(SIDE)
    dots = 60 * np.multiply.outer(place % 6 == 0, place % 6 == 0)
    chequerboard = 8 * (np.add.outer(place, place) % 2)
    for spoil in (dots, chequerboard):
        assert (
            lattice((others + spoil[..., None]).clip(0, 255).astype(np.uint8), reals) > 3 * honest
        )
