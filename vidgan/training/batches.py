"""What one process trains on in one step: reals, latents, classes and random numbers.

All of it is a function of the settings and the number of a picture in the run. No random generator
has a state, so a resumed run has nothing to restore. It is made ahead, in a thread.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from vidgan.config import Config
from vidgan.data import order
from vidgan.data.ahead import ahead
from vidgan.latent import seeds
from vidgan.networks import augment
from vidgan.training.state import Run

_WAITING = 2  # batches that are ready before they are needed


class Batch(NamedTuple):
    real: torch.Tensor  # uint8 [B, H, W, 3]
    z: torch.Tensor  # float32 [B, Z]
    classes: torch.Tensor | None  # int32 [B], of a real and of the fake it is paired with
    wrong: torch.Tensor | None  # int32 [B], another class
    draws_real: torch.Tensor | None  # float32 [B, N], random numbers for the augmentation
    draws_fake: torch.Tensor | None  # likewise; None = no augmentation
    share: torch.Tensor  # float32 [B] in [0, 1), the place between real and fake for WGAN-GP


def batches(run: Run) -> Iterator[Batch]:
    """The batches of this process up to the end of the run, on its device."""
    device = run.fabric.device
    with contextlib.closing(ahead(_made(run), _WAITING)) as made:
        for batch in made:
            yield Batch(*(x if x is None else x.to(device, non_blocking=True) for x in batch))


def _made(run: Run) -> Iterator[Batch]:
    how, dataset, fabric = run.settings.train, run.dataset, run.fabric
    count, size, seed = how.batch_size // fabric.world_size, len(dataset), how.seed
    draws, classes = augment.DRAWS[augmentation(run)], run.settings.model.classes
    for images_seen in range(run.state.images_seen, how.images, how.batch_size):
        first = images_seen + fabric.global_rank * count
        bits = seeds.bits(seed, _numbers(first, count))
        indices = order.order(seed=seed, images_seen=first, count=count, dataset_size=size)
        real = dataset.take(indices)
        if how.flip:
            mirrored = (bits & 1).astype(bool)[:, None, None, None]
            real = np.where(mirrored, real[:, :, ::-1], real)
        share = bits.astype(np.float32) / 2**32
        labels = dataset.labels[indices] if classes else None
        batch = Batch(
            real=torch.from_numpy(real),
            z=latents(run.settings, first, count),
            classes=torch.from_numpy(labels) if classes else None,
            wrong=torch.from_numpy(_others(labels, share, classes)) if classes else None,
            draws_real=augment.draw(seed, first, count, 0, draws=draws) if draws else None,
            draws_fake=augment.draw(seed, first, count, 1, draws=draws) if draws else None,
            share=torch.from_numpy(share),
        )
        if fabric.device.type == "cuda":  # which copies from pinned memory while it computes
            batch = Batch(*(x if x is None else x.pin_memory() for x in batch))
        yield batch


def _others(labels: np.ndarray, share: np.ndarray, classes: int) -> np.ndarray:
    """For each label any of the others: int32 [B]. `share` in [0, 1) chooses it."""
    step = 1 + np.minimum((share * (classes - 1)).astype(np.int32), max(classes - 2, 0))
    return ((labels + step) % classes).astype(np.int32)


def augmentation(run: Run) -> str:
    """The kind of augmentation: diff, ada or none."""
    how = run.settings.train
    few = len(run.dataset) * (1 + how.flip) < augment.AUGMENTED_BELOW
    return ("diff" if few else "none") if how.augment == "auto" else how.augment


def every_class(settings: Config, count: int) -> torch.Tensor | None:
    """Labels 0, 1, ..., 0, 1, ...: int32 [count]."""
    classes = settings.model.classes
    return (torch.arange(count) % classes).int() if classes else None


def latents(settings: Config, first: int, count: int) -> torch.Tensor:
    """The latents of a run from the number `first` on, float32 [count, Z]."""
    how, z_dim = settings.train, settings.model.z_dim
    return torch.from_numpy(seeds.gaussian(how.seed, _numbers(first, count), z_dim=z_dim))


def _numbers(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count) % 2**32
