"""vidgan: train an image GAN on pictures or video, turn it into video, export it as ONNX."""

import importlib

__version__ = "0.1.0"
__all__ = ["Target", "VideoWriter", "Walk", "directions", "frames", "invert", "open_generator"]

_HOMES = {
    "Target": "vidgan.film.target",
    "VideoWriter": "vidgan.film.writer",
    "Walk": "vidgan.render.walk",
    "directions": "vidgan.edit.find_directions",
    "frames": "vidgan.render.pipeline",
    "invert": "vidgan.edit.invert",
    "open_generator": "vidgan.generator.synthesis",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `vidgan --help` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidgan' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
