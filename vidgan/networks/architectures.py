"""Generators and discriminators by name. Each generator works with each discriminator."""

from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.networks import dcgan, imported, pretrained, r3gan
from vidgan.networks.base import Discriminator, Generator

# Those that can be trained.
GENERATORS = {"dcgan": dcgan.Generator, "r3gan": r3gan.Generator}
DISCRIMINATORS = {"dcgan": dcgan.Discriminator, "r3gan": r3gan.Discriminator}


def make_generator(model: ModelConfig) -> Generator:
    return imported.Generator(model) if model.layers else GENERATORS[model.name](model)


def make_discriminator(discriminator: DiscriminatorConfig, model: ModelConfig) -> Discriminator:
    """Build the discriminator for the pictures and classes of `model`."""
    own = DISCRIMINATORS[discriminator.name](discriminator, model)
    return pretrained.Pair(own, discriminator, model) if discriminator.pretrained_weight else own
