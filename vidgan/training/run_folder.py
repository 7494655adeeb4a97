"""The folder of a run: its name, its lock, and the pictures of its progress."""

import itertools
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan.config import ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk import locks
from vidgan.errors import SystemFault
from vidgan.film.tiles import tile
from vidgan.film.writer import VideoWriter, write_png

logger = logging.getLogger(__name__)
_COLUMNS = 8
SAMPLES = 4 * _COLUMNS  # pictures in a grid


def new_run(runs: Path, dataset: Dataset, model: ModelConfig) -> Path:
    """Make a folder with the next number. Two runs that start at once get two folders."""
    size = f"{model.width}" if model.width == model.height else f"{model.width}x{model.height}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in runs.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
        for number in itertools.count(max(taken, default=-1) + 1):
            run = runs / f"{number:05d}-{dataset.name}-{model.name}{size}"
            with suppress(FileExistsError):
                run.mkdir()
                (run / "checkpoints").mkdir()
                return run
    except OSError as error:
        raise SystemFault(f"{runs}: cannot make a run folder here ({error.strerror}).") from error


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the folder while this process trains in it. Raises SystemFault if another one does.

    The system frees the lock of a process that is killed, and lock.owner still names the process.
    The lock of another host cannot be judged from here.
    """
    note, host = run / "lock.owner", socket.gethostname()
    owner = note.read_text(encoding="utf-8").split() if note.exists() else []  # process, host
    who = " on ".join(owner) or "unknown"
    busy = f"{run}: process {who} is training here; stop it, or if it is dead, delete {note}."
    if len(owner) == 2 and owner[1] != host:
        raise SystemFault(busy)
    with locks.locked(run / "lock", busy=busy):
        if owner:
            logger.warning(f"{run}: process {owner[0]} was killed while it trained here.")
        try:
            note.write_text(f"{os.getpid()} {host}\n", encoding="utf-8")
            yield
        finally:
            note.unlink(missing_ok=True)


def next_samples(images_seen: int, every_images: int) -> int:
    """The images seen at the next samples. By default the intervals grow with the run."""
    if every_images:
        return (images_seen // every_images + 1) * every_images
    return int(images_seen * 1.1) + 1000 if images_seen >= 0 else 0


def some_reals(dataset: Dataset) -> np.ndarray:
    """Pictures spread over the data, enough for a grid: uint8 [N, H, W, 3]."""
    return dataset.take(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int))


def write_grid(target: Path, pictures: np.ndarray, *, synthetic: bool = True) -> None:
    write_png(target, tile(pictures, _COLUMNS), synthetic=synthetic)


def write_film(run: Path) -> None:
    """Write progress.mp4: all samples, eight grids a second, the last one for a second more."""
    grids = sorted(run.glob("samples*.png"))
    with VideoWriter(run / "progress.mp4", fps=8, force=True) as video:
        for path in [*grids, *grids[-1:] * 8]:
            with Image.open(path) as image:
                video.write(np.asarray(image.convert("RGB")))
