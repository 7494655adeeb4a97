"""The verbs that carry a generator elsewhere: export."""

from pathlib import Path

from vidgan.errors import ModelError, UsageError


def export(target: Path, *, model: Path | None = None, force: bool = False) -> None:
    """Write the generator as one ONNX file, proved against torch before it appears.

    Parameters
    ----------
    target
        generator.onnx
    model
        generator.safetensors; else the newest run's, else the shipped one.
    force
        Overwrite the target.
    """
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: the file's name must end in .onnx.")
    if target.exists() and not force:
        raise UsageError(f"{target} exists; add --force to overwrite it.")
    from vidgan import export as exporting
    from vidgan import synthesis

    source, name = synthesis.find_model(model)
    if source.suffix != ".safetensors":
        raise ModelError(f"{source}: export reads generator.safetensors.")
    proof = exporting.export(source, target)
    print(
        f"{target}: {name}, {proof.size_bytes / 1e6:.1f} MB; proved on {proof.frames} frames: "
        f"at most {proof.max_level} grey level, {proof.differing:.4%} of bytes differ"
    )
