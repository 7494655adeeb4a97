import pytest
import torch

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import dcgan, pixels
from vidgan.networks.base import growth_at


def test_weights_start_as_the_paper_says():
    torch.manual_seed(0)
    model = ModelConfig(width=64, height=64, channels=64, taps=3)
    for weight in (
        dcgan.Generator(model).layers[0].weight,
        dcgan.Generator(model).layers[3].kernel(),
        dcgan.Discriminator(DiscriminatorConfig(), model).layers[2].weight,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert abs(weight.mean().item()) < 2e-4


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_layers_double_pixels_and_convolve_so_that_even_ground_stays_even(order):
    torch.manual_seed(0)
    generator = dcgan.Generator(ModelConfig(width=64, height=64, channels=8, taps=3))
    generator.to(memory_format=order)
    up = [layer for layer in generator.layers if isinstance(layer, dcgan.Doubling)]
    assert len(up) == 4
    for layer in up:
        layer.weight.data.normal_()
        even = layer(torch.ones(1, layer.in_channels, 8, 8))[..., 1:-1, 1:-1]
        torch.testing.assert_close(even, even[..., :1, :1].expand_as(even), rtol=1e-3, atol=1e-3)
        x = torch.randn(2, layer.in_channels, 6, 5)
        doubled = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        kernel = layer.weight.transpose(0, 1).flip(2, 3)
        wanted = torch.nn.functional.conv2d(doubled, kernel, layer.bias, padding=1)
        torch.testing.assert_close(layer(x), wanted, rtol=1e-3, atol=1e-3)


def test_a_loaded_generator_has_its_kernels_whole():
    torch.manual_seed(0)
    generator = dcgan.Generator(ModelConfig(width=40, height=72, channels=8, taps=3)).eval()
    z = torch.randn(2, 100)
    with torch.no_grad():
        before = generator(z)
        generator.fold()
        torch.testing.assert_close(generator(z), before)
    plain = dcgan.Generator(ModelConfig(width=40, height=72, channels=8, taps=4))
    plain.load_state_dict(generator.state_dict())


def test_noise_is_of_the_latent_and_each_pixel_has_its_own():
    torch.manual_seed(0)
    generator = dcgan.Generator(ModelConfig(width=64, height=40, channels=8, noise=True)).eval()
    assert [add.side for add in generator.noise.values()] == [(10, 16), (20, 32)]
    z = torch.randn(4000, 100)
    for add in generator.noise.values():
        field = add.field(z)  # [B, 1, H, W]
        assert abs(field.mean().item()) < 0.02
        assert field.std().item() == pytest.approx(1, abs=0.05)
        torch.testing.assert_close(add.field(0.3 * z), field, rtol=1e-4, atol=1e-4)
        pixels_apart = [field[..., 1:], field[..., :-1]]
        both = torch.stack([x.flatten(1) for x in pixels_apart])  # [2, B, pixels]
        assert abs((both[0] * both[1]).mean().item()) < 0.05
    before = generator(z[:4])
    for add in generator.noise.values():
        add.strength.data.zero_()
    assert (generator(z[:4]) - before).abs().mean() > 1e-4


def test_a_short_latent_makes_noise_too():
    model = ModelConfig(width=32, height=32, channels=4, z_dim=2, noise=True)
    field = dcgan.Generator(model).noise["1"].field(torch.randn(4000, 2))
    assert field.std().item() == pytest.approx(1, abs=0.2)


def grown(stage, norm="batch"):
    model = ModelConfig(width=64, height=40, channels=4, growth=0.0)
    torch.manual_seed(0)
    g, d = dcgan.Generator(model), dcgan.Discriminator(DiscriminatorConfig(norm=norm), model)
    g.growth = d.growth = stage
    return g.eval(), d.eval()


def test_growing_follows_the_images_seen():
    stages = [growth_at(images, 100) for images in (0, 99, 100, 150, 200, 299, 325)]
    assert stages == [0, 0, 0, 0.5, 1, 1, 1.25]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_stage_is_faded_in_without_a_jump(norm):
    z = torch.randn(2, 100)
    for stage in (0, 1, 2):
        for a, b in ((1e-6, 0), (1 - 1e-6, 1)):
            (g, d), (g_next, d_next) = grown(stage + a, norm), grown(stage + b, norm)
            torch.testing.assert_close(g(z), g_next(z), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(d(g(z)), d_next(g(z)), rtol=1e-3, atol=1e-4)


def test_a_grown_network_is_the_ordinary_one():
    (g, d), z = grown(3.0), torch.randn(2, 100)
    assert torch.equal(g(z), g.layers(z[:, :, None, None]))
    assert torch.equal(d(g(z))[0], d.layers(g(z)).flatten())


def test_reals_have_no_more_detail_than_a_growing_generator_can_show():
    image = torch.randn(1, 3, 40, 64)
    for stage, block in ((0, 8), (1, 4), (2, 2)):
        coarse = grown(stage)[0].limit_detail(image)
        corners = coarse[..., ::block, ::block].repeat_interleave(block, 3)
        torch.testing.assert_close(coarse, corners.repeat_interleave(block, 2)[..., :40, :])
    assert torch.equal(grown(3)[0].limit_detail(image), image)
    half = (grown(1)[0].limit_detail(image) + grown(2)[0].limit_detail(image)) / 2
    torch.testing.assert_close(grown(1.5)[0].limit_detail(image), half)


def test_pixels_survive_the_way_to_floats_and_back():
    frames = torch.arange(768).reshape(1, 16, 16, 3).to(torch.uint8)
    assert torch.equal(pixels.to_frames(pixels.to_float(frames)), frames)
