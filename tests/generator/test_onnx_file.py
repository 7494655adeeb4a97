import os
import types

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from vidgan.disk.places import cache_root
from vidgan.errors import ModelError, SystemFault, UsageError
from vidgan.generator import export, selftest
from vidgan.generator import onnx_file as runtime
from vidgan.generator.synthesis import open_generator

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


@pytest.mark.parametrize(
    ("compiled", "devices", "libraries", "first"),
    [
        ([CPU], [CPU], [], [CPU]),
        ([TENSORRT, CUDA, CPU], [CPU], [], [CPU]),  # the GPU package on a machine without GPU
        ([CUDA, CPU], [CPU], [runtime._DRIVER], [CUDA, CPU]),
        ([CUDA, CPU], [CUDA, CPU], [], [CUDA, CPU]),
        ([TENSORRT, CUDA, CPU], [CPU], [runtime._DRIVER], [CUDA, CPU]),
        ([TENSORRT, CUDA, CPU], [CPU], [runtime._DRIVER, runtime._TENSORRT], [TENSORRT, CUDA, CPU]),
        ([CPU], [CPU], [runtime._DRIVER], [CPU]),  # a GPU, but the package for CPUs
    ],
)
def test_a_gpu_is_tried_only_where_one_can_work(compiled, devices, libraries, first, monkeypatch):
    monkeypatch.setattr(runtime, "_loads", lambda library: library in libraries)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")  # so that pytest removes it at the end
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    machine = types.SimpleNamespace(
        get_available_providers=lambda: compiled,
        get_ep_devices=lambda: [types.SimpleNamespace(ep_name=name) for name in devices],
        preload_dlls=lambda: None,
    )
    tries = runtime.candidates(machine)
    names = [[p if isinstance(p, str) else p[0] for p in providers] for providers in tries]
    assert names[0] == first and names[-1] == [CPU]
    # A session fails if its CUDA graph cannot be on the GPU as a whole; the next try has none.
    on_card = [dict(p[:-1])[CUDA] for p in tries if CUDA in str(p)]
    assert all(settings["use_tf32"] == "0" for settings in on_card)
    assert not on_card or "enable_cuda_graph" not in on_card[-1]
    assert (TENSORRT in first) == (os.environ.get("NVIDIA_TF32_OVERRIDE") == "0")
    assert (TENSORRT in first) == (cache_root() / "tensorrt").is_dir()


@pytest.mark.parametrize(
    ("rank", "gpus", "own"), [(None, 0, 0), (None, 4, 0), ("1", 1, 0), ("3", 4, 3), ("5", 4, 1)]
)
def test_each_local_rank_uses_its_own_gpu(rank, gpus, own, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", rank or "")
    if rank is None:
        monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setattr(runtime, "_gpus", lambda: gpus)
    assert runtime.local_gpu() == own


@pytest.fixture
def cuda(monkeypatch):
    """A machine on which ONNX Runtime tries CUDA, which cannot work here."""
    runtime._say.cache_clear()
    monkeypatch.setattr(runtime, "candidates", lambda _: [[(CUDA, {}), CPU], [CPU]])


def test_if_the_gpu_fails_the_cpu_runs_the_file_and_says_why_once(onnx_file, cuda, said):
    for _ in range(2):
        assert runtime.OnnxFile(onnx_file).runs_on.endswith("on CPU")
    (line,) = said
    assert line.startswith("no GPU runs ONNX files here, the CPU does (") and len(line) > 60
    with pytest.raises(SystemFault, match=r"no GPU runs it .*; see vidgan doctor"):
        runtime.OnnxFile(onnx_file, device="cuda")
    with pytest.raises(UsageError, match="--device mps: an ONNX file runs on cpu or cuda"):
        runtime.OnnxFile(onnx_file, device="mps")
    assert len(said) == 1


def test_a_gpu_that_opens_a_file_and_cannot_run_it_is_found_out_before_the_first_frame(
    onnx_file, cuda, said, monkeypatch
):
    class Old:
        """A session on a GPU for which the package has no kernels."""

        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def get_providers(self):
            return [CUDA, CPU]

        def io_binding(self):
            raise RuntimeError("no kernel image is available for execution on the device")

    old = Old(runtime.cpu_session(onnx_file.read_bytes()))
    monkeypatch.setattr(runtime, "_on_gpu", lambda *_: old)
    generator = open_generator(onnx_file)
    assert generator.runs_on.endswith("on CPU") and generator(np.zeros((3, 100))).shape[0] == 3
    assert len(said) == 1 and "no kernel image is available" in said[0]


def test_a_proof_is_on_the_cpu_whatever_the_machine_has(model_file, tmp_path, monkeypatch):
    def candidates(_):
        raise AssertionError("a GPU was looked for")

    monkeypatch.setattr(runtime, "candidates", candidates)
    export.export(model_file, tmp_path / "generator.onnx")


def test_threads_do_not_spin(onnx_file):
    options = runtime.OnnxFile(onnx_file).session.get_session_options()
    assert options.intra_op_num_threads >= 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_fixed_batches_through_bound_buffers_make_the_same_frames(onnx_file, monkeypatch):
    """A GPU is fed in this way; here the buffers are in the memory of the CPU."""
    plain, bound = runtime.OnnxFile(onnx_file), runtime.OnnxFile(onnx_file)
    z = np.random.default_rng(0).standard_normal((37, 100)).astype(np.float32)
    expected = plain.run({"z": z})
    frames = np.concatenate([bound.run_fixed(batch) for batch in runtime.batches({"z": z}, 16)])
    assert frames.shape[0] == 48 and np.array_equal(frames[:37], expected)


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_weights_in_other_files_are_refused(onnx_file, tmp_path, location, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 10_000_000)
    model = onnx.load(onnx_file)
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", location
    file = tmp_path / "generator.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        runtime.OnnxFile(file)
    # A varint may spell the length of a name with more bytes than needed.
    spelled = file.read_bytes().replace(b"\x0a\x08location", b"\x0a\x88\x80\x00location")
    assert runtime._EXTERNAL.search(spelled)


def test_a_model_of_another_tool_is_one_clear_error(onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="not made by `vidgan export`"):
        runtime.OnnxFile(tmp_path / "other.onnx")


def test_over_two_gigabytes_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "big.onnx"
    with file.open("wb") as sparse:
        sparse.truncate(2**31)
    with pytest.raises(ModelError, match="2 GB"):
        runtime.OnnxFile(file)


def changed(source, target, change):
    model = onnx.load(source)
    change(model)
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["raw", "fields", "fp16"])
def test_weights_that_are_no_numbers_are_refused(onnx_file, tmp_path, number, kind):
    """The bytes of a frame would not show it, nor would a self-test of such frames."""

    def spoil(model):
        weights = max(model.graph.initializer, key=lambda w: len(w.raw_data))
        wide = numpy_helper.to_array(weights).copy()
        wide.flat[7] = number
        if kind == "fp16":
            half = numpy_helper.from_array(wide.astype(np.float16), f"{weights.name}_h")
            to = onnx.TensorProto.FLOAT
            cast = onnx.helper.make_node("Cast", [half.name], [weights.name], "cast", to=to)
            model.graph.initializer.remove(weights)
            model.graph.initializer.append(half)
            model.graph.node.insert(0, cast)
        else:
            weights.CopyFrom(numpy_helper.from_array(wide, weights.name))
        if kind == "fields":
            weights.ClearField("raw_data")
            weights.float_data.extend(wide.ravel().tolist())

    file = changed(onnx_file, tmp_path / "g.onnx", spoil)
    for opened in (open_generator, selftest.verify):
        with pytest.raises(ModelError, match=r"g\.onnx: its weights have NaN"):
            opened(file)


