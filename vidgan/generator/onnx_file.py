"""An exported file in ONNX Runtime, on the fastest provider that works on this machine.

The whole file is read into memory first. ONNX Runtime then has no folder in which it could look up
other files that the model names. This module imports no torch.
"""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidgan.disk.files import check_file
from vidgan.disk.places import cache_root
from vidgan.errors import ModelError, SystemFault, UsageError, out_of_memory
from vidgan.film import alpha

logger = logging.getLogger(__name__)
_say = functools.cache(logger.warning)  # once, however many files are opened
GENERATOR, WALK = "vidgan-generator-1", "vidgan-walk-1"  # values of the metadata key `contract`
ENCODER = "vidgan-encoder-1"
_LARGEST_BATCH, _LARGEST_BATCH_BYTES = 16, 16_000_000  # bytes of frames
_LARGEST_SIZE, _MOST_PIXELS = 2**16, 2**26  # of a latent or a side; of a frame
_LARGEST_FILE_BYTES = 2**31 - 1  # limit of a protobuf message
# The key `location` of external data. Its length (8) is a varint, which may have needless bytes.
_EXTERNAL = re.compile(rb"\x0a(?:\x08|\x88\x80*\x00)location")
# In a protobuf of ONNX: float, float16, double by number, as the bits of their exponent.
_FLOATS = {1: ("<u4", 0x7F800000), 10: ("<u2", 0x7C00), 11: ("<u8", 0x7FF << 52)}
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# Needs what a generator needs: CUDA, and the cuDNN of convolutions.
_SMALL = """<ir_version: 10, opset_import: ["" : 18]>
    small (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) <float[1, 1, 1, 1] w = {2}>
    { y = Conv(x, w) }"""
_TENSORRT = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"


class OnnxFile:
    """An opened file. `run` maps inputs by name to `frames` (or `image`).

    If the GPU fails, the CPU runs it and the reason is said, once; with `device` "cuda" it is an
    error. Raises ModelError, UsageError, and SystemFault, also without ONNX Runtime.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device}: an ONNX file runs on cpu or cuda; so does auto.")
        try:
            import onnxruntime
        except ImportError as error:
            raise SystemFault(
                f"ONNX Runtime cannot be imported ({error}). Install it again: pip install "
                "--force-reinstall onnxruntime, or onnxruntime-gpu; only one of both."
            ) from error
        content = _read(path)
        try:
            self.session, why = _open(onnxruntime, content, device)
            self.meta: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
            finite = _has_finite_weights(content)
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise ModelError(f"{path}: not an ONNX file, or damaged ({_reason(error)}).") from error
        if self.meta.get("contract") not in (GENERATOR, WALK, ENCODER):
            found = self.meta.get("contract", "missing")
            raise ModelError(f"{path}: not made by `vidgan export` (its contract is {found}).")
        if not finite:
            raise ModelError(f"{path}: its weights have NaN or infinite numbers; use another copy.")
        try:
            self._take_sizes()
        except (KeyError, ValueError) as error:
            raise ModelError(f"{path}: breaks its contract ({error}); export it again.") from error
        self.path, self.sha256 = path, hashlib.sha256(content).hexdigest()
        self._name_device(onnxruntime)
        if self.device != "cpu":  # some fail only now: this GPU may be too old for the package
            kinds, takes = {"label": np.int32, "frames": np.uint8}, self.inputs.items()
            try:
                self.run({k: np.zeros((1, *s), kinds.get(k, np.float32)) for k, s in takes})
            except (ModelError, SystemFault) as error:
                why, self.session = str(error), cpu_session(content)
                self._name_device(onnxruntime)
        if self.device == "cpu" and device == "cuda":
            raise SystemFault(f"{path}: no GPU runs it ({why}); see vidgan doctor.")
        if self.device == "cpu" and why and device == "auto":
            _say(f"no GPU runs ONNX files here, the CPU does ({why})")

    def _name_device(self, onnxruntime: object) -> None:
        provider = self.session.get_providers()[0].removesuffix("ExecutionProvider")
        self.device = "cpu" if provider == "CPU" else "cuda"
        self.runs_on = f"ONNX Runtime {onnxruntime.__version__} on {provider}"
        self._bound = None

    def _take_sizes(self) -> None:
        """The sizes that the graph declares; the metadata only repeat them."""
        self.inputs = {i.name: i.shape[1:] for i in self.session.get_inputs()}
        takes = {GENERATOR: ("z", 1), WALK: ("t", 0), ENCODER: ("frames", 3)}
        first, rank = takes[self.meta["contract"]]
        if len(self.inputs[first]) != rank:
            raise ValueError(f"input {first} {self.inputs[first]}")
        (out,) = self.session.get_outputs()
        self._bytes = {"tensor(uint8)": True, "tensor(float)": False}[out.type]
        self._shape = tuple(out.shape[1:])
        pictures = self.inputs.get("frames", self._shape)
        height, width, channels = pictures
        if not self._bytes and "frames" not in self.inputs:
            channels, height, width = pictures
        self.frame_size, self.channels = (height, width), channels  # of the frames
        sizes = [size for shape in (*self.inputs.values(), self._shape) for size in shape]
        possible = all(type(size) is int and 0 < size <= _LARGEST_SIZE for size in sizes)
        if not possible or channels not in (3, 4) or height * width > _MOST_PIXELS:
            raise ValueError(f"inputs {self.inputs}, output {self._shape}")

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        try:
            count = len(next(iter(feed.values())))
            if self.device == "cpu":
                output = self.session.run(None, feed)[0]
            else:  # a GPU would tune and capture its kernels again for every new batch size
                fixed = batches(feed, batch_size_for(*self.frame_size))
                output = np.concatenate([self.run_fixed(batch) for batch in fixed])[:count]
        except Exception as error:
            if out_of_memory(error):
                raise SystemFault(
                    f"{self.path}: out of memory on {self.runs_on} ({_reason(error)}); free some."
                ) from error
            raise ModelError(f"{self.path}: fails on {self.runs_on} ({_reason(error)}).") from error
        if output.shape[1:] != tuple(self._shape) or len(output) != count:
            raise ModelError(f"{self.path}: makes {output.shape}, against its contract.")
        if not self._bytes and not np.isfinite(output).all():
            raise ModelError(f"{self.path}: what it makes has NaN or infinite numbers.")
        return output

    def run_fixed(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Run one batch through buffers that are allocated once. Its size may never change."""
        if self._bound is None:
            self._bind(feed)
        for name, array in feed.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self.session.run_with_iobinding(self._bound)
        return self._output.numpy().copy()

    def _bind(self, feed: dict[str, np.ndarray]) -> None:
        from onnxruntime import OrtValue

        (out,), gpu = self.session.get_outputs(), local_gpu()
        kind = np.uint8 if self._bytes else np.float32
        shape = [len(next(iter(feed.values()))), *self._shape]
        self._bound = self.session.io_binding()
        self._inputs = {
            name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, gpu)
            for name, array in feed.items()
        }
        self._output = OrtValue.ortvalue_from_shape_and_type(shape, kind, self.device, gpu)
        for name, value in self._inputs.items():
            self._bound.bind_ortvalue_input(name, value)
        self._bound.bind_ortvalue_output(out.name, self._output)


