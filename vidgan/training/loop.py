"""The training loop. One code path, by lightning-fabric, serves a CPU as well as many machines.

A step is a function of (seed, images seen, rank). So a run that is killed and resumed ends in
bitwise the same weights as one that is not, on the same machine.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from vidgan import config
from vidgan.disk import files
from vidgan.networks import augment, losses, pixels
from vidgan.quality import validation
from vidgan.quality.watch import Watch
from vidgan.training import report, run_folder
from vidgan.training.average import averaged_generator, make_samples, measure
from vidgan.training.batches import batches
from vidgan.training.log import Log, Progress
from vidgan.training.setup import build, launch, open_data, precision_for
from vidgan.training.state import Run, keep, restore, save
from vidgan.training.step import Outcome, Step

logger = logging.getLogger(__name__)
_LOG_EVERY_S = 1.0


def train(
    settings: config.Config,
    *,
    runs: Path,
    resume: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Train in a new folder under `runs`, or continue the run `resume`. Returns the run folder.

    Raises DataError, ModelError, SystemFault and DivergedError. After SIGINT or SIGTERM it saves
    the run and raises SystemExit with 130 or 143.
    """
    fabric = launch(settings)
    settings, dataset = open_data(settings)
    state, folder, model = build(settings, fabric), resume, settings.model
    if fabric.is_global_zero and not resume:
        folder = run_folder.new_run(runs, dataset, model)
    folder = fabric.broadcast(folder) if fabric.world_size > 1 else folder
    run = Run(settings, dataset, fabric, state, folder)
    with run_folder.locked(folder) if run.is_first else nullcontext(), _signals() as received:
        if resume:
            restore(run)
            if state.images_seen >= (goal := settings.train.images):
                logger.info(f"{folder} has already seen {goal:,} images; to train on, add --for.")
        if run.is_first:
            reals = run_folder.some_reals(dataset)
            run_folder.write_grid(folder / "reals.png", reals, synthetic=False)
            files.write_bytes(folder / "config.toml", config.to_toml(settings).encode())
        logger.info(
            f"{folder}: {model.name} {model.width}x{model.height}, {len(dataset):,} pictures of "
            f"{model.classes or 'no'} classes, {fabric.device.type} x {fabric.world_size}, "
            f"{precision_for(settings.train.precision)}"
        )
        _loop(run, received, progress)
    fabric.barrier()
    if received:
        logger.info(f"Stopped. To continue: vidgan train --resume {folder}")
        raise SystemExit(128 + received[0])
    return folder


def _loop(run: Run, received: list[int], progress: Callable[[Progress], None]) -> None:
    """Do step after step until the images, the time or a signal end the run. Then save it."""
    state, how, step = run.state, run.settings.train, Step(run)
    measuring = validation.open_validation(run.dataset, run.settings) if run.is_first else None
    measure_at = validation.next_at(state.images_seen, run.settings)
    samples_at = run_folder.next_samples(state.images_seen - 1, how.samples_every_images)
    every = how.checkpoint_every_images
    save_at = (state.images_seen // every + 1) * every
    started = logged = time.monotonic()
    logged_images, past_best, current = state.images_seen, False, None
    with closing(Log(run.folder, writes=run.is_first)) as log, closing(batches(run)) as stream:
        watch = Watch(run_folder.some_reals(run.dataset), log.flags)
        for batch in stream:
            if run.is_first and state.images_seen >= samples_at:
                watch.samples(make_samples(run), state.images_seen)
                report.write(run.folder, state.measured)
                samples_at = run_folder.next_samples(state.images_seen, how.samples_every_images)

            outcome = step(batch)

            if measuring and state.images_seen >= measure_at:
                measure(run, measuring)
                if past_best := validation.is_past_best(state.measured):
                    watch.past_best()
                measure_at = validation.next_at(state.images_seen, run.settings)

            now = time.monotonic()
            stop = bool(received) or 0 < how.duration_s < now - started
            stop |= past_best and how.stop_past_best
            stop = run.fabric.broadcast(stop) if run.fabric.world_size > 1 else stop
            if now - logged > _LOG_EVERY_S or state.images_seen >= how.images or stop:
                speed = (state.images_seen - logged_images) / max(now - logged, 1e-9)
                current = _progress(run, watch, outcome, speed, now - started)
                log.write(current)
                progress(current)
                logged, logged_images = now, state.images_seen
            if stop:
                break
            if state.images_seen >= save_at:
                if run.is_first:
                    _save(run)
                save_at = (state.images_seen // every + 1) * every

        if run.is_first:
            # A run that reaches its end is measured there. A run that is interrupted is only saved.
            measured = any(m.images_seen == state.images_seen for m in state.measured)
            if measuring and not measured and not received:
                measure(run, measuring)
            if past_best and how.stop_past_best:
                again = f"vidgan train --resume {run.folder} --no-stop"
                logger.info(f"Stopped, because the run is past its best. To train on: {again}")
            _save(run)
            watch.samples(make_samples(run), state.images_seen)
            if current and (flags := watch.take_flags()):
                log.write(replace(current, variety=watch.variety, flags=flags))
            run_folder.write_film(run.folder)
            report.write(run.folder, state.measured)


def _save(run: Run) -> None:
    save(run)
    if not run.state.measured:  # else the best generator is kept, not the last
        keep(run, averaged_generator(run))


def _progress(
    run: Run, watch: Watch, outcome: Outcome, images_per_s: float, elapsed_s: float
) -> Progress:
    """Let the watch look at a step, and sum it up for the log."""
    state, how = run.state, run.settings.train
    certainty = losses.LOSSES[how.loss].certainty(outcome.r, outcome.f)
    sure_real, sure_fake = (p.item() for p in certainty)
    gradient_g, gradient_d = outcome.gradient_g.item(), outcome.gradient_d.item()
    watch.certainty(sure_real, sure_fake, state.images_seen)
    watch.augmentation(state.ada[0].item() / augment.ADA_CAP, state.images_seen)
    if state.scaler is None:  # which scales the gradients of fp16
        watch.gradients(gradient_g, gradient_d)
    watch.fakes(pixels.to_frames(outcome.fake).cpu().numpy(), state.images_seen)
    last = state.measured[-1] if state.measured else None
    return Progress(
        images_seen=state.images_seen,
        images_per_s=images_per_s,
        loss_g=outcome.loss_g.item(),
        loss_d=outcome.loss_d.item(),
        sure_real=sure_real,
        sure_fake=sure_fake,
        gradient_g=gradient_g,
        gradient_d=gradient_d,
        variety=watch.variety,
        augment_p=state.ada[0].item(),
        batch_variety=watch.batch_variety,
        batch_nearest=watch.batch_nearest,
        distance=last.distance if last else 0.0,
        recall=last.recall if last else 0.0,
        elapsed_s=elapsed_s,
        flags=watch.take_flags(),
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the step ends before the run does. A second one kills."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
