"""vidgan: train an image GAN on pictures or film, turn it into video, ship it as ONNX."""

import importlib

__version__ = "0.1.0"
__all__ = ["Recipe", "VideoWriter", "frames", "open_generator"]

_HOMES = {
    "Recipe": "vidgan.render.walk",
    "VideoWriter": "vidgan.film.writer",
    "frames": "vidgan.render.pipeline",
    "open_generator": "vidgan.generator.synthesis",
}


def __getattr__(name: str) -> object:
    """The public names, imported when first asked for, so that `vidgan --help` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidgan' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
