"""Render a video from generator.onnx or walk.onnx with onnxruntime, numpy and PyAV alone.

    python render.py generator.onnx out.mp4 --seed 7 --frames 120
    python render.py walk.onnx out.mp4

The same seed gives the same frames as `vidgan render`. Latents come from Threefry-2x32-20 and
Box-Muller, and the path is a closed cubic spline through them. This one file is the whole player.
"""

import argparse
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnxruntime
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

# The mark that a trained model made the film. It is appended to an MP4 as a box of type uuid.
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
UUID = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def threefry(seed, pair, index):
    """Two random uint32 for every counter (pair, index): see "Seeds" in export/README.md."""
    key = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)]
    key.append(key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    a, b = pair + key[0], index + key[1]
    for turn in range(20):
        left = np.uint32((13, 15, 26, 6, 17, 29, 16, 24)[turn % 8])
        a = a + b
        b = ((b << left) | (b >> (np.uint32(32) - left))) ^ a
        if turn % 4 == 3:
            n = turn // 4 + 1
            a, b = a + key[n % 3], b + key[(n + 1) % 3] + np.uint32(n)
    return a, b


def gaussian(seed, indices, z_dim):
    """Latents float32 [N, z_dim]; components 2p and 2p + 1 come from counter (p, index)."""
    pairs = np.arange((z_dim + 1) // 2, dtype=np.uint32)[None, :]
    with np.errstate(over="ignore"):
        a, b = threefry(seed, *np.broadcast_arrays(pairs, indices.astype(np.uint32)[:, None]))
    radius = np.sqrt(-2 * np.log((a.astype(float) + 1) / 2**32))
    angle = 2 * np.pi * (b.astype(float) / 2**32)
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return both.reshape(len(indices), -1)[:, :z_dim].astype(np.float32)


def loop(seed, frame, frames, z_dim):
    """The latent [1, z_dim] of one frame of the default path of `vidgan render`."""
    keyframes = max(3, round(frames / 30))
    at = frame * (keyframes / frames)
    first, u = int(at), at - int(at)
    # The weight of a neighbour falls as 0.27^distance, so 24 on either side are enough.
    near = np.arange(first - 25, first + 27)
    p = gaussian(seed, near % keyframes, z_dim).astype(float)
    p = np.hstack([p, np.linalg.norm(p, axis=1, keepdims=True)])  # the norm is one more coordinate
    weights = 3 / (2 * 3**0.5) * (3**0.5 - 2) ** np.abs(np.arange(-24, 25))
    m, n = (weights @ (p[i + 2 : i + 51] - p[i : i + 49]) for i in (0, 1))
    v = (2 * u**3 - 3 * u**2 + 1) * p[25] + (u**3 - 2 * u**2 + u) * m
    v = v + (3 * u**2 - 2 * u**3) * p[26] + (u**3 - u**2) * n
    z = v[:-1] * (v[-1] / np.linalg.norm(v[:-1]))  # the mean of two latents is too short
    return z[None].astype(np.float32)


def frames_of(session, seed, frames, label=0):
    """Frames uint8 [H, W, 3], one by one."""
    first, *more = session.get_inputs()
    for frame in range(frames):
        if first.name == "t":  # a walk: t from 0 to 1 is one round
            feed = {"t": np.float32([frame / frames])}
        else:
            feed = {"z": loop(seed, frame, frames, first.shape[1])}
        if more:
            feed["label"] = np.int32([label])
        yield session.run(["frames"], feed)[0][0, :, :, :3]


def write(target, pictures, fps, scale):
    """Write to a file beside the target and rename it, so that no half-written film is left."""
    part = Path(target).absolute().with_name(f".part-{os.getpid()}-{Path(target).name}")
    try:
        film(str(part), pictures, fps, scale)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def film(target, pictures, fps, scale):
    """Encode H.264. Its tags say BT.709, and its pixels are converted with BT.709."""
    convert = VideoReformatter()
    smooth = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    with av.open(target, "w", container_options={"movflags": "+faststart"}) as container:
        stream = None
        for number, picture in enumerate(pictures):
            # Small pictures are enlarged to 512 pixels: 4:2:0 halves the resolution of colour.
            scale = scale or 2 * -(-256 // min(picture.shape[:2]))
            picture = np.ascontiguousarray(picture.repeat(scale, 0).repeat(scale, 1))
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "14"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                context = stream.codec_context
                context.color_primaries = context.color_trc = context.colorspace = 1
                context.color_range = 1
            frame = convert.reformat(
                av.VideoFrame.from_ndarray(picture, format="rgb24"),
                format="yuv420p",
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
                dst_colorspace=Colorspace.ITU709,
                interpolation=smooth | Interpolation.ACCURATE_RND,
            )
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if container.format.name in ("mp4", "mov"):
        with Path(target).open("ab") as file:
            file.write((len(UUID + XMP) + 4).to_bytes(4, "big") + UUID + XMP)


def opened(path):
    """A session of the file. Exits with one line if the file is wrong."""
    onnxruntime.set_default_logger_severity(4)
    if not Path(path).is_file():
        sys.exit(f"render.py: {path}: no such file")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's exceptions have no common base class
        sys.exit(f"render.py: {path}: not an ONNX file, or damaged")
    if session.get_inputs()[0].name not in "zt" or session.get_outputs()[0].name != "frames":
        sys.exit(f"render.py: {path}: not what vidgan export makes (z or t to frames)")
    return session


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--label", type=int, default=0)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    parser.add_argument("--scale", type=int)
    given = parser.parse_args()
    scale = 1 if given.scale is None else given.scale
    if not (0 <= given.seed < 2**64 and min(given.frames, scale, given.fps) > 0):
        parser.error("a seed is from 0 to 2^64 - 1; frames, fps and scale are above 0")
    if Path(given.target).is_dir():
        sys.exit(f"render.py: {given.target}: a folder; give a name for the film")
    session = opened(given.model)
    pictures = frames_of(session, given.seed, given.frames, given.label)
    try:
        write(given.target, pictures, given.fps, given.scale)
    except (OSError, ValueError) as error:  # of PyAV: no such folder, unknown format
        sys.exit(f"render.py: {given.target}: {getattr(error, 'strerror', None) or error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
        sys.exit(f"render.py: --label {given.label}: the model has no such class")


if __name__ == "__main__":
    main()
