"""The two functions between which floats in [-1, 1] exist; everywhere else a picture is uint8 RGB.

B batch   H W pixels
"""

import torch


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1]."""
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1  # [B, H, W, 3] -> [B, 3, H, W]


def to_frames(image: torch.Tensor) -> torch.Tensor:
    """float [B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3]; halves round to even."""
    levels = torch.clamp(torch.round(image.float() * 127.5 + 127.5), 0, 255)
    return levels.permute(0, 2, 3, 1).to(torch.uint8)  # [B, 3, H, W] -> [B, H, W, 3]
