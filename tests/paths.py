"""The path that `vidgan render` takes by default, as short as tests want to say it."""

from vidgan.recipe import Recipe
from vidgan.trajectory import Path


def loop(**settings: object) -> Path:
    (path,) = Recipe(**settings).paths()
    return path
