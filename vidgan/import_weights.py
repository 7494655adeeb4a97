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

_KEY = re.compile(
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
    layers = _layers(source, _tensors(source))
    try:
        tensors, model = _translated(layers)
        generator = dcgan.Generator(model)
        checkpoint.load_into(source, generator, tensors)
    except (KeyError, IndexError, ConfigError, ModelError) as error:
        shapes = ", ".join(f"{n}.weight {list(x['weight'].shape)}" for n, x in layers.items())
        raise ModelError(f"{source}: {_EXPECTED} Found: {shapes}.") from error
    checkpoint.save_generator(target, generator, model, facts={"imported_from": source.name})
    return model


def _tensors(source: Path) -> dict[str, torch.Tensor]:
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
    for key in ("state_dict", "generator", "netG", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise ModelError(f"{source}: not a state_dict; {_EXPECTED}")
    return content


def _layers(source: Path, tensors: dict[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    """Parameters by number of layer, in order."""
    layers: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(str(key))
        if not match:
            raise ModelError(f"{source}: {_EXPECTED} Found: {str(key)[:60]}.")
        layers.setdefault(int(match[1]), {})[match[2]] = tensor.float()
    if not layers or not all("weight" in layer for layer in layers.values()):
        raise ModelError(f"{source}: {_EXPECTED}")
    return dict(sorted(layers.items()))


def _translated(
    layers: dict[int, dict[str, torch.Tensor]],
) -> tuple[dict[str, torch.Tensor], ModelConfig]:
    """Names and numbers of vidgan's own DCGAN, and its sizes."""
    convolutions = [layer for layer in layers.values() if layer["weight"].ndim == 4]
    norms = [layer for layer in layers.values() if layer["weight"].ndim == 1]
    side = 4 * 2 ** (len(convolutions) - 1)
    z_dim, channels = convolutions[0]["weight"].shape[0], convolutions[-1]["weight"].shape[0]
    model = ModelConfig(width=side, height=side, z_dim=z_dim, channels=channels)
    tensors = {}
    for number, layer in enumerate(convolutions):
        tensors[f"layers.{3 * number}.weight"] = layer["weight"]
    for number, layer in enumerate(norms):
        # A bias ahead of BatchNorm only shifts what that takes off again.
        shift = convolutions[number].get("bias", torch.zeros(()))
        layer["running_mean"] = layer["running_mean"] - shift
        layer.setdefault("num_batches_tracked", torch.tensor(0))
        tensors |= {f"layers.{3 * number + 1}.{key}": value for key, value in layer.items()}
    last = f"layers.{3 * len(convolutions) - 3}"
    colours = tensors[f"{last}.weight"].shape[1]
    bias = convolutions[-1].get("bias", torch.zeros(colours))
    grey = colours == 1
    tensors[f"{last}.weight"] = tensors[f"{last}.weight"].repeat(1, 3 if grey else 1, 1, 1)
    tensors[f"{last}.bias"] = bias.repeat(3 if grey else 1)
    return tensors, model
