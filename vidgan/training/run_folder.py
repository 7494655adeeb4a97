"""The run folder: its name, its lock, its states, its log, and the pictures of its progress.

One process at a time trains in a folder. Knows no network and no step.
"""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vidgan.config import ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk.locks import take_lock
from vidgan.errors import SystemFault
from vidgan.film.tiles import tile
from vidgan.film.writer import VideoWriter, write_png

logger = logging.getLogger(__name__)

_COLUMNS = 8
PREVIEWS = 4 * _COLUMNS  # pictures in a grid
_LOCK = "lock"


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
def locked(run: Path) -> Iterator[None]:
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
            logger.warning(f"{run}: process {owner[0]} was killed while it trained here.")
        file.truncate(0)
        file.write(f"{os.getpid()} {host}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def next_preview(images_seen: int, every_images: int) -> int:
    """Every so many images; by default often at first, then ever rarer (a tenth of the way on)."""
    if every_images:
        return (images_seen // every_images + 1) * every_images
    return int(images_seen * 1.1) + 1000 if images_seen >= 0 else 0


def some_reals(dataset: Dataset) -> np.ndarray:
    """Pictures spread over the data, as many as a grid has places: uint8 [N, H, W, 3]."""
    spread = np.linspace(0, len(dataset) - 1, PREVIEWS).astype(int)
    return dataset.take(spread)


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
