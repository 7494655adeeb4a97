"""The weights of a generator that was trained elsewhere become a generator.safetensors.

The layers follow from the tensors as far as they can (`layout`, `fit`); the rest is said, and can
be said otherwise. BatchNorm becomes a part of the layer before it.
"""

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vidgan.config import IMPORTED, ModelConfig
from vidgan.errors import ModelError, UsageError
from vidgan.generator import checkpoint, fit, layout, weights_file
from vidgan.networks import imported

logger = logging.getLogger(__name__)

_AVERAGED = re.compile(r"ema|average|avg|shadow", re.IGNORECASE)
_WRAPPER = re.compile(
    r"module|_orig_mod|model|net|(net|model)?_?g(en|enerator)?\d*(_\w+)?|\w*(ema|averaged?|avg)\w*",
    re.IGNORECASE,
)
_BAD_FIT = 0.5  # about a squared relative error


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the tensors do not say. None or () = choose, and say what was chosen."""

    key: str | None = None  # where in the file the generator is, for example state_dict.generator
    size: int | None = None  # side of the pictures
    activation: str | None = None  # relu, or leaky-relu:SLOPE
    output: str | None = None  # tanh, sigmoid or none
    upsample: str | None = None  # nearest, bilinear or bilinear-corners
    eps: tuple[float, ...] = ()  # of all BatchNorms, or of each


def import_weights(source: Path, target: Path, asked: Asked = Asked()) -> ModelConfig:
    """Write `target` (generator.safetensors) from the weights in `source`. Logs what was assumed.

    Raises ModelError.
    """
    activation = _activation(asked.activation)
    content = weights_file.contents(source)
    found, reasons = _generators(content, asked.size, most_bytes=source.stat().st_size)
    where = _chosen(source, found, reasons, content, asked.key)
    chains = found[where]
    parts = chains[0].parts
    for part in parts:
        named = {f"{part.name}.{key}": tensor for key, tensor in part.tensors.items()}
        checkpoint.check_finite(source, named)
    norms = sum(part.kind == "norm" for part in parts)
    if len(asked.eps) not in (0, 1, norms):
        raise UsageError(f"--eps: give one number, or {norms}, for so many BatchNorms.")
    result = fit.best(chains, activation=activation, upsample=asked.upsample, eps=asked.eps)
    steps, chain = result.choice.steps(), result.choice.chain
    layers, tensors = _folded(steps, chain.parts, asked.output or "tanh")
    model = ModelConfig(
        name=IMPORTED,
        width=chain.side,
        height=chain.side,
        z_dim=chain.z_dim,
        channels=0,
        colours=chain.colours,
        layers=tuple(layers),
    )
    generator = imported.Generator(model)
    checkpoint.load_into(source, generator, tensors)
    picture = generator.eval()(torch.zeros(1, model.z_dim))
    checkpoint.check_finite(source, {"what it makes": picture})
    checkpoint.save_generator(target, generator, model, facts={"imported_from": source.name})
    _say(result, asked, sorted({chain.side for chain in chains if chain.cost < chains[0].cost + 1}))
    return model


def _generators(
    content: dict[tuple[str, ...], object], size: int | None, *, most_bytes: int
) -> tuple[dict[str, list[layout.Chain]], dict[str, str]]:
    """The generators by their place in the file, and why other places hold none."""
    states: dict[tuple[str, ...], dict[str, Tensor]] = {}
    for way, item in content.items():
        if torch.is_tensor(item):
            states.setdefault(way[:-1], {})[way[-1]] = item
    found, reasons = {}, {}
    pending = list(states.items())
    while pending:
        way, state = pending.pop(0)
        # A few bytes can be repeated to a tensor of any size, which would be copied in full.
        if sum(t.numel() * t.element_size() for t in state.values()) > most_bytes:
            reasons[".".join(way)] = "its tensors are larger than the file"
            continue
        try:
            found[".".join(way)] = layout.chains(state, size)
        except ModelError as error:
            reasons[".".join(way)] = str(error)
            heads = dict.fromkeys(name.partition(".")[0] for name in state if "." in name)
            # A part alone, such as main without the label_emb beside it, is not the generator.
            for head in heads if len(heads) > 1 or len(state) > 1 else ():
                if _WRAPPER.fullmatch(head):
                    inner = {
                        n.partition(".")[2]: t for n, t in state.items() if n.startswith(f"{head}.")
                    }
                    pending.append(((*way, head), inner))
    return found, reasons


def _chosen(
    source: Path,
    found: dict[str, list[layout.Chain]],
    reasons: dict[str, str],
    content: dict[tuple[str, ...], object],
    key: str | None,
) -> str:
    """The place of the generator to take."""
    if key is not None:
        if key in found:
            return key
        reason = f" ({reasons[key]})" if key in reasons else ""
        known = ", ".join(f"--key {place}" if place else "one without --key" for place in found)
        raise ModelError(f"{source}: no generator at {key}{reason}; there is: {known or 'none'}.")
    if not found:
        named = [place for place in reasons if _WRAPPER.fullmatch(place.rpartition(".")[2])]
        reason = reasons.get(next(iter([*named, *reasons]), ""), "there are no tensors")
        raise ModelError(
            f"{source}: found {_summary(content)}; {reason}. vidgan imports plain chains of linear "
            "layers, convolutions, upsampling and BatchNorm; see export/README.md."
        )
    averaged = [place for place in found if _AVERAGED.search(place)]
    taken = averaged if len(averaged) == 1 else list(found)
    if len(taken) > 1:
        raise ModelError(
            f"{source}: holds {len(taken)} generators; choose one: "
            + ", ".join(f"--key {place}" for place in taken)
        )
    (place,) = taken
    if rest := [f"--key {other}" for other in found if other != place]:
        logger.info("took the averaged generator %s; others: %s", place, ", ".join(rest))
    return place


def _summary(content: dict[tuple[str, ...], object]) -> str:
    """The first names, each with the shape of its tensor or the type of its value."""
    words = [
        f"{'.'.join(way)[:60]} {list(item.shape) if torch.is_tensor(item) else f'({item})'}".strip()
        for way, item in [*content.items()][:6]
    ]
    return ", ".join(words + ["..."] * (len(content) > 6)) or "nothing"


def _activation(asked: str | None) -> str | None:
    """relu or leaky-relu:0.2 as a layer."""
    match = re.fullmatch(r"relu|leaky-relu(?::(0?\.\d+|0|1))?", asked or "relu")
    if not match:
        raise UsageError(f"--activation {asked}: relu, or leaky-relu:SLOPE with a slope below 1.")
    if asked and asked.startswith("leaky"):
        return f"leaky-relu {float(match[1] or 0.01):g}"  # torch's own default
    return asked


def _folded(
    steps: list[layout.Step], parts: tuple[layout.Part, ...], output: str
) -> tuple[list[str], dict[str, Tensor]]:
    """Layers of `vidgan.networks.imported` and their tensors, computed in float64."""
    layers: list[str] = []
    weights: list[tuple[Tensor, Tensor] | None] = []
    maps = ""  # C H W behind the last linear layer
    for text, number in steps:
        kind = text.partition(" ")[0]
        own = {} if number is None else {k: t.double() for k, t in parts[number].tensors.items()}
        if kind == "norm":
            factor = own["weight"] / (own["running_var"] + float(text.split()[1])).sqrt()
            addend = own["bias"] - own["running_mean"] * factor
            if weights[-1] is None:
                whole = maps if math.prod(map(int, maps.split() or [0])) == len(factor) else ""
                shape = whole or f"{len(factor)} 1 1"
                layers.append(f"scale {shape}")
                sides = [int(word) for word in shape.split()]
                weights.append((factor.reshape(sides), addend.reshape(sides)))
            else:
                weights[-1] = _scaled(layers[-1], *weights[-1], factor, addend)
            continue
        maps = text.removeprefix("linear ") if kind == "linear" else maps
        layers.append(text)
        weight = own.get("weight")
        outputs = 0 if weight is None else weight.shape[kind == "conv-transpose"]
        bias = own.get("bias", torch.zeros(outputs, dtype=torch.float64))
        weights.append(None if weight is None else (weight, bias))
    if output == "sigmoid":  # 2 sigmoid(x) - 1 = tanh(x / 2)
        weights[-1] = tuple(tensor / 2 for tensor in weights[-1])
    layers += ["tanh"] * (output != "none")
    names = ("weight", "bias")
    pairs = [(i, pair) for i, pair in enumerate(weights) if pair is not None]
    return layers, {
        f"layers.{i}.{name}": tensor.float()
        for i, pair in pairs
        for name, tensor in zip(names, pair, strict=True)
    }


def _scaled(
    layer: str, weight: Tensor, bias: Tensor, factor: Tensor, addend: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer with a BatchNorm behind it."""
    repeats = len(bias) // len(factor)  # above 1 for maps made by a linear layer
    factor, addend = factor.repeat_interleave(repeats), addend.repeat_interleave(repeats)
    axis = 1 if layer.startswith("conv-transpose") else 0
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return weight * factor.reshape(shape), bias * factor + addend


