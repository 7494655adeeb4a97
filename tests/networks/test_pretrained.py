import pytest
import torch

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import architectures, losses, pretrained


def pair(**keys):
    torch.manual_seed(0)
    settings = DiscriminatorConfig(name="dcgan", norm="none", pretrained_weight=0.6)
    return architectures.make_discriminator(settings, ModelConfig(**keys))


def model(**keys):
    return {"width": 64, "height": 64, "channels": 8} | keys


@pytest.mark.parametrize(("width", "height"), [(64, 64), (32, 32), (128, 72), (40, 248)])
def test_the_critic_adds_three_maps_to_the_map_of_the_own_network(width, height):
    d = pair(**model(width=width, height=height))
    maps = d(torch.zeros(2, 3, height, width))
    assert maps[0].shape == (2,) and [x.ndim for x in maps[1:]] == [3, 3, 3]
    assert len({x.shape for x in maps[1:]}) == 1  # all halved to stride 16
    assert d.map_weights == (1, pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2))


def test_of_transparency_the_critic_sees_a_grey_ground():
    d = pair(**model(colours=4))
    alpha = torch.linspace(0, 1, 64).expand(2, 1, 64, 64)
    colours = torch.rand(2, 3, 64, 64)
    image = 2 * torch.cat([colours * alpha, alpha], 1) - 1
    seen = 2 * (colours * alpha + 0.5 * (1 - alpha)) - 1
    for a, b in zip(d.critic.sight(image), d.critic.sight(seen), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert d(image)[0].shape == (2,)


def test_what_is_pretrained_is_frozen_and_in_no_state_and_the_same_for_every_run():
    d = pair(**model())
    torch.manual_seed(1)
    other = architectures.make_discriminator(
        DiscriminatorConfig(name="dcgan", norm="none", pretrained_weight=0.6),
        ModelConfig(**model()),
    )
    image = torch.randn(2, 3, 64, 64)
    for a, b in zip(d.sight(image), other.sight(image), strict=True):
        assert torch.equal(a, b)
    assert not [name for name in d.state_dict() if "eyes" in name]
    assert all(parameter.requires_grad for parameter in d.parameters())
    heads = sum(p.numel() for p in d.critic.heads.parameters())
    assert heads < 600_000


def test_gradients_of_the_critic_reach_the_picture_and_a_penalty_sees_only_the_own_network():
    d, image = pair(**model()), torch.randn(2, 3, 64, 64, requires_grad=True)
    for logits in d(image):
        (gradient,) = torch.autograd.grad(logits.sum(), image, retain_graph=True)
        assert gradient.abs().sum(dim=(1, 2, 3)).min() > 0
    assert len(d.own_logits(image)) == 1 == d.own_maps
    own = losses.squared_gradient(d.own_logits(image), image)
    assert torch.equal(own, losses.squared_gradient(d.own([image]), image))


def test_sight_is_shared_by_both_losses():
    d, image = pair(**model()).eval(), torch.randn(2, 3, 64, 64)
    for once, twice in zip(d(d.sight(image)), d(image), strict=True):
        torch.testing.assert_close(once, twice)


def test_maps_have_weights_in_both_losses():
    loss, maps = losses.LOSSES["hinge"], [torch.tensor([3.0]), torch.tensor([5.0])]
    assert loss.of_g(maps, maps) == -8
    assert loss.of_g(maps, maps, (1, 0.5)) == -5.5
    assert loss.of_d(maps, maps, (0, 0.5)) == 3


def test_a_class_enters_the_critic_too():
    d = pair(**model(class_names=("a", "b"))).eval()
    image = torch.randn(1, 3, 64, 64).repeat(2, 1, 1, 1)
    for logits in d(image, torch.tensor([0, 1], dtype=torch.int32)):
        assert not torch.allclose(logits[0], logits[1])


def test_the_random_mixing_is_that_of_the_cpu_wherever_the_network_is_made():
    with torch.device("meta"):  # a GPU would refuse the CPU's random numbers
        mixing = pretrained._Mixing((8,))
    assert torch.equal(mixing.across_0, pretrained._Mixing((8,)).across_0)
