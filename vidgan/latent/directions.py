"""Sliders: directions along which latents are moved, by strengths that may change over a path.

A latent z becomes z + strength * vector. The vectors of a generator's named directions are in
`generator.directions`; this knows only what a walk says of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidgan.errors import ConfigError, UsageError

MOST = 1000.0  # strengths; z has about the length of the root of its numbers


@dataclass(frozen=True, eq=False)
class Slider:
    vector: np.ndarray  # float64 [Z]
    strengths: Sequence[float]  # gone through in turn


def parsed(text: str) -> dict[str, list[float]]:
    """'brighter=-2..2,warmer=1' -> {"brighter": [-2.0, 2.0], "warmer": [1.0]}."""
    asked = {}
    for part in text.split(","):
        name, _, strengths = part.partition("=")
        try:
            asked[name.strip()] = [float(number) for number in strengths.split("..")]
        except ValueError:
            example = "brighter=1.5, or brighter=-2..2 to change it over the film"
            raise UsageError(f"--direction {part}: a name and a number: {example}.") from None
    return asked


def sliders(entries: object, z_dim: int) -> list[Slider]:
    """What a walk's key `directions` says. Raises ConfigError."""
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        match entry:
            case {"name": str(name), "strengths": list(strengths), "vector": list(vector)}:
                numbers = strengths + vector
            case _:
                name, strengths, vector, numbers = "", [], [], [None]
        if not all(type(n) in (int, float) and abs(n) <= MOST for n in numbers) or not strengths:
            example = '{"name": "brighter", "strengths": [-2, 2], "vector": [0.1, ...]}'
            raise ConfigError(
                f"directions: each must be like {example}, with numbers of up to {MOST:g}."
            )
        if len(vector) != z_dim:
            raise ConfigError(
                f"directions: {name} has {len(vector)} numbers; this model takes {z_dim}."
            )
        found.append(Slider(np.array(vector, np.float64), strengths))
    return found
