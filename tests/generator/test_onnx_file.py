import os
import types

import numpy as np
import onnx
import pytest

from vidgan.disk.places import cache_root
from vidgan.errors import ModelError
from vidgan.generator import onnx_file as runtime

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


def test_if_the_gpu_fails_the_cpu_runs_the_file_and_says_so(onnx_file, monkeypatch):
    monkeypatch.setattr(runtime, "candidates", lambda _: [[("NoSuchProvider", {}), CPU], [CPU]])
    assert runtime.OnnxFile(onnx_file).runs_on.endswith("on CPU")


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
