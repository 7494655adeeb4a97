import pytest
import torch
from torch.nn.functional import interpolate

from vidgan import config
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
