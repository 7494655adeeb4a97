"""Codes: the latents of real pictures, from which the generator learns to paint these again.

D alone teaches the layout of pictures slowly. But how pictures differ most is known before the
first step: by their principal components. So half of the latents of a batch are codes of its reals,
and G also learns to paint the real whose code it gets: coarsely, and with as much contrast at each
place. What is painted there is left to D.

A random latent is drawn to anchors: codes of some of the pictures, which the generator keeps.

    A anchors   B batch   H W pixels   K directions   P numbers of a small picture   Z z_dim
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from vidgan.data.cache import Dataset
from vidgan.networks import pixels
from vidgan.networks.base import SMALL, Generator

SHARE = 0.5  # of a batch
ANCHORS, OF_A_CLASS = 512, 64  # of how many pictures; of each class, if there are classes
TOLD = ("anchors", "layout.mean", "layout.parts", "layout.contrast")  # what `tell` sets
_MOST_CLASSES = 32  # with anchors
_MOST = 4_000  # pictures from which the components are computed
_CONTRAST = 10.0  # weight of the contrast beside that of small pictures
_WINDOWS = 8  # along a side, in each of which contrast is one number
_FLOOR = 1e-5  # of all variance: components with less than that are not made as long as others
_FINE = 4.0  # weight of all pixels, of a film whose motion matters


def make_codes(dataset: Dataset, *, count: int, motion: bool = False) -> Tensor:
    """The mean small picture, and beneath it K = `count` directions: float32 [1 + K, P].

    The directions are the principal components, each as long as its inverse standard deviation,
    and then rotated at random, so that each number of a code is a sum of many, and nearly normal.

    motion   each is only as long as the root of that. What changes most in a film changes smoothly;
             as long as others, the faint rest takes codes of near frames far apart.
    """
    x = _many(dataset).double()
    mean = x.mean(0)
    variance, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))  # smallest first
    length = (variance[-count:].clamp(min=0) + _FLOOR * variance.sum() + 1e-9).rsqrt()
    length = length.sqrt() if motion else length
    axes = torch.zeros(count, x.shape[1], dtype=x.dtype)
    axes[: len(length)] = (vectors[:, -count:] * length).T
    random = torch.randn(count, count, generator=torch.Generator().manual_seed(0)).double()
    return torch.cat([mean[None], torch.linalg.qr(random)[0] @ axes]).float()


def _many(dataset: Dataset) -> Tensor:
    """Small pictures [B, P] from all of the data."""
    count = min(_MOST, len(dataset))
    chosen = np.array_split(np.arange(count) * len(dataset) // count, -(-count // 256))
    parts = [pixels.to_float(torch.from_numpy(dataset.take(numbers))) for numbers in chosen]
    return torch.cat([small(part).flatten(1) for part in parts])


def anchors_for(classes: int) -> int:
    """How many anchors a model has. With very many classes, none: they would be few for each."""
    return OF_A_CLASS * classes * (classes <= _MOST_CLASSES) if classes else ANCHORS


def tell(dataset: Dataset, codes: Tensor, *generators: Generator) -> None:
    """Tell generators what is known of the data: the layout that a code stands for, and anchors,
    which are codes, of length 1, of pictures from all of the data."""
    if generators[0].layout is not None:
        root = (_many(dataset).to(codes.device) - codes[0]) @ codes[1:].T
        root = root.norm(dim=1).sqrt()  # its distribution is nearer to a normal one
        # The least squares way back from a code, in double precision: the directions are long.
        back = torch.linalg.pinv(codes[1:].T.double()).float()  # [K, P]
        for layout in (generator.layout for generator in generators):
            layout.mean.copy_(codes[0, : len(layout.mean)])  # of grey pictures one colour
            layout.parts[1:] = back[:, : len(layout.mean)]
            layout.contrast.copy_(torch.stack([root.mean(), root.std(correction=0)]))
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
        generator.anchors.copy_(of(real, codes, generator))


def of_reals(real: Tensor, codes: Tensor, z: Tensor, generator: Generator) -> Tensor:
    """Codes float32 [N, Z] of the first of the reals [B, 3, H, W].

    A code is as long as the latent of z [B, Z] that it replaces.
    """
    replaced = z[: int(SHARE * len(z))]
    return of(real[: len(replaced)], codes, generator) * replaced.norm(dim=1, keepdim=True)


def of(real: Tensor, codes: Tensor, generator: Generator) -> Tensor:
    """Codes of length 1 of reals: [B, 3, H, W] -> [B, Z].

    They are the direction from the mean picture. For a generator that knows layouts, a first
    number says how far the picture is from it, as a random latent would: about N(0, 1).
    """
    place = (small(real).flatten(1) - codes[0]) @ codes[1:].T  # [B, K]
    if generator.layout is not None:
        mean, deviation = generator.layout.contrast
        far = (place.norm(dim=1, keepdim=True).sqrt() - mean) / (deviation + 1e-6)
        place = torch.cat([far.clamp(-3, 3), place.shape[1] ** 0.5 * normalize(place)], 1)
    return normalize(place)


def distance(fake: Tensor, real: Tensor, *, contrast: bool = True, motion: bool = False) -> Tensor:
    """How far fakes are from the reals of their codes: the mean square of the differences of small
    pictures.

    contrast   and, weighted, of contrasts, for a generator that is told what is where
    motion     and of all pixels: what is faint counts as well, or a still ground would flicker
    """
    count = int(SHARE * len(real))
    fake, real = fake[:count].float(), real[:count]
    far = (small(fake) - small(real)).square().mean()
    if contrast:
        for of_fake, of_real in zip(contrasts(fake), contrasts(real), strict=True):
            far = far + _CONTRAST * (of_fake - of_real).square().mean()
    return far + _FINE * (fake - real).abs().mean() if motion else far


def small(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 3, 16, 16] by averaging."""
    return _averaged(image, SMALL)


def contrasts(image: Tensor) -> list[Tensor]:
    """How much a picture [B, C, H, W] varies by what is too fine for the small one.

    For each octave, the root mean square of its Haar wavelets (across, down, diagonal) in 8x8
    windows: float32 [B, 3 C, 8, 8].
    """
    found = []
    while min(image.shape[2:]) > SMALL:
        height, width = (side // 2 * 2 for side in image.shape[2:])
        a, b, c, d = (image[:, :, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1))
        waves = torch.cat([a + b - c - d, a - b + c - d, a - b - c + d], 1) / 4
        found.append((_averaged(waves.square(), _WINDOWS) + 1e-4).sqrt())
        image = (a + b + c + d) / 4
    return found


def _averaged(image: Tensor, side: int) -> Tensor:
    """[B, C, H, W] -> [B, C, side, side], as `interpolate` averages areas.

    By matrices, because on a GPU the gradient of areas is not the same bit for bit every time.
    """
    eyes = (torch.eye(n, device=image.device)[None] for n in image.shape[2:])
    rows, columns = (interpolate(eye, side, mode="area")[0] for eye in eyes)  # [H or W, side]
    x = rows.T @ image.permute(0, 2, 3, 1).flatten(2)  # [B, H, W, C] -> [B, side, W C]
    x = x.unflatten(2, (-1, image.shape[1])).transpose(2, 3) @ columns  # [B, side, C, side]
    return x.transpose(1, 2)
