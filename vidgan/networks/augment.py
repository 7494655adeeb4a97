"""Differentiable augmentation: D sees reals and fakes after the same random transformations.

If there are few pictures, D soon memorizes each of them, and G learns nothing more from it. D
cannot memorize augmented pictures, and the gradient still reaches G. DiffAugment augments always
(Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training"), ADA as often as D
needs it (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data").

    B batch   C channels   H W pixels   p probability of each of ADA's transformations
"""

import math

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from vidgan.latent import seeds

DRAWS = {"none": 0, "diff": 7, "ada": 15}  # random numbers that a picture needs
ADA_CAP = 0.8  # highest p; above it, G learns the transformations too
AUGMENTED_BELOW = 100_000  # pictures, including mirrored ones; with more, "auto" means none
_SHIFT = 1 / 8  # of a side, at most
_HOLE = 1 / 2  # of a side
_ADA_TARGET = 0.6  # mean sign of D on reals; above it, D is memorizing them
_ADA_RAMP_IMAGES = 500_000  # in so many images p can grow by 1


def draw(seed: int, first: int, count: int, stream: int, *, draws: int) -> torch.Tensor:
    """Uniform float32 [count, draws]. A row depends on seed, number of the picture, stream."""
    numbers = np.arange(first, first + count) % 2**32
    lanes = 1 + draws * stream + np.arange(draws)
    high = seeds.bits(seed, numbers[:, None], lane=lanes) >> 8  # 24 bits are exact in float32
    return torch.from_numpy(high.astype(np.float32) / 2**24)


