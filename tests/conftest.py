import contextlib
import logging
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch

from vidgan.config import ModelConfig
from vidgan.film.writer import write_png
from vidgan.generator import checkpoint
from vidgan.networks import dcgan


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


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDGAN_CACHE", str(tmp_path / "cache"))


def small_generator(
    width: int = 64, height: int = 64, class_names: tuple[str, ...] = ()
) -> tuple[dcgan.Generator, ModelConfig]:
    """A narrow generator with settled statistics and frames full of contrast."""
    model = ModelConfig(width=width, height=height, channels=8, class_names=class_names)
    torch.manual_seed(0)
    generator = dcgan.Generator(model)
    settle(generator, classes=model.classes)
    generator.layers[-2].weight.data *= 5
    return generator, model


@torch.no_grad()
def settle(generator: dcgan.Generator, *, classes: int = 0) -> None:
    """Statistics of BatchNorm as after a training, and then those in use."""
    labels = torch.arange(32, dtype=torch.int32) % classes if classes else None
    for _ in range(50):
        generator(torch.randn(32, generator.z_dim), labels)
    generator.eval()  # BatchNorm by its statistics


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "generator.safetensors"
    generator, model = small_generator()
    checkpoint.save_generator(path, generator, model, facts={"images_seen": 0})
    return path


@pytest.fixture(scope="session")
def onnx_file(model_file):
    from vidgan.generator.export import export

    target = model_file.with_name("generator.onnx")
    export(model_file, target)
    return target


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory):
    from tests.runtimes import golden

    folder = tmp_path_factory.mktemp("golden")
    golden.make(folder)
    return folder


@pytest.fixture(scope="session")
def traced_once():
    """One pass through torch's exporter per generator, where only what follows it is tested."""
    from vidgan.generator import export

    made, trace = {}, export._core

    def core(generator, model, *, mixed):
        weights = b"".join(w.numpy().tobytes() for w in generator.state_dict().values())
        key = (model, mixed, weights)
        if key not in made:
            made[key] = trace(generator, model, mixed=mixed).SerializeToString()
        return onnx.ModelProto.FromString(made[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_core", core)
        yield


@pytest.fixture
def pictures(tmp_path):
    """Forty flat pictures of forty colours."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), dtype=np.uint8)
    for number, colour in enumerate(colours):
        write_png(folder / f"{number:02d}.png", np.tile(colour, (32, 32, 1)))
    return folder
