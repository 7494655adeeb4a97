"""Codes: the latents of real pictures, from which the generator learns to paint these again.

D alone teaches the layout of pictures slowly. But how pictures differ most is known before the
first step: by their principal components. So half of the latents of a batch are codes of its reals,
and G also learns to paint, coarsely, the real whose code it gets. Detail is left to D.

A random latent is drawn to anchors: codes of some of the pictures, which the generator keeps.

    A anchors   B batch   H W pixels   P numbers of a small picture   Z z_dim
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from vidgan.data.cache import Dataset
from vidgan.networks import pixels
from vidgan.networks.base import Generator

SHARE = 0.5  # of a batch
ANCHORS, OF_A_CLASS = 512, 64  # of how many pictures; of each class, if there are classes
_MOST_CLASSES = 32  # with anchors
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


def anchors_for(classes: int) -> int:
    """How many anchors a model has. With very many classes, none: they would be few for each."""
    return OF_A_CLASS * classes * (classes <= _MOST_CLASSES) if classes else ANCHORS


def set_anchors(dataset: Dataset, codes: Tensor, *generators: Generator) -> None:
    """Make codes of pictures from all of the data, of length 1, the anchors of generators."""
    if generators[0].anchors is None:
        return
    groups = [np.arange(len(dataset))]
    if generators[0].embedding:
        classes = range(generators[0].embedding.num_embeddings)
        of_class = [np.flatnonzero(dataset.labels == label) for label in classes]
        groups = [group if len(group) else groups[0] for group in of_class]
    share = np.arange(count := len(generators[0].anchors) // len(groups)) / count
    numbers = np.concatenate([group[(share * len(group)).astype(int)] for group in groups])
    real = pixels.to_float(torch.from_numpy(dataset.take(numbers))).to(codes.device)
    for generator in generators:
        generator.anchors.copy_(normalize(_places(real, codes)))


def of_reals(real: Tensor, codes: Tensor, z: Tensor) -> Tensor:
    """Codes float32 [K, Z] of the first of the reals [B, 3, H, W].

    A code is as long as the latent of z [B, Z] that it replaces.
    """
    replaced = z[: int(SHARE * len(z))]
    code = normalize(_places(real[: len(replaced)], codes))
    return code * replaced.norm(dim=1, keepdim=True)


def _places(real: Tensor, codes: Tensor) -> Tensor:
    """Where reals stand on the principal components: [B, 3, H, W] -> [B, Z]."""
    return (small(real).flatten(1) - codes[0]) @ codes[1:].T


def distance(fake: Tensor, real: Tensor) -> Tensor:
    """How far fakes are from the reals of their codes: mean squared, of small pictures."""
    count = int(SHARE * len(real))
    return (small(fake[:count].float()) - small(real[:count])).square().mean()


def small(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 3, 16, 16] by averaging, as `interpolate` does by area.

    By matrices, because on a GPU the gradient of areas is not the same bit for bit every time.
    """
    eyes = (torch.eye(side, device=image.device)[None] for side in image.shape[2:])
    rows, columns = (interpolate(eye, _SIDE, mode="area")[0] for eye in eyes)  # [H or W, 16]
    x = rows.T @ image.permute(0, 2, 3, 1).flatten(2)  # [B, H, W, 3] -> [B, 16, W 3]
    x = x.unflatten(2, (-1, image.shape[1])).transpose(2, 3) @ columns  # [B, 16, 3, 16]
    return x.transpose(1, 2)
