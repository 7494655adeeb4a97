"""An encoder: a small network that answers a picture with the latent it may come from.

It belongs to one generator. It learns from pictures that this generator makes, whose latents are
known, and from real ones, which the generator has to paint again. Its answer is where a refinement
begins, see `invert`.

    B batch   H W pixels   Z z_dim   C classes
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vidgan.data.cache import Dataset, open_dataset
from vidgan.errors import DataError, ModelError, SystemFault
from vidgan.generator import checkpoint, runs
from vidgan.generator.synthesis import Differentiable
from vidgan.networks import pixels

logger = logging.getLogger(__name__)
SIDE, SMALL = 32, 16  # pixels that the convolutions see, and those that the linear part sees
_WIDTH = 32  # feature maps at half resolution
_SAMPLES = 2048  # from which the linear part is computed
_STEPS, _BATCH = 300, 16  # in which all of it learns
_RIDGE = 5e-5  # of the variance of a pixel
_Z_WEIGHT, _CLASS_WEIGHT = 0.02, 0.05  # in the loss, beside the error of the picture
Progress = Callable[[int, int], None]  # takes how much is done, and of how much


class Encoder(nn.Module):
    """Maps pictures float32 [B, 3, H, W] to latents [B, Z] and logits of classes [B, C]."""

    def __init__(self, z_dim: int, classes: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.linear = nn.Linear(3 * SMALL**2, z_dim + classes)
        layers: list[nn.Module] = []
        for before, width in ((3, _WIDTH), (_WIDTH, 2 * _WIDTH), (2 * _WIDTH, 4 * _WIDTH)):
            layers += [nn.Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        last = nn.Linear(4 * _WIDTH * (SIDE // 8) ** 2, z_dim + classes)
        nn.init.zeros_(last.weight)  # so that it begins as its linear part
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, nn.Flatten(), last)
        # The median `_repainting_error` of what the generator was made for. Refined, nearly all of
        # such pictures come nearer, and nearly none of another kind.
        self.register_buffer("usual_error", torch.tensor(math.inf))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = interpolate(image, (SIDE, SIDE), mode="area")
        answer = self.linear(_small(seen)) + self.layers(seen)
        return answer[:, : self.z_dim], answer[:, self.z_dim :]


def file_of(model: Path) -> Path:
    """Where the encoder of a generator's file lies: beside it, as that of the shipped one does."""
    return model.with_name(f"{model.stem}.encoder.safetensors")


def open_encoder(
    generator: Differentiable, model: Path, progress: Progress = lambda done, total: None
) -> Encoder:
    """The encoder of a generator, opened from the file `model`. It is trained if there is none.

    progress   called while it trains
    """
    path = file_of(model)
    encoder = Encoder(generator.z_dim, generator.classes)
    if path.exists():
        try:
            tensors, meta = checkpoint.read(path, kind="encoder")
            if meta.get("generator_sha256") == generator.sha256:
                checkpoint.load_into(path, encoder, tensors)
                return encoder.to(generator.device).eval()
            logger.warning(f"{path}: of another generator; it is trained again.")
        except ModelError as error:
            logger.warning(f"{error} It is trained again.")
    encoder = train(generator, _reals(generator, model), progress)
    meta = {"kind": "encoder", "generator_sha256": generator.sha256}
    try:
        checkpoint.write(path, encoder.state_dict(), meta)
        logger.info(f"the encoder is kept as {path}")
    except SystemFault as error:  # the generator of someone else, or a full disk
        logger.warning(f"{error} The encoder is not kept, and will be trained again.")
    return encoder


def _reals(generator: Differentiable, model: Path) -> Dataset | None:
    """What a generator was trained on, if that is at hand."""
    if (data := runs.trained_on(model)) is None:
        return None
    try:
        return open_dataset(data, width=generator.width, height=generator.height)
    except DataError as error:
        logger.warning(f"{error} The encoder learns from made pictures alone.")
        return None


