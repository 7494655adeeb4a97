"""The two functions between which floats in [-1, 1] exist; everywhere else a picture is uint8 RGB.

B batch   H W pixels
"""

import torch


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """uint8 [B, H, W, 3 or 4] -> float32 [B, 3 or 4, H, W] in [-1, 1]."""
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1  # [B, H, W, C] -> [B, C, H, W]


def to_frames(image: torch.Tensor) -> torch.Tensor:
    """float [B, 3 or 4, H, W] in [-1, 1] -> uint8 [B, H, W, 3 or 4]; halves round to even.

    Colours that were multiplied by alpha are at most alpha.
    """
    levels = torch.clamp(torch.round(image.float() * 127.5 + 127.5), 0, 255)
    if levels.shape[1] == 4:
        levels = torch.minimum(levels, levels[:, 3:])
    return levels.permute(0, 2, 3, 1).to(torch.uint8)  # [B, C, H, W] -> [B, H, W, C]
