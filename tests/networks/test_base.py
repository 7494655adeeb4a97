import pytest
import torch
from torch.nn.functional import interpolate, normalize

from vidgan import config
from vidgan.networks import base
from vidgan.networks.architectures import GENERATORS, make_generator

LABELS = torch.arange(48) % 3


def within_classes(generator):
    """The share of the variance of pictures that z makes, where the class stays the same."""
    with torch.no_grad():
        pictures = generator(torch.randn(len(LABELS), generator.z_dim), LABELS).flatten(1)
    of_class = [pictures[label == LABELS].var(0).sum() for label in range(3)]
    return (sum(of_class) / 3 / pictures.var(0).sum()).item()


@pytest.mark.parametrize("name", GENERATORS)
def test_a_pull_on_classes_does_not_push_latents_out_of_the_picture(name):
    # Trained beside vectors as long as latents (class_scale = 1), G had one picture for each class.
    torch.manual_seed(0)
    names, scale = ("cat", "dog", "owl"), config.CLASS_SCALE
    size = {"width": 32, "height": 32, "channels": 8}
    model = config.ModelConfig(name=name, class_names=names, class_scale=scale, **size)
    generator = make_generator(model)
    adam = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    wanted = interpolate(torch.randn(3, 3, 4, 4), (32, 32))[LABELS]  # a pattern for each class
    assert within_classes(generator) > 0.98
    for _ in range(75):
        loss = -(generator(torch.randn(len(LABELS), 100), LABELS) * wanted).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert 0.5 < within_classes(generator) < 0.999  # with class_scale = 1 it is below 0.1


def test_latents_are_drawn_to_the_anchors_most_like_them():
    torch.manual_seed(0)
    anchors, z = normalize(torch.randn(512, 100)), torch.randn(200, 100)
    drawn, near = base.drawn(z, anchors)
    assert torch.allclose(near.norm(dim=1), torch.ones(200), atol=1e-3)
    assert torch.allclose(drawn.norm(dim=1), z.norm(dim=1), rtol=1e-3)  # truncation keeps its sense
    alike = normalize(drawn) @ anchors.T
    before = normalize(z) @ anchors.T
    assert before.amax(1).mean() < 0.35 < 0.7 < alike.amax(1).mean()
    assert (alike.argmax(1) == before.argmax(1)).float().mean() > 0.95
    assert torch.allclose(base.drawn(8 * anchors, anchors)[0], 8 * anchors, atol=0.1)
    jumps = (base.drawn(z + 0.01 * torch.randn(200, 100), anchors)[0] - drawn).norm(dim=1)
    assert jumps.max() < 1  # moved by 0.1: there is no edge between the anchors
    assert torch.isfinite(base.drawn(torch.zeros(1, 100), torch.zeros(512, 100))[0]).all()


@pytest.mark.parametrize("name", GENERATORS)
def test_codes_take_the_place_of_latents_and_are_not_drawn(name):
    model = config.ModelConfig(name=name, width=32, height=32, channels=8, anchors=9)
    generator = make_generator(model).eval()
    generator.anchors.copy_(normalize(torch.randn(9, 100)))
    z, codes = torch.randn(4, 100), torch.randn(2, 100)
    with torch.no_grad():
        made = generator(z, None, codes)
        assert torch.allclose(made[2:], generator(z)[2:], atol=1e-5)
        generator.anchors = None
        assert torch.allclose(made[:2], generator(codes), atol=1e-5)


@pytest.mark.parametrize("name", GENERATORS)
def test_latents_of_a_class_are_drawn_to_its_anchors_alone(name):
    size = {"width": 32, "height": 32, "channels": 8, "class_names": ("cat", "dog")}
    generator = make_generator(config.ModelConfig(name=name, anchors=6, **size)).eval()
    generator.anchors.copy_(normalize(torch.randn(6, 100)))
    z, labels = torch.randn(2, 100), torch.tensor([0, 1])
    drawn = normalize(generator.latents(z, labels, None)[0])
    beyond = drawn - 0.6 * normalize(z)  # what is left is of the three anchors of the class
    for part, own in zip(beyond, generator.anchors.split(3), strict=True):
        off = part - own.T @ torch.linalg.lstsq(own.T, part[:, None]).solution[:, 0]
        assert off.norm() < 0.3 * part.norm()
    weights = torch.eye(2)
    assert torch.allclose(*(generator.latents(z, x, None)[0] for x in (weights, labels)))
