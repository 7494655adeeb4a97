"""From a picture to the latent of which a generator makes the most similar one.

An encoder answers first. Then the latent is refined: L-BFGS lowers the mean squared error of the
picture, while the latent stays about as long as those that the generator knows. (Adam with as many
steps leaves about twice the error.) A generator with anchors needs no other start: on 8 held-out
emoji, the codes of `training.codes` began as near and ended 0.1 dB nearer, and the best of three
anchors and the encoder's answer, at twice the cost, 0.3 dB.

With `tune`, the generator is fitted to the pictures (pivotal tuning, Roich et al. 2021): their
latents stay, its weights change a little, and what it makes of other latents stays as it was.
"""

import copy
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidgan.data import pictures
from vidgan.edit.encoder import Encoder, Progress, length_error, open_encoder
from vidgan.errors import DataError, ModelError
from vidgan.generator import checkpoint, classes, runs, selftest
from vidgan.generator.synthesis import Differentiable, open_differentiable
from vidgan.networks import pixels
from vidgan.networks.device import exact

logger = logging.getLogger(__name__)
STEPS = 300  # of a refinement: how often the generator is asked
_LENGTH_WEIGHT = 0.1  # in its loss, beside the mean squared error in [-1, 1]
TRIED = 3  # classes that a picture may show
_TUNE_STEPS, _TUNE_RATE, _OTHERS = 300, 5e-4, 4
_TUNED_DB = 33.0  # enough: a tuning ends there
Degrade = Callable[[Tensor], Tensor]  # a picture as it is seen, [B, 3, H, W] or smaller


@dataclass(frozen=True, eq=False)
class Inverted:
    """A picture and the latent that was found for it. Pictures are uint8 [H, W, 3]."""

    latent: np.ndarray  # float32 [Z]
    label: int | None  # of a generator with classes
    original: np.ndarray  # of the size of the generator
    encoded: np.ndarray  # what the generator makes of the encoder's answer
    refined: np.ndarray  # what it makes of the latent

    @property
    def psnr(self) -> float:
        """Of `refined`, in dB."""
        return psnr(self.original, self.refined)


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two pictures, in dB; at most 99."""
    return min(99.0, selftest.difference(x, y).psnr_db)


def read_picture(path: Path, width: int = 0, height: int = 0) -> np.ndarray:
    """A picture, fitted as in training, or of its own size: uint8 [H, W, 3]. Raises DataError."""
    try:
        with path.open("rb") as file:
            image = pictures.open_picture(file)
            size, white = pictures.display_size(image), pictures.white_above(image)
            wanted = (width, height) if width else size
            fitted = pictures.fitted(image, wanted, "#ffffff", white or 255)
    except Exception as error:  # Pillow raises whatever its decoders do
        reason = pictures.reason(error)
        raise DataError(f"{path}: cannot be read as a picture ({reason}).") from error
    if size != wanted:
        how = "" if size[0] * height == size[1] * width else "cropped about its centre and "
        logger.info(f"{path}: {how}resized from {size[0]}x{size[1]} to {width}x{height}")
    return fitted


def invert(
    generator: Path | str,
    picture: Path | str | np.ndarray,
    *,
    label: int | str | None = None,
    steps: int = STEPS,
    device: str = "auto",
) -> Inverted:
    """Find the latent of a picture.

    generator   generator.safetensors, or the folder of a run
    picture     a file, or uint8 [H, W, 3] of the size of the generator
    label       its class, by number or name; None: the one that fits best
    steps       of the refinement
    """
    return Inverter(generator, device=device)(picture, label=label, steps=steps)


class Inverter:
    """A generator and its encoder, which is trained when it is needed and there is none."""

    def __init__(
        self,
        generator: Path | str,
        *,
        device: str = "auto",
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.path, _ = runs.find_model(Path(generator))
        self.generator, self._progress = open_differentiable(self.path, device=device), progress
        if self.generator.model.planes == 4:
            raise ModelError(f"{self.path}: has transparency, which inverting cannot use yet.")

    @functools.cached_property
    def encoder(self) -> Encoder:
        return open_encoder(self.generator, self.path, self._progress)

    def read(self, picture: Path | str) -> np.ndarray:
        """A picture of any size, fitted to the generator: uint8 [H, W, 3]. Raises DataError."""
        return read_picture(Path(picture), self.generator.width, self.generator.height)

    def __call__(
        self,
        picture: Path | str | np.ndarray,
        *,
        label: int | str | None = None,
        steps: int = STEPS,
    ) -> Inverted:
        shape = self.generator.height, self.generator.width, 3
        if not isinstance(picture, np.ndarray):
            picture = self.read(picture)
        if picture.shape != shape or picture.dtype != np.uint8:
            raise DataError(
                f"a picture {picture.dtype} {list(picture.shape)}: this generator needs uint8 "
                f"{list(shape)}, or the name of a file, which is fitted."
            )
        names = self.generator.class_names
        number = None if label is None else classes.numbers_of([label], names)[0]
        image = pixels.to_float(torch.from_numpy(picture.copy())[None]).to(self.generator.device)
        with exact():
            z, labels = first_guess(self.encoder, image, number)
            starts = shown(self.generator, z.expand(len(labels), -1), labels)
            if len(labels) > 1:  # each class gets a few steps, and the best one all
                tries = [refine(self.generator, image, z, one[None], steps // 5) for one in labels]
                made = shown(self.generator, torch.cat(tries), labels)
                best = int((made - image).square().mean((1, 2, 3)).argmin())
                starts, labels, z = starts[best : best + 1], labels[best : best + 1], tries[best]
            z = refine(self.generator, image, z, labels, steps)
            made = shown(self.generator, z, labels)
        return Inverted(
            latent=z[0].cpu().numpy(),
            label=int(labels[0]) if names else None,
            original=picture,
            encoded=frames(starts)[0],
            refined=frames(made)[0],
        )


def first_guess(encoder: Encoder, image: Tensor, label: int | None) -> tuple[Tensor, Tensor]:
    """The encoder's latent [1, Z], and labels [N] worth a try; [1] zero where there is none."""
    with torch.no_grad():
        z, logits = encoder(image)
    if label is not None:
        return z, torch.tensor([label], device=z.device)
    if not logits.shape[1]:
        return z, torch.zeros(1, dtype=torch.long, device=z.device)
    return z, logits[0].topk(min(TRIED, logits.shape[1])).indices


