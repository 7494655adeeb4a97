import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import small_generator
from tests.paths import loop
from vidgan.cli import export as verbs
from vidgan.config import ModelConfig
from vidgan.errors import ModelError, SystemFault, UsageError
from vidgan.generator import checkpoint, export
from vidgan.generator import onnx_file as runtime
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.networks import architectures
from vidgan.render import pipeline
from vidgan.render.walk import Recipe


def test_the_file_keeps_the_contract(onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if o.domain == ""] == [export.OPSET]
    assert {node.op_type for node in model.graph.node} <= export.ALLOWED
    (z,), (frames,) = model.graph.input, model.graph.output
    shape = [d.dim_param or d.dim_value for d in z.type.tensor_type.shape.dim]
    assert (z.name, shape) == ("z", ["batch", 100])
    shape = [d.dim_param or d.dim_value for d in frames.type.tensor_type.shape.dim]
    assert (frames.name, shape) == ("frames", ["batch", 64, 64, 3])
    assert find_mark(onnx_file)["digital_source_type"] == DIGITAL_SOURCE_TYPE
    assert not export._LOCAL_TRACE.search(onnx_file.read_bytes())


def test_onnx_and_torch_make_the_same_frames(model_file, onnx_file):
    path = loop(seed=7, frames=20, z_dim=100)
    a, b = (
        np.stack(list(pipeline.frames(open_generator(file), path)))
        for file in (model_file, onnx_file)
    )
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1 and (difference > 0).mean() <= 0.001
    assert a.std() > 5  # a picture, not a constant


@pytest.mark.parametrize("which", ["model_file", "onnx_file"])
def test_frames_do_not_depend_on_the_batch_size(which, request):
    generator = open_generator(request.getfixturevalue(which))
    path = loop(seed=7, frames=33, z_dim=generator.z_dim)
    one = list(pipeline.frames(generator, path, batch_size=1))
    many = list(pipeline.frames(generator, path, batch_size=32))
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))


def test_sixteen_to_nine_exports_too(tmp_path):
    generator, model = small_generator(width=128, height=72)
    file = tmp_path / "generator.safetensors"
    checkpoint.save_generator(file, generator, model, facts={})
    (proof,) = export.export(file, tmp_path / "wide.onnx")
    assert proof.found.max_level <= 1
    z = seeds.gaussian(1, np.arange(3), z_dim=100)
    assert open_generator(tmp_path / "wide.onnx")(z).shape == (3, 72, 128, 3)


@pytest.mark.parametrize(("name", "width", "height"), [("dcgan", 64, 64), ("r3gan", 128, 72)])
def test_a_model_of_classes_takes_labels_and_has_an_int8_form(
    traced_once, tmp_path, name, width, height
):
    torch.manual_seed(0)
    classes = ("sea", "land", "ice")
    model = ModelConfig(name=name, width=width, height=height, channels=8, class_names=classes)
    generator = architectures.NETWORKS[name][0](model).eval()
    file, target = tmp_path / "generator.safetensors", tmp_path / "generator.onnx"
    checkpoint.save_generator(file, generator, model, facts={})
    export.export(file, target)
    inputs = {i.name: (i.type, i.shape) for i in runtime.OnnxFile(target).session.get_inputs()}
    assert inputs["label"] == ("tensor(int32)", ["batch"])
    z, weights = seeds.gaussian(1, np.arange(3), z_dim=100), np.eye(3, dtype=np.float32)
    ours, theirs = (open_generator(f)(z, weights).astype(int) for f in (file, target))
    assert ours.shape == (3, height, width, 3) and np.abs(ours - theirs).max() <= 1
    # Here r3gan's frames stay 35 dB from torch's, which is refused unless asked for.
    *_, proof = export.export(file, tmp_path / "int8.onnx", int8=True, least_psnr_db=30)
    assert proof.found.psnr_db >= (38 if name == "dcgan" else 30)


def test_over_two_gigabytes_of_weights_are_refused_at_once(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="over 2 GB"):
        export.export(model_file, tmp_path / "generator.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_one_file_is_refused_at_once(model_file, tmp_path):
    path = Recipe(z_dim=100, path="circle", frames=6_000_000).paths()[0]
    with pytest.raises(ModelError, match="over 2 GB"):
        export.export(model_file, tmp_path / "walk.onnx", walk=path)
    assert list(tmp_path.iterdir()) == []


def test_a_walk_never_replaces_the_recipe_it_is_made_of(model_file, tmp_path):
    recipe = tmp_path / "walk.json"
    recipe.write_text('{"format": "vidgan-recipe-1", "z_dim": 0, "frames": 3}')
    before = recipe.read_bytes()
    with pytest.raises(UsageError, match="replace the recipe"):
        verbs.export(tmp_path / "walk.onnx", walk=str(recipe), model=model_file, force=True)
    assert recipe.read_bytes() == before and list(tmp_path.iterdir()) == [recipe]


def test_the_written_contract_lists_every_operator():
    text = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    assert set(re.findall(r"`([A-Z]\w+)`", text.split("## Operators")[1].split("##")[0])) == set(
        export.ALLOWED
    )


def test_a_file_that_fails_its_proof_does_not_appear(model_file, tmp_path, monkeypatch):
    with_pixels = export.graph.with_pixels
    monkeypatch.setattr(export.graph, "with_pixels", _brighter(with_pixels))
    with pytest.raises(ModelError, match="grey levels"):
        export.export(model_file, tmp_path / "generator.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_side_file_never_stands_without_its_model(model_file, tmp_path):
    target = tmp_path / "generator.onnx"
    target.mkdir()  # so that the rename fails, at the very end
    with pytest.raises(SystemFault, match=r"generator\.onnx: cannot be written"):
        export.export(model_file, target)
    assert list(tmp_path.iterdir()) == [target] and not list(target.iterdir())


def _brighter(with_pixels):
    def wrapped(core, *, layout):
        proto = with_pixels(core, layout=layout)
        (half,) = (w for w in proto.graph.initializer if w.name.endswith("half"))
        half.float_data[:] = [130.0]
        return proto

    return wrapped


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x00" * 50])
@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "model.pkl"])
def test_a_file_of_another_format_is_one_clear_error(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\."):
        open_generator(file)


def test_weights_whose_bytes_spell_a_path_are_no_local_trace(tmp_path):
    generator, model = small_generator()
    with torch.no_grad():
        generator.layers[-2].weight.view(-1)[0] = float(np.frombuffer(b".py ", np.float32)[0])
    file, target = tmp_path / "generator.safetensors", tmp_path / "generator.onnx"
    checkpoint.save_generator(file, generator, model, facts={})
    export.export(file, target)
    assert b".py " in target.read_bytes()
