"""A damaged picture, restored by a generator.

The latent is found as in `invert`, but what the generator makes is damaged too before it is
compared. What the picture shows and the generator cannot make is then put back, so that only what
nobody can see is invented.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from vidgan.data import pictures
from vidgan.edit import invert
from vidgan.errors import DataError, UsageError
from vidgan.generator.synthesis import Differentiable
from vidgan.latent import seeds
from vidgan.networks import pixels
from vidgan.networks.device import exact

_GUESSES = 3  # of the encoder, each from what the one before left unseen
# Of a refinement with a hole. With more, what is seen is met more closely, but what is hidden is no
# nearer. Without one all is seen, so more help: noise 27.9 dB with 300 and 27.0 with 50, blur 29.6
# and 29.3 (medians of 8 frames, tests/benchmarks/restore.py --damages noise,blur --pictures 8).
_HOLE_STEPS = 50
_CHANCE = 0.8  # in other starts; 1 forgets the encoder's answer
_SMOOTHING = (4.0,) * 40 + (1.0,) * 20  # again and again, of differences within a hole
_GRAIN, _SHARPEN = 2.0, 1.5  # pixels that noise is smoothed over; how much what is blurred gains
_RADIUS = 12  # of all kernels, three times the widest
_SIGMAS = (1.0, 2.0, 3.0)  # that a blur may have, in pixels of the generator


@dataclass(frozen=True, eq=False)
class Damaged:
    """A picture and what happened to it."""

    path: Path
    seen: np.ndarray  # uint8 [h, w, 3], as little as is left of it
    degrade: invert.Degrade  # makes the same of [1, 3, H, W]
    back: invert.Degrade  # what a difference that is seen says of the whole picture
    finished: Callable[[np.ndarray], np.ndarray] = lambda answer: answer  # what to show of one
    hole: bool = False


def opened(
    generator: Differentiable, path: Path, mask: Path | None, upscale: int | None, deblur: bool
) -> list[Damaged]:
    """A picture with a hole, too few pixels or a blur (one of several), or else with noise."""
    if mask:
        return [_with_hole(generator, path, mask)]
    sides, factor = (generator.width, generator.height), 1 if upscale is None else upscale
    if factor < 1 or any(side % factor or side < 4 * factor for side in sides):
        raise UsageError(f"--upscale {upscale}: this generator makes {sides[0]}x{sides[1]}; try 4.")
    seen, same = invert.read_picture(path, *(side // factor for side in sides)), nn.Identity()
    if upscale:
        down = partial(interpolate, scale_factor=1 / factor, mode="area")
        up = partial(interpolate, scale_factor=factor, mode="bicubic")
        return [Damaged(path, seen, down, up)]
    if deblur:
        blurs = [partial(blurred, sigma=sigma) for sigma in _SIGMAS]
        return [Damaged(path, seen, blur, partial(_sharpened, blur)) for blur in blurs]
    return [Damaged(path, seen, same, partial(blurred, sigma=_GRAIN))]


def _with_hole(generator: Differentiable, path: Path, mask: Path) -> Damaged:
    original, marked = invert.read_picture(path), invert.read_picture(mask)
    (high, wide, _), size = original.shape, (generator.width, generator.height)
    if marked.shape != original.shape:
        raise DataError(f"{mask}: another size than {path}, which has {wide}x{high} pixels.")
    if abs(wide * size[1] - high * size[0]) > max(size):
        raise DataError(f"{path}: {wide}x{high}; crop it to the shape {size[0]}x{size[1]}.")
    missing = marked.mean(2) > 127
    if not 0 < missing.mean() < 1:
        what = "all" if missing.all() else "nothing"
        raise DataError(f"{mask}: marks {what}; paint white what is to be filled, the rest black.")
    # A box filter, since others would mix what lies in the hole into the pixels around it.
    shrunk = [
        Image.fromarray(x).resize(size, Image.Resampling.BOX)
        for x in (np.uint8(missing) * 255, original)
    ]
    part, seen = map(np.asarray, shrunk)
    gone = torch.from_numpy(part > 0).to(generator.device)
    kept = (~gone).float()[None, None]

    # As Poisson blending has it: smooth within the hole. OpenCV's seamlessClone leaves as much of a
    # seam (6.6 grey levels on 16 frames of the earth), if what lies in the hole is hidden from it.
    def back(difference: Tensor) -> Tensor:
        whole = difference * kept
        for sigma in _SMOOTHING:
            whole = torch.where(gone, blurred(whole, sigma), whole)
        return whole

    def finished(answer: np.ndarray) -> np.ndarray:
        large = pictures.resized(Image.fromarray(answer), (wide, high))
        return np.where(missing[..., None], large, original)

    seen = np.where(gone.cpu()[..., None], np.uint8(128), seen)
    return Damaged(path, seen, lambda image: image * kept, back, finished, hole=True)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """By a Gaussian."""
    at = torch.arange(-_RADIUS, _RADIUS + 1, device=image.device)
    weight = (-0.5 * (at / sigma) ** 2).softmax(0).expand(image.shape[1], 1, 1, -1)
    image = pad(image, [_RADIUS] * 4, mode="replicate")
    across = conv2d(image, weight, groups=len(weight))
    return conv2d(across, weight.mT, groups=len(weight))


def _sharpened(blur: invert.Degrade, image: Tensor) -> Tensor:
    return image + _SHARPEN * (image - blur(image))


def restore(
    inverter: invert.Inverter, damages: list[Damaged], count: int = 1, steps: int = invert.STEPS
) -> list[np.ndarray]:
    """Answers to what a picture was before its damage; all but the first begin by chance.

    damages   of several, the one counts that explains the picture best
    Raises DataError where the answer is unlike what the generator was made for.
    """
    ranks = range(min(invert.TRIED, inverter.generator.classes) or 1)
    with exact():
        tries = [(*_answer(inverter, *one, 0, steps), one) for one in product(damages, ranks)]
        error, first, best = min(tries, key=lambda one: one[0])
        answers = [first, *(_answer(inverter, *best, n, steps)[1] for n in range(1, count))]
    off, usual = (127.5 * float(x) ** 0.5 for x in (error, inverter.encoder.usual_error))
    if off > usual:
        raise DataError(
            f"{best[0].path}: not of this generator's world: it comes within {off:.0f} grey levels "
            f"of it, and for its own pictures {usual:.0f} is far. Nothing is invented."
        )
    return [best[0].finished(invert.frames(answer)[0]) for answer in answers]


def _answer(
    inverter: invert.Inverter, damaged: Damaged, rank: int, number: int, steps: int
) -> tuple[float, Tensor]:
    """How badly the generator explains what is seen, and an answer [1, 3, H, W].

    rank     of the class among those that the encoder finds likely
    number   of the start
    """
    generator, image = inverter.generator, torch.from_numpy(damaged.seen.copy())[None]
    seen = pixels.to_float(image).to(generator.device)
    guess = damaged.back(seen)
    for _ in range(_GUESSES):
        z, labels = invert.first_guess(inverter.encoder, guess, None)
        made = invert.shown(generator, z, labels[:1])
        guess = made + damaged.back(seen - damaged.degrade(made))
    if number:
        chance = torch.from_numpy(seeds.numbered([number], z_dim=generator.z_dim)).to(z)
        z = math.sqrt(1 - _CHANCE**2) * z + _CHANCE * chance
    label = labels[rank : rank + 1]
    steps = min(steps, _HOLE_STEPS) if damaged.hole else steps
    z = invert.refine(generator, seen, z, label, steps, damaged.degrade)
    made = invert.shown(generator, z, label)
    unexplained = damaged.back(seen - damaged.degrade(made))
    return float(unexplained.square().mean()), made + unexplained
