"""Chapters: several walks in one film, each through a generator of its own, with cross-fades.

The frames of two chapters lie on top of each other while one fades into the next. A row of
`Chapters.latents` says which chapters a frame shows and holds the latents of both, so that a frame
remains a function of its index, and any process can make any part of the film.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from vidgan.disk.files import write_bytes
from vidgan.errors import UsageError
from vidgan.film.target import Target, parse_fps
from vidgan.generator import synthesis
from vidgan.generator.runs import find_model
from vidgan.generator.synthesis import Synthesize
from vidgan.render.walk import BoundWalk, Walk

_HEAD = 3  # of a row: the chapter, the one that fades in, and how far it has


def begins(walks: Sequence[Walk]) -> list[int]:
    """The frame of the film at which each walk begins. Raises UsageError for a fade too long."""
    firsts, fades = [0], [0, *(_fade(walk) for walk in walks[1:]), 0]
    for number, (walk, fade_in, fade_out) in enumerate(zip(walks, fades, fades[1:], strict=False)):
        if fade_in + fade_out > walk.frames:
            seconds = float(walk.frames / parse_fps(walk.fps))
            raise UsageError(f"--fade: walk {number + 1} is {seconds:g} s long; fade less.")
        firsts.append(firsts[-1] + walk.frames - fade_out)
    return firsts[:-1]


def _fade(walk: Walk) -> int:
    """The frames during which a walk fades in."""
    if not 0 <= walk.fade < 1e6:
        raise UsageError(f"--fade {walk.fade:g}: seconds, for example 1.")
    return round(walk.fade * parse_fps(walk.fps))


def with_one_sound(walks: Sequence[Walk]) -> list[Walk]:
    """The walks, each to that part of the sound of the first which the film plays meanwhile."""
    first, moved = walks[0], []
    fps, from_s = parse_fps(first.fps), (first.audio_part or [0])[0]
    for begin, walk in zip(begins(walks), walks, strict=True):
        span = [from_s + float(frame / fps) for frame in (begin, begin + walk.frames)]
        part = span if first.audio else None
        moved.append(walk.changed({"audio": first.audio, "audio_part": part}))
    return moved


def bind(
    walks: Sequence[Walk], source: Path, name: str, *, sound_into: Target | None = None
) -> tuple["BoundWalk | Chapters", Synthesize, str]:
    """A film of walks, through their generators or else that of `source`; a generator; a name."""
    opened, bound = {}, []
    for walk in walks:
        if walk.generator not in opened:
            file = (source, name) if walk.generator is None else find_model(Path(walk.generator))
            opened[walk.generator] = synthesis.open_generator(file[0]), file[1]
        generator, its_name = opened[walk.generator]
        bound.append(walk.bind(generator, name=its_name, sound_into=sound_into))
    if len(walks) == 1:
        return bound[0], generator, its_name
    film = Chapters(bound)
    return film, film.generator, ", ".join(name for _, name in opened.values())


class Chapters:
    """Bound walks one after the other: a `pipeline.LatentPath`, used as a `BoundWalk` is."""

    def __init__(self, walks: Sequence[BoundWalk]) -> None:
        self.walks, widths = walks, [walk.latents(0, 1).shape[1] for walk in walks]
        self.generator = _Fading([walk.generator for walk in walks], widths)
        self.begins = begins([one.walk for one in walks])
        self.frames = self.begins[-1] + walks[-1].frames
        self.walk = replace(walks[0].walk, labels=None)  # its fps and sound are the film's
        self._width = max(widths)

    def latents(self, start: int, stop: int) -> np.ndarray:
        rows = np.zeros((stop - start, _HEAD + 2 * self._width), np.float32)
        for number, (begin, one) in enumerate(zip(self.begins, self.walks, strict=True)):
            index = np.arange(max(start, begin), min(stop, begin + one.frames))
            if len(index):
                z = one.latents(index[0] - begin, index[-1] + 1 - begin)
                fade = _fade(one.walk) if number else 0
                new = index - begin < fade
                for slot, which in enumerate((~new, new)):
                    at, where = index[which] - start, _HEAD + slot * self._width
                    rows[at, slot] = number
                    rows[at, where : where + z.shape[1]] = z[which]
                rows[index[new] - start, 2] = (index[new] - begin + 1) / (fade + 1)
        return rows

    def save(self, target: Path, *, force: bool = True) -> None:
        """Write a list of walks, each with what was measured."""
        texts = [one.measured().text(target.parent) for one in self.walks]
        write_bytes(target, "[\n{}\n]\n".format(",\n".join(texts)).encode(), force=force)

    def comment(self) -> dict[str, object]:
        return {"chapters": [one.comment() for one in self.walks]}


class _Fading:
    """A `Synthesize` of the rows of `Chapters`."""

    z_dim, classes, class_names = 0, 0, ()

    def __init__(self, generators: Sequence[Synthesize], widths: Sequence[int]) -> None:
        self._generators, self._widths = generators, widths  # of their rows
        sizes = [(one.width, one.height) for one in generators]
        self.width, self.height = sizes[0]
        for number, (a, b) in enumerate(pairwise(sizes), 2):
            if a != b:
                seen = f"walk {number} has frames of {b[0]}x{b[1]}, the one before {a[0]}x{a[1]}"
                raise UsageError(f"{seen}: one film takes generators of one size.")
        every = "".join(one.sha256 for one in generators)
        self.sha256 = self.weights_sha256 = hashlib.sha256(every.encode()).hexdigest()
        self.runs_on = ", ".join(dict.fromkeys(one.runs_on for one in generators))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        halves = np.split(rows[:, _HEAD:], 2, axis=1)
        frames, new = self._made(rows[:, 0], halves[0]), rows[:, 2] > 0
        if new.any():
            share = rows[new, 2][:, None, None, None]
            mixed = (1 - share) * frames[new] + share * self._made(rows[new, 1], halves[1][new])
            frames[new] = np.rint(mixed).astype(np.uint8)
        return frames

    def _made(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Frames of the generators with these numbers, each of its row."""
        frames = np.empty((len(rows), self.height, self.width, 3), np.uint8)
        for number in np.unique(numbers):
            which, one = numbers == number, self._generators[int(number)]
            frames[which] = one(rows[which][:, : self._widths[int(number)]])
        return frames
