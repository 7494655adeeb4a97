"""report.html: a run on one page that needs no other file, made from the run's folder."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan import config
from vidgan.disk.files import write_bytes
from vidgan.disk.templates import filled, script_json
from vidgan.errors import ConfigError
from vidgan.generator import classes
from vidgan.quality.validation import Measured, kept
from vidgan.training.forecast import forecast
from vidgan.training.log import Progress, commands, logged
from vidgan.training.run_folder import grids, read_grid

_GRIDS, _POINTS, _WIDEST = 24, 300, 1024  # grids of samples; points of a curve; pixels of a grid
_CURVES = ("loss_g", "loss_d", "sure_real", "sure_fake", "variety", "batch_nearest")


def write(run: Path, measured: Sequence[Measured], decoded: tuple[int, int] | None = None) -> None:
    """Write the page, or write it again. It takes 0.1 to 0.4 s.

    decoded   of a film that is still being decoded: how many frames are, and about how many will be
    """
    template = Path(__file__).with_name("report.html")
    rows, samples, best = logged(run), list(grids(run).items()), kept(measured)
    picked = np.unique(np.linspace(0, len(samples) - 1, _GRIDS).round().astype(int))
    shown = [(images, _picture(path)) for images, path in (samples[i] for i in picked)]
    ends = np.linspace(0, len(rows), min(_POINTS, len(rows)) + 1).round().astype(int)
    parts = [rows[start:end] for start, end in pairwise(ends)]
    content = {
        "curves": {key: [_mean(part, key) for part in parts] for key in ("images_seen", *_CURVES)},
        "flags": [[row.images_seen, flag] for row in rows for flag in row.flags],
        "measured": [asdict(m) for m in measured],
        "kept": best and asdict(best),
        "reals": _picture(run / "reals.png"),
        "samples": [(images, picture) for images, picture in shown if picture],
    }
    first, *more = commands(run) or [None]
    lines = [first.command] if first else []
    lines += [f"{command.command}  # from {command.images_seen:,} images on" for command in more]
    shows, expect = _notes(run, rows)
    if decoded:
        expect += " The film is still being decoded: {:,} of about {:,} frames.".format(*decoded)
    values = {
        "TITLE": html.escape(run.resolve().name),
        "COMMAND": html.escape("\n".join(lines)),
        "CONFIG": html.escape((run / "config.toml").read_text(encoding="utf-8", errors="replace")),
        "CLASSES": html.escape(shows),
        "FORECAST": html.escape(expect),
        "DATA": script_json(content),
        "CHARTS": template.with_name("charts.js").read_text(encoding="utf-8"),
    }
    write_bytes(run / "report.html", filled(template, values))


def _mean(rows: Sequence[Progress], key: str) -> float | None:
    """The mean of those that are known."""
    values = [getattr(row, key) for row in rows]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _notes(run: Path, rows: Sequence[Progress]) -> tuple[str, str]:
    """Which classes the samples show, and what to expect of the run once its speed is known;
    nothing if the settings are damaged."""
    try:
        settings = config.load(run / "config.toml")
    except ConfigError:
        return "", ""
    shows, expect, names = "", "", settings.model.class_names
    if names:
        shows = f"One class after the other, row by row: {classes.listed(names)}."
    if speed := float(np.median([row.images_per_s for row in rows] or [0])):
        seen, elapsed_s = rows[-1].images_seen, rows[-1].elapsed_s
        expect = forecast(settings, seen, elapsed_s, speed, ends=False)
    return shows, expect


def _picture(path: Path) -> str:
    """A picture as data: URL; empty if it is damaged."""
    if (pixels := read_grid(path)) is None:
        return ""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((_WIDEST, 4 * _WIDEST))
    image.save(file, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
