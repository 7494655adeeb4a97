"""report.html: a run on one page that needs no other file, made from the run's folder."""

import base64
import html
import io
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan.disk.files import write_bytes
from vidgan.disk.templates import filled, script_json
from vidgan.quality.validation import Measured
from vidgan.training.log import logged

_GRIDS, _POINTS, _WIDEST = 24, 300, 1024  # grids of samples; points of a curve; pixels of a grid
_CURVES = ("loss_g", "loss_d", "sure_real", "sure_fake", "variety", "batch_nearest")


def write(run: Path, measured: Sequence[Measured]) -> None:
    """Write the page, or write it again. It takes 0.1 to 0.4 s."""
    grids, rows = sorted(run.glob("samples*.png")), logged(run)
    picked = np.unique(np.linspace(0, len(grids) - 1, _GRIDS).round().astype(int))
    parts = [part for part in np.array_split(rows, _POINTS) if len(part)]
    content = {
        "curves": {
            key: [float(np.mean([row.get(key, 0) for row in part])) for part in parts]
            for key in ("images_seen", *_CURVES)
        },
        "flags": [[row["images_seen"], flag] for row in rows for flag in row["flags"]],
        "measured": [asdict(m) for m in measured],
        "reals": _picture(run / "reals.png"),
        "samples": [
            [int(grids[i].stem.removeprefix("samples")), _picture(grids[i])] for i in picked
        ],
    }
    page = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    values = {
        "TITLE": html.escape(run.resolve().name),
        "COMMAND": html.escape(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "CONFIG": html.escape((run / "config.toml").read_text(encoding="utf-8")),
        "DATA": script_json(content),
    }
    write_bytes(run / "report.html", filled(page, values).encode())


def _picture(path: Path) -> str:
    with Image.open(path) as image:
        image.thumbnail((_WIDEST, 4 * _WIDEST))
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
