"""The four faults of the listing that is copied most, each pinned as absent; and any size."""

import pytest
import torch

from vidgan.config import ModelConfig
from vidgan.networks import dcgan, pixels

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
    model = ModelConfig(width=64, height=64, channels=64)
    for weight in (
        dcgan.Generator(model).layers[0].weight,
        dcgan.Generator(model).layers[3].weight,
        dcgan.Discriminator(model).layers[2].weight,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert abs(weight.mean().item()) < 2e-4


def test_the_generator_starts_without_a_chequerboard():
    layer = dcgan.Generator(ModelConfig(width=64, height=64, channels=8)).layers[3]
    even = layer(torch.ones(1, layer.in_channels, 8, 8))[..., 1:-1, 1:-1]
    torch.testing.assert_close(even, even[..., :1, :1].expand_as(even), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_no_step_of_training_brings_the_chequerboard_back(order):
    torch.manual_seed(0)
    generator = dcgan.Generator(ModelConfig(width=64, height=64, channels=8))
    generator.to(memory_format=order)
    up = [layer for layer in generator.layers if getattr(layer, "stride", None) == (2, 2)]
    for layer in up:
        layer.weight.data.normal_()
    before = [layer.weight.clone() for layer in up]
    dcgan.balance(generator)
    for layer, was in zip(up, before, strict=True):
        even = layer(torch.ones(1, layer.in_channels, 8, 8))[..., 1:-1, 1:-1]
        torch.testing.assert_close(even, even[..., :1, :1].expand_as(even), rtol=1e-3, atol=1e-3)
        # The mean of all taps, and all that sums to nothing over them, is left alone.
        torch.testing.assert_close(layer.weight.sum((2, 3)), was.sum((2, 3)), rtol=1e-3, atol=1e-3)
        assert 0.5 < layer.weight.norm() / was.norm() < 0.95
    assert len(up) == 4


def grown(stage, **keys):
    model = ModelConfig(width=64, height=40, channels=4, growth=0.0, **keys)
    torch.manual_seed(0)
    generator, judge = dcgan.Generator(model).eval(), dcgan.Discriminator(model).eval()
    generator.growth = judge.growth = stage
    return generator, judge


def test_growing_follows_the_images_seen():
    stages = [dcgan.stage_at(images, 100) for images in (0, 99, 100, 150, 200, 299, 325)]
    assert stages == [0, 0, 0, 0.5, 1, 1, 1.25]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_stage_is_faded_in_without_a_jump(norm):
    z = torch.randn(2, 100)
    for stage in (0, 1, 2):
        (g, d), (g_next, d_next) = (grown(stage + s, discriminator_norm=norm) for s in (1e-6, 0))
        torch.testing.assert_close(g(z), g_next(z), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(d(g(z)), d_next(g(z)), rtol=1e-3, atol=1e-4)
        (g, d), (g_next, d_next) = (
            grown(stage + s, discriminator_norm=norm) for s in (1 - 1e-6, 1)
        )
        torch.testing.assert_close(g(z), g_next(z), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(d(g(z)), d_next(g(z)), rtol=1e-3, atol=1e-4)


def test_a_grown_network_is_the_ordinary_one():
    (g, d), z = grown(3.0), torch.randn(2, 100)
    assert torch.equal(g(z), g.layers(z[:, :, None, None]))
    assert torch.equal(d(g(z)), d.layers(g(z)).flatten())


def test_reals_have_no_more_detail_than_a_growing_generator_can_have():
    image = torch.randn(1, 3, 40, 64)
    for stage, block in ((0, 8), (1, 4), (2, 2)):
        coarse = dcgan.faded(image, grown(stage)[0])
        corners = coarse[..., ::block, ::block].repeat_interleave(block, 3)
        torch.testing.assert_close(coarse, corners.repeat_interleave(block, 2)[..., :40, :])
    assert torch.equal(dcgan.faded(image, grown(3)[0]), image)
    half = (dcgan.faded(image, grown(1)[0]) + dcgan.faded(image, grown(2)[0])) / 2
    torch.testing.assert_close(dcgan.faded(image, grown(1.5)[0]), half)


def test_pixels_survive_the_way_to_floats_and_back():
    frames = torch.arange(768).reshape(1, 16, 16, 3).to(torch.uint8)
    assert torch.equal(pixels.to_frames(pixels.to_float(frames)), frames)
