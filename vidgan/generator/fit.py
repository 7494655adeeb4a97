"""Which of several chains the statistics of BatchNorm speak for.

A BatchNorm keeps mean and variance of what the layer before it made during training. Random latents
through the right chain make about the same; a wrong stride or activation makes others.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import batch_norm

from vidgan.generator.layout import Chain, Part, Step
from vidgan.latent import seeds
from vidgan.networks import imported

ACTIVATIONS = {
    "relu": 0.0,
    **{"leaky-relu 0.2": 0.2, "leaky-relu 0.01": 0.4, "leaky-relu 0.1": 0.9, "leaky-relu 0.3": 0.9},
}
LATENTS = {"normal": 0.0, "uniform": 0.5}  # N(0, 1), or from -1 to 1
UPSAMPLES = {"nearest": 0.0, "bilinear": 0.2, "bilinear-corners": 0.3}
EPS = {1e-5: 0.0, 0.8: 0.4}  # 0.8 stands in PyTorch-GAN, where it was meant for the momentum
_BEAM, _TRIED = 4, 48  # beginnings of chains that are kept, and tried, at each BatchNorm
_LARGEST_SIDE = 64  # of maps whose statistics are computed
_NUMBERS = 2**12  # of a map, over the batch
_DECADE = 4.0  # a misfit ten times as large weighs as much as this cost
_SURE = 2.0  # an answer with so many times the misfit is excluded
_NOISE = 1e-3  # misfit below it means nothing


class Choice(NamedTuple):
    """A chain with all that its tensors do not say."""

    chain: Chain
    activation: str
    upsample: str
    eps: tuple[float, ...]  # of each BatchNorm
    latents: str = "normal"  # of the training

    def steps(self) -> list[Step]:
        eps, texts = iter(self.eps), []
        for text, part in self.chain.steps:
            if text == "norm":
                text = f"norm {next(eps):g}"
            elif text == "activation":
                text = self.activation
            elif text == "upsample":
                text = f"upsample {self.upsample}"
            texts.append(Step(text, part))
        return texts


@dataclass(frozen=True)
class Fit:
    choice: Choice
    misfit: float | None  # mean over BatchNorms; None = none of them can tell
    others: dict[str, dict[str, float]]  # misfit with another activation, or upsampling

    def rivals(self, question: str) -> list[str] | None:
        """Other answers that fit about as well. None = nothing tells."""
        own = getattr(self.choice, question)
        others = {name: m for name, m in self.others.get(question, {}).items() if name != own}
        if self.misfit is None or len({self.misfit, *others.values()}) == 1:
            return None
        return [name for name, m in others.items() if m < _SURE * self.misfit + _NOISE]


def best(
    chains: list[Chain],
    *,
    activation: str | None = None,
    upsample: str | None = None,
    eps: tuple[float, ...] = (),
) -> Fit:
    """The likeliest choice. What is given is not chosen; one eps counts for all BatchNorms."""
    norms = sum(part.kind == "norm" for part in chains[0].parts)
    usual = (eps * norms if len(eps) == 1 else eps) or (1e-5,) * norms
    first = choice = Choice(chains[0], activation or "relu", upsample or "nearest", usual)
    # In PyTorch-GAN's DCGAN the first BatchNorm has the usual eps.
    each = [usual] if eps or not norms else [usual, (0.8,) * norms, (1e-5, *(0.8,) * (norms - 1))]
    ups = any(Step("upsample") in chain.steps for chain in chains)
    modes = list(UPSAMPLES) if ups and not upsample else [first.upsample]
    probe = _Probe()
    starts = {z: probe.way(first._replace(latents=z)).first for z in LATENTS}
    latents = list(LATENTS) if None in starts.values() else [min(starts, key=starts.get)]
    for _ in range(2):  # each question again, if another has got an unusual answer
        open_questions = itertools.product(chains, modes, latents)
        before = choice = probe.along(
            [choice._replace(chain=c, upsample=m, latents=z) for c, m, z in open_questions]
        )
        if not activation:
            choice = probe.cheapest(choice._replace(activation=name) for name in ACTIVATIONS)
        choice = probe.cheapest(choice._replace(eps=values) for values in each)
        if choice == before:
            break
    misfit, others = probe.misfit(choice), {}
    if misfit is not None:
        for question, answers in (("activation", ACTIVATIONS), ("upsample", UPSAMPLES)):
            changed = {name: choice._replace(**{question: name}) for name in answers}
            others[question] = {name: probe.misfit(other) for name, other in changed.items()}
    return Fit(choice, misfit, others)


class _Probe:
    """Random latents on their way through chains."""

    def cheapest(self, choices: Iterable[Choice]) -> Choice:
        return min(choices, key=lambda choice: self._cost(choice, self.misfit(choice)))

    def along(self, choices: list[Choice]) -> Choice:
        """The cheapest of many choices, by a beam search from BatchNorm to BatchNorm."""
        parts = choices[0].chain.parts
        alive = [(one, (one.latents, *one.steps())) for one in sorted(choices, key=self._cost)]
        ways = {(z,): _Way.start(choices[0]._replace(latents=z)) for z in LATENTS}
        for norm in (i for i, part in enumerate(parts) if part.kind == "norm"):
            groups: dict[tuple, list[tuple[Choice, tuple]]] = {}
            for choice, steps in alive:
                end = next(i for i, step in enumerate(steps[1:], 2) if step.part == norm)
                groups.setdefault(steps[:end], []).append((choice, steps))
            scored = []
            for start in itertools.islice(groups, _TRIED):
                done = next(n for n in range(len(start), -1, -1) if start[:n] in ways)
                way = ways[start[:done]].on(start[done:], parts)
                scored.append((self._cost(groups[start][0][0], way.misfit()), start, way))
            scored.sort(key=lambda one: one[0])
            ways = {start: way for _, start, way in scored[:_BEAM]}
            alive = [one for start in ways for one in groups[start]]
            alive.sort(key=lambda one: self._cost(one[0]))
        ends = [
            (choice, next(w.misfit() for s, w in ways.items() if steps[: len(s)] == s))
            for choice, steps in alive
        ]
        return min(ends, key=lambda end: self._cost(*end))[0]

    def misfit(self, choice: Choice) -> float | None:
        return self.way(choice).misfit()

    def way(self, choice: Choice) -> "_Way":
        return _Way.start(choice).on(choice.steps(), choice.chain.parts)

    def _cost(self, choice: Choice, misfit: float | None = None) -> float:
        cost = choice.chain.cost + ACTIVATIONS.get(choice.activation, 0.0)
        cost += (
            LATENTS[choice.latents]
            + UPSAMPLES[choice.upsample]
            + sum(EPS.get(eps, 0.0) for eps in set(choice.eps))
        )
        return cost + _DECADE * math.log10((misfit or 0.0) + _NOISE)


class _Way(NamedTuple):
    """Random latents on their way through a chain."""

    x: Tensor
    done: int = 0  # steps
    # The misfit of a BatchNorm right behind the first layer, whose input is the same in all chains,
    # and the misfits of the others.
    first: float | None = None
    misfits: tuple[float, ...] = ()

    @classmethod
    def start(cls, choice: Choice) -> "_Way":
        z = torch.from_numpy(seeds.gaussian(0, np.arange(_NUMBERS), z_dim=choice.chain.z_dim))
        # A sum over many components of uniform latents is nearly normal, with a third of the
        # variance.
        return cls(z[:, :, None, None] * (3**-0.5 if choice.latents == "uniform" else 1))

    def misfit(self) -> float | None:
        return sum(self.misfits) / len(self.misfits) if self.misfits else None

    @torch.inference_mode()
    def on(self, steps: Sequence[Step], parts: Sequence[Part]) -> "_Way":
        x, done, first, misfits = self
        for step in steps:
            done += 1
            if x.shape[2] > _LARGEST_SIDE:
                break
            own = parts[step.part].tensors if step.part is not None else {}
            if step.text.startswith("norm"):
                x = _fewer(x, *x.shape[2:])
                found = _misfit(x, own)
                first, misfits = (found, ()) if done == 2 else (first, (*misfits, found))
                x = _normalized(x, own, float(step.text.split()[1]))
                continue
            with torch.device("meta"):  # its own weights are not used
                layer, (_, height, width) = imported.layer(step.text, tuple(x.shape[1:]))
            if own:
                outputs = own["weight"].shape[step.text.startswith("conv-transpose")]
                own = {"bias": torch.zeros(outputs), **own}
            x = functional_call(layer, own, _fewer(x, height, width))
        return _Way(x, done, first, misfits)


def _misfit(x: Tensor, own: dict[str, Tensor]) -> float:
    """How far mean and variance of [B, C, S, S] are from those kept: about a squared relative
    error, of at most 4."""
    x = x.reshape(len(x), len(own["running_mean"]), -1)
    variance, mean = torch.var_mean(x, (0, 2))
    least = 1e-3 * own["running_var"].mean() + 1e-12
    kept = own["running_var"] + least
    of_variance = 0.5 * (torch.log(variance + least) - torch.log(kept)).square()
    of_mean = (mean - own["running_mean"]).square() / kept
    return (of_variance + of_mean).clamp_max(4).mean().item()


def _fewer(x: Tensor, height: int, width: int) -> Tensor:
    """Enough rows for the statistics of maps of a size."""
    return x[: max(8, _NUMBERS // (height * width))]


def _normalized(x: Tensor, own: dict[str, Tensor], eps: float) -> Tensor:
    """A BatchNorm as in training, with the statistics of the batch."""
    flat, weight, bias = x.reshape(len(x), len(own["weight"]), -1), own["weight"], own["bias"]
    return batch_norm(flat, None, None, weight, bias, training=True, eps=eps).reshape(x.shape)
