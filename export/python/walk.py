"""The latents of a walk, frame by frame: of a seed, or of a file that `--save-walk` wrote.

"Walk files" in export/README.md says what its keys mean. This file needs numpy alone.
"""

import functools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from latents import PATHS, Refused, gaussian

FORMAT, WITH_DIRECTIONS = "vidgan-walk-2", "vidgan-walk-3"
# The keys of a file, and what they are where it has none.
USUAL = {
    **{"format": FORMAT, "model": None, "z_dim": None, "path": "loop", "closed": True, "seed": 0},
    **{"keyframes": None, "frames": 120, "fps": "30", "hold": 0, "ease": "linear"},
    **{"truncation": 1, "labels": None, "grid": None, "constant_speed": False, "audio": None},
    **{"positions": None, "gain": None},
    **{"audio_part": None, "audio_follow": None, "audio_strength": 1, "audio_smoothing": 0.25},
    **{"fade": 0, "generator": None, "directions": None},
}
NO_STOPS = ("circle", "walk", "noise")  # they pass through no keyframe but the first
ALWAYS_CLOSED = ("circle", "noise")
CENTRE = 2**32 - 1  # the index of the latent that truncation turns to
EASES = {
    "linear": lambda u: u,
    "smoothstep": lambda u: 3 * u**2 - 2 * u**3,
    "in-out": lambda u: (1 - math.cos(math.pi * u)) / 2,
}


class Walk:
    """Of the entries of a file, or of `seed` and `frames` alone. Raises Refused."""

    def __init__(self, content, z_dim, classes=0):
        given = {**USUAL, **content}
        refuse(given, z_dim, classes)
        self.path, self.closed, self.hold = given["path"], given["closed"], given["hold"]
        self.ease, self.seed, self.z_dim = given["ease"], given["seed"], z_dim
        self.frames, self.fps = given["frames"], Fraction(given["fps"])
        self.labels, self.classes = given["labels"] or [], classes
        self.positions, self.gain = given["positions"], given["gain"]
        self.sliders = [
            (np.array(one["strengths"], float)[:, None], np.array(one["vector"], float))
            for one in given["directions"] or ()
        ]
        if not all(s.size and v.shape == (z_dim,) for s, v in self.sliders):
            raise Refused(f"directions: each has strengths and a vector of {z_dim} numbers")
        self.keyframes = given["keyframes"]
        if self.keyframes is None:
            self.keyframes = usual_count(self.path, self.closed, self.frames)
        by_seed = isinstance(self.keyframes, int)
        self.count = self.keyframes if by_seed else len(self.keyframes)
        if self.count < (2 if self.path in ALWAYS_CLOSED else 1):
            raise Refused(f"{self.count} keyframes are too few for the path {self.path}")
        scales = np.atleast_1d(np.array(given["truncation"], float))
        self.angles = np.arccos(scales)[:, None] * (2 / np.pi)  # from the latents, of a right angle
        self.centre = gaussian(self.seed, CENTRE, z_dim)
        self.keyframe = functools.lru_cache(128)(self._keyframe)

    def latent(self, frame):
        """The latent of a frame: float32 [1, z_dim]."""
        t = self._position(frame)
        at = t * (self.count if self.closed else self.count - 1)
        if self.hold or self.ease != "linear":  # half of the hold is before a keyframe
            u = (at - math.floor(at) - self.hold / 2) / (1 - self.hold)
            at = math.floor(at) + EASES[self.ease](min(max(u, 0), 1))
        away = 1 - in_turn(self.angles, t, self.closed)
        turn = (1 - away * (self.gain[frame] if self.gain else 1)) * (np.pi / 2)
        z = np.cos(turn) * PATHS[self.path](self, at) + np.sin(turn) * self.centre
        for strengths, vector in self.sliders:
            z = z + in_turn(strengths, t, self.closed) * vector
        return z[None].astype(np.float32)

    def class_weights(self, frame):
        """The weights of the classes in a frame: float32 [1, classes]."""
        one_hot = np.eye(self.classes)[self.labels or [0]]
        return in_turn(one_hot, self._position(frame), self.closed)[None].astype(np.float32)

    def _position(self, frame):
        steps = self.frames if self.closed else self.frames - 1
        return self.positions[0][frame] if self.positions else frame / max(steps, 1)

    def _keyframe(self, i):
        """Keyframe i, float64 [z_dim]."""
        if isinstance(self.keyframes, int):
            return gaussian(self.seed, i, self.z_dim)
        entry = self.keyframes[i]
        if "latent" not in entry:
            return gaussian(entry["seed"], entry["index"], self.z_dim)
        z = np.array(entry["latent"], np.float32)
        if z.shape != (self.z_dim,) or not np.isfinite(z).all() or not z.any():
            raise Refused(f"keyframe {i} is not {self.z_dim} numbers that are not all zero")
        return z.astype(float)


