"""Frames with transparency, uint8 [..., H, W, 4]: their colours are multiplied by their alpha.

So means of frames are right, and colours alone show a frame on black. Files hold straight colours,
those before the multiplication. There and back again, nothing is lost.
"""

import numpy as np

_SQUARE, _LIGHT, _DARK = 8, 224, 176  # pixels, and two greys


def premultiplied(frames: np.ndarray) -> np.ndarray:
    """Of frames with straight colours."""
    alpha = frames[..., 3:]
    colours = (frames[..., :3].astype(np.uint16) * alpha + 127) // 255
    return np.concatenate([colours.astype(np.uint8), alpha], axis=-1)


def straight(frames: np.ndarray) -> np.ndarray:
    alpha = np.maximum(frames[..., 3:], 1)
    colours = (frames[..., :3].astype(np.uint16) * 255 + alpha // 2) // alpha
    return np.concatenate([colours.clip(max=255).astype(np.uint8), frames[..., 3:]], axis=-1)


def over(frames: np.ndarray, ground: np.ndarray | int) -> np.ndarray:
    """Frames in front of an opaque ground uint8 [H, W, 3], or of one grey: uint8 [..., H, W, 3]."""
    clear = 255 - frames[..., 3:].astype(np.uint16)
    return (frames[..., :3] + (clear * ground + 127) // 255).clip(max=255).astype(np.uint8)


def judged(frames: np.ndarray) -> np.ndarray:
    """Frames as networks that know three colours see them: in front of a mid grey."""
    return over(frames, 128) if frames.shape[-1] == 4 else frames


def shown(frames: np.ndarray) -> np.ndarray:
    """Frames as people see them on a sheet: in front of grey squares."""
    if frames.shape[-1] != 4:
        return frames
    y, x = (np.arange(side) // _SQUARE for side in frames.shape[-3:-1])
    squares = np.where((y[:, None] + x) % 2, _DARK, _LIGHT).astype(np.uint8)
    return over(frames, squares[..., None])
