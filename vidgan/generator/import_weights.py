"""A generator trained elsewhere: a plain state_dict of the common DCGAN becomes a model of vidgan.

The layers are told by number and shape, as in PyTorch's tutorial and examples (`main.0.weight`,
...). Only tensors are ever unpickled: a file that asks for anything else is refused.
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
# What `_translated` and loading stumble over where the layers are others.
_UNLIKE = (KeyError, IndexError, AttributeError, RuntimeError, ConfigError, ModelError)
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
        with contextlib.suppress(*_UNLIKE):
            tensors, model = _translated(state)
            generator = dcgan.Generator(model)
            checkpoint.load_into(source, generator, tensors)
            fitting[where] = generator, model
    if not fitting:
        raise ModelError(f"{source}: found {_told(content)}; {_EXPECTED}")
    if len(fitting) > 1:
        raise ModelError(
            f"{source}: holds {len(fitting)} generators ({', '.join(fitting)}); save the one you "
            "want alone: torch.save(checkpoint[...], ...)."
        )
    ((generator, model),) = fitting.values()
    checkpoint.save_generator(target, generator, model, facts={"imported_from": source.name})
    return model


def _state_dicts(content: dict, where: str = "", depth: int = 3) -> Iterator[tuple[str, dict]]:
    """What may be a state_dict, and its place: the content itself, and every dict inside it."""
    if content and all(map(torch.is_tensor, content.values())):
        yield where, {str(name): tensor for name, tensor in content.items()}
    for name, inner in content.items():
        if isinstance(inner, dict) and depth:
            yield from _state_dicts(inner, f"{where}[{name!r}]", depth - 1)


def _told(content: dict) -> str:
    """The first keys, with shapes where they are of tensors."""
    first = [*content.items()][:6]
    kinds = [list(x.shape) if torch.is_tensor(x) else f"({type(x).__name__})" for _, x in first]
    told = [f"{str(name)[:60]} {kind}" for (name, _), kind in zip(first, kinds, strict=True)]
    return ", ".join(told + ["..."] * (len(content) > len(first))) or "nothing"


def _content(source: Path) -> dict:
    check_file(source)
    try:
        with warnings.catch_warnings(action="ignore"):  # on pickle protocols
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{source}: refused, for it holds more than tensors (such files can run code), or is "
            "damaged. Save the weights alone: torch.save(netG.state_dict(), ...)."
        ) from error
    except Exception as error:  # damage makes torch's reader stumble in any way
        raise ModelError(f"{source}: not a file of torch.save, or damaged.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{source}: holds a {type(content).__name__}; {_EXPECTED}")
    return content


def _translated(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], ModelConfig]:
    """Names and numbers of vidgan's own DCGAN, and its sizes. Any error: another layout."""
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
        # A bias ahead of BatchNorm only shifts what that takes off again.
        norm["running_mean"] = norm["running_mean"] - ups[i].get("bias", torch.zeros(()))
        norm.setdefault("num_batches_tracked", torch.tensor(0))
        tensors |= {f"layers.{3 * i + 1}.{key}": value for key, value in norm.items()}
    last = f"layers.{3 * len(ups) - 3}"
    copies = 3 if colours == 1 else 1  # grey
    tensors[f"{last}.weight"] = tensors[f"{last}.weight"].repeat(1, copies, 1, 1)
    tensors[f"{last}.bias"] = ups[-1].get("bias", torch.zeros(colours)).repeat(copies)
    return tensors, model