def refuse(given, z_dim, classes):
    """Raise Refused, in one line, for a walk that this player would not show as vidgan does."""
    scales = np.atleast_1d(np.array(given["truncation"], float))
    tables = [*(given["positions"] or ()), *([given["gain"]] if given["gain"] else ())]
    labels = given["labels"] or ()
    stops = given["hold"] or given["ease"] != "linear"
    for wrong, why in (
        (
            given["format"] != (WITH_DIRECTIONS if given["directions"] else FORMAT)
            or given.keys() != USUAL.keys(),
            f"not a walk like {FORMAT}, or {WITH_DIRECTIONS} with directions",
        ),
        (given["z_dim"] not in (None, z_dim), f"z_dim {given['z_dim']}; the model takes {z_dim}"),
        (given["grid"], "a grid of walks; vidgan render --walk plays it"),
        (
            (given["constant_speed"] or given["audio"]) and not given["positions"],
            "not timed; vidgan render --walk with --save-walk adds the positions of its frames",
        ),
        (given["path"] not in PATHS, f"path {given['path']} is not known"),
        (given["ease"] not in EASES, f"ease {given['ease']} is not known"),
        (not 0 <= given["hold"] < 1, f"hold {given['hold']}: from 0 to below 1"),
        (stops and given["path"] in NO_STOPS, f"path {given['path']} neither holds nor eases"),
        (
            given["path"] in ALWAYS_CLOSED and not given["closed"],
            f"path {given['path']} is always closed",
        ),
        (not range(given["frames"]), f"frames {given['frames']}: at least 1"),
        (Fraction(given["fps"]) <= 0, f"fps {given['fps']}: above 0"),
        (
            any(len(t) != given["frames"] or min(t) < 0 or max(t) > 1 for t in tables),
            "positions or gain: one for each frame, from 0 to 1",
        ),
        (
            not (scales.size and ((scales >= 0) & (scales <= 1)).all()),
            f"truncation {given['truncation']}: from 0 to 1",
        ),
        (any(c not in range(classes) for c in labels), f"labels {labels}: there are {classes}"),
    ):
        if wrong:
            raise Refused(why)


def usual_count(path, closed, frames):
    """The number of keyframes where none is given."""
    least = {"noise": 4, "walk": 4}.get(path, 3 if closed else 2)
    return 2 if path == "circle" else max(least, round(frames / 30))


def in_turn(values, t, closed):
    """Values [V, D] one after the other over the path, with smooth changes: [D]."""
    if closed and len(values) > 1 and (values[0] == values[-1]).all():
        values = values[:-1]
    at = t * (len(values) if closed else len(values) - 1)
    i = math.floor(at)
    u = EASES["smoothstep"](at - i)
    return (1 - u) * values[i % len(values)] + u * values[(i + 1) % len(values)]


def read(file, z_dim, classes):
    """The walk in a file. Raises Refused."""
    if not Path(file).is_file():
        raise Refused(f"{file}: no such file")
    try:
        content = json.loads(Path(file).read_text())
        if not isinstance(content, dict) or "format" not in content:
            raise Refused(f"not a walk like {FORMAT}")
        walk = Walk(content, z_dim, classes)
        walk.latent(0)
        return walk
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except (Refused, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise Refused(f"{file}: {error}".splitlines()[0]) from None
