"""Codes: the latents of real pictures, from which the generator learns to paint these again.

D alone teaches the layout of pictures slowly. But how pictures differ most is known before the
first step: by their principal components. So half of the latents of a batch are codes of its reals,
and G also learns to paint, coarsely, the real whose code it gets. Detail is left to D.

    B batch   H W pixels   P numbers of a small picture   Z z_dim
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidgan.data.cache import Dataset
from vidgan.networks import pixels

SHARE = 0.5  # of a batch
_SIDE = 16  # pixels of a small picture, and so the finest that a code says
_MOST = 4_000  # pictures from which the components are computed
_FLOOR = 1e-5  # of all variance: components with less than that are not made as long as others


def make_codes(dataset: Dataset, *, z_dim: int, device: torch.device) -> Tensor:
    """The mean small picture, and beneath it Z directions: float32 [1 + Z, P].

    The directions are the principal components, each as long as its inverse standard deviation,
    and then rotated at random, so that each number of a code is a sum of many, and nearly normal.
    """
    count = min(_MOST, len(dataset))
    chosen = np.array_split(np.arange(count) * len(dataset) // count, -(-count // 256))
    parts = [pixels.to_float(torch.from_numpy(dataset.take(numbers))) for numbers in chosen]
    x = torch.cat([small(part).flatten(1) for part in parts]).double()  # [B, P]
    mean = x.mean(0)
    variance, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / count)  # smallest first
    length = (variance[-z_dim:].clamp(min=0) + _FLOOR * variance.sum() + 1e-9).rsqrt()
    axes = torch.zeros(z_dim, x.shape[1], dtype=x.dtype)
    axes[: len(length)] = (vectors[:, -z_dim:] * length).T
    random = torch.randn(z_dim, z_dim, generator=torch.Generator().manual_seed(0)).double()
    return torch.cat([mean[None], torch.linalg.qr(random)[0] @ axes]).float().to(device)


def with_codes(z: Tensor, real: Tensor, codes: Tensor) -> Tensor:
    """Latents float32 [B, Z], of which the first are codes of the reals [B, 3, H, W].

    A code is as long as the latent that it replaces: all latents have about the same length.
    """
    own = z[: int(SHARE * len(z))]
    code = (small(real[: len(own)]).flatten(1) - codes[0]) @ codes[1:].T
    code = code * own.norm(dim=1, keepdim=True) / (code.norm(dim=1, keepdim=True) + 1e-6)
    return torch.cat([code, z[len(own) :]])


def distance(fake: Tensor, real: Tensor) -> Tensor:
    """How far fakes are from the reals of their codes: mean squared, of small pictures."""
    count = int(SHARE * len(real))
    return (small(fake[:count].float()) - small(real[:count])).square().mean()


def small(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 3, 16, 16] by averaging."""
    return interpolate(image, (_SIDE, _SIDE), mode="area")
