"""The training loop: read it from top to bottom.

Progress is counted in images. Data order, latents and flips of a step are functions of (seed,
images seen, rank), so a run that was killed and resumed on the same machine ends in bitwise the
weights of one that was not. One path from a single CPU to many nodes under torchrun, by
lightning-fabric.

    B batch   H W pixels   r, f logits of D on reals and fakes
"""

import copy
import json
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from vidgan import augment, checkpoint, config, data, dcgan, latents, losses
from vidgan.config import Config
from vidgan.errors import DivergedError, ModelError, SystemFault, UsageError
from vidgan.render import tile
from vidgan.video import VideoWriter, write_png

_PREVIEW_COLUMNS, _PREVIEW_ROWS = 8, 4
_CALIBRATION_BATCHES = 16
_REPORT_EVERY_S = 1.0


@dataclass(frozen=True)
class Progress:
    """One line of stats.jsonl, and what the progress bar shows."""

    images_seen: int
    images_per_s: float
    loss_g: float
    loss_d: float
    sure_real: float  # mean probability D gives reals; 0.5 = cannot tell
    sure_fake: float  # ... gives fakes
    elapsed_s: float


@dataclass
class _State:
    """All that a step reads and changes."""

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    average: torch.nn.Module  # exponential moving average of the generator's weights
    adam_g: torch.optim.Optimizer
    adam_d: torch.optim.Optimizer
    images_seen: int = 0


