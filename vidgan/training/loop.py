"""The training loop: read it from top to bottom.

Progress is counted in images. Data order, latents and flips of a step are functions of (seed,
images seen, rank), so a run that was killed and resumed on the same machine ends in bitwise the
weights of one that was not. One path from a single CPU to many nodes under torchrun, by
lightning-fabric.

    B batch   H W pixels   r, f logits of D on reals and fakes
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.func import functional_call

from vidgan import config
from vidgan.config import Config
from vidgan.data import cache
from vidgan.disk import files
from vidgan.errors import DivergedError
from vidgan.latent import seeds
from vidgan.networks import augment, dcgan, losses, pixels
from vidgan.quality import validation
from vidgan.quality.watch import Watch
from vidgan.training import report
from vidgan.training.average import _update_average, averaged_generator
from vidgan.training.batches import (
    Batch,
    Distort,
    batch_of,
    distortion,
    every_class,
    picture_numbers,
    training_latents,
)
from vidgan.training.log import Log, Progress
from vidgan.training.run_folder import (
    PREVIEWS,
    locked,
    new_run,
    next_preview,
    some_reals,
    write_fakes,
    write_film,
    write_reals,
)
from vidgan.training.setup import build, launch, open_data, precision_for
from vidgan.training.state import State, keep, restore, save
from vidgan.training.unrolled import Weights, ahead

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 1.0


def _silent(_: object) -> None:
    pass


def train(
    settings: Config,
    *,
    runs: Path,
    resume: Path | None = None,
    progress: Callable[[Progress], None] = _silent,
) -> Path:
    """Train into a new folder under `runs`, or go on in the run `resume`. Returns the run folder.

    Raises DataError, ModelError, SystemFault, DivergedError, and, after the state was saved,
    SystemExit: 130 for SIGINT, 143 for SIGTERM.
    """
    fabric = launch(settings)
    settings, dataset = open_data(settings)
    state = build(settings, fabric)
    run = resume
    if fabric.is_global_zero and not resume:
        run = new_run(runs, dataset, settings.model)
    run = fabric.broadcast(run) if fabric.world_size > 1 else run
    lock = locked(run) if fabric.is_global_zero else nullcontext()
    with lock, _signals() as signalled:
        if resume:
            restore(state, run, dataset)
            if state.images_seen >= settings.train.images:
                logger.info(
                    f"{run} has seen its {settings.train.images:,} images; add --for with more."
                )
        if fabric.is_global_zero:
            write_reals(run, some_reals(dataset))
            files.write_bytes(run / "config.toml", config.to_toml(settings).encode())
        logger.info(
            f"{run}: {settings.model.name} {settings.model.width}x{settings.model.height}, "
            f"{len(dataset):,} pictures of {settings.model.classes or 'no'} classes, "
            f"{fabric.device.type} x {fabric.world_size}, "
            f"{precision_for(settings.train.precision)}"
        )
        _loop(fabric, state, settings, dataset, run, signalled, progress)
    fabric.barrier()
    if signalled:
        logger.info(f"stopped; go on with: vidgan train --resume {run}")
        raise SystemExit(128 + signalled[0])
    return run


def _loop(
    fabric: Fabric,
    state: State,
    settings: Config,
    dataset: cache.Dataset,
    run: Path,
    signalled: list[int],
    progress: Callable[[Progress], None],
) -> None:
    """Step after step until the images, the time or a signal end it; then save."""
    how, loss = settings.train, losses.LOSSES[settings.train.loss]
    generator, adam_g = fabric.setup(state.generator, state.adam_g)
    discriminator, adam_d = fabric.setup(state.discriminator, state.adam_d)
    world, first_rank = fabric.world_size, fabric.is_global_zero
    scaled = precision_for(how.precision) == "fp16"  # its scaler leaves out steps by itself
    distort = distortion(settings, state, len(dataset))
    _grow(state, settings)
    measure = validation.open_validation(dataset, settings) if first_rank else None
    measure_at = validation.next_at(state.images_seen, settings)
    started, reported, shown = time.monotonic(), time.monotonic(), state.images_seen
    preview_at = next_preview(state.images_seen - 1, how.preview_every_images)
    every = how.checkpoint_every_images
    checkpoint_at = (state.images_seen // every + 1) * every
    loss_g = gradient_g = torch.zeros(())
    current, stop, past_best = None, False, False
    with Log(run, writes=first_rank) as log:
        watch = Watch(some_reals(dataset), log.flags)
        while state.images_seen < how.images and not stop:
            if first_rank and state.images_seen >= preview_at:
                watch.previews(_preview(state, settings, run), state.images_seen)
                report.write(run, state.measured)
                preview_at = next_preview(state.images_seen, how.preview_every_images)
            batch = batch_of(dataset, settings, state, fabric)
            turn = state.images_seen // how.batch_size % how.discriminator_steps
            g_learns = turn == how.discriminator_steps - 1

            # D learns to tell reals from the fakes of a G that stands still, and sees both through
            # the same distortions.
            with torch.set_grad_enabled(g_learns):
                fake = generator(batch.z, batch.classes)  # [B, 3, H, W]
            real_seen = distort(batch.real, batch.first, 0)
            fake_seen = distort(fake, batch.first, 1)
            r = discriminator(real_seen, batch.classes).float()
            f = discriminator(fake_seen.detach(), batch.classes).float()
            loss_d = loss.of_d(r, f) + _slope_cost(fabric, state, settings, batch, fake, distort)
            adam_d.zero_grad()
            fabric.backward(loss_d)
            gradient_d = _gradient_norm(state.discriminator)

            # G learns from a D that stands still; D's own gradients would be thrown away.
            if g_learns:
                state.discriminator.requires_grad_(False)
                with fabric.autocast():
                    if how.unrolled_steps:
                        pair = _logits_ahead(state, settings, batch, real_seen, fake_seen)
                    else:
                        pair = r.detach(), state.discriminator(fake_seen, batch.classes).float()
                    loss_g = loss.of_g(*pair)
                    loss_g = loss_g + _feature_cost(state, settings, real_seen, fake_seen)
                adam_g.zero_grad()
                fabric.backward(loss_g)
                state.discriminator.requires_grad_(True)
                gradient_g = _gradient_norm(state.generator)

            # No update with a number that is none: the last good weights stay.
            if not torch.isfinite(loss_d + loss_g + (0 if scaled else gradient_d + gradient_g)):
                _diverged(state, run, loss_d, loss_g)
            adam_d.step()
            if g_learns:
                adam_g.step()
                if settings.model.name == "dcgan":
                    dcgan.balance(state.generator)
            state.images_seen += how.batch_size
            _update_average(state, settings, how.batch_size)
            _grow(state, settings)
            if how.augment == "ada":
                _adapt(fabric, state, losses.signs_on_reals(how.loss, r, f).item(), len(r))

            if measure and state.images_seen >= measure_at:
                _measure(state, settings, dataset, run, measure)
                if past_best := validation.is_past_best(state.measured):
                    watch.past_best()
                measure_at = validation.next_at(state.images_seen, settings)

            now = time.monotonic()
            stop = bool(signalled) or 0 < how.duration_s < now - started
            stop |= past_best and how.stop_past_best
            stop = fabric.broadcast(stop) if world > 1 else stop
            if now - reported > _REPORT_EVERY_S or state.images_seen >= how.images or stop:
                sure_real, sure_fake = (p.item() for p in losses.certainty(how.loss, r, f))
                watch.certainty(sure_real, sure_fake, state.images_seen)
                watch.augmentation(state.ada[0].item() / augment.ADA_CAP, state.images_seen)
                if not scaled:
                    watch.gradients(gradient_g.item(), gradient_d.item())
                watch.fakes(pixels.to_frames(fake.detach()).cpu().numpy(), state.images_seen)
                last = state.measured[-1] if state.measured else None
                current = Progress(
                    images_seen=state.images_seen,
                    images_per_s=(state.images_seen - shown) / max(now - reported, 1e-9),
                    loss_g=loss_g.item(),
                    loss_d=loss_d.item(),
                    sure_real=sure_real,
                    sure_fake=sure_fake,
                    gradient_g=gradient_g.item(),
                    gradient_d=gradient_d.item(),
                    variety=watch.variety,
                    augment_p=state.ada[0].item(),
                    batch_variety=watch.batch_variety,
                    batch_nearest=watch.batch_nearest,
                    distance=last.distance if last else 0.0,
                    recall=last.recall if last else 0.0,
                    elapsed_s=now - started,
                    flags=watch.take_flags(),
                )
                log.write(current)
                progress(current)
                reported, shown = now, state.images_seen
            if state.images_seen >= checkpoint_at and not stop:
                if first_rank:
                    _save(state, settings, dataset, run)
                checkpoint_at = (state.images_seen // every + 1) * every
        if first_rank:
            # A run that came to its end is measured there too; one that was told to stop, stops.
            unmeasured = all(m.images_seen < state.images_seen for m in state.measured)
            if measure and unmeasured and not signalled:
                _measure(state, settings, dataset, run, measure)
            if past_best and how.stop_past_best:
                logger.info(f"ended, being past its best; to go on: --resume {run} --no-stop")
            _save(state, settings, dataset, run)
            watch.previews(_preview(state, settings, run), state.images_seen)
            if current and (flags := watch.take_flags()):
                log.write(replace(current, variety=watch.variety, flags=flags))
            write_film(run)
            report.write(run, state.measured)


def _slope_cost(
    fabric: Fabric,
    state: State,
    settings: Config,
    batch: Batch,
    fake: torch.Tensor,
    distort: Distort,
) -> torch.Tensor | float:
    """What D pays for its slope on every n-th step, n times as much; by the pictures' own pixels,
    whatever distortion D sees them through."""
    how, total = settings.train, 0.0
    if (how.r1 + how.r2 + how.gradient_penalty) == 0 or (
        state.images_seen // how.batch_size % how.penalty_every_steps
    ):
        return total

    def judged(image: torch.Tensor, stream: int) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = image.detach().float().requires_grad_()
        with fabric.autocast():
            seen = distort(leaf, batch.first, stream)
            return state.discriminator(seen, batch.classes).float(), leaf

    for gamma, image, stream in ((how.r1, batch.real, 0), (how.r2, fake, 1)):
        if gamma:
            total = total + gamma / 2 * losses.squared_slope(*judged(image, stream)).mean()
    if how.gradient_penalty:
        numbers = picture_numbers(batch.first, len(fake))
        share = torch.from_numpy(seeds.bits(how.seed, numbers).astype(np.float32) / 2**32)
        between = batch.real.lerp(fake.float(), share.to(fake.device)[:, None, None, None])
        total = total + how.gradient_penalty * losses.gradient_penalty(*judged(between, 0)).mean()
    return how.penalty_every_steps * total


def _logits_ahead(
    state: State, settings: Config, batch: Batch, real: torch.Tensor, fake: torch.Tensor
) -> list[torch.Tensor]:
    """r and f of D some steps from now; what it pays for its slope is left out of these."""
    d, how = state.discriminator, settings.train

    def judged(weights: Weights) -> list[torch.Tensor]:
        return [functional_call(d, weights, (x, batch.classes)).float() for x in (real, fake)]

    of_d = losses.LOSSES[how.loss].of_d
    return judged(ahead(d, state.adam_d, lambda w: of_d(*judged(w)), steps=how.unrolled_steps))


def _feature_cost(
    state: State, settings: Config, real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor | float:
    if not settings.train.feature_matching:
        return 0.0
    with torch.no_grad():
        wanted = state.discriminator.features(real)
    distance = losses.feature_distance(wanted, state.discriminator.features(fake))
    return settings.train.feature_matching * distance


def _gradient_norm(module: torch.nn.Module) -> torch.Tensor:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.stack(torch._foreach_norm(gradients)).norm().float()


def _adapt(fabric: Fabric, state: State, signs: float, count: int) -> None:
    """Every fourth batch ADA's p follows how surely D knows reals."""
    state.ada += torch.tensor([0, signs, count])
    if state.ada[2] >= 4 * count:
        signs, images = fabric.all_reduce(state.ada[1:], reduce_op="sum").tolist()
        p = augment.adapted(state.ada[0].item(), signs / images, images=int(images))
        state.ada = torch.tensor([p, 0, 0])


