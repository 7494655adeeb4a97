"""A generator as a web page: one HTML file that plays from file://, or a folder for a web server.

The page's own code is built from export/web/ beforehand and travels with vidgan; here it meets a
generator. Knows nothing of how the page works, only where its parts go.
"""

import base64
import gzip
import hashlib
import html
import json
import lzma
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vidgan import export
from vidgan.bundled import bundled
from vidgan.errors import SystemFault

_WASM = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
_TOLD = ("z_dim", "width", "height", "classes", "vidgan_version", "self_test")


def write_html(model_file: Path, target: Path) -> None:
    """Write one self-contained page. Raises ModelError, and SystemFault where the page's template
    is missing."""
    template = _part("page.html").decode()
    wasm = _unpacked(_WASM[0])
    with tempfile.TemporaryDirectory() as folder:
        model, info = _generator(model_file, Path(folder))
    values = {
        "TITLE": html.escape(info["title"]),
        "INFO": json.dumps(info).replace("<", "\\u003c"),
        "WASM": _packed(wasm),
        # All low bytes, then all high ones: float16 weights then pack a tenth smaller.
        "MODEL": _packed(model[0::2] + model[1::2]),
    }
    for key, value in values.items():
        template = template.replace(f"@@{key}@@", value)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(template, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_site(model_file: Path, target: Path) -> None:
    """Write the hosted form into a folder that does not exist yet or is such a site. Raises as
    `write_html`."""
    index = _part("site/index.html").decode()
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(bundled("export/web/built/site"), part)
        for name in _WASM:
            (part / name).write_bytes(_unpacked(name))
        _, info = _generator(model_file, part)
        (part / "model.json").write_text(json.dumps(info))
        title = html.escape(info["title"])
        (part / "index.html").write_text(index.replace("@@TITLE@@", title), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _generator(model_file: Path, folder: Path) -> tuple[bytes, Mapping[str, object]]:
    """model.onnx in `folder`, proved; its bytes, and what the page must know of it."""
    file = folder / "model.onnx"
    export.export(model_file, file, weights="fp16", layout="rgba")
    meta = json.loads(file.with_suffix(".json").read_text())
    info = {key: meta[key] for key in _TOLD}
    info["title"] = Path(str(meta["facts"].get("data", "vidgan"))).stem
    info["class_names"] = list(meta["model"].get("class_names", ()))
    info["sha256"] = hashlib.sha256(model_file.read_bytes()).hexdigest()
    return file.read_bytes(), info


def _part(name: str) -> bytes:
    return bundled(f"export/web/built/{name}").read_bytes()


def _unpacked(name: str) -> bytes:
    try:
        return lzma.decompress(_part(f"{name}.xz"))
    except lzma.LZMAError as error:
        raise SystemFault(
            f"{name}.xz of this installation is damaged; install vidgan again."
        ) from error


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
