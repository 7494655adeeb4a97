"""A learned motion as a file, motion.safetensors: tensors and JSON, no code, of one generator.

It names the generator that its latents are of. It is read without torch.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vidgan import __version__
from vidgan.disk.files import check_file, write_bytes
from vidgan.disk.places import cache_root
from vidgan.errors import ModelError
from vidgan.generator import metadata, runs
from vidgan.latent.motion import Motion

FORMAT = "vidgan-motion-1"
_FACTS = {"fps": int | float, "label": int | None, "source": str | None}
_KINDS = {"format": str, "generator_sha256": str} | _FACTS
_ARRAYS = ("mean", "basis", "film", "shots")
_MOST_BYTES, _MOST_COMPONENTS = 2**28, 512


def file_of(model: Path) -> Path:
    """Where the motion of a generator is kept: beside it; of the shipped one in the cache."""
    name = f"{model.stem}.motion.safetensors"
    return cache_root() / f"earth-{name}" if runs.is_shipped(model) else model.with_name(name)


def write(path: Path, motion: Motion, generator_sha256: str, *, force: bool = True) -> None:
    arrays = {name: getattr(motion, name) for name in _ARRAYS}
    meta = {"format": FORMAT, "generator_sha256": generator_sha256, "vidgan_version": __version__}
    meta |= {name: getattr(motion, name) for name in _FACTS}
    header = {"vidgan": json.dumps(meta, sort_keys=True)}
    content = save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, header)
    write_bytes(path, content, force=force)


def read(path: Path, generator_sha256: str) -> Motion:
    """Raises ModelError, also for the motion of another generator."""
    check_file(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})["vidgan"]
            arrays = {k: file.get_tensor(k) for k in _ARRAYS}
    except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: not a motion; vidgan motion film.mp4 makes one.") from error
    where = f"{path}: its metadata"
    meta = metadata.parse(text, _KINDS, where=where)
    if meta["format"] != FORMAT:
        raise ModelError(
            f"{where}: the format is {meta['format']:.40}, not {FORMAT}; update vidgan."
        )
    if meta["generator_sha256"] != generator_sha256:
        raise ModelError(
            f"{path}: the motion of another generator; learn it again: vidgan motion film.mp4."
        )
    motion = Motion(**arrays, **{name: meta.get(name) for name in _FACTS})
    if why := _unusable(motion):
        raise ModelError(f"{path}: damaged ({why}).")
    return motion


def _unusable(motion: Motion) -> str:
    d, z = motion.basis.shape if motion.basis.ndim == 2 else (0, 0)
    fit = motion.mean.shape == (z,) and motion.film.ndim == 2 and motion.film.shape[1] == d
    if not 1 <= d <= _MOST_COMPONENTS or not fit:
        return "its tensors do not fit each other"
    for array in (motion.mean, motion.basis, motion.film):
        if array.dtype != np.float64 or not np.isfinite(array).all():
            return "its tensors are not finite numbers of 64 bits"
    shots, frames = motion.shots, len(motion.film)
    if shots.ndim != 1 or shots.dtype != np.int64 or not ((shots > 2) & (shots < frames)).all():
        return "its shots are none"
    if frames - shots.sum() < 3:
        return "its shots are longer than its film"
    return "" if 0 < motion.fps < 1e4 else f"fps = {motion.fps}"
