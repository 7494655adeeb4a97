"""Seeds to latents, and keyframes to the curves of `vidgan render --path`. It needs numpy alone.

A curve maps a walk and a position, counted in keyframes, to a latent float64 [z_dim]. Of a walk it
knows `count` keyframes, `keyframe(i)`, `closed` and `z_dim`. See "Seeds" in export/README.md.
"""

import math

import numpy as np

# The slopes of the default path: the weight of a neighbour falls as 0.27^distance.
CUBIC = 3 / (2 * 3**0.5) * (3**0.5 - 2) ** np.abs(np.arange(-24, 25))
SMOOTHING, REACH, OCTAVES = 0.7, 5, 4
CATMULL_ROM = np.array([0.5])


class Refused(Exception):
    """A walk that cannot be played, in one line."""


def threefry(seed, pair, index):
    """Two random uint32 for every counter (pair, index)."""
    key = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)]
    key.append(key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    a, b = pair + key[0], np.full_like(pair, index) + key[1]
    for turn in range(20):
        left = np.uint32((13, 15, 26, 6, 17, 29, 16, 24)[turn % 8])
        a = a + b
        b = ((b << left) | (b >> (np.uint32(32) - left))) ^ a
        if turn % 4 == 3:
            n = turn // 4 + 1
            a, b = a + key[n % 3], b + key[(n + 1) % 3] + np.uint32(n)
    return a, b


def gaussian(seed, index, z_dim):
    """A latent float64 [z_dim], rounded to float32. Pair p is its components 2p and 2p + 1."""
    with np.errstate(over="ignore"):
        a, b = threefry(seed, np.arange((z_dim + 1) // 2, dtype=np.uint32), index)
    radius = np.sqrt(-2 * np.log((a.astype(float) + 1) / 2**32))
    angle = 2 * np.pi * (b.astype(float) / 2**32)
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return both.reshape(-1)[:z_dim].astype(np.float32).astype(float)


def around(walk, at):
    """The segment i of a position, and u, from 0 at keyframe i to 1 at the next."""
    i = math.floor(at) if walk.closed else min(math.floor(at), max(walk.count - 2, 0))
    return i, at - i


def lerp(walk, at):
    i, u = around(walk, at)
    return (1 - u) * walk.keyframe(i % walk.count) + u * walk.keyframe((i + 1) % walk.count)


def slerp(walk, at):
    i, u = around(walk, at)
    p, q = walk.keyframe(i % walk.count), walk.keyframe((i + 1) % walk.count)
    p_norm, q_norm = np.linalg.norm(p), np.linalg.norm(q)
    angle = np.arccos(np.clip((p / p_norm) @ (q / q_norm), -1, 1))
    a, b = 1 - u, u
    if np.sin(angle) >= 1e-6:  # else there is no great circle, or many
        a, b = np.sin(a * angle) / np.sin(angle), np.sin(b * angle) / np.sin(angle)
    return (a * p / p_norm + b * q / q_norm) * ((1 - u) * p_norm + u * q_norm)


def hermite(walk, at, weights):
    """A cubic curve. The norm is one more coordinate: the mean of two latents is too short."""
    i, u = around(walk, at)
    side = len(weights) // 2 + 1
    p = np.stack([continued(walk, k) for k in range(i - side, i + side + 2)])
    m, n = (weights @ (p[k + 2 : k + 2 * side + 1] - p[k : k + 2 * side - 1]) for k in (0, 1))
    v = (2 * u**3 - 3 * u**2 + 1) * p[side] + (u**3 - 2 * u**2 + u) * m
    v = v + (3 * u**2 - 2 * u**3) * p[side + 1] + (u**3 - u**2) * n
    return v[:-1] * (v[-1] / np.linalg.norm(v[:-1]))


def continued(walk, i):
    """Keyframe i and its norm. Beyond the ends of an open path, keyframes are reflected in them."""
    span = walk.count - 1
    if walk.closed or not span:
        z = walk.keyframe(i % walk.count)
        return np.append(z, np.linalg.norm(z))
    if 0 <= i <= span:
        return np.append(walk.keyframe(i), np.linalg.norm(walk.keyframe(i)))
    turn, rest = divmod(i, 2 * span)
    first, last = continued(walk, 0), continued(walk, span)
    inside = continued(walk, rest) if rest <= span else 2 * last - continued(walk, 2 * span - rest)
    return inside + 2 * turn * (last - first)


def circle(walk, at):
    a, b = walk.keyframe(0), walk.keyframe(1)
    square = b - (a @ b) / (a @ a) * a
    if np.linalg.norm(square) < 1e-6 * np.linalg.norm(a):
        raise Refused("both keyframes of the circle point the same way")
    angle = 2 * np.pi * at / walk.count
    return np.cos(angle) * a + np.sin(angle) * square * (np.linalg.norm(a) / np.linalg.norm(square))


def smoothed(walk, at):
    z, first = 0, math.floor(at)
    for i in range(first - REACH, first + REACH + 2):
        k = i % walk.count if walk.closed else min(max(i, 0), walk.count - 1)
        z = z + math.exp(-(((at - i) / SMOOTHING) ** 2) / 2) * walk.keyframe(k)
    return z * (walk.z_dim**0.5 / np.linalg.norm(z))


def noise(walk, at):
    frequencies = sorted({(max(1, walk.count // 2) >> octave) | 1 for octave in range(OCTAVES)})
    scale, z = sum(f**-2 for f in frequencies) ** -0.5, 0
    for k, f in enumerate(frequencies):
        angle = 2 * np.pi * f * at / walk.count
        wave = np.cos(angle) * walk.keyframe(2 * k) + np.sin(angle) * walk.keyframe(2 * k + 1)
        z = z + scale / f * wave
    return z


PATHS = {"lerp": lerp, "slerp": slerp, "circle": circle, "walk": smoothed, "noise": noise}
PATHS["loop"] = lambda walk, at: hermite(walk, at, CUBIC)
PATHS["spline"] = lambda walk, at: hermite(walk, at, CATMULL_ROM)
