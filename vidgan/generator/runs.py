"""The generators in the folders of runs: the one that a run keeps, and those of earlier.

A run writes a snapshot of its generator whenever it writes samples. Of many it keeps some.
"""

import contextlib
import glob
import hashlib
import logging
import math
import re
from pathlib import Path

from vidgan import config
from vidgan.disk.places import bundled
from vidgan.errors import ModelError

logger = logging.getLogger(__name__)
_MOST, _LEAST, _MOST_BYTES = 32, 8, 2**28  # snapshots of a run; of large ones, fewer
_SPACING = 10_000  # images; by default samples are made when images + 10,000 have grown by a tenth


def find_model(model: Path | None) -> tuple[Path, str]:
    """A generator's file, and its name for messages.

    model   a file; a run's folder; a checkpoint of a run or RUN@50k, for the nearest snapshot;
            `earth`, the shipped one; None: the newest run's, or without any run the shipped one

    Raises ModelError, and SystemFault if even the shipped one is missing.
    """
    if model is None:
        path = _of_newest_run()
        return path or bundled("assets/generator.safetensors"), str(path or "the shipped generator")
    if str(model) == "earth" and not model.exists():
        return bundled("assets/generator.safetensors"), "the shipped generator"
    model = named_run(model)
    run, at, moment = str(model).rpartition("@")
    if at and not model.exists():
        if number := re.fullmatch(r"(\d{1,15}(?:\.\d+)?)(k|M)?", moment):
            images = float(number[1]) * {"k": 1e3, "M": 1e6}.get(number[2], 1)
            folder = named_run(Path(run)) if run else (_of_newest_run() or Path("runs/none")).parent
            return _nearest(folder, round(images))
        if _is_run(named_run(Path(run))):
            raise ModelError(f"{model}: after @ stands a number of images, as in {run}@50k.")
    elif model.parent.name == "checkpoints" and model.stem.isdecimal():
        return _nearest(model.parent.parent, int(model.stem))
    elif re.fullmatch("[0-9]{1,5}", str(model)) and not model.exists():
        raise ModelError(f"--model {model}: no run in runs/ has this number.")
    path = model / "generator.safetensors" if _is_run(model) else model
    if path != model and not path.exists():
        raise ModelError(f"{model}: has no generator yet; a run saves one after a minute.")
    return path, str(path)


def is_model(path: Path) -> bool:
    """Whether `find_model` is to be asked for it: other names may be those of pictures."""
    is_name = (str(path) == "earth" or "@" in str(path)) and not path.exists()
    return is_name or _is_run(path) or path.suffix.lower() in (".safetensors", ".onnx")


def named_run(path: Path) -> Path:
    """The only run whose name begins like a path, as runs/00003, or whose number it is, as runs/3
    or 3. Else the path itself."""
    start = f"{int(path.name):05d}-" if re.fullmatch("[0-9]{1,5}", path.name) else path.name
    folders = [path.parent] + [Path("runs")] * (path.parent == Path())
    found = [
        run for folder in folders for run in folder.glob(f"{glob.escape(start)}*") if _is_run(run)
    ]
    return found[0] if start and len(found) == 1 and not path.exists() else path


def is_shipped(model: Path) -> bool:
    return model.resolve() == bundled("assets/generator.safetensors")


def trained_on(model: Path) -> config.DataConfig | None:
    """The data of a generator's file: as its run says, or those of the shipped one."""
    run = model.parent.parent if model.parent.name == "generators" else model.parent
    settings = run / "config.toml"  # of the run in whose folder it lies
    if settings.is_file():
        return config.load(settings).data
    return config.DataConfig() if is_shipped(model) else None


def of_weights(sha256: str) -> str | None:
    """What to give as --model for weights that have a hash: a run in runs/, or earth."""
    files = {str(path.parent): path for path in Path("runs").glob("*/generator.safetensors")}
    for name, path in ({"earth": bundled("assets/generator.safetensors")} | files).items():
        with contextlib.suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return name
    return None


def _of_newest_run() -> Path | None:
    """The newest generator below runs/. Raises ModelError if runs have none."""
    path, newest = (
        max(Path("runs").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns, default=None)
        for name in ("generator.safetensors", "config.toml")
    )
    lacks = newest and not newest.with_name("generator.safetensors").exists()
    if lacks and not path:
        raise ModelError(
            f"{newest.parent}: has no generator yet; a run saves one after a minute. The one that "
            "comes with vidgan is --model earth."
        )
    if lacks:
        logger.warning(f"{newest.parent}: HAS NO GENERATOR YET; THIS IS OF {path}.")
    return path


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file()


def snapshot_file(run: Path, images_seen: int) -> Path:
    return run / "generators" / f"{images_seen:012d}.safetensors"


def snapshots(run: Path) -> dict[int, Path]:
    """The snapshots of a run by the images seen, the oldest first. Other files are the user's."""
    paths = (run / "generators").glob("*.safetensors")
    return dict(sorted((int(path.stem), path) for path in paths if path.stem.isdecimal()))


def _nearest(run: Path, images: int) -> tuple[Path, str]:
    if not _is_run(run):
        raise ModelError(f"{run}: not the folder of a run; these are in runs/.")
    if not (found := snapshots(run)):
        raise ModelError(f"{run}: has kept no generators of earlier; render {run} as it is now.")
    nearest = min(found, key=lambda seen: abs(seen - images))
    logger.info(f"{run}: at {nearest:,} images, the nearest that is kept to {images:,}.")
    return found[nearest], str(found[nearest])


def history(model: Path) -> list[Path]:
    """The snapshots of the run of a generator's file, the oldest first; up to it, if it is one."""
    run, last = model.parent, math.inf
    if run.name == "generators" and model.stem.isdecimal():
        run, last = run.parent, int(model.stem)
    found = [path for images, path in snapshots(run).items() if images <= last]
    if len(found) < 2:
        raise ModelError(
            f"{model}: there are no generators of earlier beside it; give the folder of a run."
        )
    return found


def thin(run: Path) -> None:
    """Delete snapshots until they are few and small enough: those nearest to their neighbours."""
    found = snapshots(run)
    largest = max((path.stat().st_size for path in found.values()), default=1)
    while len(found) > max(_LEAST, min(_MOST, _MOST_BYTES // largest)):
        seen = list(found)
        gaps = [(b + _SPACING) / (a + _SPACING) for a, b in zip(seen, seen[2:], strict=False)]
        found.pop(seen[1 + gaps.index(min(gaps))]).unlink(missing_ok=True)
