import json

import numpy as np
import pytest

from tests.conftest import save_model, small_generator
from vidgan.generator import export, graph
from vidgan.generator.onnx_file import OnnxFile
from vidgan.generator.synthesis import open_generator
from vidgan.render.walk import Walk


@pytest.fixture(scope="module")
def bound(model_file):
    return Walk(seed=7, frames=96).bind(open_generator(model_file))


@pytest.fixture(scope="module")
def baked(model_file, bound, tmp_path_factory):
    target = tmp_path_factory.mktemp("walk") / "walk.onnx"
    export.export(model_file, target, walk=bound)
    return OnnxFile(target)


def test_frame_i_of_a_baked_walk_is_frame_i_of_the_render(baked, bound, onnx_file):
    t = (np.arange(96) / 96).astype(np.float32)
    expected = open_generator(onnx_file)(bound.latents(0, 96))
    assert np.array_equal(baked.run({"t": t}), expected)


def test_t_counts_rounds_and_may_be_any_number(baked):
    t = np.array([0, 0.25, 0.3125, 0.5], np.float32)
    once = baked.run({"t": t})
    for rounds in (1, -1, -3, 1000):
        assert np.array_equal(baked.run({"t": t + np.float32(rounds)}), once)
    seam = baked.run({"t": np.array([0, -1e-9, 0.9999999], np.float32)}).astype(int)
    assert np.abs(seam - seam[0]).max() <= 1  # no jump where a round ends


def test_the_metadata_say_how_the_walk_was_made(baked, bound):
    assert baked.meta["contract"] == "vidgan-walk-1" and baked.meta["frames"] == "96"
    assert json.loads(baked.meta["walk"]) == bound.comment()
    side = json.loads(baked.path.with_suffix(".json").read_text())
    assert side["walk"] == bound.comment() and list(side["self_test"]["inputs"]) == ["t"]


def test_an_open_walk_rests_at_its_end_until_the_next_round_begins():
    rows = np.eye(4, dtype=np.float32)
    t = np.array([0.75, 0.9, -1e-9, 1.0], np.float32)
    ends = graph.walk_rows(rows, t, closed=False)
    assert ends.argmax(1).tolist() == [3, 3, 3, 0]


@pytest.mark.parametrize("labels", [None, [0, 1, 1]])
def test_a_baked_walk_goes_through_classes(labels, tmp_path):
    file = save_model(tmp_path / "g.safetensors", *small_generator(class_names=("a", "b", "c")))
    walk = Walk(seed=3, frames=12, labels=labels).bind(open_generator(file))
    (proof,) = export.export(file, tmp_path / "walk.onnx", walk=walk)
    assert proof.difference.max_level <= 1
    t = (np.arange(12) / 12).astype(np.float32)
    frames = OnnxFile(tmp_path / "walk.onnx").run({"t": t})
    assert np.abs(frames.astype(int) - walk.generator(walk.latents(0, 12))).max() <= 1
