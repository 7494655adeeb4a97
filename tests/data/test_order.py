import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidgan.data.order import order


@given(
    seed=st.integers(0, 2**40),
    size=st.integers(1, 40),
    start=st.integers(0, 10**12),
    chunks=st.lists(st.integers(0, 50), max_size=6),
)
def test_order_is_the_same_in_any_chunks(seed, size, start, chunks):
    whole = order(seed=seed, images_seen=start, count=sum(chunks), dataset_size=size)
    parts, seen = [np.empty(0, np.int64)], start
    for count in chunks:
        parts.append(order(seed=seed, images_seen=seen, count=count, dataset_size=size))
        seen += count
    assert whole.dtype == np.int64 and np.array_equal(np.concatenate(parts), whole)


@given(seed=st.integers(0, 2**40), size=st.integers(1, 60), epoch=st.integers(0, 10**9))
def test_every_picture_is_shown_once_per_epoch(seed, size, epoch):
    one = order(seed=seed, images_seen=epoch * size, count=size, dataset_size=size)
    assert sorted(one) == list(range(size))


def test_data_smaller_than_a_batch_repeat():
    assert order(seed=0, images_seen=0, count=4, dataset_size=1).tolist() == [0] * 4


def test_epochs_and_seeds_are_different():
    epochs = order(seed=3, images_seen=0, count=5000, dataset_size=1000).reshape(5, 1000)
    others = order(seed=4, images_seen=0, count=5000, dataset_size=1000).reshape(5, 1000)
    rows = np.concatenate([epochs, others, np.arange(1000)[None]])
    assert all((a == b).mean() < 0.02 for i, a in enumerate(rows) for b in rows[:i])


def test_order_never_changes_between_versions():
    # A run that is resumed with a newer NumPy must continue in the old order.
    found = order(seed=7, images_seen=6, count=12, dataset_size=8)
    assert found.tolist() == [6, 1, 2, 0, 3, 5, 6, 4, 7, 1, 1, 3]
