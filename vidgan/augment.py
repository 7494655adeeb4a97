"""Differentiable augmentation: D sees reals and fakes through the same random distortions.

With few pictures D soon knows each by heart, and G learns nothing more from it. Distorted alike on
both sides, pictures cannot be learned by heart, and the gradient still reaches G (Zhao et al. 2020,
"Differentiable Augmentation for Data-Efficient GAN Training").

    B batch   C channels   H W pixels
"""

import numpy as np
import torch
from torch.nn.functional import grid_sample

from vidgan import latents

DRAWS = 7  # uniform numbers that one picture needs
AUGMENTED_BELOW = 100_000  # pictures, mirrored ones counted; with more, `auto` leaves them alone

_SHIFT = 1 / 8  # of a side, at most
_HOLE = 1 / 2  # of a side


def is_on(choice: str, pictures: int) -> bool:
    """Resolve the setting train.augment for data of so many pictures."""
    return choice == "diff" or (choice == "auto" and pictures < AUGMENTED_BELOW)


def draw(seed: int, first: int, count: int, stream: int) -> torch.Tensor:
    """Uniform numbers float32 [count, DRAWS] for pictures first, first + 1, ... of a run.

    A row is a function of (seed, number of the picture, stream), whatever the batch.
    """
    numbers = np.arange(first, first + count) % 2**32
    lanes = [latents.bits(seed, numbers, lane=DRAWS * stream + i + 1) for i in range(DRAWS)]
    high = np.stack(lanes, 1) >> 8  # 24 bits are exact in float32, and below 1
    return torch.from_numpy(high.astype(np.float32) / 2**24)


def diff_augment(image: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Colour, shift and a hole, each picture by its own row of `draws`.

    image   float32 [B, C, H, W] in [-1, 1]; the result may leave that range
    draws   uniform float32 [B, DRAWS] in [0, 1)
    """
    u = draws[:, :, None, None, None].unbind(1)  # DRAWS x [B, 1, 1, 1]
    image = image + (u[0] - 0.5)  # brightness
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * (2 * u[1])  # saturation
    level = image.mean((1, 2, 3), keepdim=True)
    image = level + (image - level) * (u[2] + 0.5)  # contrast
    return _with_hole(_shifted(image, draws[:, 3:5]), draws[:, 5:7])


def _shifted(image: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Move by whole pixels, up to an eighth of each side; what comes in is grey (0)."""
    sides = torch.tensor(image.shape[:1:-1], device=image.device)  # W, H
    reach = (sides * _SHIFT).round()
    pixels = torch.floor(draws * (2 * reach + 1)) - reach  # [B, 2] as x, y
    x, y = (
        (2 * torch.arange(n, device=image.device) + 1) / n - 1  # pixel centres
        for n in (image.shape[3], image.shape[2])
    )
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # [H, W, 2]
    grid = grid + (2 * pixels / sides)[:, None, None, :]  # [B, H, W, 2]
    return grid_sample(image, grid, mode="nearest", align_corners=False)


def _with_hole(image: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Grey out a rectangle of half the sides about a random point."""
    inside = []
    for axis, u in ((3, draws[:, :1]), (2, draws[:, 1:])):
        n = image.shape[axis]
        centre = torch.floor(u * n)
        inside.append((torch.arange(n, device=image.device) - centre).abs() < n * _HOLE / 2)
    hole = inside[1][:, None, :, None] & inside[0][:, None, None, :]  # [B, 1, H, W]
    return image * ~hole
