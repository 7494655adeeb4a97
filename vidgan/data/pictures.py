"""One still picture, of any mode, size and orientation, to uint8 [H, W, 3 or 4] of a size.

Grey of 16 bits becomes round(255 * value / white). White is 2^n - 1, where n is the fewest of 8,
10, 12, 14 and 16 bits that hold the largest value of the whole source. A folder of 12-bit pictures
of a camera so keeps its contrast, and all pictures of a folder are converted alike.
"""

import math
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from vidgan.errors import DataError
from vidgan.film import alpha

Size = tuple[int, int]  # width, height in pixels
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
)
FULL_WHITE = 2**16 - 1
MAX_PIXELS = 100_000_000  # of one picture, by its header; a 100-megapixel camera just passes


def open_picture(file: BinaryIO) -> Image.Image:
    """Read the header only. Raises whatever Pillow raises, and DataError above MAX_PIXELS."""
    image = Image.open(file, formats=FORMATS)
    check_size(image)
    return image


def check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels; {MAX_PIXELS:,} at most")


def display_size(image: Image.Image) -> Size:
    turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation
    return (image.height, image.width) if turned else image.size


def sides_for(aspect: float) -> Size:
    """Of all sizes that can be trained, with 56 to 72 pixels for the short side, the nearest to
    width / height, or else the nearest to 64."""
    ratio = max(aspect, 1 / aspect)
    pairs = [(min(256, 8 * round(short * ratio / 8)), short) for short in (64, 72, 56)]
    long, short = min(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1] / ratio)))
    return (long, short) if aspect >= 1 else (short, long)


def is_deep(image: Image.Image) -> bool:
    """Whether it is 16-bit grey."""
    return image.mode.startswith("I;16")


def white_above(image: Image.Image) -> int:
    """The smallest white that suits the values of 16-bit grey; 0 for other pictures."""
    if not is_deep(image):
        return 0
    largest = np.asarray(image).max()
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2**bits)


def fitted(
    image: Image.Image,
    size: Size,
    ground: str | None,
    white: int = FULL_WHITE,
    *,
    found: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """The picture upright, as RGB at the final size: uint8 [H, W, 3]. Colour profiles are ignored.

    In 16-bit grey, the value `white` becomes 255.

    ground   colour that is laid under transparent pixels; None gives uint8 [H, W, 4], see `alpha`
    found    called if there are transparent pixels
    """
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, for 12 megapixels in a tenth of the
    # time. Twice the final size is left for the filter; pixels differ by a grey level or two.
    image.draft(None, (2 * max(size),) * 2)
    image = _rgb_or_rgba(ImageOps.exif_transpose(image), white)
    if ground is None:
        image = image.convert("RGBA")
    if image.mode != "RGBA":
        return resized(image, size)
    picture = resized(image, size)
    if picture[..., 3].min() < 255:
        found()
    if ground is None:
        return alpha.premultiplied(picture)
    under = Image.new("RGBA", size, f"#{ground.removeprefix('#')}")
    return np.asarray(Image.alpha_composite(under, Image.fromarray(picture)))[..., :3]


def _rgb_or_rgba(image: Image.Image, white: int) -> Image.Image:
    """RGBA where a pixel may be transparent, else RGB."""
    if is_deep(image):
        grey = np.asarray(image).astype(np.uint32)
        levels = np.minimum((255 * grey + white // 2) // white, 255).astype(np.uint8)
        return Image.fromarray(levels).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError("grey of 32 bits or with a sign has no agreed white; save it as 8 or 16")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def resized(image: Image.Image, size: Size) -> np.ndarray:
    """Crop about the centre to the aspect ratio of `size`, then resize."""
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


def reason(error: Exception) -> str:
    """What an error says, on one line of at most 160 characters."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"  # Pillow would name an object in memory
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
