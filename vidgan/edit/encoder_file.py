"""An encoder as an ONNX file: a picture of the generator's size in, its latent out.

    frames  uint8 [batch, H, W, 3]
    rows    float32 [batch, Z + C]: a latent, and behind it the weights of the classes

As with a generator, the file appears only after ONNX Runtime has given the same answers as torch.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidgan import __version__
from vidgan.disk.files import whole
from vidgan.edit import encoder as encoders
from vidgan.edit.encoder import Encoder, Progress
from vidgan.errors import ModelError
from vidgan.generator import export, onnx_file, selftest, variants
from vidgan.generator.synthesis import Differentiable, open_differentiable
from vidgan.latent import seeds
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, MODEL_KEY
from vidgan.networks import pixels

_LEAST_DB = {"fp32": 60.0, "fp16": 45.0}  # of what is painted from its answers and from torch's
_PROVED, _TESTED = 16, 2  # pictures; those that the self-test holds


class _FromFrames(nn.Module):
    """An encoder that takes frames. Its means over areas are products with matrices, which every
    runtime has for every size."""

    def __init__(self, encoder: Encoder, generator: Differentiable) -> None:
        super().__init__()
        self.encoder = encoder
        for name, side, to in (
            ("rows", generator.height, encoders.SIDE),
            ("columns", generator.width, encoders.SIDE),
            ("halves", encoders.SIDE, encoders.SMALL),
        ):
            self.register_buffer(name, interpolate(torch.eye(side)[None], to, mode="area")[0])

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.rows.T @ pixels.to_float(frames) @ self.columns
        small = self.halves.T @ seen @ self.halves
        answer = self.encoder.linear(small.flatten(1)) + self.encoder.layers(seen)
        size = self.encoder.z_dim
        if answer.shape[1] == size:
            return answer
        return torch.cat([answer[:, :size], answer[:, size:].softmax(1)], 1)


def write_encoder(
    model: Path, target: Path, progress: Progress = lambda done, total: None, *, force: bool = True
) -> selftest.Difference:
    """Write the encoder of a generator's file; it is trained if there is none.

    Returns how far what the generator paints from its answers is off.
    """
    with whole(target, force=force) as part:
        return _write(model, part, "fp32", progress)


def content_for_page(model: Path, progress: Progress = lambda done, total: None) -> bytes | None:
    """The file with weights of 16 bits; None if the generator has no encoder yet."""
    if not encoders.file_of(model).exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        _write(model, Path(folder, "encoder.onnx"), "fp16", progress)
        return Path(folder, "encoder.onnx").read_bytes()


def _write(model: Path, part: Path, weights: str, progress: Progress) -> selftest.Difference:
    generator = open_differentiable(model, device="cpu")
    if generator.model.planes == 4:
        raise ModelError(f"{model}: has transparency, which encoders cannot read yet.")
    network = _FromFrames(encoders.open_encoder(generator, model, progress), generator)
    z = torch.from_numpy(seeds.gaussian(1, np.arange(_PROVED), z_dim=generator.z_dim))
    shown = torch.eye(max(generator.classes, 1), generator.classes).repeat(_PROVED, 1)[:_PROVED]
    frames = _painted(generator, torch.cat([z, shown], 1))
    core = export.traced(network, {"frames": frames.numpy()}, "rows")
    proto = variants.half_weights(core) if weights == "fp16" else core
    export.strip(proto)
    export.check(proto)
    expected = _painted(generator, network(frames).detach()).numpy()
    session = onnx_file.cpu_session(proto.SerializeToString())
    rows = np.concatenate(
        [session.run(None, {"frames": x})[0] for x in np.split(frames.numpy(), [1, 3, 8])]
    )
    off = selftest.difference(_painted(generator, torch.from_numpy(rows)).numpy(), expected)
    if not off.psnr_db >= _LEAST_DB[weights]:
        far = f"{off.psnr_db:.1f} dB from torch's, below {_LEAST_DB[weights]:g} dB"
        raise ModelError(f"the encoder leads to frames that are {far}; nothing was written.")
    meta = {
        "contract": onnx_file.ENCODER,
        **{name: getattr(generator, name) for name in ("z_dim", "width", "height", "classes")},
        "generator_sha256": generator.sha256,
        MODEL_KEY: DIGITAL_SOURCE_TYPE,
        "vidgan_version": __version__,
        "weights": weights,
        "self_test": selftest.vectors(
            {"frames": frames.numpy()[:_TESTED]}, rows[:_TESTED], exact=True
        ),
    }
    export.write(part, proto, meta)
    return off


@torch.no_grad()
def _painted(generator: Differentiable, rows: Tensor) -> Tensor:
    """What the generator makes of rows, uint8 [B, H, W, 3]."""
    z, shown = rows[:, : generator.z_dim], rows[:, generator.z_dim :]
    return pixels.to_frames(generator(z, shown if generator.classes else None))
