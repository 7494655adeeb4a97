"""Latents of the default path, written from the text of export/README.md alone.

Its numbers are read from there ("Seeds", "The default path"), and its formulas are those of the
text. `tests/test_players.py` compares the latents with vidgan's, so the text is enough and right.
"""

import re
from pathlib import Path

import numpy as np

TEXT = (Path(__file__).parent.parent / "export" / "README.md").read_text(encoding="utf-8")
SEEDS, PATH = re.search(
    r"### Seeds\n(.*?)### The default path\n(.*?)\n##", TEXT, re.DOTALL
).groups()


def said(pattern: str, text: str) -> list[int]:
    """The numbers in what the text says once."""
    (found,) = re.findall(pattern, text)
    return [int(number, 0) for number in re.findall(r"0x\w+|\d+", found)]


(PARITY,) = said(r"xor k\[1\] xor (0x\w+)", SEEDS)
ROTATIONS = said(r"with R = ([\d, ]+)", SEEDS)
ROUNDS = said(r"for round = 0, 1, \.\.\., (\d+):", SEEDS)[0] + 1
LAST_OF_TURN, PER_TURN = said(r"if round (mod 4 = 3), with n", SEEDS)[::-1]
(PER_KEYFRAME,) = said(r"K    = F / (\d+), rounded", PATH)
(LEAST,) = said(r"and at least (\d+)", PATH)
(REACH,) = said(r"for d = (-\d+), -\d+, \.\.\., \d+", PATH)


def words(seed: int, p: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    bits = 2**32
    k = [seed % bits, seed // bits]
    k.append(k[0] ^ k[1] ^ PARITY)
    x0, x1 = (p + k[0]) % bits, np.full_like(p, index + k[1]) % bits  # in uint64
    for turn in range(ROUNDS):
        x0 = (x0 + x1) % bits
        left = ROTATIONS[turn % len(ROTATIONS)]
        x1 = ((x1 << left) % bits + (x1 >> (32 - left))) ^ x0
        if turn % PER_TURN == LAST_OF_TURN:
            n = (turn + 1) // PER_TURN
            x0 = (x0 + k[n % 3]) % bits
            x1 = (x1 + k[(n + 1) % 3] + n) % bits
    return x0, x1


def latent(seed: int, index: int, z_dim: int) -> np.ndarray:
    x0, x1 = words(seed, np.arange((z_dim + 1) // 2, dtype=np.uint64), index)
    radius = np.sqrt(-2 * np.log((x0 + 1.0) / 2**32))
    angle = 2 * np.pi * x1 / 2**32
    z = np.empty(2 * len(x0))
    z[0::2], z[1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return z[:z_dim].astype(np.float32)


def default_path(seed: int, frames: int, z_dim: int) -> np.ndarray:
    """The latents float32 [frames, z_dim]."""
    count = max(LEAST, round(frames / PER_KEYFRAME))
    keyframes = [latent(seed, m, z_dim).astype(float) for m in range(count)]
    points = [np.append(z, np.linalg.norm(z)) for z in keyframes]

    def p(m: int) -> np.ndarray:
        return points[m % count]

    def slope(m: int) -> np.ndarray:
        reach = range(-REACH, REACH + 1)
        w = {d: 3 / (2 * 3**0.5) * (3**0.5 - 2) ** abs(d) for d in reach}
        return sum(w[d] * (p(m + d + 1) - p(m + d - 1)) for d in reach)

    path = []
    for i in range(frames):
        a = count * i / frames
        j = int(np.floor(a))
        u = a - j
        v = (2 * u**3 - 3 * u**2 + 1) * p(j) + (u**3 - 2 * u**2 + u) * slope(j)
        v = v + (3 * u**2 - 2 * u**3) * p(j + 1) + (u**3 - u**2) * slope(j + 1)
        path.append(v[:-1] * v[-1] / np.linalg.norm(v[:-1]))
    return np.array(path, np.float32)
