"""Render a video from generator.onnx with onnxruntime, numpy and PyAV alone.

    python render.py generator.onnx out.mp4 --seed 7 --frames 120

The same seed gives the same frames as `vidgan render`: latents come from Threefry-2x32-20 and
Box-Muller, the path is a closed cubic spline through them. Everything needed stands in this file.
"""

import argparse
import json
from fractions import Fraction

import av
import numpy as np
import onnxruntime
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter


def threefry(seed, pair, index):
    """Two random uint32 for every counter (pair, index); see export/README.md."""
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
    near = np.arange(
        first - 25, first + 27
    )  # a spline feels its neighbours ever less: 0.27^distance
    p = gaussian(seed, near % keyframes, z_dim).astype(float)
    p = np.hstack([p, np.linalg.norm(p, axis=1, keepdims=True)])  # norms ride along, see below
    weights = 3 / (2 * 3**0.5) * (3**0.5 - 2) ** np.abs(np.arange(-24, 25))
    m, n = (weights @ (p[i + 2 : i + 51] - p[i : i + 49]) for i in (0, 1))
    v = (2 * u**3 - 3 * u**2 + 1) * p[25] + (u**3 - 2 * u**2 + u) * m
    v = v + (3 * u**2 - 2 * u**3) * p[26] + (u**3 - u**2) * n
    z = v[:-1] * (v[-1] / np.linalg.norm(v[:-1]))  # half-way between latents is too short
    return z[None].astype(np.float32)


def frames_of(session, seed, frames):
    """Frames uint8 [H, W, 3], one by one."""
    model = json.loads(session.get_modelmeta().custom_metadata_map["model"])
    for frame in range(frames):
        yield session.run(["frames"], {"z": loop(seed, frame, frames, model["z_dim"])})[0][0]


def write(target, pictures, fps, scale):
    """H.264 with colours that are BT.709 in the tags and in the pixels."""
    convert = VideoReformatter()
    smooth = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    with av.open(target, "w", container_options={"movflags": "+faststart"}) as container:
        stream = None
        for number, picture in enumerate(pictures):
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    parser.add_argument("--scale", type=int, default=8)
    given = parser.parse_args()
    session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    write(given.target, frames_of(session, given.seed, given.frames), given.fps, given.scale)
