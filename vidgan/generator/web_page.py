"""A generator as a web page: one HTML file that works from file://, or a folder for a web server.

The code of the page is built beforehand from export/web/ and is part of vidgan.
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

from vidgan import __version__
from vidgan.disk.files import whole, write_bytes
from vidgan.disk.places import bundled
from vidgan.disk.templates import filled, script_json
from vidgan.generator import directions, export

_WASM = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
_INFO_KEYS = ("z_dim", "width", "height", "classes", "vidgan_version", "self_test")


def write_html(
    model_file: Path, target: Path, encoder: bytes | None = None, *, force: bool = True
) -> None:
    """Write one page that needs no other file. Raises ModelError, and SystemFault as `bundled`.

    encoder   as an ONNX file; with it the page takes photographs
    """
    page = bundled("export/web/built/page.html")
    with tempfile.TemporaryDirectory() as folder:
        model, info = _generator(model_file, Path(folder))
    values = {
        "TITLE": html.escape(info["title"]),
        "INFO": script_json(info | {"encoder": bool(encoder)}),
        "WASM": _packed(_unpacked(_WASM[0])),
        "MODEL": _packed_weights(model),
        "ENCODER": _packed_weights(encoder) if encoder else "",
    }
    write_bytes(target, filled(page, values), force=force)


def write_site(
    model_file: Path, target: Path, encoder: bytes | None = None, *, force: bool = True
) -> None:
    """Write a folder for a web server. Arguments and errors are those of `write_html`."""
    with whole(target, force=force) as part:
        shutil.copytree(bundled("export/web/built/site"), part)
        for name in _WASM:
            (part / name).write_bytes(_unpacked(name))
        _, info = _generator(model_file, part)
        if encoder:
            (part / "encoder.onnx").write_bytes(encoder)
        (part / "model.json").write_text(json.dumps(info | {"encoder": bool(encoder)}))
        index = part / "index.html"
        title = {"TITLE": html.escape(info["title"])}
        index.write_bytes(filled(index, title))


def write_lab(target: Path, *, force: bool = True) -> None:
    """Write the page in which a GAN trains. It needs no other file. Raises SystemFault."""
    page = bundled("export/web/built/lab.html")
    values = {"VERSION": __version__, "DIGITS": _packed(_unpacked("digits.bin"))}
    write_bytes(target, filled(page, values), force=force)


def is_site(folder: Path) -> bool:
    """Whether this is a folder of only files of `write_site`, so that it can be replaced."""
    written = {file.name for file in bundled("export/web/built/site").iterdir()}
    written |= {*_WASM, "model.onnx", "model.json", "encoder.onnx"}
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    return "model.onnx" in names and names <= written


def _generator(model_file: Path, folder: Path) -> tuple[bytes, dict[str, object]]:
    """Export model.onnx into `folder`. Returns its bytes and the facts that the page needs."""
    file = folder / "model.onnx"
    export.export(model_file, file, export.Form(weights="fp16", layout="rgba", classes="weights"))
    meta = json.loads(file.with_suffix(".json").read_text())
    info = {key: meta[key] for key in _INFO_KEYS}
    info["title"] = Path(str(meta["facts"].get("data", "vidgan"))).stem
    info["class_names"] = list(meta["model"].get("class_names", ()))
    info["directions"] = []
    if directions.file_of(model_file).exists():
        known = directions.read(model_file, meta["generator_sha256"])
        keys = ("range", "vector", "moves")
        offered = {name: entry for name, entry in known.items() if entry["range"]}
        info["directions"] = [
            {"name": name} | {k: entry[k] for k in keys} for name, entry in offered.items()
        ]
    info["sha256"] = hashlib.sha256(model_file.read_bytes()).hexdigest()  # for saved walks
    return file.read_bytes(), info


def _unpacked(name: str) -> bytes:
    return lzma.decompress(bundled(f"export/web/built/{name}.xz").read_bytes())


def _packed_weights(content: bytes) -> str:
    """First all low bytes, then all high bytes: float16 weights are compressed 10 % smaller."""
    return _packed(content[0::2] + content[1::2])


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
