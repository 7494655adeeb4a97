"""The run folder: its name, its lock, its states, its log, and the pictures of its progress.

One process at a time trains in a folder. Knows no network and no step.
"""

import json
import os
import re
import socket
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from vidgan import checkpoint, config
from vidgan.bundled import take_lock
from vidgan.config import Config, ModelConfig
from vidgan.data import Dataset, batch
from vidgan.errors import ModelError, SystemFault
from vidgan.render import tile
from vidgan.validation import Measured
from vidgan.video import VideoWriter, write_png

_COLUMNS = 8
PREVIEWS = 4 * _COLUMNS  # pictures in a grid
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of stats.jsonl, and what the progress bar shows."""

    images_seen: int
    images_per_s: float
    loss_g: float
    loss_d: float
    sure_real: float  # mean probability D gives reals; 0.5 = cannot tell
    sure_fake: float  # ... gives fakes
    gradient_g: float  # norm over all weights
    gradient_d: float
    variety: float  # of the previews: distance between two of them, that of two reals being 1
    augment_p: float  # of ADA: probability of each distortion
    batch_variety: float  # the same of the fakes of a step
    batch_nearest: float  # ... of each to the one most like it
    distance: float  # to the data, as last measured; 0 = never yet
    recall: float
    elapsed_s: float
    flags: tuple[str, ...] = ()  # troubles named for the first time


@dataclass
class State:
    """All that a step reads and changes."""

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    average: torch.nn.Module  # exponential moving average of the generator's weights
    adam_g: torch.optim.Optimizer
    adam_d: torch.optim.Optimizer
    images_seen: int = 0
    ada: torch.Tensor = field(default_factory=lambda: torch.zeros(3))  # p; signs since, of how many
    scaler: torch.amp.GradScaler | None = None  # of fp16
    measured: list[Measured] = field(default_factory=list)


def new_run(runs: Path, dataset: Dataset, model: ModelConfig) -> Path:
    """The next number; mkdir is exclusive, so that two runs started at once get two folders."""
    size = f"{model.width}" if model.width == model.height else f"{model.width}x{model.height}"
    name = f"{dataset.name}-{model.name}{size}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(m[1]) for p in runs.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
            run = runs / f"{max(taken, default=-1) + 1:05d}-{name}"
            try:
                run.mkdir()
            except FileExistsError:
                continue
            (run / "checkpoints").mkdir()
            return run
    except OSError as error:
        raise SystemFault(f"{runs}: no run folder can be made here ({error.strerror}).") from error


@contextmanager
def locked(run: Path, notice: Callable[[str], None]) -> Iterator[None]:
    """Hold the run: a file with process and host, which the system frees when the process ends.

    A lock that a killed process left on this host is taken over; one of another host cannot be
    judged from here. Raises SystemFault where somebody trains in the folder.
    """
    path, host = run / _LOCK, socket.gethostname()
    with path.open("a+", encoding="utf-8") as file:
        free = take_lock(file.fileno())
        file.seek(0)
        owner = file.read().split()  # process, host
        if not free or (len(owner) == 2 and owner[1] != host):
            raise SystemFault(
                f"{run}: process {' on '.join(owner) or 'unknown'} trains here. Stop it first; if "
                f"it is dead, delete {path}."
            )
        if owner:
            notice(f"{run}: process {owner[0]} was killed while it trained here.")
        file.truncate(0)
        file.write(f"{os.getpid()} {host}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def save(state: State, settings: Config, dataset: Dataset, run: Path) -> None:
    """The training state; the oldest go."""
    facts = _facts(state, dataset) | {"measured": [asdict(m) for m in state.measured]}
    meta = {"kind": "training state", "model": config.to_dict(settings.model), "facts": facts}
    folder = run / "checkpoints"
    tensors = dict(_named_tensors(state))
    checkpoint.write(folder / f"{state.images_seen:012d}.safetensors", tensors, meta)
    for old in sorted(folder.glob("*.safetensors"))[: -settings.train.keep_checkpoints]:
        old.unlink()


def keep(
    generator: torch.nn.Module, state: State, settings: Config, dataset: Dataset, run: Path
) -> None:
    """generator.safetensors; where it was measured, it is the best, and best.safetensors too."""
    facts, path = _facts(state, dataset), run / "generator.safetensors"
    if not state.measured:
        checkpoint.save_generator(path, generator, settings.model, facts=facts)
        return
    facts["measured"] = asdict(state.measured[-1])
    best = run / "best.safetensors"
    checkpoint.save_generator(best, generator, settings.model, facts=facts)
    checkpoint.write_bytes(path, best.read_bytes())  # a link is not to be had on every disk


def _facts(state: State, dataset: Dataset) -> dict[str, object]:
    return {
        "images_seen": state.images_seen,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
    }


def restore(state: State, run: Path, dataset: Dataset, notice: Callable[[str], None]) -> None:
    """Load the newest state of a run that is whole; a damaged one is named and passed over."""
    for path in sorted((run / "checkpoints").glob("*.safetensors"), reverse=True):
        try:
            tensors, meta = checkpoint.read(path, kind="training state")
            break
        except ModelError as error:
            notice(f"{error} Going back to the one before.")
    else:
        raise ModelError(
            f"{run}: it ended before its first checkpoint (train.checkpoint_every_images); start a "
            "new run."
        )
    facts = meta["facts"]
    if facts["data_fingerprint"] != dataset.fingerprint:
        raise ModelError(
            f"{run}: its data has changed since the checkpoint; restore it or start a new run."
        )
    for part in ("generator", "discriminator", "average"):
        checkpoint.load_into(path, getattr(state, part), _below(tensors, part))
    for part in ("adam_g", "adam_d"):
        _restore_adam(getattr(state, part), _below(tensors, part))
    state.images_seen, state.ada = facts["images_seen"], tensors.get("ada", state.ada)
    if state.scaler and (scaler := _below(tensors, "scaler")):
        state.scaler.load_state_dict({name: value.item() for name, value in scaler.items()})
    state.measured = [Measured(**m) for m in facts.get("measured", ())]
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


def _named_tensors(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    for part in ("generator", "discriminator", "average"):
        for name, tensor in getattr(state, part).state_dict().items():
            yield f"{part}/{name}", tensor
    for part in ("adam_g", "adam_d"):
        for index, moments in getattr(state, part).state_dict()["state"].items():
            for name, tensor in moments.items():
                yield f"{part}/{index}/{name}", tensor
    yield "ada", state.ada
    if state.scaler:
        for name, value in state.scaler.state_dict().items():
            yield f"scaler/{name}", torch.tensor(value)


class Log:
    """stats.jsonl, and TensorBoard events where the extra [track] is installed."""

    def __init__(self, run: Path, *, writes: bool) -> None:
        # What was named before the run was resumed.
        self.flags = {flag for row in logged(run) for flag in row.get("flags", ())}
        self._file = (run / "stats.jsonl").open("a", encoding="utf-8") if writes else None
        self._board = _tensorboard(run) if writes else None

    def write(self, now: Progress) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(asdict(now)) + "\n")
        self._file.flush()
        if self._board:
            for name, value in asdict(now).items():
                if isinstance(value, float) and name != "elapsed_s":
                    self._board.add_scalar(name, value, now.images_seen)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (self._file, self._board):
            if sink:
                sink.close()


def logged(run: Path) -> list[dict[str, typing.Any]]:
    """The lines of stats.jsonl."""
    rows, path = [], run / "stats.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):  # cut off when the run was killed
            rows.append(json.loads(line))
    return rows


def _tensorboard(run: Path) -> object | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run))


def next_preview(images_seen: int, every_images: int) -> int:
    """Every so many images; by default often at first, then ever rarer (a tenth of the way on)."""
    if every_images:
        return (images_seen // every_images + 1) * every_images
    return int(images_seen * 1.1) + 1000 if images_seen >= 0 else 0


def some_reals(dataset: Dataset) -> np.ndarray:
    """Pictures spread over the data, as many as a grid has places: uint8 [N, H, W, 3]."""
    spread = np.linspace(0, len(dataset.images) - 1, PREVIEWS).astype(int)
    return batch(dataset, spread).transpose(0, 2, 3, 1)  # [N, 3, H, W] -> [N, H, W, 3]


def write_reals(run: Path, reals: np.ndarray) -> None:
    write_png(run / "reals.png", tile(reals, _COLUMNS), synthetic=False)


def write_fakes(run: Path, fakes: np.ndarray, images_seen: int) -> None:
    write_png(run / f"fakes{images_seen:09d}.png", tile(fakes, _COLUMNS))


def write_film(run: Path) -> None:
    """preview.mp4: the same latents through training, eight grids a second, the last one held."""
    from PIL import Image

    grids = sorted(run.glob("fakes*.png"))
    with VideoWriter(run / "preview.mp4", fps=8, force=True) as video:
        for path in [*grids, *grids[-1:] * 8]:
            with Image.open(path) as image:
                video.write(np.asarray(image.convert("RGB")))
