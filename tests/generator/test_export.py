import base64
import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import save_model, small_generator
from vidgan.cli import export as verbs
from vidgan.config import ModelConfig
from vidgan.errors import ModelError, SystemFault, UsageError
from vidgan.generator import export, selftest
from vidgan.generator.onnx_file import OnnxFile
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.networks.architectures import make_generator
from vidgan.render.walk import Walk


def test_the_file_keeps_the_contract(onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if o.domain == ""] == [export.graph.OPSET]
    assert {node.op_type for node in model.graph.node} <= export.ALLOWED
    (z,), (frames,) = model.graph.input, model.graph.output
    shape = [d.dim_param or d.dim_value for d in z.type.tensor_type.shape.dim]
    assert (z.name, shape) == ("z", ["batch", 100])
    shape = [d.dim_param or d.dim_value for d in frames.type.tensor_type.shape.dim]
    assert (frames.name, shape) == ("frames", ["batch", 64, 64, 3])
    assert find_mark(onnx_file)["digital_source_type"] == DIGITAL_SOURCE_TYPE
    assert not export._LOCAL_TRACE.search(onnx_file.read_bytes())


def test_a_generator_that_has_not_fully_grown_exports_too(tmp_path):
    model = ModelConfig(width=72, height=40, channels=8, growth=1.25)
    generator = make_generator(model).eval()
    z = torch.randn(2, model.z_dim)
    fading = generator(z)
    for module in (generator, *generator.layers):  # but not the statistics of BatchNorm
        module.training = not module._buffers
    torch.testing.assert_close(generator(z), fading)
    export.export(save_model(tmp_path / "g.safetensors", generator, model), tmp_path / "g.onnx")


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
def test_a_model_of_classes_takes_labels_and_has_an_int8_form(tmp_path, name):
    file = save_model(tmp_path / "g.safetensors", *small_generator(128, 72, ("a", "b", "c"), name))
    target = tmp_path / "generator.onnx"
    export.export(file, target)
    inputs = {i.name: (i.type, i.shape) for i in OnnxFile(target).session.get_inputs()}
    assert inputs["label"] == ("tensor(int32)", ["batch"])
    z, weights = seeds.gaussian(1, np.arange(3), z_dim=100), np.eye(3, dtype=np.float32)
    ours, theirs = (open_generator(f)(z, weights).astype(int) for f in (file, target))
    assert ours.shape == (3, 72, 128, 3) and np.abs(ours - theirs).max() <= 1
    # The frames of an r3gan are only 34 dB from those of torch, which is refused by default.
    form = export.Form(weights="int8", least_psnr_db=30)
    *_, proof = export.export(file, tmp_path / "int8.onnx", form)
    assert proof.difference.psnr_db >= (38 if name == "dcgan" else 30)


