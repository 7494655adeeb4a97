"""Several pictures side by side in one."""

import numpy as np


def tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N, H, W, 3] -> uint8 [N / columns * H, columns * W, 3]."""
    n, h, w, c = pictures.shape
    rows = pictures.reshape(n // columns, columns, h, w, c).swapaxes(1, 2)  # [R, H, columns, W, C]
    return rows.reshape(n // columns * h, columns * w, c)