def _say(result: fit.Fit, asked: Asked, sides: list[int]) -> None:
    """Log the layers, what was measured, and what was only assumed."""
    choice, output = result.choice, asked.output or "tanh"
    layers = " > ".join(step.text for step in choice.steps())
    logger.info("read as: z %d > %s > %s", choice.chain.z_dim, layers, output)
    questions = {"activation": choice.activation, "upsample": choice.upsample}
    if not any(step.text == "upsample" for step in choice.chain.steps):
        del questions["upsample"]
    assumed = [] if asked.output else [f"--output {output} (or sigmoid, none)"]
    for name, taken in questions.items():
        if getattr(asked, name):
            continue
        rivals = result.rivals(name)
        words = f"--{name} {taken.replace(' ', ':')}"
        if rivals is None:
            assumed.append(words)
        elif rivals:
            others = " or ".join(rival.replace(" ", ":") for rival in rivals)
            assumed.append(f"{words} (as likely: {others})")
        else:
            logger.info("the statistics of BatchNorm tell: %s", words)
    if choice.eps and not asked.eps:
        values = choice.eps if len({*choice.eps}) > 1 else choice.eps[:1]
        assumed.append("--eps " + ",".join(f"{value:g}" for value in values))
    if len(sides) > 1 and not asked.size:
        others = " or ".join(str(side) for side in sides if side != choice.chain.side)
        assumed.append(f"--size {choice.chain.side} (possible: {others})")
    if assumed:
        logger.info("assumed; say otherwise if it is not so: %s", ", ".join(assumed))
    if choice.latents == "uniform":
        logger.warning(
            "it seems to be trained with latents uniform from -1 to 1; vidgan's are normal, so "
            "render with --truncation 0.58."
        )
    if result.misfit is not None and result.misfit > _BAD_FIT:
        logger.warning(
            "the statistics of BatchNorm fit no layers that vidgan knows (misfit %.2g), so that "
            "the pictures are probably wrong.",
            result.misfit,
        )
