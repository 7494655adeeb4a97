import numpy as np
import pytest

from tests.latent.test_motion import turning
from vidgan.errors import ModelError
from vidgan.generator import motion as motions


def test_a_motion_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "m.safetensors"
    motions.write(file, turning(), "a" * 64)
    read = motions.read(file, "a" * 64)
    for name in ("mean", "basis", "film", "shots", "fps", "label"):
        assert np.array_equal(getattr(read, name), getattr(turning(), name)), name


def test_that_of_another_generator_and_what_is_none_are_refused(tmp_path, model_file):
    file = tmp_path / "m.safetensors"
    motions.write(file, turning(), "a" * 64)
    with pytest.raises(ModelError, match="another generator"):
        motions.read(file, "b" * 64)
    for other in (model_file, tmp_path / "none.safetensors"):
        with pytest.raises(ModelError, match=other.name):
            motions.read(other, "a" * 64)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError, match="not a motion"):
        motions.read(file, "a" * 64)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("film", np.full((150, 4), np.nan)),
        ("mean", np.zeros(3)),
        ("shots", np.array([149])),
        ("shots", np.array([70.0])),
        ("fps", 0.0),
    ],
)
def test_a_hostile_one_is_refused(name, wrong, tmp_path):
    file, hostile = tmp_path / "m.safetensors", turning()
    vars(hostile)[name] = wrong
    motions.write(file, hostile, "a" * 64)
    with pytest.raises(ModelError, match="damaged"):
        motions.read(file, "a" * 64)
