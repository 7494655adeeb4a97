"""Which device torch computes on, and in which arithmetic. All that uses torch asks here."""

import contextlib
import os
from collections.abc import Iterator

import torch

from vidgan.errors import UsageError


def chosen(wanted: str = "auto") -> torch.device:
    """Replace "auto": the GPU of this process if CUDA shows one, else the CPU.

    MPS, the GPU of a Mac, is only for those who ask for it, because nothing was measured on one.
    Raises UsageError.
    """
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available()}
    there["mps"] = torch.backends.mps.is_available()
    if not there.get(wanted):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise UsageError(f"--device {wanted}: not here; torch {torch.__version__} has {known}.")
    kind = wanted if wanted != "auto" else "cuda" if there["cuda"] else "cpu"
    if kind != "cuda":
        return torch.device(kind)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def precision_for(wanted: str, device: torch.device) -> str:
    """Replace "auto": bf16 if the device has instructions for it, else fp32. Raises UsageError."""
    if wanted == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16: needs CUDA, not {device.type}; choose bf16 or fp32.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if has_bf16 and device.type == "cpu" else "fp32"


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Keep all bits of float32 in this block. By default, convolutions on a GPU drop 13 (TF32)."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
