from dataclasses import replace

import pytest

from tests.training.test_state import opened
from vidgan.training.batches import augmentation


@pytest.mark.parametrize(
    ("chosen", "few", "many"), [("auto", "diff", "none"), ("diff", "diff", "diff")]
)
def test_auto_leaves_large_data_alone(chosen, few, many, pictures, tmp_path):
    run = opened(pictures, tmp_path, augment=chosen)
    assert augmentation(run) == few
    assert augmentation(replace(run, dataset=range(200_000))) == many
