"""How the latents of a film move: from a film to a `latent.motion.Motion`.

Frames become latents: an encoder answers first, then all frames of a shot are refined together,
while bends in their way through latent space cost as well. Of these latents in principal
components, `latent.motion` says how they move on.

    F frames   Z z_dim   D components
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidgan.edit.encoder import Progress
from vidgan.edit.invert import Inverter, refine, shown
from vidgan.errors import DataError
from vidgan.film import reader
from vidgan.latent.motion import Motion
from vidgan.networks import pixels
from vidgan.render.constant_speed import change

_LEAST_FRAMES = 12  # of a shot
_CUT, _CUT_TIMES = 8.0, 4.0  # a cut changes more than this (grey levels), and than its neighbours
_STILL = 0.25  # grey levels per frame; films change less only by noise
_STEPS, _TOGETHER, _BEND = 30, 48, 1.0  # of a refinement; frames in it; weight of bends
_MOST_COMPONENTS, _SHARE = 32, 0.99  # of the variance of latents that these have to explain


@dataclass(frozen=True, eq=False)
class Learned:
    motion: Motion
    latents: Sequence[np.ndarray]  # float64 [F, Z] of each shot
    psnr: float  # of the refined frames, in dB
    error: float  # of predicted next latents, held out, by that of expecting no change


def shots_of(
    film: Path, size: reader.Size, *, every: int = 1, notice: reader.Notice
) -> list[np.ndarray]:
    """The shots of a film, or of its pieces. Raises DataError for one without motion."""
    pieces = reader.pieces(film, size, every=every, notice=notice)
    shots = [shot for piece in pieces for shot in _cut(piece) if len(shot) >= _LEAST_FRAMES]
    if not shots:
        raise DataError(
            f"{film}: no shot of {_LEAST_FRAMES} frames or more, so no motion to learn from; give "
            "a longer film, one with fewer cuts, or a smaller --every."
        )
    if np.concatenate([_changes(shot) for shot in shots]).mean() < _STILL:
        raise DataError(f"{film}: nothing moves in it, so there is no motion to learn.")
    return shots


def learn(
    inverter: Inverter,
    shots: Sequence[np.ndarray],
    fps: float,
    *,
    progress: Progress = lambda done, total: None,
) -> Learned:
    """Learn the motion of shots, frames uint8 [F, H, W, 3] of the size of the generator."""
    label, found, errors, done, count = None, [], [], 0, sum(map(len, shots))
    if inverter.generator.classes:
        label = _label(inverter, np.concatenate([shot[:: len(shot) // 4] for shot in shots]))
    for shot in shots:
        parts: list[Tensor] = []
        for first in range(0, len(shot), _TOGETHER):
            before = parts[-1][-2:] if parts else None
            z, error = _refined(inverter, shot[first : first + _TOGETHER], before, label)
            parts.append(z)
            errors += [error] * len(z)
            done += len(z)
            progress(done, count)
        found.append(torch.cat(parts).cpu().double().numpy())
    motion, error = fit(found, fps, label)
    return Learned(motion, found, 10 * float(np.log10(4 / np.mean(errors))), error)


def fit(shots: Sequence[np.ndarray], fps: float, label: int | None = None) -> tuple[Motion, float]:
    """The motion of latents [F, Z], shot by shot, and its error: see `Learned`.

    The error is of the last of five parts, moved on as the others did.
    """
    rows = np.concatenate(shots)
    mean = rows.mean(0)
    _, values, basis = np.linalg.svd(rows - mean, full_matrices=False)
    shares = np.cumsum(values**2) / max((values**2).sum(), 1e-12)
    d = min(_MOST_COMPONENTS, 1 + int((shares < _SHARE).sum()), max(1, len(rows) // 8))

    def of(shots: Sequence[np.ndarray]) -> Motion:
        film = np.concatenate([(shot - mean) @ basis[:d].T for shot in shots])
        lengths = np.array([len(shot) for shot in shots[:-1]], np.int64)
        return Motion(mean, basis[:d], film, lengths, fps, label)

    parts = [part for shot in shots for part in np.array_split(shot, max(1, len(shot) // 20))]
    held = max(1, len(parts) // 5)
    error = _error(of(parts[:-held]), of(parts[-held:])) if len(parts) > 1 else 1.0
    return of(shots), error


def _error(known: Motion, other: Motion) -> float:
    """How far steps of another film are missed, by how far standing still misses them."""
    before, now, after = other.triples
    steps = np.stack([known.step(y, y - last) for y, last in zip(now, before, strict=True)])
    off = np.square(after - now - steps).sum() / max(np.square(after - now).sum(), 1e-12)
    return float(np.sqrt(off))


def _changes(frames: np.ndarray) -> np.ndarray:
    return np.array([change(a, b) for a, b in itertools.pairwise(frames)])


def _cut(frames: np.ndarray) -> list[np.ndarray]:
    """The shots: a cut changes far more than the frames around it do."""
    changes = _changes(frames)
    around = [np.median(changes[max(0, i - 8) : i + 9]) for i in range(len(changes))]
    beside = np.pad(changes, 1)
    alone = changes > 2 * np.maximum(beside[:-2], beside[2:])  # not the top of a fast motion
    cuts = alone & (changes > _CUT) & (changes > _CUT_TIMES * np.array(around))
    return np.split(frames, np.flatnonzero(cuts) + 1)


def _label(inverter: Inverter, some: np.ndarray) -> int:
    """The class that most frames seem to show."""
    image = pixels.to_float(torch.from_numpy(some)).to(inverter.generator.device)
    with torch.no_grad():
        return int(inverter.encoder(image)[1].softmax(1).mean(0).argmax())


def _refined(
    inverter: Inverter, shot: np.ndarray, before: Tensor | None, label: int | None
) -> tuple[Tensor, float]:
    """Latents [F, Z] of neighbouring frames, which continue two latents before, and their error."""
    generator = inverter.generator
    image = pixels.to_float(torch.from_numpy(shot.copy())).to(generator.device)
    with torch.no_grad():
        z = inverter.encoder(image)[0]
    labels = torch.full((len(shot),), label or 0, device=generator.device)

    def bends(z: Tensor) -> Tensor:
        way = z if before is None else torch.cat([before, z])
        return _BEND * (way[2:] - 2 * way[1:-1] + way[:-2]).square().sum() / z.numel()

    z = refine(generator, image, z, labels, _STEPS, cost=bends)
    return z, float((shown(generator, z, labels) - image).square().mean())
