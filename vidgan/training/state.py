"""A training run in one process, the state that its steps change, and its checkpoints."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from vidgan import config
from vidgan.config import Config, ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk import files
from vidgan.errors import ConfigError, DataError, ModelError
from vidgan.generator import checkpoint, runs
from vidgan.networks.base import Discriminator, Generator
from vidgan.quality.validation import Measured
from vidgan.training import codes
from vidgan.training.log import Knobs

logger = logging.getLogger(__name__)
Value = TypeVar("Value")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of a weight, as torch's Adam calls them
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
    codes: torch.Tensor | None = None  # of `training.codes`, if G learns from them
    scaler: torch.amp.GradScaler | None = None  # for fp16
    measured: list[Measured] = field(default_factory=list)
    trained_s: float = 0.0  # time in the loop, of all the processes that trained the run
    knobs: Knobs = field(default_factory=Knobs)  # what was changed while the run went on

    def turn(self, knobs: Knobs) -> None:
        """Put settings in force that were changed, in place of all that were before."""
        self.knobs = knobs
        for adam, key in ((self.adam_g, "learning_rate_g"), (self.adam_d, "learning_rate_d")):
            adam.param_groups[0]["lr"] = knobs.given.get(key, adam.param_groups[0]["lr"])


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a checkpoint says beside its tensors."""

    images_seen: int
    data: str
    data_fingerprint: str
    trained_s: float = 0.0
    measured: tuple[Measured, ...] = ()
    knobs: Knobs = field(default_factory=Knobs)


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

    def knob(self, key: str) -> float:
        """A setting of [train] as it is now, or where augment_p is held, by default AUTO."""
        return self.state.knobs.given.get(key, getattr(self.settings.train, key, config.AUTO))


def save(run: Run) -> None:
    """Write a checkpoint, and delete the oldest ones."""
    state = run.state
    facts = {"measured": tuple(state.measured), "trained_s": state.trained_s}
    facts = Facts(**_facts(run), **facts, knobs=state.knobs)
    meta = {"kind": "training state", "model": asdict(run.model), "facts": asdict(facts)}
    path = run.folder / "checkpoints" / f"{state.images_seen:012d}.safetensors"
    checkpoint.write(path, dict(_named_tensors(state)), meta)
    # A later one cannot be used, or restore() would have taken it.
    so_far = [p for p in checkpoints(run.folder) if int(p.stem) <= state.images_seen]
    for old in filter(Path.is_file, so_far[: -run.settings.train.keep_checkpoints]):
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


def snapshot(run: Run, generator: torch.nn.Module) -> None:
    """Keep the generator of now beside those of earlier, as `generator.runs` finds them."""
    path = runs.snapshot_file(run.folder, run.state.images_seen)
    with files.disk_faults(path):
        path.parent.mkdir(exist_ok=True)
        checkpoint.save_generator(path, generator, run.model, facts=_facts(run))
        runs.thin(run.folder)


def _facts(run: Run) -> dict[str, object]:
    return {
        "images_seen": run.state.images_seen,
        "data": run.dataset.name,
        "data_fingerprint": run.dataset.fingerprint,
    }


def restore(run: Run, *, any_data: bool = False) -> None:
    """Load the newest checkpoint. If it cannot be used, say so and load the one before.

    A checkpoint is looked at as a whole before anything of it is loaded. Raises ModelError, and
    DataError for data that have changed, which `any_data` allows if their classes are the same.
    """
    for path in reversed(checkpoints(run.folder)):
        try:
            tensors, facts = _usable(path, run.state)
            break
        except ModelError as error:
            logger.warning(f"{error} Trying the checkpoint before it.")
    else:
        raise ModelError(f"{run.folder}: there is no good checkpoint in it; start a new run.")
    state = run.state
    # It is empty if the film was still being decoded.
    if facts.data_fingerprint not in ("", run.dataset.fingerprint):
        if run.settings.model.classes and run.settings.model.class_names != run.dataset.class_names:
            raise DataError(f"{run.folder}: its data have other classes now; start a new run.")
        if not any_data:
            raise DataError(
                f"{run.folder}: its data have changed. Restore them, start a new run, or add "
                "--allow-data-change to train on with what is there now."
            )
        logger.warning(f"{run.folder} goes on with other data than before.")
    for part in _NETWORKS:
        network, frozen = getattr(state, part), _frozen(state, part)
        if not facts.data_fingerprint:  # it knows the first pictures of a film alone
            frozen |= set(codes.TOLD)
        own = {name: tensor for name, tensor in network.state_dict().items() if name in frozen}
        network.load_state_dict(_below(tensors, part) | own)
    for part in _OPTIMIZERS:
        _restore_adam(getattr(state, part), _below(tensors, part))
    if state.scaler and (scaler := _below(tensors, "scaler")):
        state.scaler.load_state_dict({name: value.item() for name, value in scaler.items()})
    if facts.data_fingerprint:  # else they are of the first pictures of a film alone
        state.codes = tensors.get("codes")  # runs of older versions have none
    state.images_seen, state.ada = facts.images_seen, tensors.get("ada", state.ada)
    state.trained_s, state.measured = facts.trained_s, list(facts.measured)
    state.turn(facts.knobs)
    logger.info(f"resumed from {path} at {state.images_seen:,} images")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the oldest first. Files of other names are not the run's."""
    paths = (folder / "checkpoints").glob("*.safetensors")
    return sorted((path for path in paths if path.stem.isdecimal()), key=lambda p: int(p.stem))


