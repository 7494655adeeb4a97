"""The state_dict of a DCGAN that was trained elsewhere becomes a generator.safetensors.

Layers are recognised by numbers and shapes, as in PyTorch's tutorial (`main.0.weight`, ...). A file
that holds more than tensors is refused, because unpickling it could run code.
"""

import contextlib
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from vidgan.config import ModelConfig
from vidgan.disk.files import check_file
from vidgan.errors import ConfigError, ModelError
from vidgan.generator import checkpoint
from vidgan.networks import dcgan

_NAME = re.compile(
    r"(?:module\.)?(?:\w+\.)?(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
# What `_translated` and loading raise for the layers of another network.
_OTHER_LAYERS = (KeyError, IndexError, AttributeError, RuntimeError, ConfigError, ModelError)
_EXPECTED = (
    "expected the DCGAN of PyTorch's tutorial: main.0.weight [z, 8c, 4, 4], main.1.weight, .bias, "
    ".running_mean and .running_var [8c], main.3.weight [8c, 4c, 4, 4], and so on, halving, "
    "to main.12.weight [c, 3, 4, 4] (3 colours, or 1), for pictures of 64x64; with fewer or more "
    "layers of the same kind 32x32 to 256x256. Names may start with module., and the whole may be "
    "wrapped, as in {'netG': ...}."
)


def import_weights(source: Path, target: Path) -> ModelConfig:
    """Write `target` (generator.safetensors) from a state_dict. Raises ModelError."""
    content = _content(source)
    fitting = {}
    for where, state in _state_dicts(content):
        # A few bytes can be repeated to a tensor of any size, which would be copied in full.
        if sum(t.numel() * t.element_size() for t in state.values()) > source.stat().st_size:
            continue
        with contextlib.suppress(*_OTHER_LAYERS):
            tensors, model = _translated(state)
            generator = dcgan.Generator(model)
            checkpoint.load_into(source, generator, tensors)
            fitting[where] = generator, model
    if not fitting:
        raise ModelError(f"{source}: found {_summary(content)}; {_EXPECTED}")
    if len(fitting) > 1:
        where = ", ".join(fitting)
        raise ModelError(f"{source}: holds {len(fitting)} generators ({where}); save only one.")
    ((generator, model),) = fitting.values()
    checkpoint.check_finite(source, generator.state_dict())
    picture = generator.eval()(torch.zeros(1, model.z_dim))
    checkpoint.check_finite(source, {"what it makes": picture})
    checkpoint.save_generator(target, generator, model, facts={"imported_from": source.name})
    return model


def _state_dicts(content: dict, where: str = "", depth: int = 3) -> Iterator[tuple[str, dict]]:
    """Every possible state_dict with its place: the content itself, and each dict inside it."""
    if content and all(map(torch.is_tensor, content.values())):
        yield where, {str(name): tensor for name, tensor in content.items()}
    for name, inner in content.items():
        if isinstance(inner, dict) and depth:
            yield from _state_dicts(inner, f"{where}[{name!r}]", depth - 1)


def _summary(content: dict) -> str:
    """The first keys, each with the shape of its tensor or the type of its value."""
    first = [*content.items()][:6]
    kinds = [list(x.shape) if torch.is_tensor(x) else f"({type(x).__name__})" for _, x in first]
    words = [f"{str(name)[:60]} {kind}" for (name, _), kind in zip(first, kinds, strict=True)]
    return ", ".join(words + ["..."] * (len(content) > len(first))) or "nothing"


def _content(source: Path) -> dict:
    check_file(source)
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickle protocols
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{source}: refused, because it is damaged or holds more than tensors (such files can "
            "run code). Save only the weights: torch.save(netG.state_dict(), ...)."
        ) from error
    except Exception as error:  # torch raises all kinds of errors for damaged files
        raise ModelError(f"{source}: not a file of torch.save, or damaged.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{source}: holds a {type(content).__name__}; {_EXPECTED}")
    return content


def _translated(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], ModelConfig]:
    """Tensors and sizes for vidgan's own DCGAN. An error means that the layers are others."""
    layers: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        number, key = _NAME.fullmatch(name).groups()
        layers.setdefault(int(number), {})[key] = tensor.float()
    in_order = [layer for _, layer in sorted(layers.items())]
    ups = [layer for layer in in_order if layer["weight"].ndim == 4]
    norms = [layer for layer in in_order if layer["weight"].ndim == 1]
    side, z_dim = 4 * 2 ** (len(ups) - 1), ups[0]["weight"].shape[0]
    channels, colours = ups[-1]["weight"].shape[:2]
    model = ModelConfig(width=side, height=side, z_dim=z_dim, channels=channels)
    tensors = {f"layers.{3 * i}.weight": layer["weight"] for i, layer in enumerate(ups)}
    for i, norm in enumerate(norms):
        # The bias of the layer before only shifts the mean that BatchNorm subtracts.
        norm["running_mean"] = norm["running_mean"] - ups[i].get("bias", torch.zeros(()))
        norm.setdefault("num_batches_tracked", torch.tensor(0))
        tensors |= {f"layers.{3 * i + 1}.{key}": value for key, value in norm.items()}
    last = f"layers.{3 * len(ups) - 3}"
    copies = 3 if colours == 1 else 1  # a grey picture has three equal channels
    tensors[f"{last}.weight"] = tensors[f"{last}.weight"].repeat(1, copies, 1, 1)
    tensors[f"{last}.bias"] = ups[-1].get("bias", torch.zeros(colours)).repeat(copies)
    return tensors, model
