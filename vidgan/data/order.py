"""Which pictures a training run looks at, and when: a function of the seed and the images seen."""

import functools

import numpy as np

from vidgan.data.cache import Dataset


def order(*, seed: int, images_seen: int, count: int, dataset_size: int) -> np.ndarray:
    """Which pictures a run looks at as its images_seen-th and following: int64 [count].

    Each epoch is a permutation of the data that depends on (seed, epoch) only, so that a resumed
    run goes on where it was, whatever its batch size. Data smaller than a batch repeat within it.
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
    # NumPy keeps the raw words of a bit generator for ever; Generator.permutation may change.
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch,))).random_raw(size)
    permutation = np.argsort(words, kind="stable")
    permutation.flags.writeable = False
    return permutation


def reals_of(dataset: Dataset, count: int) -> np.ndarray:
    """Which pictures stand for the data, the same in every run: the first `count` of a shuffle."""
    return order(seed=0, images_seen=0, count=count, dataset_size=len(dataset))
