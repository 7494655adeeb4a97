"""Faults of the machine that end a run, in one line: no memory, or another process is lost."""

import re
from pathlib import Path

import torch
from lightning_fabric import Fabric

from vidgan.config import Config
from vidgan.errors import SystemFault, out_of_memory
from vidgan.training.state import checkpoints

# What the collectives of gloo and NCCL say, without a class of its own.
_LOST = re.compile(r"gloo|NCCL|c10d|TCPStore")


def explained(
    error: Exception, settings: Config, fabric: Fabric, folder: Path | None
) -> SystemFault | None:
    """What the user can do about an error; None if it is none of the machine.

    folder   of the run, if there is one already
    """
    kept = checkpoints(folder) if folder else []
    last = f"its last checkpoint is {kept[-1]}" if kept else ""
    again = f"vidgan train --resume {folder}"
    if out_of_memory(error):
        how, model = settings.train, settings.model
        batch, channels = how.batch_size or "auto", model.channels or "auto"
        lower = f"--batch-size ({batch}), --channels ({channels}) or --size"
        free = f"Free some and go on with {again} ({last}), or start" if kept else "Start"
        return SystemFault(
            f"{folder or settings.data.source}: out of memory. {free} again with a lower {lower}."
        )
    if "deterministic" in str(error):  # what torch says of an operation that has no such way
        return SystemFault(
            f"{folder}: train.deterministic: this cannot be repeated bit for bit on "
            f"{fabric.device.type.upper()} ({str(error).partition('.')[0]}); leave the key out."
        )
    if fabric.world_size > 1 and (
        isinstance(error, torch.distributed.DistError) or _LOST.search(str(error))
    ):
        rank = f"rank {fabric.global_rank} of {fabric.world_size} ends"
        on = "There is no checkpoint yet: start them again." if folder else "See its message."
        on = f"To continue, start all of them with {again} ({last})." if kept else on
        return SystemFault(
            f"{folder or settings.data.source}: {rank}, because another one died or hangs. {on}"
        )
    return None