def _usable(path: Path, state: State) -> tuple[dict[str, torch.Tensor], Facts]:
    """The tensors and the facts of a checkpoint. Raises ModelError if they do not fit the state."""
    tensors, meta = checkpoint.read(path, kind="training state")
    try:
        table = dict(meta["facts"])
        measured = tuple(config.from_dict(m, Measured) for m in table.pop("measured", ()))
        facts = replace(config.from_dict(table, Facts), measured=measured)
        if facts.images_seen != int(path.stem):
            raise ValueError(f"images_seen = {facts.images_seen}")
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its facts cannot be used ({error}).") from error
    least, most = _shapes(state)
    found = {name: tensor.shape for name, tensor in tensors.items() if "scaler/" not in name}
    wrong = sorted(name for name in found.keys() | least if found.get(name) != most.get(name))
    for part in _OPTIMIZERS:
        moments = {name.rpartition("/")[0] for name in _below(found, part)}
        wrong += [
            f"{part}/{i}/{m}" for i in moments for m in _MOMENTS if f"{part}/{i}/{m}" not in found
        ]
    if wrong:
        raise ModelError(f"{path}: its tensors do not fit this run (first: {wrong[0]}).")
    return tensors, facts


def _shapes(state: State) -> tuple[Mapping[str, torch.Size], Mapping[str, torch.Size]]:
    """The tensors that a checkpoint must have, and those that it may have."""
    least = {
        f"{part}/{name}": tensor.shape
        for part in _NETWORKS
        for name, tensor in _trained(state, part)
    }
    most = least | {"ada": state.ada.shape}
    if state.codes is not None:
        most |= {"codes": state.codes.shape}
    for part in _OPTIMIZERS:  # a weight that has seen no gradient yet has no moments
        for index, weight in enumerate(getattr(state, part).param_groups[0]["params"]):
            shapes = (torch.Size(), weight.shape, weight.shape)
            names = (f"{part}/{index}/{moment}" for moment in _MOMENTS)
            most |= zip(names, shapes, strict=True)
    return least, most


def _below(tensors: Mapping[str, Value], part: str) -> dict[str, Value]:
    return {k.removeprefix(f"{part}/"): t for k, t in tensors.items() if k.startswith(f"{part}/")}


def _restore_adam(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for weight, moment in optimizer.state.items():  # fused, Adam reads all in the order of memory
        for name in _MOMENTS[1:]:
            moment[name] = torch.empty_like(weight).copy_(moment[name])


def _frozen(state: State, part: str) -> set[str]:
    """Names of the parameters of a network that do not train, and of the buffers beside them."""
    network = state.discriminator if part == "discriminator" else state.generator
    names = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    for prefix, module in network.named_modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            names |= {f"{prefix}.{name}" for name in module.state_dict()}
    return names


def _trained(state: State, part: str) -> Iterator[tuple[str, torch.Tensor]]:
    frozen = _frozen(state, part)
    for name, tensor in getattr(state, part).state_dict().items():
        if name not in frozen:
            yield name, tensor


def _named_tensors(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    for part in _NETWORKS:
        for name, tensor in _trained(state, part):
            yield f"{part}/{name}", tensor
    for part in _OPTIMIZERS:
        for index, moments in getattr(state, part).state_dict()["state"].items():
            for name, tensor in moments.items():
                yield f"{part}/{index}/{name}", tensor
    yield "ada", state.ada
    if state.codes is not None:
        yield "codes", state.codes
    if state.scaler:
        for name, value in state.scaler.state_dict().items():
            yield f"scaler/{name}", torch.tensor(value)
