"""A generator to one ONNX file, and the proof that it makes the same frames.

The file appears under its name only after ONNX Runtime has reproduced torch: at most 1 grey level,
at most 0.1 % of bytes, over several batch sizes, and exactly the same frames whatever the batch.
"""

import contextlib
import io
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from vidgan import __version__, checkpoint, dcgan, latents
from vidgan.errors import ModelError
from vidgan.provenance import DIGITAL_SOURCE_TYPE
from vidgan.synthesis import CONTRACT, open_generator

OPSET = 18
ALLOWED = frozenset(
    (
        *("Reshape", "Gemm", "Conv", "ConvTranspose", "Relu", "LeakyRelu", "Tanh", "Resize"),
        *("Add", "Mul", "Gather", "Concat", "Slice", "Round", "Clip", "Transpose", "Cast"),
    )
)
_PROOF_BATCHES = (1, 2, 5, 16)
_LOCAL_TRACE = re.compile(rb"stack_trace|site-packages|\.py\b|/home/|/Users/|/tmp/")


@dataclass(frozen=True)
class Proof:
    frames: int
    max_level: int  # largest difference of a byte
    differing: float  # fraction of bytes that differ
    size_bytes: int


class _Exported(torch.nn.Module):
    def __init__(self, generator: torch.nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return dcgan.to_frames(self.generator(z))


def export(model_file: Path, target: Path) -> Proof:
    """Write generator.onnx (DESIGN: the ONNX contract) from generator.safetensors. Raises
    ModelError."""
    generator, model, facts = checkpoint.load_generator(model_file)
    proto = _to_onnx(generator, model.z_dim)
    _strip(proto)
    meta = {
        "contract": CONTRACT,
        "model": json.dumps(_plain(model)),
        "facts": json.dumps(facts),
        "seed": "Threefry-2x32-20 + Box-Muller: key = seed, counter = (pair, index)",
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "vidgan_version": __version__,
    }
    onnx.helper.set_model_props(proto, meta)
    _check(proto)
    part = target.with_name(f".{target.stem}.part.onnx")
    try:
        checkpoint.write_bytes(part, proto.SerializeToString(deterministic=True))
        proof = _prove(generator, part, model.z_dim)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return proof


def _plain(model: object) -> dict[str, object]:
    from vidgan.config import to_dict

    return to_dict(model)


def _to_onnx(generator: torch.nn.Module, z_dim: int) -> onnx.ModelProto:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not the user's
        program = torch.onnx.export(
            _Exported(generator).eval(),
            (torch.zeros(2, z_dim),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["z"],
            output_names=["frames"],
            dynamic_shapes={"z": {0: "batch"}},
            verbose=False,
        )
    return program.model_proto


def _strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter tells of this machine: source lines and stack traces."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    del proto.metadata_props[:]
    del proto.functions[:]
    proto.producer_name, proto.producer_version = "vidgan", __version__


def _check(proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(proto, full_check=True)
    operators = {node.op_type for node in proto.graph.node}
    if operators - ALLOWED:
        raise ModelError(f"the exported graph uses {sorted(operators - ALLOWED)}: a bug in vidgan.")
    told = onnx.ModelProto()
    told.CopyFrom(proto)
    for weights in told.graph.initializer:  # among millions of random bytes some spell ".py"
        weights.ClearField("raw_data")
    if found := _LOCAL_TRACE.search(told.SerializeToString()):
        raise ModelError(
            f"the exported file tells of this machine ({found[0]!r}): a bug in vidgan."
        )


def _prove(generator: torch.nn.Module, file: Path, z_dim: int) -> Proof:
    session = open_generator(file)
    z = latents.gaussian(0, np.arange(sum(_PROOF_BATCHES)), z_dim=z_dim)
    with torch.inference_mode():
        expected = torch.cat(
            [dcgan.to_frames(generator(row)) for row in torch.from_numpy(z).split(1)]
        ).numpy()
    cuts = np.cumsum(_PROOF_BATCHES)[:-1]
    actual = np.concatenate([session(part) for part in np.split(z, cuts)])
    if not np.array_equal(actual, np.concatenate([session(row[None]) for row in z])):
        raise ModelError(f"{file.name}: its frames depend on the batch size; nothing was written.")
    difference = np.abs(actual.astype(np.int16) - expected)
    proof = Proof(
        frames=len(z),
        max_level=int(difference.max()),
        differing=float((difference > 0).mean()),
        size_bytes=file.stat().st_size,
    )
    if proof.max_level > 1 or proof.differing > 0.001:
        raise ModelError(
            f"the exported file differs from torch by up to {proof.max_level} grey levels in "
            f"{proof.differing:.2%} of bytes (allowed: 1 level, 0.1 %); nothing was written."
        )
    return proof
