"""Which device torch computes on, and in which arithmetic. All that uses torch asks here."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

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
    """Replace "auto": bf16 where it should be faster, else fp32. Raises UsageError."""
    if wanted == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16: needs CUDA, not {device.type}; choose bf16 or fp32.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Without AMX, which many virtual machines hide, an Intel CPU multiplies bf16 at half the speed
    # of fp32. One of AMD with the same instructions does so at twice the speed.
    of_amd = torch.cpu._is_avx512_bf16_supported() and not _is_of_intel()
    fast = torch.cpu._is_amx_tile_supported() or of_amd
    return "bf16" if fast and device.type == "cpu" else "fp32"


def _is_of_intel() -> bool:
    about = Path("/proc/cpuinfo")  # of Linux; elsewhere `platform` knows
    return "GenuineIntel" in (about.read_text() if about.exists() else platform.processor())


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
