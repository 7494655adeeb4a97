"""How good a generator, or any pictures, are: distances to the pictures they should look like.

Distances in the features of EfficientNet-Lite0 always; FID and its kin by torch-fidelity where they
are asked for and the standard weights are on this machine. Nothing is downloaded.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from vidgan import config, data, latents, named_sets, synthesis
from vidgan.config import DataConfig
from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.features import DISTANCE, Lite0, frechet, kid, recall
from vidgan.validation import reals_of

_CHUNK = 64
_HOME = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
_VGG, _LPIPS = "vgg16-397923af.pth", "weights-vgg16-lpips.pth"
WEIGHTS = {  # a file's name in torch's cache: where a person gets it, and its SHA-256
    _INCEPTION: (_HOME, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"),
    _VGG: (
        "https://download.pytorch.org/models/",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    _LPIPS: (_HOME, "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
}
STANDARD = {  # the metrics of torch-fidelity, and the weights each needs
    **dict.fromkeys(("fid", "kid", "is"), (_INCEPTION,)),
    "pr": (_VGG,),
    **dict.fromkeys(("ppl", "lpips"), (_VGG, _LPIPS)),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures that are made or read when they are asked for."""

    name: str
    count: int
    frames: Callable[[np.ndarray], np.ndarray]  # numbers int64 [B] -> uint8 [B, H, W, 3]

    def __getitem__(self, number: int) -> object:
        """For torch-fidelity: a tensor uint8 [3, H, W]."""
        import torch

        return torch.from_numpy(self.frames(np.array([number]))[0].transpose(2, 0, 1).copy())


