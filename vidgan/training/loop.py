"""The training loop. One code path, by lightning-fabric, serves a CPU as well as many machines.

A step is a function of (seed, images seen, rank). So a run that is killed and resumed ends in
bitwise the same weights as one that is not, on the same machine.
"""

import logging
import math
import os
import shlex
import sys
import time
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch

from vidgan import config, signals
from vidgan.data import cache
from vidgan.disk import files
from vidgan.generator import classes
from vidgan.networks import augment, losses, pixels
from vidgan.networks.device import precision_for
from vidgan.quality import validation
from vidgan.quality.watch import Watch
from vidgan.training import codes, report, run_folder, start, words
from vidgan.training.average import averaged_generator, make_samples, measure, save_run
from vidgan.training.batches import batches
from vidgan.training.faults import explained
from vidgan.training.forecast import forecast
from vidgan.training.log import Log, Progress, Show, note_command
from vidgan.training.setup import build, codes_of, launch, open_data
from vidgan.training.state import Run, keep, restore
from vidgan.training.steering import Steering
from vidgan.training.step import Outcome, Step

logger = logging.getLogger(__name__)
_LOG_EVERY_S, _FORECAST_AFTER_S, _FIRST_S = 1.0, 15.0, 60.0
_ASK_EVERY_S = 0.5  # whether another process stops
_FEW, _SOME = 10, 300  # pictures; train/README.md shows what a run makes of 300
_FINISHING = "Stopping: this step ends and the run is saved. A second signal leaves at once."


def train(
    settings: config.Config,
    *,
    runs: Path,
    resume: Path | None = None,
    more_s: float = 0.0,
    any_data: bool = False,
    device: str = "auto",
    show: Show | None = None,
) -> Path:
    """Train in a new folder under `runs`, or continue the run `resume`. Returns the run folder.

    any_data   whether a resumed run may go on with other pictures than before
    device     auto, cpu, cuda or mps: see `networks.device`
    more_s     how long a resumed run goes on; 0 = until the images and the duration of the settings
    show       what is told how far the run is

    Raises DataError, ModelError, SystemFault and DivergedError. After SIGINT, SIGTERM or SIGHUP it
    saves the run and raises SystemExit with 130, 143 or 129.
    """
    fabric, show = launch(settings, device), show or Show()
    on_gpu = fabric.device.type != "cpu"
    folder, dataset = resume, None
    try:
        # The first process on a machine decodes, and shows how far it is; the others wait for it.
        with fabric.rank_zero_first(local=True) if fabric.world_size > 1 else nullcontext():
            settings, dataset = open_data(
                settings, of_run=resume, on_gpu=on_gpu, progress=show.decoding
            )
        state, model = build(settings, fabric, dataset), settings.model
        if settings.train.start and not resume:
            start.begin(state, settings.train.start, dataset)
        if fabric.is_global_zero and not resume:
            folder = run_folder.new_run(runs, dataset, model)
        folder = fabric.broadcast(folder) if fabric.world_size > 1 else folder
        run = Run(settings, dataset, fabric, state, folder)
        heard = signals.caught(lambda _: _finish(run))
        with run_folder.locked(folder) if run.is_first else nullcontext(), heard as received:
            if resume:
                restore(run, any_data=any_data)
                if more_s:
                    how = replace(
                        settings.train, images=words.ENDLESS, duration_s=state.trained_s + more_s
                    )
                    run = replace(run, settings=replace(settings, train=how))
                logger.info(words.goal(run))
            if run.is_first:
                reals = run_folder.some_reals(dataset)
                run_folder.write_grid(folder / "reals.png", reals, synthetic=False)
                if not resume:
                    files.write_bytes(folder / "config.toml", config.to_toml(settings).encode())
                if _share(run) < 1:
                    note_command(folder, _command(), run.settings, state.images_seen)
                show.begins(folder)
            logger.info(
                f"{folder}: {model.name} {model.width}x{model.height}, {len(dataset):,} "
                f"{'grey ' * (model.colours == 1)}picture{'s' * (len(dataset) != 1)}"
                f"{' with alpha' * (model.colours == 4)}, {fabric.device.type} x "
                f"{fabric.world_size}, {precision_for(settings.train.precision, fabric.device)}"
            )
            if not dataset.whole and not resume:
                _warn_of_few(run)
            if model.classes:
                logger.info(
                    f"classes: {classes.listed(model.class_names)}; samples show each in turn"
                )
            with closing(Steering(run, received)) as steering:
                if dataset.whole:
                    run = _first_part(run, steering, received, show)
                if not received and not run.dataset.whole:
                    _loop(run, steering, received, show)
        fabric.barrier()
        if received:
            logger.info(f"Stopped. {words.how_to_continue(folder)}")
            if received[0]:
                raise SystemExit(128 + received[0])
    except (MemoryError, RuntimeError) as error:
        if fault := explained(error, settings, fabric, folder):
            if fabric.world_size > 1:  # their launcher now stops those that are left
                signals.ignore()
            raise fault from error
        raise
    finally:
        if dataset and dataset.whole:
            dataset.whole.stop()
    return folder


