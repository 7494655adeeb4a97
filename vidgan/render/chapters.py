"""Chapters: several walks in one film, each through a generator of its own, with cross-fades.

The frames of two chapters lie on top of each other while one fades into the next. A frame remains a
function of its index: a row of `Chapters.latents` has the share of each chapter in it.
"""

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
from vidgan.render.mixed import Mixed
from vidgan.render.walk import BoundWalk, Walk


def _placed(walks: Sequence[Walk]) -> tuple[list[int], list[int]]:
    """The frame at which each walk begins, and the end; the frames of each fade, 0 at both ends."""
    firsts, fades = [0], [0]
    for walk in walks[1:]:
        if not 0 <= walk.fade < 1e6:
            raise UsageError(f"--fade {walk.fade:g}: seconds, for example 1.")
        fades.append(round(walk.fade * parse_fps(walk.fps)))
    fades.append(0)
    for number, walk in enumerate(walks):
        firsts.append(firsts[-1] + walk.frames - fades[number + 1])
        if fades[number] + fades[number + 1] > walk.frames:
            seconds = float(walk.frames / parse_fps(walk.fps))
            raise UsageError(f"--fade: walk {number + 1} is {seconds:g} s long; fade less.")
    return firsts, fades


def with_one_sound(walks: Sequence[Walk]) -> list[Walk]:
    """The walks, each to that part of the sound of the first which the film plays meanwhile."""
    first, moved = walks[0], []
    fps, from_s = parse_fps(first.fps), (first.audio_part or [0])[0]
    for begin, walk in zip(_placed(walks)[0], walks, strict=False):
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
        asked = [one.walk for one in walks]
        self.walks, (self.begins, self._fades) = walks, _placed(asked)
        self.frames = self.begins[-1]
        self.walk = replace(asked[0], labels=None)  # its fps and sound are the film's
        widths = [one.latents(0, 1).shape[1] for one in walks]
        ends = np.cumsum([len(walks), *widths]).tolist()
        self._parts, self._width = [slice(*ends) for ends in pairwise(ends)], ends[-1]
        self.generator = Mixed([one.generator for one in walks], self._parts)

    def latents(self, start: int, stop: int) -> np.ndarray:
        rows = np.zeros((stop - start, self._width), np.float32)
        for number, (begin, one) in enumerate(zip(self.begins, self.walks, strict=False)):
            i = np.arange(max(start - begin, 0), min(stop - begin, one.frames))
            if len(i):
                before, after = self._fades[number : number + 2]
                share = np.minimum((i + 1) / (before + 1), (one.frames - i) / (after + 1))
                at = slice(i[0] + begin - start, i[-1] + 1 + begin - start)
                rows[at, number] = share.clip(max=1)
                rows[at, self._parts[number]] = one.latents(i[0], i[-1] + 1)
        return rows

    def save(self, target: Path, *, force: bool = True) -> None:
        """Write a list of walks, each with what was measured."""
        texts = [one.measured().text(target.parent) for one in self.walks]
        write_bytes(target, "[\n{}\n]\n".format(",\n".join(texts)).encode(), force=force)

    def comment(self) -> dict[str, object]:
        return {"chapters": [one.comment() for one in self.walks]}
