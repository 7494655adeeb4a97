"""Many pictures in one file: the pages of a TIFF, the frames of an animated GIF, WebP or PNG.

Pillow reads them, one at a time, except for ImageJ's stacks above 4 GB. Such a file lists only its
first page and stores the others behind it, where imageio and tifffile find them.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from vidgan.data.pictures import check_size, open_picture
from vidgan.errors import DataError

MAX_PICTURES = 100_000  # in one file


def kind_of(path: Path) -> str:
    """Tell "film" (an animation), "stack" (a TIFF of many pages), "still" and "" (unreadable)."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            image = open_picture(file)
            if is_stack(image):
                return "stack"
            animated = image.format in ("GIF", "WEBP", "PNG") and image.is_animated
            return "film" if animated else "still"
    except Exception:  # decoders raise all sorts of things on hostile bytes
        return ""


def is_stack(image: Image.Image) -> bool:
    return image.format == "TIFF" and (image.is_animated or _hides_pages(image))


def _hides_pages(image: Image.Image) -> bool:
    """Whether ImageJ's note tells of more pages than the one that is listed."""
    if image.format != "TIFF" or image.is_animated or image.info.get("compression") != "raw":
        return False
    plain = image.mode in ("L", "RGB", "I;16", "I;16B") and image.tag_v2.get(262) in (1, 2)
    note = re.match(r"ImageJ=.*?\nimages=(\d{1,12})\s", str(image.tag_v2.get(270)), re.DOTALL)
    return plain and note is not None and int(note[1]) > 1


def pages(file: BinaryIO) -> Iterator[Image.Image]:
    """The pages of a TIFF that are as large as its first, so no thumbnails; else the first picture.

    Use a page before you ask for the next: both may be the same object.
    """
    image = open_picture(file)
    if not _hides_pages(image):
        size, numbers = image.size, range(MAX_PICTURES + 1) if image.format == "TIFF" else [0]
        yield from (page for page in _in_turn(image, numbers) if page.size == size)
        return
    import imageio.v3 as iio

    file.seek(0)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its complaint is made below
    with iio.imopen(file, "r", plugin="tifffile") as stack:
        samples = stack.read(index=0, out="memmap")  # [..., H, W] or [..., H, W, 3], on disk
        samples = samples.reshape(-1, image.height, image.width, *(3,) * (image.mode == "RGB"))
        if len(samples) == 1:
            raise DataError("it is shorter than its pages would be")
        yield from map(Image.fromarray, samples)


def frames(path: Path) -> Iterator[Image.Image]:
    """The frames of an animation. Use each before you ask for the next."""
    with path.open("rb") as file:
        image = open_picture(file)
        # An animated PNG may hold a still for programs that know no animations.
        first = int(image.info.get("default_image", False))
        yield from _in_turn(image, range(first, MAX_PICTURES + 1))


def _in_turn(image: Image.Image, numbers: Sequence[int]) -> Iterator[Image.Image]:
    for number in numbers:
        try:
            image.seek(number)
        except EOFError:
            if number == numbers[0]:
                raise
            return
        check_size(image)  # pages differ in size, and a frame may enlarge a GIF
        if number == MAX_PICTURES:
            raise DataError(f"more than {MAX_PICTURES:,} pictures in one file")
        yield image