def batch_size_for(height: int, width: int) -> int:
    """How many frames are computed at once: 16, or fewer (a power of two) if they exceed 16 MB."""
    fitting = min(_LARGEST_BATCH, _LARGEST_BATCH_BYTES // (height * width * 3))
    return 1 << max(fitting, 1).bit_length() - 1


def batches(feed: dict[str, np.ndarray], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Split arrays into batches of exactly `size` rows. The last batch repeats its last row."""
    count = len(next(iter(feed.values())))
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        yield {name: array[index] for name, array in feed.items()}


def local_gpu() -> int:
    """The number of the GPU that this process uses: its local rank, as torchrun sets it."""
    return int(os.environ.get("LOCAL_RANK", 0)) % max(_gpus(), 1)


def to_frames(image: np.ndarray) -> np.ndarray:
    """float32 [B, 3 or 4, H, W] in [-1, 1] -> uint8 [B, H, W, 3 or 4] as in exported files."""
    half = np.float32(127.5)
    levels = np.clip(np.round(image * half + half), 0, 255)
    frames = levels.transpose(0, 2, 3, 1).astype(np.uint8)
    return alpha.straight(frames) if frames.shape[3] == 4 else frames


def candidates(onnxruntime: object) -> list[list]:
    """Lists of providers to try one after the other. The last list is the CPU alone.

    `get_available_providers` names CUDA even on machines without a GPU, and a session then falls
    back to the CPU silently. So CUDA is tried only if a device was found or the driver loads.
    """
    cpu = "CPUExecutionProvider"
    devices = {device.ep_name for device in onnxruntime.get_ep_devices()}
    compiled = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in compiled or not (
        "CUDAExecutionProvider" in devices or _loads(_DRIVER)
    ):
        return [[cpu]]
    gpu = str(local_gpu())
    onnxruntime.preload_dlls()
    # TF32 is off because its 10 bits of mantissa change frames. The exhaustive search for the
    # fastest kernel is off because its result changes from run to run. A CUDA graph launches all
    # kernels at once, which works only if all of them are on the GPU.
    exact = {"device_id": gpu, "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    cuda = ("CUDAExecutionProvider", exact)
    graph = ("CUDAExecutionProvider", exact | {"enable_cuda_graph": "1"})
    if "TensorrtExecutionProvider" not in compiled or not _loads(_TENSORRT):
        return [[graph, cpu], [cuda, cpu], [cpu]]
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # the TensorRT provider has no such option
    cache = cache_root() / "tensorrt"
    with contextlib.suppress(OSError):  # TensorRT itself creates only the last folder of the path
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
    """A session on the CPU, for numbers that may not depend on whether there is a GPU."""
    import onnxruntime

    how = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}  # which prints to stdout
    return onnxruntime.InferenceSession(content, _options(onnxruntime), **how)


def _options(onnxruntime: object) -> object:
    onnxruntime.set_default_logger_severity(4)  # failures come as exceptions
    options = onnxruntime.SessionOptions()
    # On a busy machine, two threads that spin while they wait are slower than one thread.
    threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A size that is declared and not made is else found out at the first frame.
    options.add_session_config_entry("session.strict_shape_type_inference", "1")
    return options


def gpu_works() -> str:
    """Whether a session on a GPU runs, in words; "" if this ONNX Runtime has no provider for it."""
    import onnx
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ""
    small, providers = onnx.parser.parse_model(_SMALL), [("CUDAExecutionProvider", {})]
    onnxruntime.preload_dlls()
    try:
        session = _on_gpu(onnxruntime, small.SerializeToString(), providers)
        session.run(None, {"x": np.ones((1, 1, 4, 4), np.float32)})
    except Exception as error:
        driver = "" if _loads(_DRIVER) else f"there is no driver {_DRIVER}, and "
        return f"fails: {driver}{_reason(error)}"
    return "works"


def _open(onnxruntime: object, content: bytes, device: str) -> tuple[object, str]:
    """A session, and why it is on none of the GPUs."""
    why = "" if device == "auto" else "no CUDA in this ONNX Runtime, or no driver"
    for providers in candidates(onnxruntime)[:-1] if device != "cpu" else ():
        try:
            return _on_gpu(onnxruntime, content, providers), ""
        except Exception as error:
            why = _reason(error)
    return cpu_session(content), why


def _on_gpu(onnxruntime: object, content: bytes, providers: list) -> object:
    """A session on the first of the providers. Raises what ONNX Runtime does, or OSError."""
    options, (name, _) = _options(onnxruntime), providers[0]
    session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    if session.get_providers()[0] != name:
        # It says nothing of why. Mostly a library is missing, which its own one names.
        own = f"capi/libonnxruntime_providers_{name.removesuffix('ExecutionProvider').lower()}.so"
        ctypes.CDLL(str(Path(onnxruntime.__file__).parent / own))
        raise OSError(f"{name} gives no reason")
    return session


def _reason(error: Exception) -> str:
    """The first line of ONNX Runtime's message, without its prefix of name, number and code."""
    line = str(error).partition("\n")[0]
    return re.sub(r"^\[ONNX\w+\] : \d+ : \w+ : ", "", line)[:120].rstrip(". ")


def _read(path: Path) -> bytes:
    check_file(path)
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise ModelError(f"{path}: over 2 GB, but a single ONNX file is at most 2 GB.")
    content = path.read_bytes()
    if _EXTERNAL.search(content):
        raise ModelError(f"{path}: its weights are in other files; vidgan opens single files only.")
    return content


def _has_finite_weights(content: bytes) -> bool:
    """Whether no weight is infinite or NaN, which the bytes of frames would not show.

    It reads the protobuf itself, because importing the package onnx takes longer than a frame.
    """
    graphs = (graph for number, graph in _fields(memoryview(content)) if number == 7)
    tensors = (t for graph in graphs for number, t in _fields(graph) if number == 5)
    for tensor in tensors:
        fields = list(_fields(tensor))
        kind, exponent = _FLOATS.get(dict(fields).get(2), (None, 0))
        for number, numbers in fields:
            # float_data, raw_data or double_data; all bits of the exponent are 1: no number
            if kind and number in (4, 9, 10):
                bits = np.frombuffer(numbers, kind)
                if (bits & exponent == exponent).any():
                    return False
    return True


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a protobuf message: numbers (as onnx.proto says) and values."""
    at = 0

    def varint() -> int:
        nonlocal at
        start = at
        while message[at] & 0x80:
            at += 1
        at += 1
        return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(message[start:at]))

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            size = {1: 8, 2: None, 5: 4}[kind]
            size = varint() if size is None else size
            yield number, message[at : at + size]
            at += size


def _gpus() -> int:
    """How many GPUs the driver shows to this process."""
    count = ctypes.c_int(0)
    with contextlib.suppress(OSError):  # there is no driver
        driver = ctypes.CDLL(_DRIVER)
        driver.cuInit(0)
        driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value


def _loads(library: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ctypes.CDLL(library))
    return False
