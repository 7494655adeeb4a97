import json

import numpy as np
import onnx
import pytest

from vidgan.errors import ModelError
from vidgan.generator import export, metadata, selftest
from vidgan.generator.onnx_file import OnnxFile
from vidgan.generator.synthesis import open_generator


def _test(number=0.0, **changes):
    """The text of a self-test with one input, in which something is wrong."""
    z = selftest.packed(np.full((1, 100), number, np.float32)) | changes
    frames = selftest.packed(np.zeros((1, 64, 64, 3), np.uint8))
    test = {"inputs": {"z": z}, "outputs": {"frames": frames}}
    return json.dumps(test | {"max_level": 1, "max_differing": 0.001})


def test_weights_changed_after_the_export_are_found_out(onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    weights = max(model.graph.initializer, key=lambda w: len(w.raw_data))
    one, other, rest = (weights.raw_data[a:b] for a, b in ((0, 4000), (4000, 8000), (8000, None)))
    weights.raw_data = other + one + rest
    file = tmp_path / "generator.onnx"
    onnx.save(model, file)
    with pytest.raises(ModelError, match="fails its self-test"):
        selftest.verify(file)


@pytest.mark.parametrize(
    "test",
    [
        *("", "{}", "[]", "[" * 99, '{"inputs": 3}'),
        '{"inputs": {}, "outputs": {}, "max_level": 1}',
        '{"inputs": {}, "outputs": {}, "max_level": 1, "max_differing": NaN}',
        '{"inputs": {"z": 1}, "outputs": {}, "max_level": 1, "max_differing": 1}',
        *(_test(shape=shape) for shape in ([0, 100], [1, -1], [10**19], [1, 99], [True, 100])),
        *(_test(type="object"), _test(base64="&"), _test(number=float("nan"))),
    ],
)
def test_a_self_test_that_cannot_be_read_is_one_clear_error(onnx_file, tmp_path, test):
    model = onnx.load(onnx_file)
    for entry in model.metadata_props:
        entry.value = test if entry.key == "self_test" else entry.value
    file = tmp_path / "generator.onnx"
    onnx.save(model, file)
    with pytest.raises(ModelError, match=r"generator\.onnx: its self-test"):
        selftest.verify(file)


@pytest.mark.parametrize("text", ["", "[]", '{"onnx_sha256": 3}', "[" * 99])
def test_a_side_file_that_cannot_be_read_is_one_clear_error(onnx_file, tmp_path, text):
    (tmp_path / "generator.onnx").write_bytes(onnx_file.read_bytes())
    (tmp_path / "generator.json").write_text(text)
    with pytest.raises(ModelError, match=r"generator\.json cannot be used"):
        selftest.verify(tmp_path / "generator.onnx")


def test_the_side_file_says_what_the_metadata_say(onnx_file):
    side = json.loads(onnx_file.with_suffix(".json").read_text())
    opened = OnnxFile(onnx_file)
    assert side["onnx_sha256"] == opened.sha256
    assert side["self_test"] == json.loads(opened.meta["self_test"])
    assert (side["z_dim"], side["width"], side["height"], side["classes"]) == (100, 64, 64, 0)
    assert (side["layout"], side["weights"], side["output"]) == ("rgb", "fp32", "frames")


def test_a_side_file_of_another_model_is_noticed(onnx_file, tmp_path):
    (tmp_path / "generator.onnx").write_bytes(onnx_file.read_bytes())
    (tmp_path / "generator.json").write_text('{"onnx_sha256": "of another"}')
    with pytest.raises(ModelError, match="does not belong"):
        selftest.verify(tmp_path / "generator.onnx")


@pytest.mark.parametrize("form", [export.Form(output="float"), export.Form(layout="rgba")])
def test_every_form_of_output_passes_its_test_and_renders(model_file, onnx_file, tmp_path, form):
    file = tmp_path / "generator.onnx"
    export.export(model_file, file, form)
    assert "0.0000%" in selftest.verify(file)
    z = np.random.default_rng(1).standard_normal((2, 100)).astype(np.float32)
    raw = OnnxFile(file).run({"z": z})
    assert raw.shape == ((2, 3, 64, 64) if form.output == "float" else (2, 64, 64, 4))
    assert form.output == "float" or (raw[..., 3] == 255).all()
    assert np.array_equal(open_generator(file)(z), open_generator(onnx_file)(z))


def test_the_self_test_of_the_largest_frames_can_be_read_again():
    """Those of an imported generator of 1024x1024, as float images."""
    frames = np.zeros((export._SELF_TEST_ROWS, 3, 1024, 1024), np.float32)
    text = json.dumps(selftest.vectors({"z": frames[:, 0, 0, :100]}, frames, exact=True))
    metadata.parse(text, selftest._KINDS, where="g.onnx: its self-test")