def refine(
    generator: Differentiable,
    image: Tensor,
    z: Tensor,
    label: Tensor,
    steps: int,
    degrade: Degrade = lambda image: image,
    cost: Callable[[Tensor], Tensor | float] = lambda z: 0.0,
) -> Tensor:
    """Lower the error of pictures [B, 3, H, W] from latents [B, Z] on. Returns latents.

    degrade   through which they are seen
    cost      of latents, which is lowered as well
    """
    z = z.detach().clone().requires_grad_(True)
    classes = label if generator.classes else None
    descent = torch.optim.LBFGS(
        [z], max_iter=steps, max_eval=steps, history_size=30, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        descent.zero_grad()
        error = (degrade(generator(z, classes)) - image).square().mean()
        # L-BFGS stops where changes are small beside 1.
        total = 1000 * (error + _LENGTH_WEIGHT * length_error(z) + cost(z))
        total.backward()
        return total

    if steps:
        descent.step(loss)
    return z.detach()


def tune(
    inverter: Inverter,
    found: Sequence[Inverted],
    target: Path,
    progress: Progress = lambda done, total: None,
) -> list[Inverted]:
    """Fit a copy of the generator to pictures, and write it. Returns the pictures as it makes them.

    Each step also holds it to what the old one makes of random latents.
    """
    old, device = inverter.generator, inverter.generator.device
    new = copy.copy(old)
    new.network = copy.deepcopy(old.network).requires_grad_(True)
    image = torch.from_numpy(np.stack([one.original for one in found]))
    image = pixels.to_float(image).to(device)
    z = torch.from_numpy(np.stack([one.latent for one in found])).to(device)
    labels = torch.tensor([one.label or 0 for one in found], device=device)
    random = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(new.network.parameters(), _TUNE_RATE)
    enough = 4 * 10 ** (-_TUNED_DB / 10)
    for step in range(_TUNE_STEPS):
        others = torch.randn(_OTHERS, old.z_dim, generator=random).to(device)
        of_others = torch.randint(max(old.classes, 1), (_OTHERS,), generator=random).to(device)
        made = new(torch.cat([z, others]), torch.cat([labels, of_others]) if old.classes else None)
        errors = (made[: len(z)] - image).square().mean((1, 2, 3))
        if errors.max() < enough:
            break
        kept = (made[len(z) :] - shown(old, others, of_others)).square().mean()
        adam.zero_grad()
        (errors.mean() + kept).backward()
        adam.step()
        progress(step + 1, _TUNE_STEPS)
    new.network.requires_grad_(False)
    facts = old.facts | {"tuned_from": old.sha256, "tuned_to_pictures": len(found)}
    checkpoint.save_generator(target, new.network, old.model, facts=facts)
    made = frames(shown(new, z, labels))
    return [replace(one, refined=frame) for one, frame in zip(found, made, strict=True)]


@torch.no_grad()
def shown(generator: Differentiable, z: Tensor, labels: Tensor) -> Tensor:
    return generator(z, labels if generator.classes else None)


def frames(image: Tensor) -> np.ndarray:
    return pixels.to_frames(image).cpu().numpy()
