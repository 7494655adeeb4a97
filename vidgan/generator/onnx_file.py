"""An exported file in ONNX Runtime: opened warily, on the fastest provider that really works.

A file is read into memory first, so that nothing in it can name another file. Imports no torch.
"""

import contextlib
import ctypes
import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np

from vidgan.disk.files import check_file
from vidgan.disk.places import cache_root
from vidgan.errors import ModelError

GENERATOR, WALK = "vidgan-generator-1", "vidgan-walk-1"  # values of the metadata key `contract`
_BATCH = 16  # on a GPU, where each new shape would be tuned and captured anew
_LARGEST_BYTES = 2**31 - 1  # of a protobuf message
# The entry `location` of external data, however its length (8) is spelled in protobuf's varints.
_EXTERNAL = re.compile(rb"\x0a(?:\x08|\x88\x80*\x00)location")
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_TENSORRT = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"


class OnnxFile:
    """Inputs by name go in, `frames` (or `image`) of any batch come out. Raises ModelError."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        content = _read(path)
        try:
            self.session = _open(onnxruntime, content)
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise ModelError(f"{path}: not an ONNX file, or damaged ({_said(error)}).") from error
        self.meta: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if self.meta.get("contract") not in (GENERATOR, WALK):
            raise ModelError(
                f"{path}: not made by `vidgan export` (its contract is "
                f"{self.meta.get('contract', 'missing')}, not {GENERATOR} or {WALK})."
            )
        self.path, self.sha256 = path, hashlib.sha256(content).hexdigest()
        provider = self.session.get_providers()[0].removesuffix("ExecutionProvider")
        self.device = "cpu" if provider == "CPU" else "cuda"
        self.runs_on = f"ONNX Runtime {onnxruntime.__version__} on {provider}"
        self._bound = None

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        try:
            if self.device == "cpu":
                return self.session.run(None, feed)[0]
            count = len(next(iter(feed.values())))
            starts = range(0, count, _BATCH)
            return np.concatenate([self.run_fixed(_cut(feed, s)) for s in starts])[:count]
        except Exception as error:
            raise ModelError(
                f"{self.path}: does not run on {self.runs_on} ({_said(error)})."
            ) from error

    def run_fixed(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """One batch of a size that never changes, through buffers that stay where they are."""
        if self._bound is None:
            self._bind(feed)
        for name, array in feed.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self.session.run_with_iobinding(self._bound)
        return self._output.numpy().copy()

    def _bind(self, feed: dict[str, np.ndarray]) -> None:
        from onnxruntime import OrtValue

        (out,), gpu = self.session.get_outputs(), local_gpu()
        kind = np.uint8 if out.type == "tensor(uint8)" else np.float32
        shape = [len(next(iter(feed.values()))), *out.shape[1:]]
        self._bound = self.session.io_binding()
        self._inputs = {
            name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, gpu)
            for name, array in feed.items()
        }
        self._output = OrtValue.ortvalue_from_shape_and_type(shape, kind, self.device, gpu)
        for name, value in self._inputs.items():
            self._bound.bind_ortvalue_input(name, value)
        self._bound.bind_ortvalue_output(out.name, self._output)


def local_gpu() -> int:
    """Which of this machine's GPUs is for this process, by its rank here, as torchrun tells it."""
    return int(os.environ.get("LOCAL_RANK", 0)) % max(_gpus(), 1)


def to_frames(image: np.ndarray) -> np.ndarray:
    """float32 [B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3], as the files themselves do it."""
    half = np.float32(127.5)
    levels = np.clip(np.round(image * half + half), 0, 255)
    return levels.transpose(0, 2, 3, 1).astype(np.uint8)


def candidates(onnxruntime: object) -> list[list]:
    """Lists of providers to try in turn; the last is the CPU alone.

    The list of what was compiled in names CUDA on machines that have none, and a session then falls
    to the CPU in silence. So a GPU is tried only where one was found, or its driver loads.
    """
    cpu = "CPUExecutionProvider"
    found = {device.ep_name for device in onnxruntime.get_ep_devices()}
    compiled = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in compiled or not (
        "CUDAExecutionProvider" in found or _loads(_DRIVER)
    ):
        return [[cpu]]
    gpu = str(local_gpu())
    onnxruntime.preload_dlls()
    # TF32 off: its 10 bits of mantissa would change frames; and so would a search for the quickest
    # kernel, from run to run. A graph: one launch for all kernels, if all are on the card.
    exact = {"device_id": gpu, "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    cuda = ("CUDAExecutionProvider", exact)
    graph = ("CUDAExecutionProvider", exact | {"enable_cuda_graph": "1"})
    if "TensorrtExecutionProvider" not in compiled or not _loads(_TENSORRT):
        return [[graph, cpu], [cuda, cpu], [cpu]]
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT's provider has no setting for it
    cache = cache_root() / "tensorrt"
    with contextlib.suppress(OSError):  # it would make the last folder only
        cache.mkdir(parents=True, exist_ok=True)
    settings = {
        "device_id": gpu,
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_cuda_graph_enable": "1",
    }
    tensorrt = ("TensorrtExecutionProvider", settings)
    return [[tensorrt, cuda, cpu], [graph, cpu], [cuda, cpu], [cpu]]


def cpu_session(content: bytes) -> object:
    """For numbers that shall not depend on whether there is a GPU."""
    import onnxruntime

    cpu = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(content, _options(onnxruntime), providers=cpu)


def _options(onnxruntime: object) -> object:
    onnxruntime.set_default_logger_severity(4)  # failures come as exceptions
    options = onnxruntime.SessionOptions()
    # Two threads that spin on a busy machine take longer than one.
    threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(onnxruntime: object, content: bytes) -> object:
    options = _options(onnxruntime)
    *accelerated, cpu = candidates(onnxruntime)
    for providers in accelerated:
        try:  # without its own way down to the CPU, which prints to stdout
            session = onnxruntime.InferenceSession(
                content, options, providers=providers, enable_fallback=0
            )
        except Exception:  # noqa: S112  the next one says what is wrong, if anything is
            continue
        if session.get_providers()[0] == providers[0][0]:
            return session
    return onnxruntime.InferenceSession(content, options, providers=cpu)


def _said(error: Exception) -> str:
    """ONNX Runtime's first line, less its name, number and code."""
    line = str(error).partition("\n")[0]
    return re.sub(r"^\[ONNX\w+\] : \d+ : \w+ : ", "", line)[:120].rstrip(". ")


def _read(path: Path) -> bytes:
    check_file(path)
    if path.stat().st_size > _LARGEST_BYTES:
        raise ModelError(f"{path}: over 2 GB, which one ONNX file cannot be.")
    content = path.read_bytes()
    if _EXTERNAL.search(content):
        raise ModelError(f"{path}: keeps weights in other files; vidgan opens single files only.")
    return content


def _cut(feed: dict[str, np.ndarray], start: int) -> dict[str, np.ndarray]:
    """One batch of `_BATCH`, the last row repeated where rows run out."""
    index = np.arange(start, start + _BATCH)
    return {name: array[np.minimum(index, len(array) - 1)] for name, array in feed.items()}


def _gpus() -> int:
    """How many the driver shows to this process."""
    try:
        driver, count = ctypes.CDLL(_DRIVER), ctypes.c_int(0)
    except OSError:
        return 0
    driver.cuInit(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
