"""The options of "The file", which say how a film is stored, as a `film.target.Target`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Group, Parameter

from vidgan.cli.terminal import Whole, pair
from vidgan.errors import UsageError

if TYPE_CHECKING:
    from vidgan.film.target import Target


@Parameter(name="*", group=Group("The file", sort_key=2))
@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How the film is stored. `film.target.Target` keeps these.

    Attributes:
        scale: Enlarge frames by this whole factor. By default small frames grow to 512 pixels,
            except in lossless files.
        resolution: Exactly this size instead, as width x height, for example 1920x1080. Frames are
            enlarged smoothly.
        fit: Where the shape differs: crop (cut off what is beyond, the default), pad (black bars)
            or blur (bars of a blurred copy).
        codec: h264, h265, av1, vp9, prores or ffv1, where the kind of file allows it. h264_nvenc,
            hevc_nvenc and av1_nvenc encode on a GPU, or in software where that does not work.
        quality: From 0 (smallest file) to 100 (best picture). By default 80.
        lossless: Keep every pixel exactly: in .mp4, .mov, .mkv, .webm, .webp, .apng and PNG.
    """

    scale: Whole | None = None
    resolution: str | None = None
    fit: str | None = None
    codec: str | None = None
    quality: Whole | None = None
    lossless: bool = False


def target_of(path: str, file: FileOptions, *, fps: str) -> "Target":
    """The target that options say. A folder has to look like one, or be one."""
    from vidgan.film.fit import FITS
    from vidgan.film.target import Target

    if not (Path(path).suffix or path.endswith(("/", os.sep)) or Path(path).is_dir()):
        raise UsageError(f"{path}: say {path}.mp4 for a film, {path}/ for a folder of PNG files.")
    if file.fit and not file.resolution:
        raise UsageError(f"--fit {file.fit}: only with --resolution, for example 1920x1080.")
    keys = ("codec", "quality", "lossless", "scale")
    target = Target.parse(path, fps=fps, **{key: getattr(file, key) for key in keys})
    if not file.resolution:
        return target
    size = pair("--resolution", file.resolution, example="1920x1080")
    return target.at(size, file.fit or FITS[0])
