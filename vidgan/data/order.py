"""Which pictures are used, and in what order."""

import functools

import numpy as np

from vidgan.data.cache import Dataset


def order(*, seed: int, images_seen: int, count: int, dataset_size: int) -> np.ndarray:
    """The indices of the `count` pictures that a run sees after `images_seen` pictures: int64.

    Each epoch is a permutation of the data that depends on seed and epoch only. So a resumed run
    continues where it was, with any batch size. Data smaller than a batch repeat within it.
    """
    assert seed >= 0 and images_seen >= 0 and dataset_size >= 1
    parts = [np.empty(0, np.int64)]
    position, end = images_seen, images_seen + count
    while position < end:
        epoch, start = divmod(position, dataset_size)
        parts.append(_permutation(seed, epoch, dataset_size)[start : start + end - position])
        position += len(parts[-1])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    # NumPy promises that a bit generator's raw words stay; Generator.permutation may change.
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch,))).random_raw(size)
    permutation = np.argsort(words, kind="stable")
    permutation.flags.writeable = False
    return permutation


def fixed_sample(dataset: Dataset, count: int) -> np.ndarray:
    """Indices of pictures that stand for the data, the same in every run: int64 [count]."""
    return order(seed=0, images_seen=0, count=count, dataset_size=len(dataset))
