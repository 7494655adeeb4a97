"""How well named directions are followed, and how far another seed finds the same.

    python tests/benchmarks/directions.py               # of the shipped generator
    python tests/benchmarks/directions.py MODEL

It takes some minutes. Not part of the tests.
"""

import sys
from pathlib import Path

import numpy as np

from vidgan.edit import find_directions
from vidgan.generator import runs, synthesis


def main() -> None:
    model, _ = runs.find_model(Path(sys.argv[1] if len(sys.argv) > 1 else "earth"))
    generator = synthesis.open_generator(model)
    once, again = (find_directions.find(generator, seed=seed) for seed in (0, 1))
    print("direction     range  followed  cosine  seed 1: range  followed")
    for name, one in once.items():
        two = again.get(name, one)
        lengths = np.linalg.norm(one.vector) * np.linalg.norm(two.vector)
        cosine = one.vector @ two.vector / max(lengths, 1e-9)
        figures = f"{one.range:5} {one.correlation:9.2f} {cosine:7.3f}"
        print(f"{name:13} {figures} {two.range:14} {two.correlation:9.2f}")


if __name__ == "__main__":
    main()