def _grow(state: State, settings: Config) -> None:
    if settings.model.grows:
        for network in (state.generator, state.discriminator, state.average):
            network.growth = dcgan.stage_at(state.images_seen, settings.train.grow_every_images)


def _preview(state: State, settings: Config, run: Path) -> np.ndarray:
    """Write and return what G makes of the latents that every preview shows."""
    generator, cpu = averaged_generator(state, settings), torch.device("cpu")
    with torch.no_grad():
        z = training_latents(settings, 0, PREVIEWS, cpu)
        fakes = pixels.to_frames(generator(z, every_class(settings, PREVIEWS, cpu))).numpy()
    write_fakes(run, fakes, state.images_seen)
    return fakes


@torch.no_grad()
def _measure(
    state: State,
    settings: Config,
    dataset: cache.Dataset,
    run: Path,
    measure: validation.Validation,
) -> None:
    """Measure the averaged generator, and keep it if it is the best so far."""
    device = next(state.average.parameters()).device
    generator, frames = averaged_generator(state, settings).to(device), []
    for start in range(0, measure.count, 64):
        count, classes = min(64, measure.count - start), None
        if settings.model.classes:
            numbers = measure.numbers[start : start + count]
            classes = torch.from_numpy(dataset.labels[numbers]).to(device)
        fakes = generator(training_latents(settings, start, count, device), classes)
        frames.append(pixels.to_frames(fakes).cpu().numpy())
    now = measure.measure(np.concatenate(frames), state.images_seen)
    state.measured.append(now)
    logger.info(str(now))
    if now.distance <= min(m.distance for m in state.measured):
        keep(generator.cpu(), state, _as_grown(state, settings), dataset, run)


def _save(state: State, settings: Config, dataset: cache.Dataset, run: Path) -> None:
    grown = _as_grown(state, settings)
    save(state, grown, dataset, run)
    if not state.measured:  # else the best is kept, not the last
        keep(averaged_generator(state, settings), state, grown, dataset, run)


def _as_grown(state: State, settings: Config) -> Config:
    """With what a growing generator has become by now."""
    if not settings.model.grows:
        return settings
    return replace(settings, model=replace(settings.model, growth=state.average.growth))


def _diverged(state: State, run: Path, loss_d: torch.Tensor, loss_g: torch.Tensor) -> None:
    raise DivergedError(
        f"{run}: training left the numbers after {state.images_seen:,} images (loss of D "
        f"{loss_d.item()}, of G {loss_g.item()}). The last checkpoint is good; lower the learning "
        "rates or choose --precision fp32."
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that a step ends before the run does; a second one kills."""
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
