"""What to write and how. A `Target` is parsed once: nothing else goes by the name of a file."""

import os
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from vidgan.disk.files import check_new, check_ours
from vidgan.errors import SystemFault, UsageError
from vidgan.film import codecs
from vidgan.film.fit import FITS

_MIN_FPS, _MAX_FPS = Fraction(1, 100), 1000  # a GIF can hold a frame for 655 seconds


@dataclass(frozen=True)
class Target:
    path: Path
    kind: codecs.Container
    codec: codecs.Codec  # or its fallback
    fps: Fraction
    scale: int | None  # enlarge each pixel to scale x scale; None: what `encoders` chooses
    quality: int  # 0 (smallest file) to 100 (best); ignored by lossless codecs
    resolution: tuple[int, int] | None = None  # width and height in the film, in place of `scale`
    fit: str = FITS[0]  # how frames of another shape fill it: see `fit.Fit`
    # What is behind frames with transparency: a colour uint8 [1, 1, 3], or a picture, which is
    # cropped to the size of the film. None: nothing, but white if the codec takes no transparency.
    ground: np.ndarray | None = field(default=None, compare=False)
    most_bytes: int | None = None  # of the file; `render.max_size` takes care of it

    @classmethod
    def parse(
        cls,
        path: Path | str,
        *,
        fps: Fraction | float | str = 30,
        codec: str | None = None,
        quality: int | None = None,
        lossless: bool = False,
        scale: int | None = None,
    ) -> Self:
        """Work out what a path and the options of `vidgan render` ask for. Raises UsageError."""
        kind = _container_of(path)
        chosen = _choose_codec(path, kind, codec, lossless=lossless)
        if quality is not None and not (chosen.at_quality and 0 <= quality <= 100):
            takes = "from 0 (smallest file) to 100 (best)" if chosen.at_quality else "no quality"
            raise UsageError(f"--quality {quality}: {chosen.name} takes {takes}.")
        if scale is not None and scale < 1:
            raise UsageError(f"--scale {scale}: a whole number from 1.")
        codec, quality = codecs.or_fallback(chosen), 80 if quality is None else quality
        return cls(Path(path), kind, codec, Fraction(), scale, quality).at_rate(fps)

    def at_rate(self, fps: Fraction | float | str) -> Self:
        """The same with another frame rate. Raises UsageError."""
        rate, most = parse_fps(fps), self.kind.ticks_per_s or _MAX_FPS
        if rate > most:
            raise UsageError(f"--fps {fps}: {self.path} can hold at most {most}.")
        return replace(self, fps=rate)

    def at(self, resolution: tuple[int, int], fit: str = FITS[0]) -> Self:
        """The same with frames of exactly this width and height. Raises UsageError."""
        width, height = resolution
        if fit not in FITS:
            raise UsageError(f"--fit {fit}: {', '.join(FITS)}.")
        if self.scale is not None:
            raise UsageError("--scale and --resolution: one of the two.")
        if min(resolution) < 1:
            raise UsageError(f"--resolution {width}x{height}: for example 1920x1080.")
        if (possible := tuple(map(self.codec.padded, resolution))) != resolution:
            can = "{}x{}".format(*possible)
            raise UsageError(f"--resolution {width}x{height}: {self.codec.name} can make {can}.")
        return replace(self, resolution=resolution, fit=fit)

    @property
    def flattens(self) -> bool:
        """Whether frames with transparency lose it."""
        return self.ground is not None or not self.codec.alpha

    def check(self, *, force: bool = False) -> None:
        """Raise UsageError or SystemFault if the target cannot be written, before work is done."""
        path = self.path
        if self.kind is codecs.PNG_FOLDER:
            check_new(path, force=force or path.is_dir())
            _check_folder(path, force=force)
        else:
            check_new(path, force=force, suffix=path.suffix)
        if not codecs.has_encoder(self.codec.encoder):
            raise SystemFault(
                f"{path}: this build of PyAV lacks the encoder {self.codec.encoder}. Its wheel has "
                "it: pip install --force-reinstall --only-binary av av"
            )


def parse_fps(fps: Fraction | float | str) -> Fraction:
    """Frames per second as an exact fraction: 30, 12.5, "24000/1001"; 23.976 means 24000/1001."""
    text = str(fps).lower()
    try:  # an exponent is refused, because the digits of 1e999999999 would fill the memory
        rate = Fraction(0 if "e" in text else text).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not _MIN_FPS <= rate <= _MAX_FPS:
        raise UsageError(
            f"--fps {fps}: from {float(_MIN_FPS)} to {_MAX_FPS}, for example 30, 12.5 or "
            "24000/1001."
        )
    # People write the rates of NTSC as decimals such as 23.98 and 29.97.
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    if rate.denominator > 1 and "/" not in text and abs(rate - ntsc) < rate / 5000:
        return ntsc
    return rate


def _container_of(path: Path | str) -> codecs.Container:
    """By the suffix. Without a suffix, or with a slash at its end, a path is a folder of PNG."""
    suffix = Path(path).suffix.lower()
    if not suffix or str(path).endswith(("/", os.sep)):
        return codecs.PNG_FOLDER
    if suffix not in codecs.CONTAINERS:
        raise UsageError(
            f"{path}: {suffix} is no kind of file that vidgan writes. It writes "
            f"{', '.join(codecs.CONTAINERS)}, and a folder of PNG files: out/."
        )
    return codecs.CONTAINERS[suffix]


def _choose_codec(
    path: Path | str, kind: codecs.Container, name: str | None, *, lossless: bool
) -> codecs.Codec:
    for codec in kind.codecs:
        if name in (None, codec.name) and (codec.lossless or not lossless):
            return codec
    possible = ""
    for suffix, other in codecs.CONTAINERS.items():
        names = dict.fromkeys(c.name for c in other.codecs if c.lossless or not lossless)
        possible += f"{suffix} ({', '.join(names)}); " if names else ""
    asked = ([f"--codec {name}"] if name else []) + ["--lossless"] * lossless
    raise UsageError(
        f"{' '.join(asked)}: impossible for {path}. Possible are {possible}a folder of PNG files."
    )


def _check_folder(path: Path, *, force: bool) -> None:
    if path.is_file():
        raise UsageError(f"{path}: exists and is not a folder; give another name.")
    files = list(path.iterdir()) if path.is_dir() else []
    if files and not force:
        raise UsageError(f"{path}: holds files already; give another name, or --force.")
    if other := [file.name for file in files if not re.fullmatch(r"frame\d{6,}\.png", file.name)]:
        # --force replaces the frames of an earlier render, and no other pictures.
        raise UsageError(f"{path}: holds more than frames ({other[0]}); give another name.")
    for first in files[:1]:
        check_ours(first)
