"""What a run can be expected to show, and when. A GAN needs images, and each machine its time."""

import math

from vidgan.config import Config

# Images until shapes can be told from a blur, and until there is detail: what was seen at 64x64 on
# very different sets (see train/README.md). Other sizes were not measured.
SHAPES, DETAIL = 10_000, 300_000
_SMALLER = (48, 32)  # sides, of which the first is taken that suffices


def forecast(
    settings: Config, images_seen: int, trained_s: float, images_per_s: float, *, ends: bool = True
) -> str:
    """One line, from the speed of a run so far. `ends` adds when the run will end."""
    how, marks = settings.train, []
    for what, images in (("rough shapes", SHAPES), ("detail", DETAIL)):
        if images > images_seen:
            at_s = trained_s + (images - images_seen) / images_per_s
            marks.append(f"{what} after about {_duration(at_s)}")
    line = f"About {images_per_s:.0f} images/s here"
    line += f": expect {', '.join(marks)} of training." if marks else "."
    if not ends:
        return line
    end_s = trained_s + (how.images - images_seen) / images_per_s
    end_s = min(end_s, how.duration_s or end_s)
    images = images_seen + (end_s - trained_s) * images_per_s
    line += (
        f" This run ends after {_duration(end_s)}, at about {float(f'{images:.2g}'):,.0f} images"
    )
    if images < 0.9 * SHAPES:  # a forecast is no finer
        shapes_s = trained_s + (SHAPES - images_seen) / images_per_s
        line += f", before that; {_advice(settings, images, shapes_s)}"
    return f"{line}. Ctrl-C stops it at any time and keeps what it has learned."


def _advice(settings: Config, images: float, needed_s: float) -> str:
    model, side = settings.model, min(settings.model.width, settings.model.height)
    minutes = math.ceil(needed_s / 60)
    longer = f"--for {minutes}m" if minutes < 120 else f"--for {math.ceil(minutes / 60)}h"
    for smaller in _SMALLER:
        if images * (side / smaller) ** 2 >= SHAPES:
            width, height = (8 * round(n * smaller / side / 8) for n in (model.width, model.height))
            return f"for shapes try {longer}, or --size {width}x{height}, which is faster"
    return f"for shapes try {longer}"


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours".replace(".0 ", " ")
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
