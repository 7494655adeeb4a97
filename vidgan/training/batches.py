"""What a rank sees in a step: reals, latents, classes, and the distortion that D looks through.

All of it is a function of (settings, number of the picture): no generator of random numbers has a
state that a resumed run would have to restore.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from vidgan.config import Config
from vidgan.data import cache, order
from vidgan.latent import seeds
from vidgan.networks import augment, dcgan, pixels
from vidgan.training.state import State

Distort = Callable[[torch.Tensor, int, int], torch.Tensor]


@dataclass
class Batch:
    """What one rank sees in one step."""

    real: torch.Tensor  # float32 [B, 3, H, W] in [-1, 1]
    z: torch.Tensor  # float32 [B, Z]
    classes: torch.Tensor | None  # int32 [B]; a fake is of the class of the real it is paired with
    first: int  # number of the first picture in the whole run


def batch_of(dataset: cache.Dataset, settings: Config, state: State, fabric: Fabric) -> Batch:
    """The part of the one global batch that this rank takes."""
    count, seed = settings.train.batch_size // fabric.world_size, settings.train.seed
    first = state.images_seen + fabric.global_rank * count
    indices = order.order(seed=seed, images_seen=first, count=count, dataset_size=len(dataset))
    frames = torch.from_numpy(dataset.take(indices))
    real = pixels.to_float(frames.to(fabric.device, non_blocking=True))
    if settings.train.flip:
        coin = seeds.bits(seed, picture_numbers(first, count)) & 1
        mirrored = torch.from_numpy(coin.astype(bool)).to(fabric.device)
        real = torch.where(mirrored[:, None, None, None], real.flip(3), real)
    if settings.model.grows:
        real = dcgan.faded(real, state.generator)
    classes = None
    if settings.model.classes:
        classes = torch.from_numpy(dataset.labels[indices]).to(fabric.device)
    return Batch(
        real=real.contiguous(memory_format=torch.channels_last),
        z=training_latents(settings, first, count, fabric.device),
        classes=classes,
        first=first,
    )


def every_class(settings: Config, count: int, device: torch.device) -> torch.Tensor | None:
    """Labels 0, 1, ..., 0, 1, ...: int32 [count]."""
    classes = settings.model.classes
    return (torch.arange(count, device=device) % classes).int() if classes else None


def training_latents(
    settings: Config, first: int, count: int, device: torch.device
) -> torch.Tensor:
    z = seeds.gaussian(
        settings.train.seed, picture_numbers(first, count), z_dim=settings.model.z_dim
    )
    return torch.from_numpy(z).to(device, non_blocking=True)


def distortion(settings: Config, state: State, pictures: int) -> Distort:
    """Takes pictures, the number of the first, and which of the step's draws to use."""
    how = settings.train
    kind = augment.chosen(how.augment, pictures * (1 + how.flip))
    if kind == "none":
        return lambda image, first, stream: image

    def distort(image: torch.Tensor, first: int, stream: int) -> torch.Tensor:
        count = augment.ADA_DRAWS if kind == "ada" else augment.DRAWS
        draws = augment.draw(how.seed, first, len(image), stream, draws=count).to(image.device)
        if kind == "ada":
            distorted = augment.ada_augment(image.float(), draws, state.ada[0].item())
        else:
            distorted = augment.diff_augment(image.float(), draws)
        return distorted.contiguous(memory_format=torch.channels_last)

    return distort


def picture_numbers(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count) % 2**32