@torch.enable_grad()
def train(
    generator: Differentiable, reals: Dataset | None, progress: Progress = lambda done, total: None
) -> Encoder:
    """A new encoder. Every second batch is of real pictures, if there are any."""
    with_reals = "and from its training data" if reals else "alone"
    logger.info(f"trains an encoder, once for this generator, from what it makes {with_reals}")
    device, random = generator.device, torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(generator.z_dim, generator.classes).to(device)
    total = _SAMPLES + _BATCH * _STEPS

    def samples(count: int) -> tuple[Tensor, Tensor | None, Tensor]:
        z = torch.randn(count, generator.z_dim, generator=random).to(device)
        labels = None
        if generator.classes:
            labels = torch.randint(generator.classes, (count,), generator=random).to(device)
        with torch.no_grad():
            return z, labels, generator(z, labels)

    def real_ones() -> tuple[None, Tensor | None, Tensor]:
        chosen, labels = torch.randint(len(reals), (_BATCH,), generator=random).numpy(), None
        if generator.classes and reals.class_names == generator.class_names:
            labels = torch.from_numpy(reals.labels[chosen]).long().to(device)
        return None, labels, pixels.to_float(torch.from_numpy(reals.take(chosen))).to(device)

    seen, answers = [], []
    for done in range(0, _SAMPLES, _BATCH):
        z, labels, image = samples(_BATCH)
        seen.append(_small(image))
        known = [] if labels is None else [torch.eye(generator.classes, device=device)[labels]]
        answers.append(torch.cat([z, *known], 1))
        progress(done, total)
    _solve(encoder.linear, torch.cat(seen), torch.cat(answers))

    rates = ((encoder.linear, 3e-4), (encoder.layers, 1e-3))
    adam = torch.optim.Adam([{"params": part.parameters(), "lr": rate} for part, rate in rates])
    for step in range(_STEPS):
        z, labels, image = real_ones() if reals is not None and step % 2 else samples(_BATCH)
        loss = _loss(generator, encoder, image, z, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        progress(_SAMPLES + _BATCH * (step + 1), total)
    drawn = (samples(_BATCH) if reals is None else real_ones() for _ in range(32))
    errors = [_repainting_error(generator, encoder, image) for *_, image in drawn]
    # Made pictures of the earth are 1.4 times as near as real ones.
    encoder.usual_error.copy_(torch.cat(errors).median() * (1 if reals else 2))
    return encoder.eval()


@torch.no_grad()
def _repainting_error(generator: Differentiable, encoder: Encoder, image: Tensor) -> Tensor:
    """The mean squared error of each picture, painted again from what the encoder answers: [B]."""
    z, logits = encoder(image)
    made = generator(z, logits.softmax(1) if generator.classes else None)
    return (made - image).square().mean((1, 2, 3))


def _loss(
    generator: Differentiable,
    encoder: Encoder,
    image: Tensor,
    z: Tensor | None,
    labels: Tensor | None,
) -> Tensor:
    """How badly pictures are painted again from what the encoder answers.

    z, labels   what they come from, if it is known
    """
    answer, logits = encoder(image)
    loss = answer.new_zeros(())
    if generator.classes and labels is not None:
        loss = _CLASS_WEIGHT * cross_entropy(logits, labels)
    shown = (logits.softmax(1) if labels is None else labels) if generator.classes else None
    # Of a real picture nobody knows the latent, but how long latents are.
    far = length_error(answer) if z is None else (answer - z).square().mean()
    return loss + (generator(answer, shown) - image).square().mean() + _Z_WEIGHT * far


def length_error(z: Tensor) -> Tensor:
    """How far from sqrt Z, the length of nearly every normal latent, these are: mean, relative."""
    length = z.square().mean(1).add(1e-12).sqrt()
    return (length - 1).square().mean()


def _solve(linear: nn.Linear, x: Tensor, y: Tensor) -> None:
    """Make a layer the best linear map from x to y (ridge regression)."""
    x, y = x.double().cpu(), y.double().cpu()
    mean, centre = x.mean(0), y.mean(0)
    squares = (x - mean).T @ (x - mean)
    squares += (_RIDGE * len(x) + 1e-6) * torch.eye(len(squares), dtype=x.dtype)
    weight = torch.linalg.solve(squares, (x - mean).T @ (y - centre)).T
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(centre - weight @ mean)


def _small(image: Tensor) -> Tensor:
    return interpolate(image, (SMALL, SMALL), mode="area").flatten(1)
