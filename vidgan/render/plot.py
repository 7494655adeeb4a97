"""A picture of what moves when: how fast a film walks, and what its sound does meanwhile."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidgan.film.target import parse_fps
from vidgan.render.chapters import Chapters
from vidgan.render.walk import BoundWalk

_WIDTH, _HEIGHT, _MARGIN, _FONT = 1200, 120, 30, 16  # pixels; the height is that of a curve
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, 86_400)
_CHUNK = 4096  # frames


def plot(film: BoundWalk | Chapters) -> np.ndarray:
    """The curves over time, uint8 [H, W, 3]. It listens to the sound again."""
    walks, begins = (film.walks, film.begins) if isinstance(film, Chapters) else ([film], [0])
    curves: dict[str, np.ndarray] = {}
    for begin, one in zip(begins, walks, strict=False):
        own = {"speed of the walk": _speed(one)}
        if one.walk.audio:
            drive, of = one.walk.listen(), " ".join(one.walk.audio_follow or ["all"])
            own |= {f"loudness ({of})": drive.loudness, f"beats ({of})": drive.beat}
        for name, values in own.items():
            whole = curves.setdefault(name, np.zeros(film.frames))
            part = whole[begin : begin + one.frames]
            part[:] = np.maximum(part, values)
    return _drawn(curves, float(film.frames / parse_fps(film.walk.fps)))


def _speed(one: BoundWalk) -> np.ndarray:
    """How far the latent goes from each frame to the next, [frames]; of a grid, the first one's."""
    path, steps = one.paths[0], [np.zeros(0)]
    for start, stop in pairwise([*range(0, one.frames - 1, _CHUNK), one.frames - 1]):
        steps.append(np.linalg.norm(np.diff(path.latents(start, stop + 1), axis=0), axis=1))
    return np.pad(np.concatenate(steps), (0, 1), mode="edge") if one.frames > 1 else np.zeros(1)


def _drawn(curves: Mapping[str, np.ndarray], seconds: float) -> np.ndarray:
    row, width = _HEIGHT + 2 * _MARGIN, _WIDTH - 2 * _MARGIN
    image = Image.new("RGB", (_WIDTH, len(curves) * row + _MARGIN), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT)
    step = next(s for s in _STEPS_S if s * 12 >= seconds or s == _STEPS_S[-1])
    for second in np.arange(0, seconds + 1e-9, step):
        x = _MARGIN + second / seconds * width
        clock = f"{int(second // 60)}:{second % 60:02.0f}" if step >= 1 else f"{second:.1f} s"
        draw.line((x, _MARGIN, x, image.height - _MARGIN), fill="#dddddd")
        draw.text((x, image.height - _MARGIN), clock, "black", font, anchor="mt")
    for number, (name, values) in enumerate(curves.items()):
        bottom, most = number * row + _MARGIN + _HEIGHT, max(values.max(), 1e-12)
        first = np.linspace(0, len(values), width, endpoint=False).astype(int)
        for x, value in enumerate(np.maximum.reduceat(values, first)):  # no beat falls between
            draw.line(
                (x + _MARGIN, bottom, x + _MARGIN, bottom - value / most * _HEIGHT), "#3465a4"
            )
        draw.text((_MARGIN, bottom - _HEIGHT), name, "black", font, anchor="lb")
    return np.asarray(image)
