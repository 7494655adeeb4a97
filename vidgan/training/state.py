"""All that a training step reads and changes, and its checkpoints."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from vidgan import config
from vidgan.config import Config
from vidgan.data.cache import Dataset
from vidgan.disk import files
from vidgan.errors import ModelError
from vidgan.generator import checkpoint
from vidgan.quality.validation import Measured

logger = logging.getLogger(__name__)


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
    files.write_bytes(path, best.read_bytes())  # a link is not to be had on every disk


def _facts(state: State, dataset: Dataset) -> dict[str, object]:
    return {
        "images_seen": state.images_seen,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
    }


def restore(state: State, run: Path, dataset: Dataset) -> None:
    """Load the newest state of a run that is whole; a damaged one is named and passed over."""
    for path in sorted((run / "checkpoints").glob("*.safetensors"), reverse=True):
        try:
            tensors, meta = checkpoint.read(path, kind="training state")
            break
        except ModelError as error:
            logger.warning(f"{error} Going back to the one before.")
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
    logger.info(f"resumed from {path} at {state.images_seen:,} images")


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