@pytest.mark.parametrize("weights", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("output", ["frames", "float"])
def test_a_file_of_class_weights_mixes_as_torch_does(output, weights, tmp_path):
    names = ("flags", "women", "<b>", "3")
    file = save_model(tmp_path / "g.safetensors", *small_generator(64, 64, names))
    target = tmp_path / "weights.onnx"
    form = export.Form(output=output, weights=weights, classes="weights")
    export.export(file, target, form)
    opened = OnnxFile(target)
    inputs = {i.name: (i.type, i.shape) for i in opened.session.get_inputs()}
    assert inputs == {
        "z": ("tensor(float)", ["batch", 100]),
        "class_weights": ("tensor(float)", ["batch", 4]),
    }
    side = json.loads(target.with_suffix(".json").read_text())
    assert opened.meta["class_input"] == side["class_input"] == "class_weights"
    tested = side["self_test"]["inputs"]["class_weights"]
    rows = np.frombuffer(base64.b64decode(tested["base64"]), np.float32).reshape(tested["shape"])
    assert np.array_equal(rows.sum(1), [1, 1, 1]) and len(np.unique(rows)) > 2  # it mixes
    assert selftest.verify(target).startswith("proved")
    z = seeds.gaussian(9, np.arange(5), z_dim=100)
    mixture = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(np.float32)
    ours, theirs = (open_generator(f)(z, mixture) for f in (file, target))
    assert selftest.difference(theirs, ours).psnr_db >= export.LEAST_PSNR_DB[weights]
    assert not np.array_equal(theirs, open_generator(target)(z))


def test_a_generator_without_classes_takes_none_of_their_forms(model_file, tmp_path):
    for classes in ("label", "weights"):
        export.export(model_file, tmp_path / "g.onnx", export.Form(classes=classes))
        opened = OnnxFile(tmp_path / "g.onnx")
        assert [i.name for i in opened.session.get_inputs()] == ["z"]
        assert "class_input" not in opened.meta


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
def test_the_scale_of_class_vectors_is_part_of_the_file_for_labels_and_mixtures(tmp_path, name):
    network, model = small_generator(32, 32, ("a", "b", "c"), name)
    model = replace(model, class_scale=0.25)
    scaled = make_generator(model).eval()
    scaled.load_state_dict(network.state_dict())
    z, half = torch.randn(2, model.z_dim), torch.tensor([[0.5, 0, 0.5]]).repeat(2, 1)
    assert not torch.allclose(scaled(z, half), network(z, half))
    scaled_by_hand = copy.deepcopy(network)
    scaled_by_hand.embedding.weight.data *= 0.25
    torch.testing.assert_close(scaled(z, half), scaled_by_hand(z, half))
    file = save_model(tmp_path / "g.safetensors", scaled, model)
    export.export(file, tmp_path / "labels.onnx")  # which proves that the frames are those of torch
    walk = Walk(seed=3, frames=6, labels=[0, 1, 2]).bind(open_generator(file))
    export.export(file, tmp_path / "mixtures.onnx", walk=walk)


def test_too_many_weights_or_too_long_a_walk_are_refused_at_once(model_file, tmp_path, monkeypatch):
    walk = Walk(path="circle", frames=6_000_000).bind(open_generator(model_file))
    with pytest.raises(ModelError, match="over 2 GB"):
        export.export(model_file, tmp_path / "walk.onnx", walk=walk)
    monkeypatch.setattr(export, "_LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="over 2 GB"):
        export.export(model_file, tmp_path / "generator.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_side_file_never_replaces_the_walk_that_is_baked_in(model_file, tmp_path):
    walk = tmp_path / "walk.json"
    Walk(z_dim=100, frames=3).save(walk)
    before = walk.read_bytes()
    with pytest.raises(UsageError, match="replace the walk"):
        verbs.export(tmp_path / "walk.onnx", walk=str(walk), model=model_file, force=True)
    assert walk.read_bytes() == before and list(tmp_path.iterdir()) == [walk]


def test_a_latent_of_zeros_makes_a_frame_in_either_runtime(model_file, onnx_file):
    z = np.zeros((1, 100), np.float32)  # truncation 0; its length divides it
    frames = [open_generator(path)(z) for path in (model_file, onnx_file)]
    assert frames[0].std() > 5 and np.abs(frames[0].astype(int) - frames[1]).max() <= 1


def test_the_written_contract_lists_every_operator():
    text = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    listed = re.findall(r"`([A-Z]\w+)`", text.split("## Operators")[1].split("##")[0])
    assert set(listed) == export.ALLOWED


def test_a_file_that_fails_its_proof_does_not_appear(model_file, tmp_path, monkeypatch):
    with_pixels = export.graph.with_pixels

    def brighter(core, *, layout):
        proto = with_pixels(core, layout=layout)
        (half,) = (w for w in proto.graph.initializer if w.name.endswith("half"))
        half.float_data[:] = [130.0]
        return proto

    monkeypatch.setattr(export.graph, "with_pixels", brighter)
    with pytest.raises(ModelError, match="grey levels"):
        export.export(model_file, tmp_path / "generator.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_side_file_never_stands_without_its_model(model_file, tmp_path):
    target = tmp_path / "generator.onnx"
    target.mkdir()  # so that the rename fails, at the very end
    with pytest.raises(SystemFault, match=r"generator\.onnx: cannot be written"):
        export.export(model_file, target)
    assert list(tmp_path.iterdir()) == [target] and not list(target.iterdir())


def test_weights_whose_bytes_spell_a_path_are_no_local_trace(onnx_file):
    model = onnx.load(onnx_file)
    weights = max(model.graph.initializer, key=lambda w: len(w.raw_data))
    weights.raw_data = b".py " + weights.raw_data[4:]
    export.check(model)
    model.graph.node[0].doc_string = "export.py"
    with pytest.raises(ModelError, match="path of this machine"):
        export.check(model)


@pytest.mark.parametrize("weights", ["fp32", "fp16", "int8"])
def test_a_generator_whose_pictures_are_no_numbers_is_refused(tmp_path, weights):
    """Its weights are finite, and bytes of frames would be equal in torch and in the file."""
    generator, model = small_generator()
    generator.layers[1].running_var.fill_(-1.0)  # its root is NaN
    file = save_model(tmp_path / "g.safetensors", generator, model)
    form = export.Form(weights=weights, least_psnr_db=0)
    with pytest.raises(ModelError, match=r"g\.safetensors: what it makes has NaN"):
        export.export(file, tmp_path / "generator.onnx", form)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "form",
    [
        *(export.Form(weights=weights, least_psnr_db=30) for weights in ("fp32", "fp16", "int8")),
        *(export.Form(output="float"), export.Form(layout="rgba"), "walk"),
    ],
    ids=str,
)
def test_every_node_has_a_name_of_its_own_which_is_always_the_same(model_file, tmp_path, form):
    form, walk = (form, None) if form != "walk" else (export.Form(), Walk(frames=3))
    written = []
    for name in ("one", "two"):
        bound = walk and walk.bind(open_generator(model_file))
        export.export(model_file, tmp_path / f"{name}.onnx", form, walk=bound)
        written.append((tmp_path / f"{name}.onnx").read_bytes())
    names = [node.name for node in onnx.ModelProto.FromString(written[0]).graph.node]
    assert all(names) and len({*names}) == len(names)
    assert written[0] == written[1]
