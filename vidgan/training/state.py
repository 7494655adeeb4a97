"""A training run in one process, the state that its steps change, and its checkpoints."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from vidgan.config import Config, ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk import files
from vidgan.errors import ModelError
from vidgan.generator import checkpoint
from vidgan.networks.base import Discriminator, Generator
from vidgan.quality.validation import Measured

logger = logging.getLogger(__name__)
_NETWORKS, _OPTIMIZERS = ("generator", "discriminator", "average"), ("adam_g", "adam_d")


@dataclass
class State:
    """All that a step changes."""

    generator: Generator
    discriminator: Discriminator
    average: Generator  # exponential moving average of the generator's weights
    adam_g: torch.optim.Optimizer
    adam_d: torch.optim.Optimizer
    images_seen: int = 0
    ada: torch.Tensor = field(default_factory=lambda: torch.zeros(3))  # p; then signs, their number
    scaler: torch.amp.GradScaler | None = None  # for fp16
    measured: list[Measured] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A training run as one process sees it."""

    settings: Config
    dataset: Dataset
    fabric: Fabric
    state: State
    folder: Path

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.fabric.is_global_zero

    @property
    def model(self) -> ModelConfig:
        """The model as it is now: a growing generator changes."""
        return replace(self.settings.model, growth=self.state.average.growth)


def save(run: Run) -> None:
    """Write a checkpoint, and delete the oldest ones."""
    facts = _facts(run) | {"measured": [asdict(m) for m in run.state.measured]}
    meta = {"kind": "training state", "model": asdict(run.model), "facts": facts}
    folder = run.folder / "checkpoints"
    tensors = dict(_named_tensors(run.state))
    checkpoint.write(folder / f"{run.state.images_seen:012d}.safetensors", tensors, meta)
    for old in sorted(folder.glob("*.safetensors"))[: -run.settings.train.keep_checkpoints]:
        old.unlink()


def keep(run: Run, generator: torch.nn.Module) -> None:
    """Write generator.safetensors. If it was measured, it is the best: also best.safetensors."""
    facts, path = _facts(run), run.folder / "generator.safetensors"
    if not run.state.measured:
        checkpoint.save_generator(path, generator, run.model, facts=facts)
        return
    facts["measured"] = asdict(run.state.measured[-1])
    best = run.folder / "best.safetensors"
    checkpoint.save_generator(best, generator, run.model, facts=facts)
    files.write_bytes(path, best.read_bytes())  # a copy, because not every disk has links


def _facts(run: Run) -> dict[str, object]:
    return {
        "images_seen": run.state.images_seen,
        "data": run.dataset.name,
        "data_fingerprint": run.dataset.fingerprint,
    }


def restore(run: Run) -> None:
    """Load the newest checkpoint. If it is damaged, say so and load the one before."""
    for path in sorted((run.folder / "checkpoints").glob("*.safetensors"), reverse=True):
        try:
            tensors, meta = checkpoint.read(path, kind="training state")
            break
        except ModelError as error:
            logger.warning(f"{error} Trying the checkpoint before it.")
    else:
        raise ModelError(f"{run.folder}: there is no good checkpoint in it; start a new run.")
    facts, state = meta["facts"], run.state
    if facts["data_fingerprint"] != run.dataset.fingerprint:
        raise ModelError(f"{run.folder}: its data has changed; restore it, or start a new run.")
    for part in _NETWORKS:
        network, frozen = getattr(state, part), _frozen(state, part)
        own = {name: tensor for name, tensor in network.state_dict().items() if name in frozen}
        checkpoint.load_into(path, network, own | _below(tensors, part))
    for part in _OPTIMIZERS:
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


def _frozen(state: State, part: str) -> set[str]:
    """Names of the parameters of a network that do not train, and of the buffers beside them."""
    network = state.discriminator if part == "discriminator" else state.generator
    names = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    for prefix, module in network.named_modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            names |= {f"{prefix}.{name}" for name in module.state_dict()}
    return names


def _named_tensors(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    for part in _NETWORKS:
        frozen = _frozen(state, part)
        for name, tensor in getattr(state, part).state_dict().items():
            if name not in frozen:
                yield f"{part}/{name}", tensor
    for part in _OPTIMIZERS:
        for index, moments in getattr(state, part).state_dict()["state"].items():
            for name, tensor in moments.items():
                yield f"{part}/{index}/{name}", tensor
    yield "ada", state.ada
    if state.scaler:
        for name, value in state.scaler.state_dict().items():
            yield f"scaler/{name}", torch.tensor(value)
