"""vidgan: train an image GAN on pictures or film, turn it into video, ship it as ONNX."""

__version__ = "0.1.0"
