import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import small_generator
from vidgan.config import ModelConfig
from vidgan.disk import places
from vidgan.errors import ModelError
from vidgan.generator import export, onnx_file, selftest, variants
from vidgan.networks.architectures import make_generator


def imported(*layers):
    generator = make_generator(
        ModelConfig(name="imported", width=28, height=28, colours=1, layers=layers)
    )
    return generator.eval(), ModelConfig()


@pytest.mark.parametrize(
    ("generator", "model"),
    [
        small_generator(64, 64),
        small_generator(128, 72),
        imported(
            *("conv-transpose 8 3 1 0 0", "conv-transpose 8 4 1 0 0", "conv-transpose 8 3 2 0 0"),
            *("conv-transpose 1 4 2 0 0", "tanh"),
        ),
        imported(
            *("linear 8 7 7", "conv-transpose 8 5 1 2 0", "conv-transpose 8 5 2 2 1"),
            *("conv-transpose 4 2 2 0 0", "conv-transpose 1 7 1 3 0", "conv 1 3"),
        ),
    ],
)
def test_the_subpixel_form_is_exact(generator, model):
    generator.fold()
    core = export._core(generator, model, mixed=False)
    form = variants.subpixel(core)
    onnx.checker.check_model(form, full_check=True)
    kinds = {node.op_type for node in form.graph.node}
    assert "ConvTranspose" not in kinds and "DepthToSpace" in kinds
    z = np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)
    a, b = (run(model, z) for model in (core, form))
    assert np.abs(a - b).max() < 1e-4 * a.std() and a.std() > 0.001


def test_half_weights_are_exactly_the_rounded_weights_in_float32_arithmetic(shipped):
    half = onnx.load(shipped["fp16"])
    rounded = onnx.load(shipped["fp32"])
    for weights in rounded.graph.initializer:
        wide = numpy_helper.to_array(weights)
        if weights.data_type == onnx.TensorProto.FLOAT and wide.size > 1000:
            halved = wide.astype(np.float16).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(halved, weights.name))
    z = np.random.default_rng(0).standard_normal((3, 128)).astype(np.float32)
    z = z[:, : onnx_file.OnnxFile(shipped["fp32"]).session.get_inputs()[0].shape[1]]
    assert np.array_equal(run(half, z), run(rounded, z))


@pytest.mark.parametrize(("name", "share", "least_db"), [("fp16", 0.6, 60), ("int8", 0.45, 40)])
def test_a_smaller_form_of_the_shipped_generator_stays_close(shipped, name, share, least_db):
    assert shipped[name].stat().st_size < share * shipped["fp32"].stat().st_size
    files = [onnx_file.OnnxFile(shipped[which]) for which in (name, "fp32")]
    z_dim = files[0].session.get_inputs()[0].shape[1]
    z = np.random.default_rng(5).standard_normal((16, z_dim)).astype(np.float32)
    assert selftest.difference(*(file.run({"z": z}) for file in files)).psnr_db >= least_db
    kinds = {node.op_type for node in onnx.load(shipped[name]).graph.node}
    assert kinds <= export.ALLOWED and ("QuantizeLinear" in kinds) == (name == "int8")


def test_int8_has_zero_points_of_zero_and_biases_of_float(shipped):
    """TensorRT takes nothing else, and with it all runtimes compute the same."""
    model = onnx.load(shipped["int8"])
    constants = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    kinds = {w.dtype for w in constants.values()} - {np.dtype(np.int64)}  # of Reshape and Slice
    assert kinds == {np.dtype(np.float32), np.dtype(np.int8)}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any(), node.name
        if node.op_type in ("Conv", "Gemm"):
            assert constants[node.input[2]].dtype == np.float32


@pytest.mark.parametrize("least", [90, float("nan")])
def test_int8_that_is_too_far_off_is_refused_and_leaves_nothing(model_file, tmp_path, least):
    with pytest.raises(ModelError, match=rf"below {least} dB.*--least-psnr"):
        form = export.Form(weights="int8", least_psnr_db=least)
        export.export(model_file, tmp_path / "generator.onnx", form)
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_half_precision_are_refused():
    core = export._core(*small_generator(), mixed=False)
    weights = max(core.graph.initializer, key=lambda w: len(w.raw_data))
    weights.raw_data = np.float32(1e6).tobytes() + weights.raw_data[4:]
    with pytest.raises(ModelError, match="float16"):
        variants.half_weights(core)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped generator, exported with each kind of weights."""
    folder = tmp_path_factory.mktemp("shipped")
    source = places.bundled("assets/generator.safetensors")
    for weights in ("fp32", "fp16", "int8"):
        export.export(source, folder / f"{weights}.onnx", export.Form(weights=weights))
    return {file.stem: file for file in folder.glob("*.onnx")}


def run(model, z):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"z": z})[0]