def _first_part(run: Run, steering: Steering, received: list[int], show: Show) -> Run:
    """Train while the film is still being decoded. Returns the run with all of its pictures."""
    threads = torch.get_num_threads()
    # Threads of one operation wait for each other, so none of them may lack a core.
    torch.set_num_threads(max(1, threads // 2))
    _loop(run, steering, received, show)
    torch.set_num_threads(threads)
    if received or _share(run) == 1:
        return run
    run = replace(run, dataset=run.dataset.whole.get())
    logger.info(f"decoded; training goes on with all {len(run.dataset):,} pictures")
    _warn_of_few(run)
    if run.state.codes is not None:  # the first pictures may differ in fewer ways than all
        state = run.state
        state.codes = codes_of(run.dataset, run.settings, run.fabric)
        codes.tell(run.dataset, state.codes, state.generator, state.average)
    return run


def _warn_of_few(run: Run) -> None:
    source, count = run.settings.data.source, len(run.dataset)
    if (few := cache.different(run.dataset)) < _FEW:
        logger.warning(
            f"{source}: only {few} different picture{'s' * (few != 1)}, "
            "which a generator learns by heart; give it some hundreds."
        )
    elif count < _SOME:
        flip = "" if run.settings.train.flip else ", or --flip if mirror images are right"
        logger.warning(
            f"{source}: {count} pictures are few; expect variations of them with coarse shapes. "
            f"What helps: some hundreds of pictures, several crops of each, a film{flip}."
        )


def _command() -> str:
    """What was typed."""
    name = Path(sys.argv[0]).name
    return shlex.join(["vidgan" if name == "__main__.py" else name, *sys.argv[1:]])


def _share(run: Run) -> float:
    """How much of the run is done, from 0 to 1."""
    how, state = run.settings.train, run.state
    by_time = state.trained_s / how.duration_s if how.duration_s else 0.0
    return min(1.0, max(state.images_seen / how.images, by_time))


def _loop(run: Run, steering: Steering, received: list[int], show: Show) -> None:
    """Do step after step until the images, the time or a signal end the run. Then save it."""
    state, how, step = run.state, run.settings.train, Step(run)
    measuring, whole = None, run.dataset.whole
    if run.is_first and not whole:
        measuring = validation.open_validation(run.dataset, run.settings)
    measure_at = validation.next_at(state.images_seen, run.settings)
    samples_at = run_folder.next_samples(state.images_seen - 1, how.samples_every_images)
    every = how.checkpoint_every_images
    save_at = (state.images_seen // every + 1) * every
    logged = time.monotonic()
    started = logged - state.trained_s
    logged_images, past_best, current = state.images_seen, False, None
    began, first, foretold, ask_in = 0.0, 0, False, 0
    with closing(Log(run.folder, writes=run.is_first)) as log, closing(batches(run)) as stream:
        steering.follow(run, log)
        of_class = run_folder.reals_of_classes(run.dataset, run.settings.model)
        watch = Watch(run_folder.some_reals(run.dataset), log.flags, log.varieties, of_class)
        for batch in stream if _share(run) < 1 else ():
            if run.is_first and state.images_seen >= samples_at:
                watch.samples(*make_samples(run, of_class), state.images_seen)
                report.write(run.folder, state.measured, whole and whole.progress)
                samples_at = run_folder.next_samples(state.images_seen, how.samples_every_images)

            outcome = step(batch)
            paused = steering.listen()

            if measuring and state.images_seen >= measure_at:
                measure(run, measuring)
                if past_best := validation.is_past_best(state.measured):
                    watch.past_best()
                measure_at = validation.next_at(state.images_seen, run.settings)

            now = time.monotonic()
            step_s, state.trained_s = now - started - state.trained_s, now - started
            # The speed is measured after the first step, which takes longer, as samples do.
            began, first = (began, first) if began else (now, state.images_seen)
            stop = bool(received) or 0 < how.duration_s < state.trained_s
            stop |= past_best and how.stop_past_best
            stop |= whole is not None and whole.is_there()
            stop, ask_in = _agreed(run, stop, received, step_s, ask_in - 1)
            ends = stop or state.images_seen >= how.images
            if now - logged > _LOG_EVERY_S or ends or paused:
                speed = (state.images_seen - logged_images) / max(now - logged, 1e-9)
                current = _progress(run, watch, outcome, speed)
                if not ends:  # the last line waits for what is measured at the end
                    log.write(current)
                if run.is_first:
                    show.training(current, _share(run))
                logged, logged_images = now, state.images_seen
            if stop:
                if whole and _share(run) < 1 and not received:  # it may pause between its parts
                    log.write(current)
                    steering.hold(batch, outcome)
                break
            if run.is_first:
                _keep_first(run)
                if not foretold and now - began > _FORECAST_AFTER_S:
                    speed, foretold = (state.images_seen - first) / (now - began), True
                    logger.info(forecast(run.settings, state.images_seen, state.trained_s, speed))
            if state.images_seen >= save_at:
                if run.is_first:
                    save_run(run)
                save_at = (state.images_seen // every + 1) * every
            held = steering.hold(batch, outcome)  # s
            started, logged, began = (moment + held for moment in (started, logged, began))

        if whole and _share(run) < 1 and not received:
            save_run(run)
        elif run.is_first:
            # A run that reaches its end is measured there. A run that is interrupted is only saved.
            measured = any(m.images_seen == state.images_seen for m in state.measured)
            if measuring and not measured and not received:
                measure(run, measuring)
            if past_best and how.stop_past_best:
                again = f"vidgan train --resume {run.folder} --no-stop"
                logger.info(f"Stopped, because the run is past its best. To train on: {again}")
            save_run(run)
            watch.samples(*make_samples(run, of_class), state.images_seen)
            _log_end(run, watch, log, current)
            run_folder.write_film(run.folder)
            report.write(run.folder, state.measured)
            logger.info(words.kept(run))
            logger.info(words.how_to_look(run.folder))


def _log_end(run: Run, watch: Watch, log: Log, current: Progress | None) -> None:
    """Write the last line, with what was measured after the last step. `current` is that of the
    step; a run resumed at its end has made none, and takes up the last line it finds."""
    last = current or log.last
    if last and last.images_seen == run.state.images_seen:
        flags = last.flags + watch.take_flags()
        now = replace(last, **_measured(run, watch), flags=flags)
        if now != log.last:
            log.write(now)


def _agreed(
    run: Run, stop: bool, received: list[int], step_s: float, ask_in: int
) -> tuple[bool, int]:
    """Whether any of the processes stops, and in how many steps to ask them again.

    Asking takes time, so it is not done at every step. All ask at the same one, and at the last. A
    signal that one has received is a signal to all.
    """
    if run.fabric.world_size == 1:
        return stop, 0
    if ask_in > 0 and run.state.images_seen < run.settings.train.images:
        return False, ask_in
    said = torch.tensor([stop, received[0] if received else 0, step_s])
    stop, number, step_s = run.fabric.all_reduce(said, reduce_op="max").tolist()
    if number and not received:
        received.append(int(number))
    return bool(stop), max(1, int(_ASK_EVERY_S / max(step_s, 1e-4)))


def _keep_first(run: Run) -> None:
    """Keep a generator after a minute, so that there is one to render before the first distance."""
    file = run.folder / "generator.safetensors"
    if run.state.trained_s > _FIRST_S and not run.state.measured and not file.exists():
        keep(run, averaged_generator(run))
        logger.info(f"{run.folder}: kept its first generator. {words.how_to_look(run.folder)}")


def _progress(run: Run, watch: Watch, outcome: Outcome, images_per_s: float) -> Progress:
    """Let the watch look at a step, and sum it up for the log."""
    state, how = run.state, run.settings.train
    certainty = losses.LOSSES[how.loss].certainty(outcome.r, outcome.f)
    sure_real, sure_fake = (p.item() for p in certainty)
    gradient_g, gradient_d = outcome.gradient_g.item(), outcome.gradient_d.item()
    watch.certainty(sure_real, sure_fake, state.images_seen)
    watch.augmentation(state.ada[0].item() / augment.ADA_CAP, state.images_seen)
    if math.isfinite(gradient_g + gradient_d):  # else the scaler of fp16 has skipped this step
        watch.gradients(gradient_g, gradient_d)
    watch.fakes(pixels.to_frames(outcome.fake).cpu().numpy(), state.images_seen)
    return Progress(
        images_seen=state.images_seen,
        images_per_s=images_per_s,
        loss_g=outcome.loss_g.item(),
        loss_d=outcome.loss_d.item(),
        sure_real=sure_real,
        sure_fake=sure_fake,
        gradient_g=gradient_g,
        gradient_d=gradient_d,
        augment_p=state.ada[0].item(),
        batch_variety=watch.batch_variety,
        batch_nearest=watch.batch_nearest,
        elapsed_s=state.trained_s,
        flags=watch.take_flags(),
        **_measured(run, watch),
    )


def _measured(run: Run, watch: Watch) -> dict[str, float | None]:
    """The numbers of the log that are not of a step."""
    last = run.state.measured[-1] if run.state.measured else None
    of_data = {"distance": last and last.distance, "recall": last and last.recall}
    return of_data | watch.take_varieties()


def _finish(run: Run) -> None:
    """Say that the first signal was heard. The step ends, and the run is saved."""
    if run.fabric.world_size > 1:
        # Their launcher sends on what the terminal has already sent to all of them. That is no
        # second one; and it kills those that do not end in half a minute.
        signals.ignore()
    if run.is_first:
        with suppress(OSError):  # the terminal may be gone
            line = f"{_FINISHING} {words.how_to_continue(run.folder)}\n"
            os.write(2, b"\n" * os.isatty(2) + os.fsencode(line))  # below a progress bar
