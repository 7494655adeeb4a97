"""Gaussian latents from seeds, the same in every programming language.

Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3")
turns (seed, index, pair) into 64 random bits; Box-Muller turns those into two normal numbers. A
latent depends only on its seed and its index, never on batch size, rank or device.
"""

from collections.abc import Iterable

import numpy as np

from vidgan.errors import UsageError

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def threefry2x32(
    key: tuple[int, int], counter: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Encrypt counters (two uint32 arrays of one shape) to random words (likewise)."""
    k0, k1 = np.uint32(key[0]), np.uint32(key[1])
    keys = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0 = counter[0].astype(np.uint32)
    x1 = counter[1].astype(np.uint32)
    with np.errstate(over="ignore"):  # Threefry adds modulo 2^32
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for turn in range(20):
            rotation = _ROTATIONS[turn % 8]
            x0 = x0 + x1
            x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
            x1 = x1 ^ x0
            if turn % 4 == 3:
                injection = turn // 4 + 1
                x0 = x0 + keys[injection % 3]
                x1 = x1 + keys[(injection + 1) % 3] + np.uint32(injection)
    return x0, x1


def gaussian(seed: int, indices: np.ndarray, *, z_dim: int) -> np.ndarray:
    """Latents float32 [N, z_dim] ~ N(0, I). Row i is a function of seed and indices[i].

    seed      0 <= seed < 2^64; its low word is the first key word
    indices   whole numbers [N], 0 <= index < 2^32

    Components 2p and 2p + 1 are the cosine and the sine of pair p, whose counter is (p, index).
    """
    check_seed(seed)
    index = np.asarray(indices).astype(np.uint32)
    pairs = np.arange((z_dim + 1) // 2, dtype=np.uint32)
    grid = np.broadcast_arrays(pairs[None, :], index[:, None])
    x0, x1 = threefry2x32((seed & 0xFFFFFFFF, seed >> 32), (grid[0], grid[1]))
    radius = np.sqrt(-2.0 * np.log((x0.astype(np.float64) + 1.0) / 2**32))
    angle = 2.0 * np.pi * (x1.astype(np.float64) / 2**32)
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)  # [N, pairs, 2]
    return both.reshape(len(index), -1)[:, :z_dim].astype(np.float32)


def numbered(numbers: Iterable[int], *, z_dim: int) -> np.ndarray:
    """Latents float32 [N, z_dim] of pictures by their numbers: the first latent of each seed."""
    return np.concatenate([gaussian(number, np.zeros(1), z_dim=z_dim) for number in numbers])


def bits(seed: int, indices: np.ndarray, *, lane: int | np.ndarray = 0) -> np.ndarray:
    """A random uint32 per index and lane, from counters that no latent uses. Shapes broadcast."""
    index, lanes = np.broadcast_arrays(np.asarray(indices), 0xFFFFFFFF - np.asarray(lane))
    return threefry2x32((seed & 0xFFFFFFFF, seed >> 32), (lanes, index))[0]


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed {seed}: a whole number from 0 to 2^64 - 1.")
