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
from pathlib import Path

from vidgan.disk.files import whole, write_bytes
from vidgan.disk.places import bundled
from vidgan.generator import export

_WASM = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
_TOLD = ("z_dim", "width", "height", "classes", "vidgan_version", "self_test")


def write_html(model_file: Path, target: Path) -> None:
    """Write one self-contained page. Raises ModelError; SystemFault for a missing template."""
    page = bundled("export/web/built/page.html").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        model, info = _generator(model_file, Path(folder))
    values = {
        "TITLE": html.escape(info["title"]),
        "INFO": json.dumps(info).replace("<", "\\u003c"),
        "WASM": _packed(_runtime(_WASM[0])),
        # All low bytes, then all high ones: float16 weights then pack a tenth smaller.
        "MODEL": _packed(model[0::2] + model[1::2]),
    }
    for key, value in values.items():
        page = page.replace(f"@@{key}@@", value)
    write_bytes(target, page.encode())


def write_site(model_file: Path, target: Path) -> None:
    """Write the hosted form in place of a folder `target`, if any. Raises as `write_html`."""
    with whole(target) as part:
        shutil.copytree(bundled("export/web/built/site"), part)
        for name in _WASM:
            (part / name).write_bytes(_runtime(name))
        _, info = _generator(model_file, part)
        (part / "model.json").write_text(json.dumps(info))
        index = part / "index.html"
        page = index.read_text(encoding="utf-8").replace("@@TITLE@@", html.escape(info["title"]))
        index.write_text(page, encoding="utf-8")


def is_site(folder: Path) -> bool:
    """Whether it holds what `write_site` writes, and nothing that would be lost with it."""
    written = {file.name for file in bundled("export/web/built/site").iterdir()}
    written |= {*_WASM, "model.onnx", "model.json"}
    held = {file.name for file in folder.iterdir()}
    return "model.onnx" in held and held <= written


def _generator(model_file: Path, folder: Path) -> tuple[bytes, dict[str, object]]:
    """model.onnx in `folder`, proved; its bytes, and what the page must know of it."""
    file = folder / "model.onnx"
    export.export(model_file, file, weights="fp16", layout="rgba")
    meta = json.loads(file.with_suffix(".json").read_text())
    info = {key: meta[key] for key in _TOLD}
    info["title"] = Path(str(meta["facts"].get("data", "vidgan"))).stem
    info["class_names"] = list(meta["model"].get("class_names", ()))
    info["sha256"] = hashlib.sha256(model_file.read_bytes()).hexdigest()  # for recipes
    return file.read_bytes(), info


def _runtime(name: str) -> bytes:
    return lzma.decompress(bundled(f"export/web/built/{name}.xz").read_bytes())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
