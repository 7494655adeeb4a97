import numpy as np
import onnx
import pytest
import torch

from tests.conftest import save_model, small_generator
from vidgan.disk.places import bundled
from vidgan.errors import ModelError
from vidgan.generator import export
from vidgan.generator.synthesis import batch_size_for, open_differentiable, open_generator
from vidgan.networks.pixels import to_frames

SHIPPED = bundled("assets/generator.safetensors")


@pytest.fixture(scope="module")
def model_of_classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    return save_model(folder / "g.safetensors", *small_generator(32, 32, ("cat", "dog", "owl")))


def test_a_model_of_classes_shows_the_class_asked_for_and_mixtures(model_of_classes):
    generator = open_generator(model_of_classes)
    assert (generator.classes, generator.class_names) == (3, ("cat", "dog", "owl"))
    z = np.zeros((3, generator.z_dim), np.float32)
    cat, dog, between = generator(z, np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], np.float32))
    assert np.array_equal(generator(z[:1])[0], cat)  # no weights: the first class
    assert not np.array_equal(cat, dog)
    assert not np.array_equal(between, cat) and not np.array_equal(between, dog)


def test_a_file_of_labels_says_how_it_could_mix(model_of_classes, tmp_path):
    target = tmp_path / "label.onnx"
    export.export(model_of_classes, target)
    z, half = np.zeros((1, 100), np.float32), np.array([[0.5, 0.5, 0]], np.float32)
    with pytest.raises(ModelError, match=r"label\.onnx: .* --classes weights"):
        open_generator(target)(z, half)


def test_class_weights_that_do_not_fit_the_names_are_refused(model_of_classes, tmp_path):
    target = tmp_path / "weights.onnx"
    export.export(model_of_classes, target, export.Form(classes="weights"))
    model = onnx.load(target)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "model")
    entry.value = '{"class_names": ["cat"]}'
    onnx.save(model, target)
    with pytest.raises(ModelError, match="names 1 classes"):
        open_generator(target)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(64, 64, 16), (576, 577, 16), (578, 578, 8), (1080, 1920, 2), (4320, 7680, 1)],
)
def test_a_batch_is_a_power_of_two_of_at_most_16_mb(height, width, size):
    assert batch_size_for(height, width) == size


@pytest.mark.parametrize("which", ["model_file", "onnx_file", "shipped"])
def test_a_frame_does_not_depend_on_how_many_are_asked_for(which, request):
    file = SHIPPED if which == "shipped" else request.getfixturevalue(which)
    generator = open_generator(file)
    z = np.random.default_rng(0).standard_normal((33, generator.z_dim)).astype(np.float32)
    frames = generator(z)
    assert frames.std() > 5
    for stop in (1, 5, 16, 17, 32):
        assert np.array_equal(generator(z[:stop]), frames[:stop])
    for start in (16, 32):
        assert np.array_equal(generator(z[start:]), frames[start:])
    if which == "onnx_file":  # by its contract, wherever a batch starts
        assert np.array_equal(generator(z[7:9]), frames[7:9])


def test_frames_have_all_bits_of_float32_on_any_device(model_file):
    generator, seen = open_generator(model_file), []

    def look(*_):
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))

    generator._image.network.register_forward_hook(look)
    generator(np.zeros((1, generator.z_dim), np.float32))
    assert seen == [(False, False)]


@pytest.mark.parametrize("name", ["shipped", "dcgan", "r3gan"])
def test_frames_of_a_batch_are_those_of_single_latents(name, tmp_path):
    file = SHIPPED
    if name != "shipped":
        file = save_model(tmp_path / "generator.safetensors", *small_generator(128, 72, name=name))
    generator = open_differentiable(file)
    z = torch.randn(32, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        single = torch.cat([to_frames(generator(row.to(generator.device))) for row in z.split(1)])
    difference = np.abs(open_generator(file)(z.numpy()).astype(int) - single.cpu().numpy())
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-4


@pytest.mark.parametrize(
    ("name", "class_names"), [("dcgan", ()), ("r3gan", ()), ("dcgan", ("cat", "dog", "owl"))]
)
def test_gradients_reach_latents_and_class_weights_but_no_parameter(name, class_names, tmp_path):
    network, model = small_generator(64, 64, class_names, name)
    file = save_model(tmp_path / "generator.safetensors", network, model)
    generator = open_differentiable(file, device="cpu")
    inputs = [torch.randn(2, 100, requires_grad=True)]
    if class_names:
        inputs.append(torch.full((2, 3), 1 / 3, requires_grad=True))
    image = generator(*inputs)
    assert image.shape == (2, 3, 64, 64) and image.dtype == torch.float32
    (image - 0.3).square().mean().backward()
    for tensor in inputs:
        assert tensor.grad.isfinite().all() and (tensor.grad.abs().sum(1) > 0).all()
    assert not any(weight.requires_grad for weight in generator.network.parameters())
    assert torch.equal(image, network(*inputs))


def test_gradients_need_the_weights(onnx_file):
    with pytest.raises(ModelError, match=r"use generator\.safetensors"):
        open_differentiable(onnx_file)


def test_sizes_come_from_the_graph_whatever_the_metadata_say(onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "model")
    entry.value = '{"z_dim": "100", "height": 0, "width": 1000000}'
    onnx.save(model, tmp_path / "other.onnx")
    generator = open_generator(tmp_path / "other.onnx")
    assert (generator.z_dim, generator.height, generator.width) == (100, 64, 64)
