"""The options of "The file", which say how a film is stored, as a `film.target.Target`."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Group, Parameter

from vidgan.cli.terminal import Whole, is_first_process, pair, to_stderr
from vidgan.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from vidgan.film.target import Target
    from vidgan.generator.synthesis import Synthesize


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
        max_size: Of a .gif or .webp, the best that is not larger than this, for example 3MB: with
            lower quality, fewer pixels, or fewer frames per second.
        for_web: What every browser plays: an .mp4 in h264, at most 1280x720 pixels.
        for_phone: For phones held upright: an .mp4 in h264, 1080x1920 pixels. Of a wide picture it
            shows the middle; to show all: --fit blur or --fit pad.
        for_chat: For messages: a .gif or .webp of at most 3 MB, or of --max-size.
        background: What is behind the transparency of a generator trained with --alpha: a colour
            (white, 204060) or a picture. Without it, .mov (ProRes), .webm (VP9), .mkv (FFV1),
            .webp, .apng, .gif and PNG keep the transparency, and others show white.
        codec: h264, h265, av1, vp9, prores or ffv1, where the kind of file allows it. h264_nvenc,
            hevc_nvenc and av1_nvenc encode on a GPU, or in software where that does not work.
        quality: From 0 (smallest file) to 100 (best picture). By default 80.
        lossless: Keep every pixel exactly: in .mp4, .mov, .mkv, .webm, .webp, .apng and PNG.
    """

    scale: Whole | None = None
    resolution: str | None = None
    fit: str | None = None
    max_size: str | None = None
    for_web: bool = False
    for_phone: bool = False
    for_chat: bool = False
    background: str | None = None
    codec: str | None = None
    quality: Whole | None = None
    lossless: bool = False


# The suffixes that a preset is for, and the options that it sets.
_H264 = {"codec": "h264", "lossless": False}
_PRESETS = {
    "for_web": ((".mp4",), _H264),
    "for_phone": ((".mp4",), _H264 | {"resolution": "1080x1920", "scale": None}),
    "for_chat": ((".gif", ".webp"), {}),
}
_WEB, _CHAT = (1280, 720), "3MB"


def target_of(path: str, file: FileOptions, *, fps: str) -> "Target":
    """The target that options say, among them those of a preset. A folder has to look like one."""
    from vidgan.film.fit import FITS
    from vidgan.film.target import Target

    file = _with_preset(path, file)
    if not (Path(path).suffix or path.endswith(("/", os.sep)) or Path(path).is_dir()):
        raise UsageError(f"{path}: say {path}.mp4 for a film, {path}/ for a folder of PNG files.")
    if file.fit and not file.resolution:
        raise UsageError(f"--fit {file.fit}: only with --resolution, for example 1920x1080.")
    keys = ("codec", "quality", "lossless", "scale")
    target = Target.parse(path, fps=fps, **{key: getattr(file, key) for key in keys})
    target = replace(target, ground=_ground(file.background) if file.background else None)
    if max_size := file.max_size or (file.for_chat and _CHAT):
        if target.kind.muxer not in ("gif", "webp"):
            raise UsageError(f"--max-size: only for .gif and .webp; {path} takes --quality.")
        target = replace(target, most_bytes=_bytes(max_size))
    if not file.resolution:
        return target
    size = pair("--resolution", file.resolution, example="1920x1080")
    return target.at(size, file.fit or FITS[0])


def _ground(text: str) -> "np.ndarray":
    import numpy as np
    from PIL import ImageColor

    from vidgan.data import pictures

    if Path(text).is_file():
        try:
            with Path(text).open("rb") as file:
                image = pictures.open_picture(file)
                return pictures.fitted(image, pictures.display_size(image), "#ffffff")
        except Exception as error:  # decoders raise all sorts of things on hostile bytes
            raise DataError(f"--background {text}: {pictures.reason(error)}.") from error
    try:
        colour = f"#{text}" if re.fullmatch("[0-9a-fA-F]{6}", text) else text
        return np.array(ImageColor.getrgb(colour)[:3], np.uint8).reshape(1, 1, 3)
    except ValueError:
        known = "no such picture, and no colour such as white or 204060"
        raise UsageError(f"--background {text}: {known}.") from None


def sized(target: "Target", file: FileOptions, generator: "Synthesize") -> "Target":
    """The size of --for-web depends on that of frames, and what is behind them on their alpha."""
    from vidgan.film.fit import inside

    if file.background and generator.planes == 3:
        raise UsageError("--background: this generator knows no transparency; omit it.")
    if generator.planes == 4 and target.flattens and not file.background and is_first_process():
        to_stderr(
            f"{target.path}: {target.codec.name} has no transparency, so this is on white. Give "
            "--background 204060, or a picture; .mov, .webm, .webp and .gif keep it."
        )
    free, size = not (target.resolution or target.scale), (generator.width, generator.height)
    return target.at(inside(size, _WEB)) if file.for_web and free else target


def _with_preset(path: str, file: FileOptions) -> FileOptions:
    """The options that a preset stands for, with those given beside it."""
    for name, (suffixes, sets) in _PRESETS.items():
        if getattr(file, name):
            option = f"--{name.replace('_', '-')}"
            if Path(path).suffix.lower() not in suffixes:
                raise UsageError(f"{option}: makes {' or '.join(suffixes)}, not {path}.")
            for key, value in sets.items():
                if getattr(file, key) not in (None, False, value):
                    raise UsageError(f"{option} and --{key}: one of the two.")
            file = replace(file, **sets)
    return file


def _bytes(text: str) -> int:
    """'3MB' -> 3,000,000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([km])b?", text.strip().lower())
    if not match or not float(match[1]):
        raise UsageError(f"--max-size {text}: for example 3MB, or 500kB.")
    return int(float(match[1]) * {"k": 1e3, "m": 1e6}[match[2]])
