"""The modern baseline: any size, sound at the start, stands outside torch as it is."""

import numpy as np
import pytest
import torch

from vidgan.config import ModelConfig
from vidgan.generator import checkpoint, export
from vidgan.generator.synthesis import open_generator
from vidgan.networks import r3gan


@pytest.mark.parametrize(
    ("width", "height"), [(32, 32), (64, 64), (128, 72), (72, 128), (256, 144), (40, 248)]
)
def test_generator_and_discriminator_fit_the_data_at_every_size(width, height):
    model = ModelConfig(name="r3gan", width=width, height=height, channels=4)
    image = r3gan.Generator(model)(torch.zeros(2, model.z_dim))
    assert image.shape == (2, 3, height, width)
    assert r3gan.Discriminator(model)(image).shape == (2,)


def test_networks_hold_about_three_million_weights_at_64_pixels():
    model = ModelConfig(name="r3gan", width=64, height=64, channels=64)
    for network in (r3gan.Generator(model), r3gan.Discriminator(model)):
        assert 2.5e6 < sum(p.numel() for p in network.parameters()) < 3.5e6


def test_signals_neither_die_nor_explode_at_the_start():
    torch.manual_seed(0)
    model = ModelConfig(name="r3gan", width=64, height=64, channels=64)
    pictures = r3gan.Generator(model)(torch.randn(64, model.z_dim))
    assert 0.3 < pictures.std().item() < 3
    smooth = torch.nn.functional.interpolate(torch.randn(64, 3, 4, 4), (64, 64))  # as pictures are
    logits = r3gan.Discriminator(model)(smooth)
    assert 0.1 < logits.std().item() < 10


def test_the_generator_exports_as_it_is_with_odd_sides_too(tmp_path):
    torch.manual_seed(0)
    model = ModelConfig(name="r3gan", width=128, height=72, channels=8)
    generator = r3gan.Generator(model)
    file, target = tmp_path / "generator.safetensors", tmp_path / "generator.onnx"
    checkpoint.save_generator(file, generator, model, facts={})
    export.export(file, target)
    z = np.random.default_rng(0).standard_normal((2, model.z_dim)).astype(np.float32)
    assert open_generator(target)(z).shape == (2, 72, 128, 3)


def test_a_class_changes_the_picture_and_the_judgement():
    torch.manual_seed(0)
    model = ModelConfig(name="r3gan", width=32, height=32, channels=4, class_names=("a", "b"))
    labels = torch.tensor([0, 1], dtype=torch.int32)
    pictures = r3gan.Generator(model)(torch.ones(2, model.z_dim), labels)
    assert not torch.allclose(pictures[0], pictures[1])
    judged = r3gan.Discriminator(model)(torch.ones(2, 3, 32, 32), labels)
    assert judged[0] != judged[1]
