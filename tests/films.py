"""Films made for tests, and read back."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image

from vidgan.film import reader
from vidgan.film.segments import Film
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter

# Black, white, the six saturated colours, and 22 others.
CORNERS = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
OTHERS = np.random.default_rng(0).integers(0, 256, (22, 3)).tolist()
COLOURS = np.array(CORNERS + OTHERS, np.uint8).reshape(5, 6, 3)


def enlarged(frame: np.ndarray, factor: int) -> np.ndarray:
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def colour_error(frames: np.ndarray, colours: np.ndarray = COLOURS) -> np.ndarray:
    """How far enlarged COLOURS [..., 5 S, 6 S, 3] are off, away from where two of them meet."""
    side = frames.shape[-3] // 5
    fields, inner = frames.reshape(-1, 5, side, 6, side, 3), slice(side // 4, -side // 4)
    return np.abs(fields[:, :, inner, :, inner].astype(int) - colours[:, None, :, None])


def nearly_equal(frames: np.ndarray, others: np.ndarray) -> bool:
    """At most one grey level apart, in at most 0.1 % of bytes: what runtimes differ by."""
    difference = np.abs(frames.astype(int) - others)
    return difference.max() <= 1 and (difference > 0).mean() <= 0.001


def noise(frames: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    """A noise that becomes another one. Encoders reorder such frames and have much to lose."""
    one, other = np.random.default_rng(0).integers(0, 256, (2, height, width, 3))
    mixes = [(one * (frames - i) + other * i) // frames for i in range(frames)]
    return [mix.astype(np.uint8) for mix in mixes]


def moving(frames: int, side: int = 32) -> list[np.ndarray]:
    """A white square that walks over a gradient, so that no two frames are equal."""
    ramp = np.linspace(0, 200, side).astype(np.uint8)
    pictures = []
    for index in range(frames):
        blue = np.full((side, side), index * 2 % 256, np.uint8)
        picture = np.stack([np.tile(ramp, (side, 1)), np.tile(ramp, (side, 1)).T, blue], axis=2)
        at = index % (side - 6)
        picture[at : at + 6, at : at + 6] = 255
        pictures.append(picture)
    return pictures


def film_writer(path: Path | str, *, kind=VideoWriter, **settings: object) -> VideoWriter:
    """A writer, by the settings of `Target.parse`, `Target.at` and `VideoWriter` together."""
    keys = settings.keys() & {"force", "sound", "sound_from_s", "finish", "comment"}
    own = {key: settings.pop(key) for key in keys}
    exact = {key: settings.pop(key) for key in settings.keys() & {"resolution", "fit"}}
    target = Target.parse(path, **settings)
    return kind(target.at(**exact) if exact else target, **own)


def write(path: Path | str, frames: list[np.ndarray], **settings: object) -> Path:
    with film_writer(path, **settings) as film:
        for frame in frames:
            film.write(frame)
    return film.target.path


def decoded(path: Path) -> np.ndarray:
    """Frames uint8 [T, H, W, 3], as a reader sees them that believes the tags of the file."""
    if path.suffix == ".webp":  # FFmpeg reads no animated WebP
        with Image.open(path) as picture:
            frames = []
            for index in range(picture.n_frames):
                picture.seek(index)
                frames.append(np.asarray(picture.convert("RGB")))
            return np.stack(frames)
    to_rgb, settings = VideoReformatter(), {"format": "rgb24", "threads": 1}
    settings |= {"dst_color_range": ColorRange.JPEG, "interpolation": reader.ACCURATE}
    with av.open(str(path)) as film:
        frames = [
            to_rgb.reformat(frame, src_colorspace=reader._colorspace(frame), **settings)
            for frame in film.decode(video=0)
        ]
    return np.stack([frame.to_ndarray() for frame in frames])


def read_frames(
    source: Path | str, *, every: int = 1, size=None, notice=None
) -> Iterator[np.ndarray]:
    """Every n-th frame, as training data are read; notices are logged."""
    notice = notice or logging.getLogger("vidgan").warning
    start = reader.Place()
    for _, pixels in reader.read_on(source, start, every=every, size=size, notice=notice):
        yield pixels


def fill(film: Film, piece: range, frames: list[np.ndarray]) -> None:
    """Write a segment of a film."""
    with film.open(piece) as part:
        for index in piece:
            part.write(frames[index])


def run_python(code: str, folder: Path) -> str:
    """Run code in a process of its own, for what would hurt this one. Returns what it prints."""
    start = (
        f"import resource, sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.films import *\n"
    )
    command = [sys.executable, "-c", start + code]
    return subprocess.check_output(command, cwd=folder, stderr=subprocess.STDOUT, text=True)


def peak_mb() -> int:
    import resource

    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
