"""The generator whose weights are averaged over the run. It is shown, measured and kept."""

import copy
import logging
from collections.abc import Iterable

import numpy as np
import torch

from vidgan.latent import seeds
from vidgan.networks import pixels
from vidgan.networks.base import Generator
from vidgan.quality.validation import MEANING, Validation, kept
from vidgan.training.batches import every_class, latents
from vidgan.training.run_folder import OF_A_CLASS, SAMPLES, write_grid
from vidgan.training.state import Run, keep, save, snapshot

logger = logging.getLogger(__name__)
_CALIBRATION_BATCHES, _BATCH = 16, 64


@torch.no_grad()
def update_average(run: Run) -> None:
    """Move the average towards the weights of now. Its half-life grows at the start of a run."""
    state, how = run.state, run.settings.train
    halflife = min(how.ema_halflife_images, 0.05 * state.images_seen)
    decay = 0.5 ** (how.batch_size / halflife) if halflife > 0 else 0.0
    average, now = (list(network.parameters()) for network in (state.average, state.generator))
    torch._foreach_lerp_(average, now, 1 - decay)


@torch.no_grad()
def averaged_generator(run: Run) -> Generator:
    """A copy of the average in eval mode on the CPU.

    Its BatchNorm statistics are measured anew: those of training belong to other weights.
    """
    generator = copy.deepcopy(run.state.average).train()
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    classes = every_class(run.settings, _BATCH)
    for batch in range(_CALIBRATION_BATCHES if norms else 0):
        _generate(generator, latents(run.settings, batch * _BATCH, _BATCH), classes)
    return generator.eval().cpu()


def make_samples(run: Run, names: Iterable[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Write and return samples, and some of each of the classes with these names: uint8
    [N, H, W, 3]. Sample 17 of every run is of seed 17, as in `vidgan sample`."""
    generator, classes = averaged_generator(run), every_class(run.settings, SAMPLES)
    z = torch.from_numpy(seeds.numbered(range(SAMPLES), z_dim=run.settings.model.z_dim))
    samples = pixels.to_frames(_generate(generator, z, classes)).numpy()
    write_grid(run.folder / f"samples{run.state.images_seen:09d}.png", samples)
    snapshot(run, generator)
    of_class = {}
    for name in names:
        label = torch.tensor([run.settings.model.class_names.index(name)]).repeat(OF_A_CLASS).int()
        images = _generate(generator, z[:OF_A_CLASS], label)
        of_class[name] = pixels.to_frames(images).numpy()
    return samples, of_class


def measure(run: Run, validation: Validation) -> None:
    """Measure the distance of the averaged generator, and keep it if it is the best so far."""
    generator, frames = averaged_generator(run).to(run.fabric.device), []
    for start in range(0, validation.count, _BATCH):
        count, classes = min(_BATCH, validation.count - start), None
        if run.settings.model.classes:
            numbers = validation.numbers[start : start + count]
            classes = torch.from_numpy(run.dataset.labels[numbers])
        images = _generate(generator, latents(run.settings, start, count), classes)
        frames.append(pixels.to_frames(images).cpu())
    now = validation.measure(torch.cat(frames).numpy(), run.state.images_seen)
    run.state.measured.append(now)
    best = kept(run.state.measured) is now
    known = "the best so far" if len(run.state.measured) > 1 else "the first that was measured"
    logger.info(f"{now}; kept as {known}" if best else str(now))
    if len(run.state.measured) == 1:
        logger.info(MEANING)
    if best:
        keep(run, generator.cpu())


def save_run(run: Run) -> None:
    """Write a checkpoint, and until a generator is the best, the one of now."""
    save(run)
    if not run.state.measured:
        keep(run, averaged_generator(run))


@torch.no_grad()
def _generate(generator: Generator, z: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
    """Pictures float32 [B, 3, H, W] of latents and classes."""
    device = next(generator.parameters()).device
    return generator(z.to(device), classes if classes is None else classes.to(device))
