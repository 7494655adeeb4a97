"""Several pictures side by side in one, with numbers to tell them apart."""

from collections.abc import Sequence

import numpy as np

from vidgan.errors import UsageError

# 3x5 pixels each. An octal digit holds a row of them, from top to bottom.
_DIGITS = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71222", "75757", "75717")


def tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N, H, W, 3] -> uint8 [N / columns * H, columns * W, 3]."""
    n, h, w, c = pictures.shape
    rows = pictures.reshape(n // columns, columns, h, w, c).swapaxes(1, 2)  # [R, H, columns, W, C]
    return rows.reshape(n // columns * h, columns * w, c)


def numbered(pictures: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Draw a number into the corner of each picture: uint8 [N, H, W, 3]."""
    marked, (_, height, width, _) = pictures.copy(), pictures.shape
    needed = 4 * len(str(max(numbers))) + 1
    if needed > width:
        raise UsageError(f"--numbers: {max(numbers)} has no room in a picture; use smaller seeds.")
    side = min(max(2, height // 42), width // needed)  # of a pixel of a digit, in pixels
    for picture, number in zip(marked, numbers, strict=True):
        bits = [
            "0".join(f"{int(_DIGITS[int(d)][row]):03b}" for d in str(number)) for row in range(5)
        ]
        ink = np.pad([[255 * int(bit) for bit in line] for line in bits], 1).astype(np.uint8)
        ink = ink.repeat(side, axis=0).repeat(side, axis=1)
        picture[: ink.shape[0], : ink.shape[1]] = ink[:, :, None]
    return marked
