"""The networks by name."""

from vidgan.networks import dcgan, r3gan

NETWORKS = {
    "dcgan": (dcgan.Generator, dcgan.Discriminator),
    "r3gan": (r3gan.Generator, r3gan.Discriminator),
}
