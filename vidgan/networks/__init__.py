"""Torch modules, and pure functions of tensors.

    pixels         conversion between uint8 frames and floats in [-1, 1]
    device         the device and the precision that torch computes with
    base           what training asks of a network, and how a class enters one
    dcgan          the DCGAN
    r3gan          a modern baseline without normalisation
    imported       a chain of layers that was trained elsewhere
    lite0          EfficientNet-Lite0, frozen
    pretrained     a second critic on its features
    architectures  generators and discriminators by name
    losses         losses, gradient penalties and statistics of logits
    augment        differentiable augmentation of what the discriminator sees

It knows neither files nor the training loop.
"""
