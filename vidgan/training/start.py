"""A new run that begins with the networks of another run instead of with random weights.

It is for going on with pictures that are like the earlier ones (see train/README.md). Weights are
found by their place, counted from the picture: the last layer of a generator makes pixels, whatever
the size of the picture. What has no counterpart stays random.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidgan import config
from vidgan.data.cache import Dataset
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.generator import checkpoint, runs
from vidgan.networks.base import CLASS_DIM
from vidgan.training import codes
from vidgan.training.state import State, checkpoints

logger = logging.getLogger(__name__)
# Of the model: the start decides them.
_KEPT = ("name", "channels", "z_dim", "taps", "noise", "layout")


def find(start: str) -> Path:
    """The file of a start: a run's newest checkpoint, or a generator without one beside it.

    start   a run's folder, its generator.safetensors, or one of its checkpoints

    Raises UsageError.
    """
    path = runs.named_run(Path(start))
    if path.is_file() and path.name != "generator.safetensors":
        return path
    if found := checkpoints(path if path.is_dir() else path.parent):
        return found[-1]
    if path.is_file():
        return path
    raise UsageError(
        f"--start {start}: no run with a checkpoint. Give the folder of a run, for example "
        "runs/00000-earth-dcgan64."
    )


def like(settings: config.Config) -> config.Config:
    """The settings with the networks of their start. Raises ConfigError if they want others."""
    start = settings.train.start
    _, model = _read(find(start))
    own, default = settings.model, config.ModelConfig()
    for key in _KEPT:
        asked, given = getattr(own, key), getattr(model, key)
        if asked not in (given, getattr(default, key)):
            raise ConfigError(
                f"model.{key} = {asked}: the start {start} has {given}, which it keeps; leave "
                f"{key} out."
            )
    if model.layers or model.grows or settings.train.grow_every_images:
        raise ConfigError(f"train.start = {start}: growing and imported models are no start.")
    return replace(settings, model=replace(own, **{key: getattr(model, key) for key in _KEPT}))


def begin(state: State, start: str, dataset: Dataset) -> None:
    """Copy the weights of a start into new networks, and say what stays random."""
    tensors, _ = _read(find(start))
    average = _part(tensors, "average") or tensors  # a generator's file has no parts
    new = {"G": _carry(_part(tensors, "generator") or average, state.generator, from_end=True)}
    _carry(average, state.average, from_end=True)
    judge = _part(tensors, "discriminator/own") or _part(tensors, "discriminator")
    own = getattr(state.discriminator, "own", state.discriminator)  # beside a pretrained critic
    new["D"] = _carry(judge, own, from_end=False)
    kept = tensors.get("codes")
    if None not in (state.codes, kept) and kept.shape == state.codes.shape:
        # What G has learned of latents stays true. Without alpha, codes are shorter.
        state.codes = kept.to(state.codes.device)
    if state.codes is not None:
        codes.tell(dataset, state.codes, state.generator, state.average)
    random = "".join(f"; new in {which}: {layers}" for which, layers in new.items() if layers)
    logger.info(f"starts from {start}{random}")


def _read(path: Path) -> tuple[dict[str, Tensor], config.ModelConfig]:
    tensors, meta = checkpoint.read(path)
    try:
        model = config.from_dict(meta["model"], config.ModelConfig, where="model")
    except (ConfigError, LookupError) as error:
        raise ModelError(f"{path}: the model in its metadata is unusable ({error}).") from error
    checkpoint.check_finite(path, {k: t for k, t in tensors.items() if t.is_floating_point()})
    return tensors, model


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{part}/"): t for k, t in tensors.items() if k.startswith(f"{part}/")}


def _carry(old: Mapping[str, Tensor], network: nn.Module, *, from_end: bool) -> str:
    """Copy weights into a network. Returns the names of the layers that stay random.

    from_end   whether the last layers are nearest to the picture, as in a generator
    """
    new, lacking = network.state_dict(), {}
    there = {place: old[name] for name, place in _places(old, from_end=from_end).items()}
    for name, place in _places(new, from_end=from_end).items():
        if name in codes.TOLD:  # `begin` makes them of the new data
            continue
        fitted = _fitted(there[place], new[name], sums=not from_end) if place in there else None
        if fitted is None:
            lacking[name.rpartition(".")[0] or name] = None
        else:
            new[name] = fitted
    network.load_state_dict(new)
    return ", ".join(lacking) if old else "all"


def _places(names: Iterable[str], *, from_end: bool) -> dict[str, str]:
    """Where each tensor stands, in words that do not depend on the number of stages.

    Layers in a list are counted from the picture. But a dcgan's first layer of G, the norm after
    it, and the last layer of D belong to the latent and to the logit.
    """
    places = {name: name for name in names}
    listed = {name: name.split(".", 2) for name in places if name.count(".") > 1}
    for name, (layers, index, rest) in listed.items():
        end = max(int(i) for other, i, _ in listed.values() if other == layers)
        i = end - int(index) if from_end else int(index)
        if layers == "layers" and (int(index) < 2 if from_end else i == end):
            i = ~int(index) if from_end else -1  # not counted from the picture
        places[name] = f"{layers}.{i}.{rest}"
    return places


def _fitted(old: Tensor, new: Tensor, *, sums: bool) -> Tensor | None:
    """A weight in the shape of another; None if that has no meaning.

    sums   whether the layer adds over the places of a feature map, so that more places weigh less
    """
    if old.ndim != new.ndim:
        return None
    fitted = old.to(new.dtype)
    if new.ndim > 2 and old.shape[-2:] != new.shape[-2:]:  # a smallest map of another shape
        maps = fitted.reshape(1, -1, *old.shape[-2:])
        maps = interpolate(maps, new.shape[-2:], mode="bilinear", antialias=True)
        fitted = maps.reshape(*old.shape[:-2], *new.shape[-2:])
        if sums:
            fitted = fitted * (math.prod(old.shape[-2:]) / math.prod(new.shape[-2:]))
    for axis in range(new.ndim):
        before, after = fitted.shape[axis], new.shape[axis]
        if (before, after) == (3, 1):  # colours become grey
            fitted = fitted.mean(axis, keepdim=True)
        elif (before, after) == (1, 3):
            fitted = fitted.repeat_interleave(3, axis)
    # Alpha stands beside the colours, a layout beside the maps, a class beside the latent; or no
    # longer. What is new there stays random.
    pairs = list(zip(fitted.shape, new.shape, strict=True))
    if any(abs(a - b) > 4 and abs(a - b) != CLASS_DIM for a, b in pairs):
        return None
    both = tuple(slice(min(pair)) for pair in pairs)
    result = new.clone()
    result[both] = fitted[both]
    return result
