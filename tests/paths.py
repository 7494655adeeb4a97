"""The path that `vidgan render` takes by default, as short as tests want to say it."""

from vidgan.latent.paths import Path
from vidgan.render.walk import Recipe


def loop(**settings: object) -> Path:
    (path,) = Recipe(**settings).paths()
    return path
