"""Torch modules and pure functions of tensors.

    pixels         between uint8 frames and floats in [-1, 1]
    classes        how a class enters a network
    dcgan          the DCGAN
    r3gan          the modern baseline
    architectures  the networks by name
    losses         what discriminator and generator minimise
    augment        differentiable augmentation of what the discriminator sees

It knows neither files nor the training loop.
"""
