"""One still picture of any mode, size and orientation, to uint8 [H, W, 3] of the size asked for."""

from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from vidgan.errors import DataError

Size = tuple[int, int]  # width, height in pixels

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff"}
)
MAX_PIXELS = 100_000_000  # of one picture, by its header; a 100-megapixel camera just passes


def open_picture(file: BinaryIO) -> Image.Image:
    """Look at the header only. Raises whatever Pillow raises, and DataError above MAX_PIXELS."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels; {MAX_PIXELS:,} at most")
    return image


def display_size(image: Image.Image) -> Size:
    turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation
    return (image.height, image.width) if turned else image.size


def fitted(image: Image.Image, size: Size, background: str) -> np.ndarray:
    """Frame 0, upright, as RGB at the final size: uint8 [H, W, 3]. Colour profiles are ignored."""
    # A JPEG can decode at 1/2, 1/4 or 1/8, a tenth of the time for 12 megapixels; twice the final
    # size is left for the filter, and pixels differ by a grey level or two.
    image.draft(None, (2 * max(size),) * 2)
    image = _without_odd_modes(ImageOps.exif_transpose(image))
    if image.mode != "RGBA":
        return resized(image, size)
    ground = Image.new("RGBA", size, f"#{background.removeprefix('#')}")
    return np.asarray(Image.alpha_composite(ground, Image.fromarray(resized(image, size))))[..., :3]


def _without_odd_modes(image: Image.Image) -> Image.Image:
    """To RGB, or RGBA where anything may be transparent."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError("32-bit grey has no agreed white; save it with 8 or 16 bits")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def resized(image: Image.Image, size: Size) -> np.ndarray:
    """Cropped about the centre where the aspect ratio asks for it."""
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


def reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"  # Pillow would name an object in memory
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]


def shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)
