"""A generator as a web page: one HTML file that works from file://, or a folder for a web server.

The code of the page is built beforehand from export/web/ and is part of vidgan.
"""

import base64
import gzip
import hashlib
import html
import io
import json
import lzma
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from vidgan import __version__
from vidgan.data.cache import open_dataset
from vidgan.disk.files import whole, write_bytes
from vidgan.disk.places import bundled
from vidgan.disk.templates import filled, script_json
from vidgan.errors import ModelError
from vidgan.film import alpha
from vidgan.generator import directions, export, runs, synthesis

_WASM = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
_NONE: Mapping[str, bytes] = MappingProxyType({})
_REALS = 12  # pictures of the quiz
_INFO_KEYS = ("z_dim", "width", "height", "classes", "vidgan_version", "self_test")


def write_html(
    model_file: Path, target: Path, extras: Mapping[str, bytes] = _NONE, *, force: bool = True
) -> None:
    """Write one page that needs no other file. Raises ModelError, and SystemFault as `bundled`.

    extras   `encoder`, as an ONNX file: then the page takes photographs; `states`; `reals`, and
             their `licence` as text
    """
    page = bundled("export/web/built/page.html")
    with tempfile.TemporaryDirectory() as folder:
        model, info = _generator(model_file, Path(folder))
    values = {
        "TITLE": html.escape(info["title"]),
        "INFO": script_json(info | {"extras": [*extras]}),
        "WASM": _packed(_unpacked(_WASM[0])),
        "MODEL": _packed_weights(model),
        "EXTRAS": "\n".join(
            f'<script id="{name}" type="text/plain">{_packed_weights(content)}</script>'
            for name, content in extras.items()
        ),
    }
    write_bytes(target, filled(page, values), force=force)


def write_site(
    model_file: Path, target: Path, extras: Mapping[str, bytes] = _NONE, *, force: bool = True
) -> None:
    """Write a folder for a web server. Arguments and errors are those of `write_html`."""
    with whole(target, force=force) as part:
        shutil.copytree(bundled("export/web/built/site"), part)
        for name in _WASM:
            (part / name).write_bytes(_unpacked(name))
        _, info = _generator(model_file, part)
        for name, content in extras.items():
            (part / f"{name}.bin").write_bytes(content)
        (part / "model.json").write_text(json.dumps(info | {"extras": [*extras]}))
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
    written |= {*_WASM, "model.onnx", "model.json"}
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    names = {
        name for name in names if not re.fullmatch(r"(encoder|reals|licence|then-\d+)\.bin", name)
    }
    return "model.onnx" in names and names <= written


def states(model_file: Path) -> dict[str, bytes]:
    """Up to three earlier states of the run of a generator's file: `then-N`, at N images.

    Raises ModelError if the run has kept none.
    """
    found = runs.history(model_file)
    with tempfile.TemporaryDirectory() as folder:
        return {
            f"then-{int(file.stem)}": _generator(file, Path(folder))[0]
            for file in dict.fromkeys(found[len(found) * third // 3] for third in range(3))
        }


def reals(model_file: Path) -> bytes:
    """Pictures that a generator was trained on, one below the other, as a PNG.

    Raises ModelError if it is not known what that was, and DataError.
    """
    if (data := runs.trained_on(model_file)) is None:
        raise ModelError(f"{model_file}: --quiz needs its training data; give the folder of a run.")
    generator = synthesis.open_generator(model_file, device="cpu")
    dataset = open_dataset(data, width=generator.width, height=generator.height)
    chosen = np.linspace(0, len(dataset) - 1, _REALS).round().astype(int)
    png = io.BytesIO()
    column = np.concatenate(list(dataset.take(chosen)))
    column = alpha.over(column, 255) if column.shape[2] == 4 else column  # as the page shows fakes
    Image.fromarray(column).save(png, "PNG")
    return png.getvalue()


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
        info["directions"] = [{"name": n} | entry for n, entry in known.items() if entry["range"]]
    info["sha256"] = hashlib.sha256(model_file.read_bytes()).hexdigest()  # for saved walks
    return file.read_bytes(), info


def _unpacked(name: str) -> bytes:
    return lzma.decompress(bundled(f"export/web/built/{name}.xz").read_bytes())


def _packed_weights(content: bytes) -> str:
    """First all low bytes, then all high bytes: float16 weights are compressed 10 % smaller."""
    return _packed(content[0::2] + content[1::2])


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
