"""Before the first step: the device and its ranks, the data, and networks with their optimizers."""

import copy
import logging
import os
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy

from vidgan import config
from vidgan.config import Config
from vidgan.data import cache
from vidgan.errors import UsageError
from vidgan.networks import architectures
from vidgan.training.state import State


def launch(settings: Config) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what we tell better
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if (settings.train.batch_size or 32) % world:  # where auto makes it 64, that fits too
        raise UsageError(f"--batch-size {settings.train.batch_size}: a multiple of {world} ranks.")
    grows = settings.train.grow_every_images > 0  # some weights then have no part in a step
    kinds = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=world // local,
        # BatchNorm's buffers are made anew before a generator is kept; sent in place between two
        # forward passes they would break the backward pass of the first.
        strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=grows)
        if world > 1
        else "auto",
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


def open_data(settings: Config) -> tuple[Config, cache.Dataset]:
    model = settings.model
    if not model.width:
        width, height = cache.native_size(settings.data)
        model = replace(model, width=width, height=height)
    dataset = cache.open_dataset(settings.data, width=model.width, height=model.height)
    if settings.data.labels:
        model = replace(model, class_names=dataset.class_names)
    on_gpu, spread = torch.cuda.is_available(), cache.spread(dataset)
    return config.resolved(replace(settings, model=model), spread=spread, on_gpu=on_gpu), dataset


def build(settings: Config, fabric: Fabric) -> State:
    torch.manual_seed(settings.train.seed)
    with fabric.init_module():
        generator, discriminator = (
            make(settings.model) for make in architectures.NETWORKS[settings.model.name]
        )
    generator.to(memory_format=torch.channels_last)
    discriminator.to(memory_format=torch.channels_last)
    average = copy.deepcopy(generator).requires_grad_(False)
    rates = settings.train
    betas, precision = (rates.beta1, rates.beta2), fabric.strategy.precision
    return State(
        generator=generator,
        discriminator=discriminator,
        average=average.to(fabric.device),
        adam_g=torch.optim.Adam(generator.parameters(), rates.learning_rate_g, betas),
        adam_d=torch.optim.Adam(discriminator.parameters(), rates.learning_rate_d, betas),
        scaler=precision.scaler if isinstance(precision, MixedPrecision) else None,
    )
