"""The folder of a run: its name, its lock, and the pictures of its progress.

A folder is a stranger's data when a run is resumed. Pictures in it are only shown, so those that
cannot be read are left out.
"""

import itertools
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan import signals
from vidgan.config import ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk import locks
from vidgan.disk.files import disk_faults, remove_dead, whole
from vidgan.errors import SystemFault
from vidgan.film import alpha
from vidgan.film.tiles import tile
from vidgan.film.writer import VideoWriter, write_png

logger = logging.getLogger(__name__)
_COLUMNS = 8
SAMPLES = 4 * _COLUMNS  # pictures in a grid
OF_A_CLASS, _CLASSES = 8, 8  # pictures in which the watch looks at a class; classes, at most


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
    note, here = run / "lock.owner", socket.gethostname()
    process, host = owner(run) or ("", here)
    who = f"process {process} on {host}" if process else "another process"
    busy = f"{run}: {who} is training here; stop it, or if it is dead, delete {note}."
    if host != here:
        raise SystemFault(busy)
    with locks.locked(run / "lock", busy=busy):
        if process:
            logger.warning(f"{run}: process {process} was killed while it trained here.")
        with disk_faults(note):
            note.write_text(f"{os.getpid()} {here}\n", encoding="utf-8")
        try:
            for folder in (run, run / "checkpoints", run / "generators"):
                remove_dead(folder)  # under the lock nobody will end these
            with signals.undone(lambda: note.unlink(missing_ok=True)):
                yield
        finally:
            note.unlink(missing_ok=True)


@contextmanager
def branch(run: Path, dataset: Dataset, model: ModelConfig) -> Iterator[Path]:
    """A new folder with all that a run has shown and kept. It is a run from the end of the block
    on, in which its checkpoint is written."""
    new = new_run(run.parent, dataset, model)
    others = shutil.ignore_patterns("checkpoints", "live", "lock*", ".*", "config.toml", "events.*")
    with disk_faults(new):
        shutil.copytree(run, new, ignore=others, dirs_exist_ok=True)
        yield new
        shutil.copy(run / "config.toml", new)


def owner(run: Path) -> tuple[str, str] | None:
    """The process and the host that lock.owner names."""
    with suppress(OSError, ValueError):  # not there, or not of vidgan
        process, host = (run / "lock.owner").read_text(encoding="utf-8").split()
        return (process, host) if process.isdecimal() else None
    return None


def next_samples(images_seen: int, every_images: int) -> int:
    """The images seen at the next samples. By default the intervals grow with the run."""
    if every_images:
        return (images_seen // every_images + 1) * every_images
    return int(images_seen * 1.1) + 1000 if images_seen >= 0 else 0


def some_reals(dataset: Dataset) -> np.ndarray:
    """Pictures spread over the data, enough for a grid: uint8 [N, H, W, 3 or 4]."""
    return dataset.take(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int))


def reals_of_classes(dataset: Dataset, model: ModelConfig) -> dict[str, np.ndarray]:
    """Pictures of some classes that the model learns and that have enough, uint8 [N, H, W, 3]."""
    found = {}
    for label, name in enumerate(model.class_names):
        own = np.flatnonzero(dataset.labels == label)
        if len(own) >= OF_A_CLASS:
            found[name] = own[np.linspace(0, len(own) - 1, OF_A_CLASS).astype(int)]
    some = np.unique(np.linspace(0, len(found) - 1, _CLASSES).astype(int)) if found else ()
    names = list(found)
    return {names[i]: dataset.take(found[names[i]]) for i in some}


def write_grid(target: Path, pictures: np.ndarray, *, synthetic: bool = True) -> None:
    write_png(target, alpha.shown(tile(pictures, _COLUMNS)), synthetic=synthetic)


def grids(run: Path) -> dict[int, Path]:
    """The grids of samples by the images seen. Other pictures in the folder are the user's."""
    found = {re.fullmatch(r"samples(\d{9,})\.png", path.name): path for path in run.iterdir()}
    return dict(sorted((int(name[1]), path) for name, path in found.items() if name))


def read_grid(path: Path) -> np.ndarray | None:
    """Pixels uint8 [H, W, 3]; None if the file is damaged."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:  # decoders raise all sorts of things on hostile bytes
        return None


def write_film(run: Path) -> None:
    """Write progress.mp4: all samples, eight grids a second, the last one for a second more.

    The last one was just written. Those of another size are of no run, or of another.
    """
    *_, last = paths = list(grids(run).values())
    size, left_out = read_grid(last).shape, []
    # Whatever lies there is replaced, also what no longer looks like a film of vidgan's.
    with whole(run / "progress.mp4") as part, VideoWriter(part, fps=8) as video:
        for path in [*paths, *[last] * 8]:
            grid = read_grid(path)
            if grid is None or grid.shape != size:
                left_out.append(path.name)
                continue
            video.write(grid)
    if left_out:
        lost = f"{len(left_out)}, first {left_out[0]}"
        logger.warning(f"{run}: left out samples that cannot be shown ({lost}).")