def evaluate(
    made: Path | None,
    against: str | None,
    *,
    count: int,
    seed: int,
    metrics: Sequence[str],
    inception: Path | None,
    notice: Callable[[str], None],
) -> list[str]:
    """One line per metric. `made`: a model file, or pictures as `vidgan train` takes them.

    Raises UsageError, DataError, ModelError, and SystemFault for what is not installed or not here.
    """
    if unknown := set(metrics) - STANDARD.keys():
        raise UsageError(f"--metrics {min(unknown)}: known are {', '.join(STANDARD)}.")
    weights = {name: _weights(name, inception) for metric in metrics for name in STANDARD[metric]}
    fakes, reals, generator = _opened(made, against, seed, notice)
    if generator is None and "ppl" in metrics:
        raise UsageError("--metrics ppl: pictures have no latents; it takes a model.")
    count = min(count, fakes.count, reals.count // 2)
    if count < 10:
        raise DataError(f"{reals.name}: {reals.count} pictures are too few to compare with.")
    notice(f"{fakes.name} against {reals.name}, {count:,} pictures each")
    lines = _in_lite0(fakes, reals, count)
    return lines + (_standard(fakes, reals, generator, count, metrics, weights) if metrics else [])


def _in_lite0(fakes: Pictures, reals: Pictures, count: int) -> list[str]:
    lite0 = Lite0()

    def features(pictures: Pictures, first: int) -> np.ndarray:
        numbers = np.arange(first, first + count)
        chunks = [numbers[i : i + _CHUNK] for i in range(0, count, _CHUNK)]
        return np.concatenate([lite0(pictures.frames(chunk)) for chunk in chunks])

    x, y, z = features(fakes, 0), features(reals, 0), features(reals, count)
    return [
        f"{DISTANCE} {frechet(x, y):.2f} (N = {count}; real against real {frechet(y, z):.2f})",
        f"KID-Lite0-320 x 1000 {1000 * kid(x, y):.2f} (real against real {1000 * kid(y, z):.2f})",
        f"precision-Lite0-320 {recall(x, y):.3f}, recall-Lite0-320 {recall(y, x):.3f} "
        f"(real against real {recall(y, z):.3f})",
    ]


def _opened(
    made: Path | None, against: str | None, seed: int, notice: Callable[[str], None]
) -> tuple[Pictures, Pictures, synthesis.Synthesize | None]:
    suffix = made.suffix.lower() if made else ".safetensors"
    if suffix not in (".safetensors", ".onnx"):
        if not against:
            raise UsageError(f"{made}: say what to compare it with: vidgan evaluate {made} reals/")
        wanted = DataConfig(source=against)
        width, height = data.native_size(wanted)
        one, other = (
            data.open_dataset(of, width=width, height=height, notice=notice)
            for of in (DataConfig(source=str(made)), wanted)
        )
        return _read(str(made), one), _read(against, other), None
    model, name = synthesis.find_model(made)
    generator = synthesis.open_generator(model)
    wanted = DataConfig(source=against) if against else _data_of(model, shipped=made is None)
    size = {"width": generator.width, "height": generator.height}
    dataset = data.open_dataset(wanted, **size, notice=notice)
    return _made(name, generator, dataset, seed), _read(wanted.source, dataset), generator


def _data_of(model: Path, *, shipped: bool) -> DataConfig:
    """What the run in whose folder the model lies trained on."""
    settings = model.with_name("config.toml")
    if settings.is_file():
        return config.load(settings).data
    if shipped:
        return DataConfig()
    raise UsageError(f"{model}: say what to compare it with: vidgan evaluate {model} reals/")


def _read(name: str, dataset: data.Dataset) -> Pictures:
    numbers = reals_of(dataset, len(dataset.images))

    def frames(of: np.ndarray) -> np.ndarray:
        return data.batch(dataset, numbers[of]).transpose(0, 2, 3, 1)

    return Pictures(name, len(numbers), frames)


def _made(name: str, generator: synthesis.Synthesize, dataset: data.Dataset, seed: int) -> Pictures:
    """Of the classes of the pictures it is compared with, where they are its own."""
    numbers, own = reals_of(dataset, len(dataset.images)), dataset.class_names
    classes = generator.classes

    def frames(of: np.ndarray) -> np.ndarray:
        z, weights = latents.gaussian(seed, of, z_dim=generator.z_dim), None
        if classes:
            labels = dataset.labels[numbers[of]] if own == generator.class_names else of % classes
            weights = np.eye(classes, dtype=np.float32)[labels]
        return generator(z, weights)

    return Pictures(name, 2**31, frames)


def _weights(name: str, given: Path | None) -> Path:
    """A file that is here, whole, and nothing but tensors."""
    import torch

    (where, sha256), path = WEIGHTS[name], Path(torch.hub.get_dir()) / "checkpoints" / name
    if given and name == _INCEPTION:
        path = given
    if not path.is_file():
        raise SystemFault(f"{path} is missing; get it from {where}{name}, vidgan does not.")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise SystemFault(f"{path}: not the standard weights; get them from {where}{name}.")
    return path


def _standard(
    fakes: Pictures,
    reals: Pictures,
    generator: synthesis.Synthesize | None,
    count: int,
    metrics: Sequence[str],
    weights: dict[str, Path],
) -> list[str]:
    """By torch-fidelity, which finds in torch's cache what `_weights` has found there."""
    import torch

    try:
        named_sets.import_torchvision()
        import torch_fidelity
    except ImportError as error:
        raise SystemFault(
            "--metrics needs torch-fidelity: pip install 'vidgan[metrics]'"
        ) from error

    one, other = (torch.utils.data.Subset(pictures, range(count)) for pictures in (fakes, reals))
    how = {"cuda": torch.cuda.is_available(), "cache": False, "verbose": False}
    how |= {"save_cpu_ram": True, "input1": one, "input2": other}
    found = {}
    inception = {"fid": "fid", "kid": "kid", "is": "isc"}
    if asked := {inception[metric]: True for metric in metrics if metric in inception}:
        path, subset = str(weights[_INCEPTION]), min(1000, count)
        found |= torch_fidelity.calculate_metrics(
            **how, **asked, feature_extractor_weights_path=path, kid_subset_size=subset
        )
    if "pr" in metrics:
        found |= torch_fidelity.calculate_metrics(**how, prc=True)
    if "ppl" in metrics:
        found["ppl"] = _path_length(torch_fidelity, generator, count, how)
    if "lpips" in metrics:
        lpips = torch_fidelity.SampleSimilarityLPIPS("lpips")
        pairs = torch.stack([one[i] for i in range(2 * (count // 2))]).unflatten(0, (-1, 2))
        with torch.inference_mode():
            found["lpips"] = torch.cat([lpips(*pair.split(1)) for pair in pairs]).mean().item()
    return [f"{name} {value:.4f} (N = {count})" for name, value in found.items()]


def _path_length(
    torch_fidelity: ModuleType, generator: synthesis.Synthesize, count: int, how: dict[str, object]
) -> float:
    """Mean of what lies between the 1st and 99th percentile, as torch-fidelity itself has it with
    an older NumPy. Steps of 0.01, as frames are whole grey levels; of classes the first."""
    import torch

    class Model(torch_fidelity.GenerativeModelBase):
        z_size, z_type, num_classes = generator.z_dim, "normal", 0

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            frames = generator(z.cpu().numpy()).transpose(0, 3, 1, 2)
            return torch.from_numpy(frames.copy()).to(z.device)

    raw = torch_fidelity.calculate_metrics(
        **{**how, "input1": Model(), "input2": None, "input1_model_num_samples": count},
        **{"ppl": True, "ppl_epsilon": 0.01, "ppl_reduction": "none"},
        **{"ppl_discard_percentile_lower": None, "ppl_discard_percentile_higher": None},
    )[torch_fidelity.KEY_METRIC_PPL_RAW]
    low, high = np.percentile(raw, (1, 99))
    return float(raw[(raw >= low) & (raw <= high)].mean())
