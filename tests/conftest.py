import contextlib
import copy
import functools
import logging
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from vidgan.cli.main import app
from vidgan.config import ModelConfig
from vidgan.generator import checkpoint, export
from vidgan.latent.paths import Path as LatentPath
from vidgan.networks.architectures import make_generator
from vidgan.render.walk import Walk


def vidgan(*words: object) -> None:
    """The command `vidgan WORDS`, in this process. Errors are raised."""
    app([*map(str, words)], result_action="return_value")


def loop(**settings: object) -> LatentPath:
    """The path that `vidgan render` takes by default."""
    (path,) = Walk(**settings).paths()
    return path


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """The lines that the library logs within the block."""
    lines, library, handler = [], logging.getLogger("vidgan"), logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        library.removeHandler(handler)


@pytest.fixture
def said():
    with listening() as lines:
        yield lines


def pytest_configure():
    """Programs that the tests start answer Ctrl-C, also where the tests run in the background.

    A shell lets background processes ignore it, and what they start does so too.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "cache"))


def small_generator(
    width: int = 64,
    height: int = 64,
    class_names: tuple[str, ...] = (),
    name: str = "dcgan",
    colours: int = 0,
) -> tuple[torch.nn.Module, ModelConfig]:
    """A narrow generator of random weights; a dcgan makes frames full of contrast."""
    generator, model, random = _made(width, height, tuple(class_names), name, colours)
    torch.set_rng_state(random)  # as if it were made only now
    return copy.deepcopy(generator), model


@functools.cache
def _made(
    width: int, height: int, class_names: tuple[str, ...], name: str, colours: int
) -> tuple[torch.nn.Module, ModelConfig, torch.Tensor]:
    """What `small_generator` copies, and the state of torch's random numbers after it."""
    size = {"width": width, "height": height, "channels": 8, "colours": colours}
    anchors = 8 * (len(class_names) or 5)
    size |= {"taps": 3, "noise": True, "layout": True} if name == "dcgan" else {}
    model = ModelConfig(name=name, class_names=class_names, anchors=anchors, **size)
    torch.manual_seed(0)
    generator = make_generator(model)
    generator.anchors.copy_(torch.nn.functional.normalize(torch.randn(anchors, model.z_dim)))
    if name == "dcgan":
        generator.layout.parts.copy_(0.02 * torch.randn(generator.layout.parts.shape))
        generator.layout.contrast.copy_(torch.tensor([3.0, 0.5]))
        labels = torch.arange(32, dtype=torch.int32) % model.classes if class_names else None
        with torch.no_grad():
            for _ in range(50):  # BatchNorm then has statistics as after a training
                generator(torch.randn(32, model.z_dim), labels)
        generator.layers[-2].weight.data *= 5
    return generator.eval(), model, torch.get_rng_state()


def save_model(file: Path, generator: torch.nn.Module, model: ModelConfig) -> Path:
    checkpoint.save_generator(file, generator, model, facts={"images_seen": 0})
    return file


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return save_model(folder / "generator.safetensors", *small_generator())


@pytest.fixture(scope="session")
def onnx_file(model_file):
    target = model_file.with_name("generator.onnx")
    export.export(model_file, target)
    return target


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory):
    from tests.runtimes import golden

    folder = tmp_path_factory.mktemp("golden")
    golden.make(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def traced_once():
    """Run torch's exporter, which takes seconds, only once for each generator."""
    graphs, trace = {}, export._core

    def core(network, model, *, mixed):
        weights = b"".join(w.numpy().tobytes() for w in network.state_dict().values())
        key = (model, mixed and model.classes > 0, weights)
        if key not in graphs:
            graphs[key] = trace(network, model, mixed=mixed).SerializeToString()
        return onnx.ModelProto.FromString(graphs[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_core", core)
        yield


def contents(folder: Path) -> dict[Path, bytes | bool]:
    """Everything in a folder, but for the cache of a test."""
    paths = (path for path in folder.rglob("*") if not path.is_relative_to(folder / "cache"))
    return {path: path.is_dir() or path.read_bytes() for path in paths}


def write_pictures(folder: Path, frames: Iterable[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:02d}.png")
    return folder


def flat_pictures() -> np.ndarray:
    """Forty flat pictures of forty colours, uint8 [40, 32, 32, 3]."""
    colours = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), dtype=np.uint8)
    return np.tile(colours, (1, 32, 32, 1))


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", flat_pictures())