def diff_augment(image: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """DiffAugment: change the colours of each picture, shift it, and cut a hole.

    image   float32 [B, C, H, W] in [-1, 1]; the result may leave that range; alpha is only moved
    draws   uniform float32 [B, 7] in [0, 1)
    """
    u = draws[:, :, None, None, None].unbind(1)  # 7 x [B, 1, 1, 1]
    image, alpha = image[:, :3], image[:, 3:]
    brightness, saturation, contrast = u[0] - 0.5, 2 * u[1], u[2] + 0.5
    # The three in turn, for grey, the mean of the channels, and level, that of all pixels:
    # x + brightness; grey + (x - grey) * saturation; level + (x - level) * contrast. As one:
    grey = sum(image.split(1, 1)) / image.shape[1]  # mean(1) takes three times as long
    level = grey.mean((2, 3), keepdim=True)
    rest = grey * (contrast * (1 - saturation)) + (level * (1 - contrast) + brightness)
    image = torch.addcmul(rest, image, contrast * saturation)
    image = torch.cat([image, alpha], 1) if alpha.shape[1] else image
    image, inside = _shifted(image, draws[:, 3:5])
    return image * (inside & ~_hole(image, draws[:, 5:7]))


def _shifted(image: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift by whole pixels, up to an eighth of each side, and wrap around. Also returns a mask
    bool [B, 1, H, W] of the pixels that did not, because the others are to become grey (0).

    To wrap around only orders the pixels anew, so that the gradient adds up nothing, and is the
    same bit for bit on a GPU, too. (Of grid_sample it is not.)
    """
    places = []
    for n, u in ((image.shape[3], draws[:, :1]), (image.shape[2], draws[:, 1:])):
        reach = round(n * _SHIFT)
        pixels = torch.floor(u * (2 * reach + 1)) - reach  # [B, 1]
        places.append(torch.arange(n, device=image.device) + pixels.long())  # [B, W] and [B, H]
    x, y = places[0][:, None, :], places[1][:, :, None]
    width, height = image.shape[:1:-1]
    index = (y % height * width + x % width).flatten(1)  # [B, H W]
    moved = image.flatten(2).gather(2, index[:, None].expand(-1, image.shape[1], -1))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # [B, H, W]
    return moved.unflatten(2, (height, width)), inside[:, None]


def _hole(image: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """A rectangle around a random point, half the picture wide and high: bool [B, 1, H, W]."""
    inside = []
    for axis, u in ((3, draws[:, :1]), (2, draws[:, 1:])):
        n = image.shape[axis]
        centre = torch.floor(u * n)
        inside.append((torch.arange(n, device=image.device) - centre).abs() < n * _HOLE / 2)
    return inside[1][:, None, :, None] & inside[0][:, None, None, :]


def adapted(p: float, sign_on_reals: float, images: int) -> float:
    """ADA's next p, after `images` reals on which the mean sign of D was `sign_on_reals`."""
    step = math.copysign(images / _ADA_RAMP_IMAGES, sign_on_reals - _ADA_TARGET)
    return min(max(p + step, 0.0), ADA_CAP)


def ada_augment(image: torch.Tensor, draws: torch.Tensor, p: float) -> torch.Tensor:
    """ADA's pixel, geometric and colour transformations, each with probability p.

    image   float32 [B, 3 or 4, H, W] in [-1, 1]; the result may leave that range
    draws   uniform float32 [B, 15] in [0, 1)
    Sampling is bilinear. The paper filters with wavelets against aliasing; this does not.
    """
    columns = iter(draws.unbind(1))

    def uniform(chance: float = p) -> torch.Tensor:
        """[B] in [0, 1), or 1/2, which means no change, with probability 1 - p."""
        u = next(columns)
        return torch.where(u < chance, u / max(chance, 1e-9), 0.5)

    def normal() -> torch.Tensor:
        return math.sqrt(2) * torch.erfinv((2 * uniform() - 1).clamp(-1 + 1e-6, 1 - 1e-6))

    # There are two turns, before and after the stretch. With p there is at least one.
    any_turn = 1 - math.sqrt(1 - p)
    sides = torch.tensor(image.shape[:1:-1], device=image.device)  # W, H
    mirrored = torch.where(uniform() > 0.5, -1.0, 1.0)
    quarters = torch.floor(4 * ((uniform() + 0.5) % 1))
    whole = torch.stack([2 * uniform() - 1, 2 * uniform() - 1], 1) * sides / 8
    size = torch.exp2(0.2 * normal())
    first_turn = math.pi * (2 * uniform(any_turn) - 1)
    stretch = torch.exp2(0.2 * normal())
    second_turn = math.pi * (2 * uniform(any_turn) - 1)
    broken = torch.stack([normal(), normal()], 1) * sides / 8
    # The matrix maps a place in the result to the place in the picture that it shows, in pixels
    # from the middle. All distributions are symmetric, so the inverse may be drawn directly.
    turn = _rotation(first_turn) @ torch.diag_embed(torch.stack([stretch, 1 / stretch], 1))
    turn = torch.diag_embed(torch.stack([size * mirrored, size], 1)) @ turn
    turn = _rotation(quarters * math.pi / 2) @ turn @ _rotation(second_turn)
    theta = torch.cat([turn * sides / sides[:, None], (whole.round() + broken)[..., None] * 2], 2)
    theta[..., 2] /= sides
    grid = affine_grid(theta, list(image.shape), align_corners=False)
    image = grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    brightness, contrast = 0.2 * normal(), torch.exp2(0.5 * normal())
    flipped = torch.where(uniform() > 0.5, -1.0, 1.0)  # bright becomes dark, hues stay
    hue, saturation = math.pi * (2 * uniform() - 1), torch.exp2(normal())
    # Colours are rotated around the axis of greys, and scaled along it and away from it.
    grey = torch.full((3, 3), 1 / 3, device=image.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=image.device) / 3**0.5
    away = hue.cos()[:, None, None] * (torch.eye(3, device=image.device) - grey)
    away = saturation[:, None, None] * (away + hue.sin()[:, None, None] * cross)
    mix = contrast[:, None, None] * (flipped[:, None, None] * grey + away)
    image, alpha = image[:, :3], image[:, 3:]
    mixed = torch.einsum("bij,bjhw->bihw", mix, image + brightness[:, None, None, None])
    return torch.cat([mixed, alpha], 1)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    """[B] in radians -> [B, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
