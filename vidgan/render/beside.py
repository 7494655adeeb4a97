"""Is learned motion new, or a replay of its film? Clips of it, beside the nearest of the film.

A clip is of eight frames among twelve of the film. Clips are compared by their pixels: the root
mean square of differences, in grey levels.

    C clips   K frames of each   F frames of a film   S clips of it, one from each frame on
"""

from pathlib import Path

import numpy as np

from vidgan.errors import DataError
from vidgan.film import reader
from vidgan.film.target import parse_fps
from vidgan.film.tiles import tile
from vidgan.render import pipeline
from vidgan.render.chapters import Chapters
from vidgan.render.walk import BoundWalk

_CLIPS, _CLIP = 4, np.array([0, 2, 3, 5, 6, 8, 9, 11])
_SIDE = 32  # pixels that are compared, of the longer side


def contact_sheet(bound: BoundWalk | Chapters, notice: reader.Notice) -> np.ndarray:
    """Clips of a learned motion, and below each the nearest of its film: uint8 [H, W, 3].

    The notice says how near. Of another film, frames spread over it. Raises DataError if the film
    that the motion was learned from has gone.
    """
    walk, generator = bound.walk, bound.generator
    if not walk.motion or walk.grid:
        return pipeline.contact_sheet(generator, bound)
    source = bound.paths[0].keyframes.motion.source or "unknown"
    if not Path(source).is_file():
        raise DataError(f"--contact-sheet: the film of the motion, {source}, is gone; omit it.")
    size = (generator.width, generator.height)
    pieces = reader.pieces(source, size, every=1, notice=notice)
    film, clips = pipeline.small(np.concatenate(pieces)), clips_of(pieces)
    # As many frames of the walk as show what a clip of the film does.
    steps = _CLIP * float(parse_fps(walk.fps)) / reader.fps_of(source) / walk.speed
    firsts = np.linspace(0, max(0, walk.frames - 1 - steps[-1]), _CLIPS)[:, None]
    index = np.rint(firsts + steps).clip(max=walk.frames - 1).astype(int)
    made = pipeline.small_frames(generator, bound, index[:, :: -1 if walk.reverse else 1].ravel())
    made = made.reshape(*index.shape, *film.shape[1:])
    far = distances(made, film, clips)
    apart = distances(film[clips[:: len(clips) // 16 + 1]], film, clips).mean()
    notice(
        f"The clips on the contact sheet are {far.min(1).mean():.0f} grey levels from the nearest "
        f"of {source}, whose own are {apart:.0f} from each other."
    )
    rows = np.stack([made, film[clips[far.argmin(1)]]], axis=1)
    return tile(rows.reshape(-1, *film.shape[1:]), len(_CLIP))


def clips_of(pieces: list[np.ndarray]) -> np.ndarray:
    """The numbers of the frames of all clips that lie within pieces of a film: [S, K]."""
    of = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    firsts = np.arange(max(1, len(of) - _CLIP[-1]))[:, None]
    clips = np.minimum(firsts + _CLIP, len(of) - 1)
    return clips[of[clips[:, 0]] == of[clips[:, -1]]]


def distances(clips: np.ndarray, film: np.ndarray, of_film: np.ndarray) -> np.ndarray:
    """How far clips uint8 [C, K, H, W, 3] are from those of a film [F, H, W, 3]: [C, S]."""
    k = -(-max(film.shape[1:3]) // _SIDE)
    x, y = (f[..., ::k, ::k, :].astype(np.float32) for f in (clips, film))
    x, y = x.reshape(clips.shape[0] * clips.shape[1], -1), y.reshape(len(film), -1)
    table = ((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T) / x.shape[1]
    table = table.reshape(*clips.shape[:2], -1)
    return np.sqrt(np.maximum(np.mean([table[:, j, n] for j, n in enumerate(of_film.T)], 0), 0))
