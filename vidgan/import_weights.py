"""A generator trained elsewhere: a plain state_dict of the common DCGAN becomes a model of vidgan.

The layers are told by number and shape, as in PyTorch's tutorial and examples (`main.0.weight`,
...). Only tensors are ever unpickled: a file that asks for anything else is refused.
"""

import pickle
import re
import warnings
from pathlib import Path

import torch

from vidgan import checkpoint, dcgan
from vidgan.config import ModelConfig
from vidgan.errors import ConfigError, ModelError

_NAME = re.compile(
    r"(?:module\.)?(?:\w+\.)?(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
_EXPECTED = (
    "expected the DCGAN of PyTorch's tutorial: main.0.weight [z, 8c, 4, 4], main.1.weight, .bias, "
    ".running_mean and .running_var [8c], main.3.weight [8c, 4c, 4, 4], and so on, halving, "
    "to main.12.weight [c, 3, 4, 4] (3 colours, or 1), for pictures of 64x64; with fewer or more "
    "layers of the same kind 32x32 to 256x256. Names may start with module."
)


def import_weights(source: Path, target: Path) -> ModelConfig:
    """Write `target` (generator.safetensors) from a state_dict. Raises ModelError."""
    state = _state_dict(source)
    try:
        tensors, model = _translated(state)
        generator = dcgan.Generator(model)
        checkpoint.load_into(source, generator, tensors)
    except (KeyError, IndexError, AttributeError, ConfigError, ModelError) as error:
        found = (
            ", ".join(f"{name} {list(x.shape)}" for name, x in [*state.items()][:4]) or "nothing"
        )
        raise ModelError(f"{source}: {_EXPECTED} Found: {found}, ...") from error
    checkpoint.save_generator(target, generator, model, facts={"imported_from": source.name})
    return model


def _state_dict(source: Path) -> dict[str, torch.Tensor]:
    if not source.is_file():
        raise ModelError(f"{source}: no such file.")
    try:
        with warnings.catch_warnings(action="ignore"):  # on pickle protocols
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{source}: refused, for it holds more than tensors (such files can run code), or is "
            "damaged. Save the weights alone: torch.save(netG.state_dict(), ...)."
        ) from error
    except Exception as error:  # damage makes torch's reader stumble in any way
        raise ModelError(f"{source}: not a file of torch.save ({error!r:.100}).") from error
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise ModelError(f"{source}: not a state_dict; {_EXPECTED}")
    return {str(name): tensor for name, tensor in content.items()}


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
