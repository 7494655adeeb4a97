"""Walks: a path baked into the file as a table."""

import json

import numpy as np
import pytest

from tests.conftest import small_generator
from tests.paths import loop
from vidgan.config import ModelConfig
from vidgan.errors import ModelError
from vidgan.generator import checkpoint, export, graph
from vidgan.generator import onnx_file as runtime
from vidgan.generator.synthesis import open_generator
from vidgan.networks import architectures

RECIPE = {"format": "vidgan-walk-1", "path": "loop", "seed": 7, "frames": 96}

pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.fixture(scope="module")
def walk(traced_once, model_file, tmp_path_factory):
    target = tmp_path_factory.mktemp("walk") / "walk.onnx"
    path = loop(seed=7, frames=96, z_dim=100)
    export.export(model_file, target, walk=path, recipe=RECIPE)
    return runtime.OnnxFile(target)


def test_frame_i_of_a_walk_is_frame_i_of_the_render(walk, onnx_file):
    path = loop(seed=7, frames=96, z_dim=100)
    t = (np.arange(96) / 96).astype(np.float32)
    expected = open_generator(onnx_file)(path.latents(0, 96))
    assert np.array_equal(walk.run({"t": t}), expected)


def test_t_counts_rounds_and_may_be_any_number(walk):
    t = np.array([0, 0.25, 0.3125, 0.5], np.float32)
    once = walk.run({"t": t})
    for rounds in (1, -1, -3, 1000):
        assert np.array_equal(walk.run({"t": t + np.float32(rounds)}), once)
    seam = walk.run({"t": np.array([0, -1e-9, 0.9999999], np.float32)}).astype(int)
    assert np.abs(seam - seam[0]).max() <= 1  # no jump where the round closes


def test_a_walk_carries_its_recipe_and_its_contract(walk):
    assert walk.meta["contract"] == "vidgan-walk-1" and walk.meta["frames"] == "96"
    assert json.loads(walk.meta["recipe"]) == RECIPE
    side = json.loads(walk.path.with_suffix(".json").read_text())
    assert side["recipe"] == RECIPE and list(side["self_test"]["inputs"]) == ["t"]


def test_a_walk_is_not_a_generator_to_render(walk):
    with pytest.raises(ModelError, match="path inside"):
        open_generator(walk.path)


def test_an_open_walk_stays_at_its_end_until_the_round_begins_again():
    rows = np.eye(4, dtype=np.float32)
    t = np.array([0.75, 0.9, -1e-9, 1.0], np.float32)
    ends = graph.walk_rows(rows, t, closed=False)
    assert ends.argmax(1).tolist() == [3, 3, 3, 0]


def test_a_model_of_classes_walks_through_them(tmp_path):
    class Path:
        frames, closed = 12, True

        def latents(self, start, stop):
            return loop(seed=3, frames=12, z_dim=100).latents(start, stop)

        def class_weights(self, start, stop):
            share = np.abs(np.linspace(-1, 1, 12, endpoint=False))[start:stop]
            return np.stack([share, 1 - share, 0 * share], axis=1).astype(np.float32)

    file = conditional_model(tmp_path)
    (proof,) = export.export(file, tmp_path / "walk.onnx", walk=Path(), recipe=RECIPE)
    assert proof.found.max_level <= 1
    path = Path()
    expected = open_generator(file)(path.latents(0, 12), path.class_weights(0, 12))
    t = (np.arange(12) / 12).astype(np.float32)
    actual = runtime.OnnxFile(tmp_path / "walk.onnx").run({"t": t})
    assert np.abs(actual.astype(int) - expected).max() <= 1


def conditional_model(folder, name="dcgan", width=64, height=64):
    names = ("sea", "land", "ice")
    generator, _ = small_generator()
    model = ModelConfig(name=name, width=width, height=height, channels=8, class_names=names)
    generator = architectures.NETWORKS[name][0](model).eval()
    file = folder / f"{name}.safetensors"
    checkpoint.save_generator(file, generator, model, facts={})
    return file
