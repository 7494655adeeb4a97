"""The generator whose weights are averaged over the run: it is the one that is kept."""

import copy

import torch

from vidgan.config import Config
from vidgan.training.batches import (
    every_class,
    training_latents,
)
from vidgan.training.state import State

_CALIBRATION_BATCHES = 16


@torch.no_grad()
def _update_average(state: State, settings: Config, images: int) -> None:
    """Half of the average is younger than the half-life, which grows with the run at first."""
    halflife = min(settings.train.ema_halflife_images, 0.05 * state.images_seen)
    keep = 0.5 ** (images / halflife) if halflife > 0 else 0.0
    torch._foreach_lerp_(
        list(state.average.parameters()), list(state.generator.parameters()), 1 - keep
    )


@torch.no_grad()
def averaged_generator(state: State, settings: Config) -> torch.nn.Module:
    """The averaged weights with BatchNorm statistics of their own, in eval mode, on the CPU.

    Statistics gathered while the fast weights trained do not fit the averaged ones, so they are
    measured anew over fixed latents, as a plain mean over batches.
    """
    generator = copy.deepcopy(state.average).train()
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    device = next(generator.parameters()).device
    for batch in range(_CALIBRATION_BATCHES if norms else 0):
        z = training_latents(settings, batch * 64, 64, device)
        generator(z, every_class(settings, 64, device))
    return generator.eval().cpu()
