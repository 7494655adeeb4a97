import itertools

import pytest
import torch

from vidgan import config
from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import architectures, losses

SIZES = [(32, 32), (64, 64), (128, 72), (112, 64), (72, 128), (256, 144), (40, 248)]
PAIRS = list(itertools.product(architectures.GENERATORS, architectures.DISCRIMINATORS))


def networks(generator, discriminator, width=32, height=32, channels=4, **keys):
    torch.manual_seed(0)
    model = ModelConfig(name=generator, width=width, height=height, channels=channels, **keys)
    d = architectures.make_discriminator(DiscriminatorConfig(name=discriminator), model)
    return architectures.make_generator(model).eval(), d.eval()


def test_the_settings_know_every_network_and_loss_by_name():
    assert set(config.MODELS) == set(architectures.GENERATORS)
    assert set(config.DISCRIMINATORS) == {"auto", *architectures.DISCRIMINATORS}
    assert set(config.LOSSES) == {"auto", *losses.LOSSES}


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("generator", "discriminator"), PAIRS)
def test_every_pair_fits_the_data_at_every_size(generator, discriminator, width, height):
    g, d = networks(generator, discriminator, width, height)
    image = g(torch.zeros(2, g.z_dim))
    assert image.shape == (2, 3, height, width)
    assert [logits.shape for logits in d(image)] == [(2,)]
    assert [features.shape[0] for features in d.features(image)] == [2]


def test_signals_in_r3gan_neither_die_nor_explode_at_the_start_without_a_norm():
    g, d = networks("r3gan", "r3gan", 64, 64, channels=64)
    assert 0.3 < g(torch.randn(64, g.z_dim)).std().item() < 3
    smooth = torch.nn.functional.interpolate(torch.randn(64, 3, 4, 4), (64, 64))  # as pictures are
    assert 0.1 < d(smooth)[0].std().item() < 10
    for network in (g, d):
        assert 2.5e6 < sum(p.numel() for p in network.parameters()) < 3.5e6


@pytest.mark.parametrize(("generator", "discriminator"), PAIRS)
def test_inputs_of_a_wrong_shape_are_refused(generator, discriminator):
    g, d = networks(generator, discriminator)
    for shape in [(2, 100, 1, 1), (100,), (2, 99)]:
        with pytest.raises(AssertionError):
            g(torch.zeros(shape))
    with pytest.raises(AssertionError):
        d(torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize(("generator", "discriminator"), PAIRS)
def test_a_class_is_a_label_or_a_mixture_and_changes_picture_and_logit(generator, discriminator):
    g, d = networks(generator, discriminator, class_names=("cat", "dog", "owl"))
    z = torch.randn(1, g.z_dim).repeat(3, 1)
    labels = torch.arange(3, dtype=torch.int32)
    pictures = g(z, labels)
    assert not torch.allclose(pictures[0], pictures[1])
    torch.testing.assert_close(g(z, torch.eye(3)), pictures)
    torch.testing.assert_close(d(pictures, torch.eye(3)), d(pictures, labels))
    (logits,) = d(pictures[:1].repeat(3, 1, 1, 1), labels)
    assert logits.unique().numel() == 3
    with pytest.raises(AssertionError, match="classes"):
        g(z)
