"""The four faults of the listing that is copied most, each pinned as absent; and any size."""

import pytest
import torch

from vidgan import dcgan
from vidgan.config import ModelConfig

SIZES = [(32, 32), (64, 64), (128, 72), (112, 64), (72, 128), (256, 144), (40, 248)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_generator_and_discriminator_fit_the_data_at_every_size(width, height):
    model = ModelConfig(width=width, height=height, channels=4)
    image = dcgan.Generator(model)(torch.zeros(2, model.z_dim))
    assert image.shape == (2, 3, height, width)
    assert dcgan.Discriminator(model)(image).shape == (2,)  # one logit each, reals and fakes alike


def test_a_latent_of_the_wrong_rank_is_refused_at_the_door():
    generator = dcgan.Generator(ModelConfig(width=32, height=32, channels=4))
    for shape in [(2, 100, 1, 1), (100,), (2, 99)]:
        with pytest.raises(AssertionError):
            generator(torch.zeros(shape))


def test_pictures_of_another_size_are_refused_by_the_discriminator():
    discriminator = dcgan.Discriminator(ModelConfig(width=32, height=32, channels=4))
    with pytest.raises(AssertionError):
        discriminator(torch.zeros(2, 3, 64, 64))


def test_a_class_is_a_label_or_a_mixture_and_changes_the_picture_and_the_judgement():
    torch.manual_seed(0)
    model = ModelConfig(width=32, height=32, channels=4, class_names=("cat", "dog", "owl"))
    generator, judge = dcgan.Generator(model).eval(), dcgan.Discriminator(model).eval()
    z = torch.randn(1, model.z_dim).repeat(3, 1)
    labels = torch.arange(3, dtype=torch.int32)
    pictures = generator(z, labels)
    assert not torch.allclose(pictures[0], pictures[1])
    torch.testing.assert_close(generator(z, torch.eye(3)), pictures)
    torch.testing.assert_close(judge(pictures, torch.eye(3)), judge(pictures, labels))
    assert judge(pictures[:1].repeat(3, 1, 1, 1), labels).unique().numel() == 3
    with pytest.raises(AssertionError, match="classes"):
        generator(z)


def test_weights_start_as_the_paper_says():
    torch.manual_seed(0)
    generator = dcgan.Generator(ModelConfig(width=64, height=64))
    weight = generator.layers[3].weight
    assert abs(weight.std().item() - 0.02) < 1e-4 and abs(weight.mean().item()) < 1e-4


def test_pixels_survive_the_way_to_floats_and_back():
    frames = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1).expand(1, 3, 256, 1)
    back = dcgan.to_frames(dcgan.to_float(frames))
    assert torch.equal(back[0, :, 0, 0], torch.arange(256, dtype=torch.uint8))