def train(
    settings: Config,
    *,
    runs: Path,
    resume: Path | None = None,
    notice: Callable[[str], None] = lambda line: None,
    progress: Callable[[Progress], None] = lambda now: None,
) -> Path:
    """Train into a new folder under `runs`, or go on in the run `resume`. Returns the run folder.

    Raises DataError, ModelError, SystemFault, DivergedError, and KeyboardInterrupt or SystemExit
    (143) when a signal came, after the state was saved.
    """
    fabric = _launch(settings)
    settings, dataset = _open_data(settings, notice)
    state = _build(settings, fabric)
    run = _open_run(settings, dataset, runs, resume, fabric)
    if resume:
        _restore(state, run, dataset, notice)
    generator, adam_g = fabric.setup(state.generator, state.adam_g)
    discriminator, adam_d = fabric.setup(state.discriminator, state.adam_d)
    world, rank = fabric.world_size, fabric.global_rank
    batch_size = settings.train.batch_size // world
    notice(
        f"{run}: {settings.model.name} {settings.model.width}x{settings.model.height}, "
        f"{len(dataset.images):,} pictures, {fabric.device.type} x {world}, "
        f"{precision_for(settings.train.precision)}"
    )

    distort = _distortion(settings, len(dataset.images))
    started, reported, shown = time.monotonic(), time.monotonic(), state.images_seen
    next_preview = _next_preview(settings, state.images_seen - 1)
    every = settings.train.checkpoint_every_images
    next_checkpoint = (state.images_seen // every + 1) * every
    with _signals() as signalled, _Log(run, fabric.is_global_zero) as log:
        while state.images_seen < settings.train.images:
            if fabric.is_global_zero and state.images_seen >= next_preview:
                _preview(state, settings, run)
                next_preview = _next_preview(settings, state.images_seen)

            # Every rank takes its own part of the one global batch.
            first = state.images_seen + rank * batch_size
            real = _reals(dataset, settings, first, batch_size, fabric.device)  # [B, 3, H, W]
            z = _training_latents(settings, first, batch_size, fabric.device)  # [B, Z]

            # D learns to tell reals from the fakes of a G that stands still, and sees both through
            # the same distortions.
            fake = generator(z)  # [B, 3, H, W]
            real, fake = distort(real, first, 0), distort(fake, first, 1)
            r, f = discriminator(real), discriminator(fake.detach())
            loss_d = losses.discriminator_loss(r.float(), f.float())
            adam_d.zero_grad()
            fabric.backward(loss_d)

            # G learns from a D that stands still; D's own gradients would be thrown away.
            state.discriminator.requires_grad_(False)
            with fabric.no_backward_sync(discriminator, enabled=world > 1):
                loss_g = losses.generator_loss(discriminator(fake).float())
            state.discriminator.requires_grad_(True)
            adam_g.zero_grad()
            fabric.backward(loss_g)

            # No update with a number that is none: the last good weights stay.
            if not torch.isfinite(loss_d + loss_g):
                _diverged(state, run, loss_d, loss_g)
            adam_d.step()
            adam_g.step()
            state.images_seen += batch_size * world
            _update_average(state, settings, batch_size * world)

            now = time.monotonic()
            out_of_time = 0 < settings.train.duration_s < now - started
            stop = (
                fabric.broadcast(bool(signalled) or out_of_time)
                if world > 1
                else (bool(signalled) or out_of_time)
            )
            if now - reported > _REPORT_EVERY_S or state.images_seen >= settings.train.images:
                current = Progress(
                    images_seen=state.images_seen,
                    images_per_s=(state.images_seen - shown) / max(now - reported, 1e-9),
                    loss_g=loss_g.item(),
                    loss_d=loss_d.item(),
                    sure_real=r.detach().float().sigmoid().mean().item(),
                    sure_fake=f.detach().float().sigmoid().mean().item(),
                    elapsed_s=now - started,
                )
                log.write(current)
                progress(current)
                reported, shown = now, state.images_seen
            if state.images_seen >= next_checkpoint or stop:
                if fabric.is_global_zero:
                    _save(state, settings, dataset, run)
                next_checkpoint = (state.images_seen // every + 1) * every
            if stop:
                break
    if fabric.is_global_zero:
        _save(state, settings, dataset, run)
        _preview(state, settings, run)
        _film(run)
    fabric.barrier()
    if signalled:
        notice(f"stopped; go on with: vidgan train --resume {run}")
        raise SystemExit(128 + signalled[0])
    return run


def _launch(settings: Config) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what we tell better
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.train.batch_size % world:
        raise UsageError(f"--batch-size {settings.train.batch_size}: a multiple of {world} ranks.")
    kinds = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=world // local,
        # BatchNorm's buffers are made anew before a generator is kept; sent in place between two
        # forward passes they would break the backward pass of the first.
        strategy=DDPStrategy(broadcast_buffers=False) if world > 1 else "auto",
        precision=kinds[precision_for(settings.train.precision)],
    )
    fabric.launch()
    if settings.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric


def precision_for(wanted: str) -> str:
    """bf16 where the device has instructions for it, float32 elsewhere."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _open_data(settings: Config, notice: Callable[[str], None]) -> tuple[Config, data.Dataset]:
    model = settings.model
    if not model.width:
        width, height = data.native_size(settings.data)
        model = replace(model, width=width, height=height)
    dataset = data.open_dataset(
        settings.data, width=model.width, height=model.height, notice=notice
    )
    return replace(settings, model=model), dataset


def _build(settings: Config, fabric: Fabric) -> _State:
    torch.manual_seed(settings.train.seed)
    with fabric.init_module():
        generator = dcgan.Generator(settings.model)
        discriminator = dcgan.Discriminator(settings.model)
    generator.to(memory_format=torch.channels_last)
    discriminator.to(memory_format=torch.channels_last)
    average = copy.deepcopy(generator).requires_grad_(False)
    rates = settings.train
    betas = (rates.beta1, rates.beta2)
    return _State(
        generator=generator,
        discriminator=discriminator,
        average=average.to(fabric.device),
        adam_g=torch.optim.Adam(generator.parameters(), rates.learning_rate_g, betas),
        adam_d=torch.optim.Adam(discriminator.parameters(), rates.learning_rate_d, betas),
    )


def _reals(
    dataset: data.Dataset, settings: Config, first: int, count: int, device: torch.device
) -> torch.Tensor:
    """Training pictures first, first + 1, ... of the run, float32 [B, 3, H, W] in [-1, 1]."""
    indices = data.order(
        seed=settings.train.seed,
        images_seen=first,
        count=count,
        dataset_size=len(dataset.images),
    )
    frames = torch.from_numpy(data.batch(dataset, indices)).to(device, non_blocking=True)
    image = dcgan.to_float(frames)
    if settings.train.flip:
        coin = latents.bits(settings.train.seed, _numbers(first, count)) & 1
        mirrored = torch.from_numpy(coin.astype(bool)).to(device)
        image = torch.where(mirrored[:, None, None, None], image.flip(3), image)
    return image.contiguous(memory_format=torch.channels_last)


def _training_latents(
    settings: Config, first: int, count: int, device: torch.device
) -> torch.Tensor:
    z = latents.gaussian(settings.train.seed, _numbers(first, count), z_dim=settings.model.z_dim)
    return torch.from_numpy(z).to(device, non_blocking=True)


def _distortion(
    settings: Config, pictures: int
) -> Callable[[torch.Tensor, int, int], torch.Tensor]:
    """Takes pictures, the number of the first, and which of the step's draws to use."""
    if not augment.is_on(settings.train.augment, pictures * (1 + settings.train.flip)):
        return lambda image, first, stream: image

    def distort(image: torch.Tensor, first: int, stream: int) -> torch.Tensor:
        draws = augment.draw(settings.train.seed, first, len(image), stream).to(image.device)
        distorted = augment.diff_augment(image.float(), draws)
        return distorted.contiguous(memory_format=torch.channels_last)

    return distort


def _numbers(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count) % 2**32


@torch.no_grad()
def _update_average(state: _State, settings: Config, images: int) -> None:
    """Half of the average is younger than the half-life, which grows with the run at first."""
    halflife = min(settings.train.ema_halflife_images, 0.05 * state.images_seen)
    keep = 0.5 ** (images / halflife) if halflife > 0 else 0.0
    torch._foreach_lerp_(
        list(state.average.parameters()), list(state.generator.parameters()), 1 - keep
    )


@torch.no_grad()
def averaged_generator(state: _State, settings: Config) -> torch.nn.Module:
    """The averaged weights with BatchNorm statistics of their own, in eval mode, on the CPU.

    Statistics gathered while the fast weights trained do not fit the averaged ones, so they are
    measured anew over fixed latents, as a plain mean over batches.
    """
    generator = copy.deepcopy(state.average).train()
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative mean
    device = next(generator.parameters()).device
    for batch in range(_CALIBRATION_BATCHES):
        generator(_training_latents(settings, batch * 64, 64, device))
    return generator.eval().cpu()


def _open_run(
    settings: Config, dataset: data.Dataset, runs: Path, resume: Path | None, fabric: Fabric
) -> Path:
    run = resume
    if fabric.is_global_zero:
        run = resume or _new_run(runs, f"{dataset.name}-{_model_name(settings)}")
        if not resume:
            (run / "checkpoints").mkdir()
            write_png(run / "reals.png", tile(_first_reals(dataset), _PREVIEW_COLUMNS))
        checkpoint.write_bytes(run / "config.toml", config.to_toml(settings).encode())
    return fabric.broadcast(run) if fabric.world_size > 1 else run


def _model_name(settings: Config) -> str:
    model = settings.model
    size = f"{model.width}" if model.width == model.height else f"{model.width}x{model.height}"
    return f"{model.name}{size}"


def _new_run(runs: Path, name: str) -> Path:
    """The next number; mkdir is exclusive, so that two runs started at once get two folders."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(m[1]) for p in runs.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
            run = runs / f"{max(taken, default=-1) + 1:05d}-{name}"
            try:
                run.mkdir()
            except FileExistsError:
                continue
            return run
    except OSError as error:
        raise SystemFault(f"{runs}: no run folder can be made here ({error.strerror}).") from error


def _first_reals(dataset: data.Dataset) -> np.ndarray:
    spread = np.linspace(0, len(dataset.images) - 1, _PREVIEW_COLUMNS * _PREVIEW_ROWS).astype(int)
    return data.batch(dataset, spread).transpose(0, 2, 3, 1)  # [N, 3, H, W] -> [N, H, W, 3]


def _next_preview(settings: Config, images_seen: int) -> int:
    """Every so many images; by default often at first, then ever rarer (a tenth of the way on)."""
    every = settings.train.preview_every_images
    if every:
        return (images_seen // every + 1) * every
    return int(images_seen * 1.1) + 1000 if images_seen >= 0 else 0


def _preview(state: _State, settings: Config, run: Path) -> None:
    generator = averaged_generator(state, settings)
    count = _PREVIEW_COLUMNS * _PREVIEW_ROWS
    with torch.no_grad():
        z = _training_latents(settings, 0, count, torch.device("cpu"))
        frames = dcgan.to_frames(generator(z)).numpy()
    target = run / f"fakes{state.images_seen:09d}.png"
    write_png(target, tile(frames, _PREVIEW_COLUMNS))


def _film(run: Path) -> None:
    """preview.mp4: the same latents through training, eight grids a second, the last one held."""
    from PIL import Image

    grids = sorted(run.glob("fakes*.png"))
    with VideoWriter(run / "preview.mp4", fps=8, force=True) as video:
        for path in [*grids, *grids[-1:] * 8]:
            with Image.open(path) as image:
                video.write(np.asarray(image.convert("RGB")))


def _save(state: _State, settings: Config, dataset: data.Dataset, run: Path) -> None:
    """The training state, and the generator as it stands; the oldest states go."""
    facts = {
        "images_seen": state.images_seen,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
    }
    tensors = dict(_named_tensors(state))
    meta = {"kind": "training state", "model": config.to_dict(settings.model), "facts": facts}
    folder = run / "checkpoints"
    checkpoint.write(folder / f"{state.images_seen:012d}.safetensors", tensors, meta)
    checkpoint.save_generator(
        run / "generator.safetensors",
        averaged_generator(state, settings),
        settings.model,
        facts=facts,
    )
    for old in sorted(folder.glob("*.safetensors"))[: -settings.train.keep_checkpoints]:
        old.unlink()


def _named_tensors(state: _State) -> Iterator[tuple[str, torch.Tensor]]:
    for part in ("generator", "discriminator", "average"):
        for name, tensor in getattr(state, part).state_dict().items():
            yield f"{part}/{name}", tensor
    for part in ("adam_g", "adam_d"):
        for index, moments in getattr(state, part).state_dict()["state"].items():
            for name, tensor in moments.items():
                yield f"{part}/{index}/{name}", tensor


def _restore(
    state: _State, run: Path, dataset: data.Dataset, notice: Callable[[str], None]
) -> None:
    """Load the newest state of a run that is whole; a damaged one is named and passed over."""
    for path in sorted((run / "checkpoints").glob("*.safetensors"), reverse=True):
        try:
            tensors, meta = checkpoint.read(path, kind="training state")
            break
        except ModelError as error:
            notice(f"{error} Going back to the one before.")
    else:
        raise ModelError(f"{run}: no checkpoint to resume from; start a new run.")
    facts = meta["facts"]
    if facts["data_fingerprint"] != dataset.fingerprint:
        raise ModelError(
            f"{run}: its data has changed since the checkpoint; restore it or start a new run."
        )
    for part in ("generator", "discriminator", "average"):
        checkpoint.load_into(path, getattr(state, part), _below(tensors, part))
    for part in ("adam_g", "adam_d"):
        _restore_adam(getattr(state, part), _below(tensors, part))
    state.images_seen = facts["images_seen"]
    notice(f"resumed from {path} at {state.images_seen:,} images")


def _below(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(f"{part}/"): t for k, t in tensors.items() if k.startswith(f"{part}/")}


def _restore_adam(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _diverged(state: _State, run: Path, loss_d: torch.Tensor, loss_g: torch.Tensor) -> None:
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


class _Log:
    """stats.jsonl, and TensorBoard events where the extra [track] is installed."""

    def __init__(self, run: Path, writes: bool) -> None:
        self._file = (run / "stats.jsonl").open("a", encoding="utf-8") if writes else None
        self._board = _tensorboard(run) if writes else None

    def write(self, now: Progress) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(now.__dict__) + "\n")
        self._file.flush()
        if self._board:
            for name in ("loss_g", "loss_d", "sure_real", "sure_fake", "images_per_s"):
                self._board.add_scalar(name, getattr(now, name), now.images_seen)

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (self._file, self._board):
            if sink:
                sink.close()


def _tensorboard(run: Path) -> object | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run))
