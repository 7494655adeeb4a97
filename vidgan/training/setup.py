"""Before the first step: the device and its processes, the data, the networks and optimizers."""

import copy
import inspect
import logging
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy

from vidgan import config
from vidgan.data import cache
from vidgan.errors import ConfigError, DataError, UsageError
from vidgan.networks import architectures, lite0
from vidgan.networks import device as devices
from vidgan.training import codes, start
from vidgan.training.state import State

logger = logging.getLogger(__name__)

# How long processes wait for one that hangs. They wait as well while the first one measures, saves
# and writes the film of a run. That takes minutes on a slow or busy CPU, and to end them then would
# end a healthy run. One that dies is noticed at once.
_PATIENCE = timedelta(minutes=15)


def launch(settings: config.Config, device: str = "auto") -> Fabric:
    """Start on the devices of this process: alone, or as one of many under torchrun."""
    kind = devices.chosen(device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # vidgan logs the same facts
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if (settings.train.batch_size or 32) % world:  # if auto becomes 64, that is divisible too
        raise UsageError(
            f"--batch-size {settings.train.batch_size}: not a multiple of the {world} processes."
        )
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind.type, local)
    if local > there:
        raise UsageError(f"--device {kind.type}: {local} processes, but this machine has {there}.")
    grows = settings.train.grow_every_images > 0  # then a step does not use all weights
    # Broadcasting BatchNorm's buffers between two forward passes would change them in place and
    # break the backward pass. It is not needed: they are measured again before G is kept. Newer
    # versions of torch call this by another name.
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    many = DDPStrategy(timeout=_PATIENCE, find_unused_parameters=grows, **{name: False})
    kinds = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    fabric = Fabric(
        accelerator=kind.type,
        devices=local,
        num_nodes=world // local,
        strategy=many if world > 1 else "auto",
        precision=kinds[devices.precision_for(settings.train.precision, kind)],
    )
    if settings.train.deterministic:  # an operation that cannot be repeated raises RuntimeError
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    fabric.launch()
    assert fabric.device.type == kind.type
    return fabric


def open_data(
    settings: config.Config,
    *,
    of_run: Path | None = None,
    on_gpu: bool = False,
    progress: cache.Progress = lambda done, total: None,
) -> tuple[config.Config, cache.Dataset]:
    """Open the data, and replace every "auto" in the settings. An error names the resumed run.

    A new run with a time limit does not wait until a long film is decoded, except to know that all
    of it is grey where that is asked for.
    """
    if settings.train.start and not of_run:
        settings = start.like(settings)
    model = settings.model
    try:
        if not model.width:
            width, height = cache.native_size(settings.data)
            model = replace(model, width=width, height=height)
        early = not of_run and settings.train.duration_s > 0 and model.colours != 1
        dataset = cache.open_dataset(
            settings.data,
            width=model.width,
            height=model.height,
            progress=progress,
            early=early and int(os.environ.get("WORLD_SIZE", "1")) == 1,
        )
    except DataError as error:
        if not of_run:
            raise
        raise DataError(
            f"{of_run} learns from these; put them back as they were: {error}"
        ) from error
    labels = settings.data.labels
    if labels == "auto" and dataset.class_names:
        labels = _enough_of_each_class(dataset)
        settings = replace(settings, data=replace(settings.data, labels=labels))
    if labels and dataset.class_names and not model.class_names:  # a resumed run has its own
        model = replace(model, class_names=dataset.class_names, class_scale=config.CLASS_SCALE)
    model = replace(model, colours=_colours(settings, dataset))
    if settings.discriminator.pretrained_weight and (lacks := lite0.missing()):
        logger.warning(f"{lacks}; this run trains without the pretrained critic.")
        without = replace(settings.discriminator, pretrained_weight=0.0)
        settings = replace(settings, discriminator=without)
    if dataset.whole and settings.train.augment == "auto":  # so that it stays, once they are more
        settings = replace(settings, train=replace(settings.train, augment="diff"))
    spread = cache.spread(dataset)
    settings = config.resolved(replace(settings, model=model), spread=spread, on_gpu=on_gpu)
    if of_run:  # perhaps of an older version
        made = config.load(of_run / "config.toml").model
        own = {key: getattr(made, key) for key in ("anchors", "taps", "noise", "layout")}
    else:
        own = {"anchors": codes.anchors_for(model.classes) if settings.train.code_weight else 0}
        if not settings.train.start:
            is_dcgan, how = model.name == "dcgan", settings.train
            layout = is_dcgan and how.layout and bool(how.code_weight) and model.z_dim > 1
            own |= {"taps": 3, "noise": is_dcgan, "layout": layout}
    return replace(settings, model=replace(settings.model, **own)), dataset


def _colours(settings: config.Config, dataset: cache.Dataset) -> int:
    asked, alpha = settings.model.colours, settings.data.alpha
    if asked == 1 and not dataset.grey:
        raise ConfigError("model.colours = 1: not all of these pictures are grey; remove this key.")
    if asked and (asked == 4) != alpha:
        raise ConfigError(f"model.colours = {asked}: 4 goes with data.alpha = true; remove it.")
    if alpha and not dataset.has_holes():
        raise ConfigError(f"--alpha: nothing in {settings.data.source} is transparent; omit it.")
    return asked or (4 if alpha else 1 if dataset.grey else 3)


def _enough_of_each_class(dataset: cache.Dataset) -> bool:
    """Whether the model should learn the classes. It says so, and how to choose otherwise."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    name, least = dataset.class_names[counts.argmin()], counts.min()
    if least >= config.LEAST_OF_A_CLASS:
        logger.info(
            f"learns {len(counts)} classes, of {least:,} pictures or more; to learn none, "
            "say in a recipe: [data] labels = false"
        )
        return True
    logger.info(
        f"learns none of the {len(counts)} classes, because {name} has only {least} pictures, not "
        f"{config.LEAST_OF_A_CLASS}; to learn them all the same, say in a recipe: "
        "[data] labels = true"
    )
    return False


def build(settings: config.Config, fabric: Fabric, dataset: cache.Dataset) -> State:
    """Make networks and optimizers. Parameters that do not require a gradient stay frozen."""
    torch.manual_seed(settings.train.seed)
    with fabric.init_module():
        generator = architectures.make_generator(settings.model)
        discriminator = architectures.make_discriminator(settings.discriminator, settings.model)
    generator.to(memory_format=torch.channels_last)
    discriminator.to(memory_format=torch.channels_last)
    how, precision, known = settings.train, fabric.strategy.precision, None
    if how.code_weight:
        known = codes_of(dataset, settings, fabric)
        codes.tell(dataset, known, generator)
    return State(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False).to(fabric.device),
        adam_g=_adam(generator, how.learning_rate_g, (how.beta1, how.beta2)),
        adam_d=_adam(discriminator, how.learning_rate_d, (how.beta1, how.beta2)),
        codes=known,
        scaler=precision.scaler if isinstance(precision, MixedPrecision) else None,
    )


def codes_of(dataset: cache.Dataset, settings: config.Config, fabric: Fabric) -> torch.Tensor:
    """`codes.make_codes`, the same in all processes: of other machines, signs may differ."""
    count = settings.model.z_dim - settings.model.layout
    made = codes.make_codes(dataset, count=count, motion=settings.train.motion)
    return fabric.broadcast(made).to(fabric.device)


def _adam(network: torch.nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # One pass over the memory instead of ten; on other devices it was not measured.
    return torch.optim.Adam(weights, rate, betas, fused=weights[0].is_cpu)
