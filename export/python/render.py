"""Render a video from generator.onnx or walk.onnx with onnxruntime, numpy and PyAV alone.

    python render.py generator.onnx out.mp4 --seed 7 --frames 120
    python render.py generator.onnx out.mp4 --walk walk.json     which --save-walk has written
    python render.py walk.onnx out.mp4                           the film that it contains

The same seed or walk gives the same frames as `vidgan render`. This file, walk.py and latents.py
are the whole player.
"""

import argparse
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

try:
    import av
    import numpy as np
    import onnxruntime
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
except ImportError as error:
    why = str(error).strip().partition("\n")[0]
    sys.exit(f"render.py: {why}; pip install -U onnxruntime numpy av")
import walk

# The mark that a trained model made the film. It is appended to an MP4 as a box of type uuid.
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
UUID = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def frames_of(session, latents, label=0):
    """Frames uint8 [H, W, 3] of a walk.Walk, one by one. A file with a walk inside needs none."""
    names = {given.name for given in session.get_inputs()}
    for frame in range(latents.frames):
        if "t" in names:  # from 0 to 1 is one round
            feed = {"t": np.float32([frame / latents.frames])}
        else:
            feed = {"z": latents.latent(frame)}
        if "label" in names:
            feed["label"] = np.int32([label])
        if "class_weights" in names:
            feed["class_weights"] = latents.class_weights(frame)
        yield on_white(session.run(["frames"], feed)[0][0])


def on_white(picture):
    """A picture uint8 [H, W, 3], or 4 where some of it may be transparent: uint8 [H, W, 3]."""
    if picture.shape[2] == 3:
        return picture
    colours, alpha = picture[..., :3].astype(np.uint16), picture[..., 3:].astype(np.uint16)
    return ((colours * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)


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
    if session.get_outputs()[0].name == "image":
        sys.exit(f"render.py: {path}: made with --output float, which is not played")
    if session.get_inputs()[0].name not in "zt" or session.get_outputs()[0].name != "frames":
        sys.exit(f"render.py: {path}: not what vidgan export makes (z or t to frames)")
    return session


def asked_walk(session, given):
    """The walk that the options ask for, and the class for a model that mixes none."""
    first, *more = session.get_inputs()
    known = session.get_modelmeta().custom_metadata_map
    classes = int(known.get("classes", 2**31)) if more else 0
    if given.walk and first.name == "t":
        raise walk.Refused(f"--walk {given.walk}: {given.model} contains a walk already")
    if not given.walk:
        if given.label is not None and not 0 <= given.label < classes:
            many = f"0 to {classes - 1}" if classes else "no classes"
            raise walk.Refused(f"--label {given.label}: the model has {many}")
        content = {"seed": given.seed or 0, "frames": given.frames or int(known.get("frames", 120))}
        content |= {"labels": [given.label]} if given.label is not None else {}
        z_dim = first.shape[1] if first.name == "z" else 1
        return walk.Walk(content, z_dim, classes), given.label or 0
    found = walk.read(given.walk, first.shape[1], classes)
    if any(i.name == "label" for i in more) and len({*found.labels}) > 1:
        mixes = "mixes classes, which needs a model of vidgan export --classes weights"
        raise walk.Refused(f"{given.walk}: it {mixes}")
    return found, [*found.labels, 0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("target")
    for option in ("--seed", "--frames", "--label", "--scale"):
        parser.add_argument(option, type=int)
    parser.add_argument("--walk", help="a walk.json; it sets seed, frames and label itself")
    parser.add_argument("--fps", type=Fraction)
    parser.add_argument("--force", action="store_true", help="replace a film")
    parser.error = lambda why: parser.exit(1, f"{parser.format_usage()}render.py: {why}\n")
    given = parser.parse_args()
    least = [x for x in (given.frames, given.scale, given.fps) if x is not None]
    if not 0 <= (given.seed or 0) < 2**64 or min(least, default=1) <= 0:
        parser.error("a seed is from 0 to 2^64 - 1; frames, fps and scale are above 0")
    if given.walk and {given.seed, given.frames, given.label} != {None}:
        parser.error("--walk sets seed, frames and label itself")
    if Path(given.target).is_dir():
        sys.exit(f"render.py: {given.target}: a folder; give a name for the film")
    if Path(given.target).exists() and not given.force:
        sys.exit(f"render.py: {given.target}: exists already; --force replaces it")
    for number in (signal.SIGINT, signal.SIGTERM):  # the part of the film is removed on the way
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    session = opened(given.model)
    try:
        latents, label = asked_walk(session, given)
        pictures = frames_of(session, latents, label)
        write(given.target, pictures, given.fps or latents.fps, given.scale)
    except walk.Refused as error:
        sys.exit(f"render.py: {error}")
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
        sys.exit(f"render.py: {given.model}: has no class {label}")
    except (OSError, ValueError) as error:  # of PyAV: no such folder, unknown format
        sys.exit(f"render.py: {given.target}: {getattr(error, 'strerror', None) or error}")


if __name__ == "__main__":
    main()
