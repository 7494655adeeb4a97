import pytest

from vidgan.training import average


@pytest.fixture(autouse=True)
def few_calibration_batches(monkeypatch):
    """A checkpoint measures BatchNorm's statistics anew, which takes longer than all steps here."""
    monkeypatch.setattr(average, "_CALIBRATION_BATCHES", 2)