@pytest.mark.parametrize(
    "old", [b"vidgan-generator-1", b"contract", b"frames", b"self_test", b"ConvTranspose"]
)
def test_texts_that_are_not_utf_8_are_one_clear_error(onnx_file, tmp_path, old, capfd):
    file = tmp_path / "g.onnx"
    file.write_bytes(onnx_file.read_bytes().replace(old, old[:-1] + b"\xff"))
    with pytest.raises(ModelError, match=r"g\.onnx: "):
        selftest.verify(file)
    assert capfd.readouterr() == ("", "")  # ONNX Runtime would print what the file says


def resized(name, *sizes):
    def change(model):
        (value,) = (v for v in (*model.graph.input, *model.graph.output) if v.name == name)
        for axis, size in enumerate(sizes, 1):
            value.type.tensor_type.shape.dim[axis].dim_value = size

    return change


def second_output(model):
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, ["batch", 100]))


def float_frames(model):
    model.graph.node[-1].attribute[0].i = onnx.TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def another_contract(model):
    for entry in model.metadata_props:
        entry.value = "vidgan-walk-1" if entry.key == "contract" else entry.value


@pytest.mark.parametrize(
    "change",
    [
        *(resized("z", 10**9), resized("frames", 10**6, 10**6, 3), resized("frames", 32, 32, 3)),
        *(second_output, float_frames, another_contract),
    ],
)
def test_a_graph_that_breaks_its_contract_is_one_clear_error(onnx_file, tmp_path, change):
    with pytest.raises(ModelError, match=r"g\.onnx: (breaks its contract|not an ONNX file)"):
        runtime.OnnxFile(changed(onnx_file, tmp_path / "g.onnx", change))


def test_frames_of_another_size_than_declared_are_refused(tmp_path):
    """Their size is known only when they are made."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 18]>
        net (float[batch, 4] z) => (uint8[batch, 1, 2, 3] frames) <int64[1] first = {0}> {
            row = Squeeze(z, first)
            size = Cast<to = 7>(row)
            numbers = ConstantOfShape(size)
            frames = Cast<to = 2>(numbers)
        }""")
    onnx.helper.set_model_props(model, {"contract": runtime.GENERATOR, "model": "{}"})
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    generator = open_generator(tmp_path / "g.onnx")
    assert generator(np.array([[1, 1, 2, 3]], np.float32)).shape == (1, 1, 2, 3)
    with pytest.raises(ModelError, match=r"g\.onnx: makes \(1, 2, 1, 3\)"):
        generator(np.array([[1, 2, 1, 3]], np.float32))


@pytest.mark.parametrize("text", ["", "[]", '{"class_names": 3}', '{"class_names": [1]}', "[" * 99])
def test_a_description_of_other_kinds_is_one_clear_error(onnx_file, tmp_path, text):
    def describe(model):
        for entry in model.metadata_props:
            entry.value = text if entry.key == "model" else entry.value

    with pytest.raises(ModelError, match=r"g\.onnx: its key model cannot be used"):
        open_generator(changed(onnx_file, tmp_path / "g.onnx", describe))
