import numpy as np
import onnx
import pytest
import torch

from vidgan.config import ModelConfig
from vidgan.generator import checkpoint
from vidgan.generator.synthesis import open_generator
from vidgan.networks import dcgan


@pytest.fixture(scope="module")
def model_of_classes(tmp_path_factory):
    model = ModelConfig(width=32, height=32, channels=4, class_names=("cat", "dog", "owl"))
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("classes") / "generator.safetensors"
    generator = dcgan.Generator(model)
    with torch.no_grad():
        generator.layers[-2].weight *= 20  # frames full of contrast
    checkpoint.save_generator(path, generator, model, facts={})
    return path


def test_a_model_of_classes_shows_the_class_asked_for_and_mixtures_between(model_of_classes):
    generator = open_generator(model_of_classes)
    assert (generator.classes, generator.class_names) == (3, ("cat", "dog", "owl"))
    z = np.zeros((3, generator.z_dim), np.float32)
    cat, dog, between = generator(z, np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], np.float32))
    assert np.array_equal(generator(z[:1])[0], cat)  # no weights: the first class
    assert not np.array_equal(cat, dog)
    assert not np.array_equal(between, cat) and not np.array_equal(between, dog)


def test_a_model_without_classes_says_so(model_file):
    assert open_generator(model_file).classes == 0


def test_an_exported_file_is_of_the_size_of_its_graph_whatever_its_metadata_say(
    onnx_file, tmp_path
):
    model = onnx.load(onnx_file)
    (told,) = (entry for entry in model.metadata_props if entry.key == "model")
    told.value = '{"z_dim": "100", "height": 0, "width": 1000000}'
    onnx.save(model, tmp_path / "other.onnx")
    generator = open_generator(tmp_path / "other.onnx")
    assert (generator.z_dim, generator.height, generator.width) == (100, 64, 64)
