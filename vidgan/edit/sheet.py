"""What was found for pictures, side by side with them: a row for each picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidgan.edit.invert import Inverted, psnr
from vidgan.networks import lite0
from vidgan.quality.features import Lite0

_LEAST_SIDE, _FONT, _MARGIN = 192, 14, 6  # pixels of the long side of a picture, at least


def measured(found: Sequence[Inverted]) -> list[list[str]]:
    """For each picture, what to say of the encoder's answer and of the refined one: the PSNR, and
    the distance in features, where the extra [metrics] is installed."""
    features = None if lite0.missing() else Lite0()
    said = []
    for one in found:
        answers = (one.encoded, one.refined)
        words = [f"{psnr(one.original, answer):.1f} dB" for answer in answers]
        if features:
            original, *others = features(np.stack([one.original, *answers]))
            words = [
                f"{word}, features {np.linalg.norm(other - original):.1f}"
                for word, other in zip(words, others, strict=True)
            ]
        said.append(words)
    return said


def sheet(
    found: Sequence[Inverted], names: Sequence[str], said: Sequence[Sequence[str]], last: str
) -> np.ndarray:
    """Original, encoder's answer and refined answer of each picture: uint8 [rows * h, w, 3].

    said   of `measured`
    last   what to call the refined answer
    """
    height, width, _ = found[0].original.shape
    k = -(-_LEAST_SIDE // max(height, width))
    wide, high = max(k * width, _LEAST_SIDE) + _MARGIN, k * height + 2 * _FONT + 3 * _MARGIN
    image = Image.new("RGB", (3 * wide + _MARGIN, len(found) * high + _MARGIN), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT)
    for row, (one, name, words) in enumerate(zip(found, names, said, strict=True)):
        shown = ((one.original, name, ""), (one.encoded, "encoder", words[0]))
        for column, (picture, title, word) in enumerate((*shown, (one.refined, last, words[1]))):
            x, y = column * wide + _MARGIN, row * high + _MARGIN
            large = Image.fromarray(picture).resize((k * width, k * height), Image.NEAREST)
            image.paste(large, (x, y))
            for line, text in enumerate((title[-26:], word)):
                at = (x, y + k * height + 3 + line * (_FONT + 3))
                draw.text(at, text, "black", font)
    return np.asarray(image)
