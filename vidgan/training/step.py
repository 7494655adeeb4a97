"""One step of training: an update of the discriminator D, and one of the generator G.

B batch   H W pixels   r, f lists of D's logits on reals and on fakes
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from vidgan.config import AUTO
from vidgan.errors import DivergedError
from vidgan.networks import augment, losses, pixels
from vidgan.networks.base import growth_at
from vidgan.networks.losses import Maps
from vidgan.training import codes
from vidgan.training.average import update_average
from vidgan.training.batches import Batch, augmentation
from vidgan.training.state import Run
from vidgan.training.unrolled import Weights, ahead


@dataclass(frozen=True)
class Outcome:
    """What a step leaves for the log."""

    loss_d: Tensor
    loss_g: Tensor  # of the last step in which G learned
    gradient_d: Tensor  # norm over all weights
    gradient_g: Tensor
    r: Maps
    f: Maps
    fake: Tensor  # float32 [B, 3, H, W]


class Step:
    """A function that trains on one batch after another."""

    def __init__(self, run: Run) -> None:
        self._run, self._state, self._how = run, run.state, run.settings.train
        state = run.state
        self._generator = run.fabric.setup(state.generator)
        self._discriminator = run.fabric.setup(state.discriminator)
        self._weights, self._own = state.discriminator.map_weights, state.discriminator.own_maps
        self._loss, self._augmentation = losses.LOSSES[self._how.loss], augmentation(run)
        self._loss_g = self._gradient_g = torch.zeros(())
        self._grow()

    def __call__(self, batch: Batch) -> Outcome:
        state, how = self._state, self._how
        turn = state.images_seen // how.batch_size % how.discriminator_steps
        g_learns = turn == how.discriminator_steps - 1

        # D judges reals and fakes. Both are augmented alike.
        real = state.generator.limit_detail(pixels.to_float(batch.real))
        real = real.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(g_learns):
            fake = self._generator(*self._latents(batch, real))  # [B, 3, H, W]
        real_seen = self._augment(real, batch.draws_real)
        fake_seen = self._augment(fake, batch.draws_fake)
        with self._run.fabric.autocast():
            with torch.no_grad():
                real_seen = state.discriminator.sight(real_seen)
            fake_seen = state.discriminator.sight(fake_seen)
        r, mismatch = self._judge_reals(real_seen, batch)
        f = _float(self._discriminator(fake_seen, batch.classes))  # serves G, too

        # G learns to make fakes that D takes for real. Of D's weights there is no gradient here.
        if g_learns:
            with self._run.fabric.autocast():
                loss_g = self._loss_of_g(batch, r, f, real_seen, fake_seen)
            if state.codes is not None:
                told = state.generator.layout is not None
                far = codes.distance(fake, real, contrast=told, motion=how.motion)
                loss_g = loss_g + how.code_weight * far
            self._gradient_g = self._differentiate(loss_g, state.adam_g, retain_graph=True)
            self._loss_g = loss_g.detach()

        # D learns to tell reals from fakes. Of G's weights there is no gradient here.
        judged = self._loss.of_d(r, f, self._weights) + mismatch
        loss_d = judged + self._penalty(batch, real, fake)
        gradient_d = self._differentiate(loss_d, state.adam_d)

        # Both gradients are there before a weight changes, and are checked.
        self._check_finite(judged, loss_d, gradient_d)
        self._update(state.adam_d, *[state.adam_g] * g_learns)
        state.images_seen += how.batch_size
        update_average(self._run)
        self._grow()
        # What is logged must not keep the graph, and G's feature maps, until the next step.
        loss_d = loss_d.detach()
        r, f = ([x.detach() for x in maps[: self._own]] for maps in (r, f))
        if how.augment == "ada":
            self._adapt(self._loss.signs_on_reals(r, f).item(), len(batch.real))
        return Outcome(loss_d, self._loss_g, gradient_d, self._gradient_g, r, f, fake.detach())

    def _latents(self, batch: Batch, real: Tensor) -> tuple[Tensor | None, ...]:
        """Latents, classes, and the codes that take the place of some latents undrawn. Where motion
        matters, codes are drawn as well: so are all latents that a film is played from."""
        if self._state.codes is None:
            return batch.z, batch.classes, None
        made = codes.of_reals(real, self._state.codes, batch.z, self._state.generator)
        if self._how.motion:
            return torch.cat([made, batch.z[len(made) :]]), batch.classes, None
        return batch.z, batch.classes, made

    def _judge_reals(self, real: list[Tensor], batch: Batch) -> tuple[Maps, Tensor | float]:
        """Logits of reals, and D's loss for taking a real with a wrong class for a fake.

        Without it, D need not look at the class as long as fakes look wrong anyway, and G learns
        fine classes late (Reed et al. 2016, "Generative Adversarial Text to Image Synthesis", 4.2).
        """
        if not self._how.mismatch or batch.classes is None:
            return _float(self._discriminator(real, batch.classes)), 0.0
        both = torch.stack([batch.classes, batch.wrong])  # [2, B]: one look at the pictures
        r, wrong = zip(*_float(self._discriminator(real, both)), strict=True)
        return r, self._how.mismatch * self._loss.of_d(r, wrong, self._weights)

    def _penalty(self, batch: Batch, real: Tensor, fake: Tensor) -> Tensor | float:
        """The gradient penalty of D. It is computed on every n-th step and weighted n times.

        The gradient is by the pixels of the pictures before augmentation.
        """
        how, total = self._how, 0.0
        if self._state.images_seen // how.batch_size % how.penalty_every_steps:
            return total

        def judged(image: Tensor, draws: Tensor | None) -> tuple[Maps, Tensor]:
            leaf = image.detach().float().requires_grad_()
            with self._run.fabric.autocast():
                seen = self._augment(leaf, draws)
                return _float(self._state.discriminator.own_logits(seen, batch.classes)), leaf

        scaler = self._state.scaler
        scale = scaler.scale(torch.ones((), device=real.device)) if scaler else 1.0
        r1, r2 = self._run.knob("r1"), self._run.knob("r2")
        pairs = ((r1, real, batch.draws_real), (r2, fake, batch.draws_fake))
        for gamma, image, draws in pairs:
            if gamma:
                squared = losses.squared_gradient(*judged(image, draws), scale)
                total = total + gamma / 2 * squared.mean()
        if how.gradient_penalty:
            between = real.lerp(fake.float(), batch.share[:, None, None, None])
            penalty = losses.gradient_penalty(*judged(between, batch.draws_real), scale).mean()
            total = total + how.gradient_penalty * penalty
        return how.penalty_every_steps * total

    def _loss_of_g(
        self, batch: Batch, r: Maps, f: Maps, real: list[Tensor], fake: list[Tensor]
    ) -> Tensor:
        d, how = self._state.discriminator, self._how

        def judged(weights: Weights) -> list[Maps]:
            pictures = (real[0], fake[0])
            return [_float(functional_call(d, weights, (x, batch.classes))) for x in pictures]

        def loss_of_d(weights: Weights) -> Tensor:  # the gradient penalty is left out
            return self._loss.of_d(*judged(weights), self._weights)

        if how.unrolled_steps:
            r, f = judged(ahead(d, self._state.adam_d, loss_of_d, steps=how.unrolled_steps))
        else:
            r = [x.detach() for x in r]
        loss = self._loss.of_g(r, f, self._weights)
        if how.feature_matching:
            with torch.no_grad():
                wanted = d.features(real[0])
            distance = losses.feature_distance(wanted, d.features(fake[0]))
            loss = loss + how.feature_matching * distance
        return loss

    def _differentiate(
        self, loss: Tensor, adam: torch.optim.Adam, *, retain_graph: bool = False
    ) -> Tensor:
        """Fill the gradients of the weights of one network, and of no other. Returns their norm,
        without the scale of fp16."""
        weights = adam.param_groups[0]["params"]
        adam.zero_grad()
        self._run.fabric.backward(loss, inputs=weights, retain_graph=retain_graph)
        if self._state.scaler:
            self._state.scaler.unscale_(adam)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        return torch.stack(torch._foreach_norm(gradients)).norm().float()

    def _update(self, *adams: torch.optim.Adam) -> None:
        """Step all optimizers. Only then may the scale of fp16 change, because the gradients of all
        of them have the one that they were computed with."""
        scaler = self._state.scaler
        for adam in adams:
            scaler.step(adam) if scaler else adam.step()
        if scaler:
            scaler.update()

    def _augment(self, image: Tensor, draws: Tensor | None) -> Tensor:
        held = self._run.knob("augment_p")
        if draws is None or held == 0:
            return image
        if self._augmentation == "ada":
            p = self._state.ada[0].item() if held == AUTO else held
            seen = augment.ada_augment(image.float(), draws, p)
        else:
            seen = augment.diff_augment(image.float(), draws)
        return seen.contiguous(memory_format=torch.channels_last)

    def _adapt(self, signs: float, count: int) -> None:
        """Adapt ADA's p, every fourth batch, to how many reals D takes for real."""
        state, held = self._state, self._run.knob("augment_p")
        if held != AUTO:
            state.ada = torch.tensor([held, 0, 0])
            return
        state.ada += torch.tensor([0, signs, count])
        if state.ada[2] >= 4 * count:
            signs, images = self._run.fabric.all_reduce(state.ada[1:], reduce_op="sum").tolist()
            p = augment.adapted(state.ada[0].item(), signs / images, images=int(images))
            state.ada = torch.tensor([p, 0, 0])

    def _grow(self) -> None:
        if self._run.settings.model.grows:
            growth = growth_at(self._state.images_seen, self._how.grow_every_images)
            for network in (self._state.generator, self._state.discriminator, self._state.average):
                network.growth = growth

    def _check_finite(self, judged: Tensor, loss_d: Tensor, gradient_d: Tensor) -> None:
        """Raise DivergedError if training diverged, before a weight is NaN.

        With fp16, gradients and penalties may be infinite: the scaler then skips the step and
        halves the scale. If that does not help, the scale falls to nothing.
        """
        if scaler := self._state.scaler:
            total = judged + self._loss_g + 1 / scaler.scale(torch.ones_like(judged))
        else:
            total = loss_d + self._loss_g + gradient_d + self._gradient_g
        if not torch.isfinite(total):
            raise DivergedError(
                f"{self._run.folder}: training diverged after {self._state.images_seen:,} images: "
                f"a loss or gradient is NaN or infinite (loss of D {loss_d.item()}, of G "
                f"{self._loss_g.item()}). The last checkpoint is good. Start again with "
                "lower learning rates, or with --precision fp32."
            )


def _float(maps: Maps) -> Maps:
    """Logits as float32, whatever D computed in."""
    return [x.float() for x in maps]
