"""The path that `vidgan render` takes by default, for tests."""

from vidgan.latent.paths import Path
from vidgan.render.walk import Walk


def loop(**settings: object) -> Path:
    (path,) = Walk(**settings).paths()
    return path
