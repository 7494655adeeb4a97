"""How evenly pictures change along straight ways through latent space.

    python -m tests.benchmarks.smoothness runs/00000-emoji-dcgan64/generator.safetensors ...

For each generator it walks eight quarters of great circles between random latents, in steps of one
degree, and prints the mean change per degree in grey levels, and how often the mean the largest
change of a walk is, on average. `vidgan render --constant-speed` evens it out.
"""

import sys

import numpy as np

from vidgan.generator import synthesis
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import seeds

WALKS, DEGREES = 8, 90


def smoothness(generator: Synthesize) -> tuple[float, float]:
    """The mean change per degree in grey levels, and the largest over the mean."""
    z = seeds.gaussian(1, np.arange(2 * WALKS), z_dim=generator.z_dim)
    angles = np.radians(np.arange(DEGREES + 1))[:, None]
    changes = []
    for start, end in zip(z[::2], z[1::2], strict=True):
        walk = np.cos(angles) * start + np.sin(angles) * end
        frames = generator(walk.astype(np.float32)).astype(np.float32)
        changes.append(np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)))
    changes = np.array(changes)  # [walk, degree]
    return float(changes.mean()), float((changes.max(1) / changes.mean(1)).mean())


if __name__ == "__main__":
    for path in sys.argv[1:]:
        mean, largest = smoothness(synthesis.open_generator(path))
        print(f"{path}: {mean:.2f} grey levels per degree, largest / mean {largest:.1f}")
