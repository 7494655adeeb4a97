"""The verbs that carry a generator elsewhere: export, verify."""

from pathlib import Path
from typing import Literal

from vidgan.errors import ModelError, UsageError


def export(
    target: Path,
    *,
    model: Path | None = None,
    output: Literal["frames", "float"] = "frames",
    layout: Literal["rgb", "rgba"] = "rgb",
    weights: Literal["fp32", "fp16"] = "fp32",
    int8: bool = False,
    least_psnr: float | None = None,
    force: bool = False,
) -> None:
    """Write the generator as one ONNX file, proved against torch before it appears.

    Parameters
    ----------
    target
        generator.onnx; generator.json beside it tells the same to runtimes that read no metadata.
    model
        generator.safetensors; else the newest run's, else the shipped one.
    output
        uint8 frames, or float pictures in [-1, 1], NCHW.
    layout
        rgb, or rgba for canvases.
    weights
        fp16 halves the file; arithmetic stays in float32.
    int8
        A quarter of the file, 8-bit arithmetic; calibrated, and refused below 38 dB.
    least_psnr
        Refuse what is further from torch's frames than this, in dB.
    force
        Overwrite the target.
    """
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: the file's name must end in .onnx.")
    if int8 and weights == "fp16":
        raise UsageError("--int8 and --weights fp16: one of the two.")
    if output == "float" and layout == "rgba":
        raise UsageError("--output float has three channels: no --layout rgba.")
    for file in (target, target.with_suffix(".json")):
        if file.exists() and not force:
            raise UsageError(f"{file} exists; add --force to overwrite it.")
    from vidgan import export as exporting
    from vidgan import synthesis

    source, name = synthesis.find_model(model)
    if source.suffix != ".safetensors":
        raise ModelError(f"{source}: export reads generator.safetensors.")
    proofs = exporting.export(
        source,
        target,
        output=output,
        layout=layout,
        weights=weights,
        int8=int8,
        least_psnr_db=least_psnr,
    )
    print("weights      MB  PSNR dB  frames/s")
    for p in proofs:
        row = f"{p.size_bytes / 1e6:8.2f} {p.found.psnr_db:8.1f} {p.frames_per_s:9.0f}"
        print(f"{p.weights:6} {row}")
    print(f"{target}: {name}; proved on {proofs[-1].frames} frames: {proofs[-1].found}")


def verify(file: Path) -> None:
    """Run the self-test inside an exported file, with ONNX Runtime alone.

    Parameters
    ----------
    file
        generator.onnx or walk.onnx
    """
    if file.suffix != ".onnx":
        raise UsageError(f"{file}: verify takes an .onnx file.")
    from vidgan import selftest

    print(f"{file}: {selftest.verify(file)}")
