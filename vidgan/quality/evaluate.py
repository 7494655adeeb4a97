"""How far a generator's pictures, or any pictures, are from those that they should look like.

Distances in the features of EfficientNet-Lite0 are always measured. FID and its kin are measured by
torch-fidelity where they are asked for, with weights that are on this machine: nothing is fetched.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from vidgan import config
from vidgan.data import downloads
from vidgan.data.cache import Dataset, native_size, open_dataset
from vidgan.data.order import fixed_sample
from vidgan.data.sources import find
from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.film import alpha
from vidgan.generator import runs, synthesis
from vidgan.latent import seeds
from vidgan.networks.device import chosen
from vidgan.quality import patches
from vidgan.quality.distances import frechet, kid, recall, variety
from vidgan.quality.features import DISTANCE, Lite0

logger = logging.getLogger(__name__)
_CHUNK, _LEAST = 64, 10  # pictures at a time, and the fewest that are compared
_MOST_IN_PATCHES = 1000  # which lie in memory at once
_RELEASE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
_INCEPTION = f"{_RELEASE}/weights-inception-2015-12-05-6726825d.pth"
_VGG = "https://download.pytorch.org/models/vgg16-397923af.pth"
_LPIPS = f"{_RELEASE}/weights-vgg16-lpips.pth"
SHA256 = {
    _INCEPTION: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    _VGG: "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    _LPIPS: "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}
MEANING = """\
FD, KID: how far the made pictures are from the real ones; lower is better.
Precision: the share of made ones that could be real; higher is better.
Recall: the share of real ones that could be made; higher is better.
Variety: how much the made ones differ, beside the real ones; near 1 is best.
Patches, layout, colour: how far details (fine to coarse), the arrangement and
the colours are from the real ones; lower is better.
Coverage: the share of real ones whose arrangement is made; higher is better.
Real against real: what other real pictures get, the best to hope for."""
STANDARD = {  # the metrics of torch-fidelity, and the weights each needs
    **dict.fromkeys(("fid", "kid", "is"), (_INCEPTION,)),
    "pr": (_VGG,),
    **dict.fromkeys(("ppl", "lpips"), (_VGG, _LPIPS)),
}


@dataclass(frozen=True)
class _Pictures:
    """Pictures by number, which are made or read when they are asked for."""

    frames: Callable[[np.ndarray], np.ndarray]  # numbers int64 [B] -> uint8 [B, H, W, 3]

    def __getitem__(self, number: int) -> object:
        """For torch-fidelity: a tensor uint8 [3, H, W]."""
        return torch.from_numpy(self.frames(np.array([number]))[0].transpose(2, 0, 1).copy())


def evaluate(
    made: Path | None,
    against: str | None,
    *,
    count: int,
    seed: int,
    metrics: Sequence[str],
    inception: Path | None,
    device: str = "auto",
) -> list[str]:
    """Compare `made` with `against`, and report each metric on a line.

    made       a model as `find_model` takes it, or pictures as `vidgan train` does
    against    pictures as `vidgan train` takes them; None: what the model was trained on
    count      pictures on each side, or fewer where there are not as many
    metrics    names in STANDARD, measured by torch-fidelity
    inception  file of Inception's weights; None: torch's own cache
    device     of the generator and of torch-fidelity: auto, cpu, cuda or mps
    """
    made = made and runs.named_run(made)
    generator, name = None, str(made)
    if not made or runs.is_model(made):
        model, name = runs.find_model(made)
        generator = synthesis.open_generator(model, device=device)
        against = against or runs.trained_on(model)
    _check_metrics(metrics, generator, inception)
    if count < _LEAST:
        raise UsageError(f"--count {count}: at least {_LEAST}, better 1000.")
    if not against:
        if not made.exists():
            raise UsageError(f"{made}: there is no such file or folder.")
        raise UsageError(f"{made}: say what to compare it with: vidgan evaluate {made} reals/")
    wanted = config.DataConfig(source=against) if isinstance(against, str) else against
    if generator and generator.planes == 4:  # both in front of the same ground
        wanted = replace(wanted, alpha=True)
    own, lite0 = config.DataConfig(source=name), Lite0()
    if not generator:
        find(own)  # which refuses it before anything is decoded, as Lite0 does without its extra
    width, height = (generator.width, generator.height) if generator else native_size(wanted)
    reals = open_dataset(wanted, width=width, height=height)
    count = min(count, len(reals) // 2)
    if generator:
        fakes = _made(generator, reals, seed)
    else:
        others = open_dataset(own, width=width, height=height)
        fakes, count = _read(others), min(count, len(others))
    if count < _LEAST:
        raise DataError(f"{name} against {wanted.source}: too few pictures to compare ({count}).")
    logger.info(f"{name} against {wanted.source}, {count:,} pictures each")
    lines = _in_lite0(lite0, fakes, _read(reals), count) + _in_patches(fakes, _read(reals), count)
    if metrics:
        lines += _standard(fakes, _read(reals), generator, count, metrics, inception, device)
    return lines


def _in_lite0(lite0: Lite0, fakes: _Pictures, reals: _Pictures, count: int) -> list[str]:
    def features(pictures: _Pictures, first: int) -> np.ndarray:
        numbers = np.arange(first, first + count)
        chunks = [numbers[i : i + _CHUNK] for i in range(0, count, _CHUNK)]
        return np.concatenate([lite0(pictures.frames(chunk)) for chunk in chunks])

    x, y, z = features(fakes, 0), features(reals, 0), features(reals, count)
    return [
        f"{DISTANCE} {frechet(x, y):.1f} (N = {count}; real against real {frechet(y, z):.1f})",
        f"KID-Lite0-320 {kid(x, y):.3f} (real against real {kid(y, z):.3f})",
        f"precision-Lite0-320 {recall(x, y):.3f}, recall-Lite0-320 {recall(y, x):.3f} "
        f"(real against real {recall(y, z):.3f})",
        f"variety-Lite0-320 {variety(y, x):.3f} (real against real {variety(y, z):.3f})",
    ]


def _in_patches(fakes: _Pictures, reals: _Pictures, count: int) -> list[str]:
    count = min(count, _MOST_IN_PATCHES)
    starts = (0, 0, count)
    x, y, z = (
        pictures.frames(np.arange(start, start + count))
        for pictures, start in zip((fakes, reals, reals), starts, strict=True)
    )
    floor = patches.patch_distances(z, y)
    return [
        f"{patches.patch_distances(y, x)} (N = {count}; real against real mean {floor.mean:.0f})",
        f"coverage-layout {patches.layout_coverage(y, x):.3f} "
        f"(real against real {patches.layout_coverage(y, z):.3f})",
    ]


def _read(dataset: Dataset) -> _Pictures:
    numbers = fixed_sample(dataset, len(dataset))
    return _Pictures(lambda of: alpha.judged(dataset.take(numbers[of])))


def _made(generator: synthesis.Synthesize, dataset: Dataset, seed: int) -> _Pictures:
    """Fakes of the same classes as the reals they are compared with, where the model has these."""
    numbers, classes = fixed_sample(dataset, len(dataset)), generator.classes
    same = classes and dataset.class_names == generator.class_names

    def frames(of: np.ndarray) -> np.ndarray:
        z, weights = seeds.gaussian(seed, of, z_dim=generator.z_dim), None
        if classes:
            labels = dataset.labels[numbers[of]] if same else of % classes
            weights = np.eye(classes, dtype=np.float32)[labels]
        return alpha.judged(generator(z, weights))

    return _Pictures(frames)


def _check_metrics(
    metrics: Sequence[str], generator: synthesis.Synthesize | None, inception: Path | None
) -> None:
    """Raise an error where their weights are missing, or not those of published figures."""
    if unknown := set(metrics) - STANDARD.keys():
        raise UsageError(f"--metrics {min(unknown)}: known are {', '.join(STANDARD)}.")
    if "ppl" in metrics and generator is None:
        raise UsageError("--metrics ppl: pictures have no latents; it takes a model.")
    for address in dict.fromkeys(address for metric in metrics for address in STANDARD[metric]):
        path = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
        if inception and address == _INCEPTION:
            path = inception
        if not path.is_file():
            raise SystemFault(f"{path} is missing; vidgan does not fetch it: get it from {address}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != SHA256[address]:
                raise SystemFault(f"{path}: not the standard weights; get them from {address}")


def _standard(
    fakes: _Pictures,
    reals: _Pictures,
    generator: synthesis.Synthesize | None,
    count: int,
    metrics: Sequence[str],
    inception: Path | None,
    device: str,
) -> list[str]:
    """Measure by torch-fidelity. It finds its weights in torch's cache, as `_check_metrics` did."""
    try:
        downloads.import_torchvision()
        import torch_fidelity
    except ImportError as error:
        need = "--metrics needs torch-fidelity: pip install 'vidgan[metrics]'"
        raise SystemFault(need) from error
    measure = torch_fidelity.calculate_metrics
    one, other = (torch.utils.data.Subset(pictures, range(count)) for pictures in (fakes, reals))
    how = {"cuda": chosen(device).type == "cuda", "cache": False, "verbose": False}
    how |= {"save_cpu_ram": True, "input1": one, "input2": other}
    on_inception = {"fid": "fid", "kid": "kid", "is": "isc"}
    found = {}
    if asked := {on_inception[metric]: True for metric in metrics if metric in on_inception}:
        asked |= {"feature_extractor_weights_path": inception and str(inception)}
        found |= measure(**how, **asked, kid_subset_size=min(1000, count))
    if "pr" in metrics:
        found |= measure(**how, prc=True)
    if "ppl" in metrics:
        found["perceptual_path_length"] = _path_length(torch_fidelity, generator, count, how)
    if "lpips" in metrics:  # how different two fakes look, on average
        lpips = torch_fidelity.SampleSimilarityLPIPS("lpips")
        with torch.inference_mode():
            apart = [lpips(one[i][None], one[i + 1][None]) for i in range(0, count - 1, 2)]
            found["lpips_diversity"] = torch.cat(apart).mean().item()
    return [f"{name} {value:.4f} (N = {count})" for name, value in found.items()]


def _path_length(
    torch_fidelity: ModuleType, generator: synthesis.Synthesize, count: int, how: dict[str, object]
) -> float:
    """Mean of the path lengths between the 1st and the 99th percentile.

    It is taken here, as torch-fidelity's code for it fails since NumPy 2.4. Steps are 0.01 long,
    for frames are whole grey levels. All samples are of the first class.
    """

    class Model(torch_fidelity.GenerativeModelBase):
        z_size, z_type, num_classes = generator.z_dim, "normal", 0

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            frames = alpha.judged(generator(z.cpu().numpy())).transpose(0, 3, 1, 2)
            return torch.from_numpy(frames.copy()).to(z.device)

    raw = torch_fidelity.calculate_metrics(
        **{**how, "input1": Model(), "input2": None, "input1_model_num_samples": count},
        **{"ppl": True, "ppl_epsilon": 0.01, "ppl_reduction": "none"},
        **{"ppl_discard_percentile_lower": None, "ppl_discard_percentile_higher": None},
    )[torch_fidelity.KEY_METRIC_PPL_RAW]
    low, high = np.percentile(raw, (1, 99))
    return float(raw[(raw >= low) & (raw <= high)].mean())
