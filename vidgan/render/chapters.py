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
    fps, firsts = parse_fps(walks[0].fps), [0]
    fades = [0, *(round(walk.fade * fps) if walk.fade < 1e6 else -1 for walk in walks[1:]), 0]
    for walk, before, after in zip(walks, fades, fades[1:], strict=False):
        if min(before, after) < 0 or before + after > walk.frames:
            long = f"one of the walks is {float(walk.frames / fps):g} s long"
            raise UsageError(f"--fade {walks[-1].fade:g}: {long}; give 0 or a shorter time.")
        firsts.append(firsts[-1] + walk.frames - after)
    return firsts, fades


def with_one_sound(walks: Sequence[Walk]) -> list[Walk]:
    """The walks, each to that part of the sound of the first which the film plays meanwhile."""
    audio, from_s = walks[0].audio, (walks[0].audio_part or [0])[0]
    heard = []
    for begin, walk in zip(_placed(walks)[0], walks, strict=False):
        span = (begin / parse_fps(walk.fps), (begin + walk.frames) / parse_fps(walk.fps))
        part = [from_s + float(at_s) for at_s in span] if audio else None
        heard.append(walk.changed({"audio": audio, "audio_part": part}))
    return heard


def bind(
    walks: Sequence[Walk],
    source: Path,
    name: str,
    *,
    sound_into: Target | None = None,
    device: str = "auto",
) -> tuple["BoundWalk | Chapters", Synthesize, str]:
    """A film of walks, through their generators or else that of `source`; a generator; a name."""
    opened, bound = {}, []
    for walk in walks:
        if (own := walk.generator) not in opened:
            file, its_name = find_model(Path(own)) if own else (source, name)
            opened[own] = synthesis.open_generator(file, device=device), its_name
        bound.append(walk.bind(opened[own][0], name=opened[own][1], sound_into=sound_into))
    film = bound[0] if len(bound) == 1 else Chapters(bound)
    generator = opened[own][0] if len(bound) == 1 else film.generator
    return film, generator, ", ".join(its_name for _, its_name in opened.values())


class Chapters:
    """Bound walks one after the other: a `pipeline.LatentPath`, used as a `BoundWalk` is."""

    def __init__(self, walks: Sequence[BoundWalk]) -> None:
        asked = [one.walk for one in walks]
        self.walks, (self.begins, self._fades) = walks, _placed(asked)
        self.frames = self.begins[-1]
        self.walk = replace(asked[0], labels=None, motion=None)  # its fps and sound are the film's
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
