"""Which device torch computes on, and in which arithmetic. All that uses torch asks here."""

import contextlib
import os
from collections.abc import Iterator

import torch

from vidgan.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")


def chosen(wanted: str = "auto") -> torch.device:
    """Replace "auto": the GPU of this process if CUDA shows one, else the CPU.

    MPS, the GPU of a Mac, is only for those who ask for it, because nothing was measured on one.
    Raises UsageError.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted not in DEVICES:
        raise UsageError(f"--device {wanted}: known are {', '.join(DEVICES)}.")
    if not {"cuda": cuda, "mps": mps}.get(wanted, True):
        raise UsageError(
            f"--device {wanted}: torch {torch.__version__} finds none here; leave it out, or see "
            "vidgan doctor."
        )
    kind = wanted if wanted != "auto" else "cuda" if cuda else "cpu"
    index = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count() if cuda else 0
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


def precision_for(wanted: str, device: torch.device) -> str:
    """Replace "auto": bf16 if the device has instructions for it, else fp32. Raises UsageError."""
    if wanted == "fp16" and device.type != "cuda":
        raise UsageError(
            f"--precision fp16: needs a CUDA GPU, and this run is on {device.type.upper()}; choose "
            "bf16 or fp32, or leave it out."
        )
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
