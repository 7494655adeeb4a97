"""A generator becomes one ONNX file, which is proved to make the same frames.

The file appears under its name only after ONNX Runtime has reproduced the frames of torch: at most
1 grey level off, at most 0.1 % of bytes, and the same frames bit by bit for any batch size.
"""

import contextlib
import hashlib
import io
import json
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import torch

from vidgan import __version__
from vidgan.config import ModelConfig
from vidgan.disk.files import whole
from vidgan.errors import ModelError
from vidgan.generator import checkpoint, graph, onnx_file, selftest, synthesis, variants
from vidgan.latent import paths, seeds
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE

ALLOWED = {
    *("Reshape", "Gemm", "MatMul", "Conv", "ConvTranspose", "Relu", "LeakyRelu", "Tanh"),
    *("Resize", "Slice", "Add", "Mul", "Gather", "Concat"),
    *("ReduceSum", "Sqrt", "Div", "Softmax"),  # anchors
    *("Round", "Clip", "Transpose", "Pad", "Cast"),  # pixels
    *("Floor", "Sub", "Unsqueeze"),  # walks
    *("DepthToSpace", "QuantizeLinear", "DequantizeLinear"),  # int8
}
LEAST_PSNR_DB = {"fp32": 60.0, "fp16": 60.0, "int8": 38.0}
_PROOF_BATCHES = (1, 2, 5, 16)
_PROOF_TIMES = (0, 0.5, -0.3, 0.9999999, 2.6, -1e-9, 0.013, 1)
_SELF_TEST_ROWS = 3
_LARGEST_BYTES = 2**31 - 2**24  # of weights and path; the rest of the file takes less than 16 MB
_LOCAL_TRACE = re.compile(rb"stack_trace|site-packages|\.py\b|/home/|/Users/|/tmp/")


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the exported file shall be like; export/README.md says what that means."""

    output: str = "frames"  # or "float": images in [-1, 1], float32 [B, 3, H, W]
    layout: str = "rgb"  # or "rgba"; of frames only; of a generator with alpha always "rgba"
    weights: str = "fp32"  # or "fp16", which is cast to float32 at load, or "int8"
    classes: str = "label"  # or "weights", which can mix; of a model of classes, without a walk
    least_psnr_db: float | None = None  # frames further from torch's are refused; None: as above


class BoundWalk(Protocol):
    """A walk to bake in, so that the input is a time: `render.walk.BoundWalk`."""

    frames: int
    paths: Sequence[paths.Path]

    def latents(self, start: int, stop: int) -> np.ndarray: ...
    def comment(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class Proof:
    weights: str
    frames: int
    difference: selftest.Difference  # from torch
    size_bytes: int
    frames_per_s: float  # one frame at a time in ONNX Runtime, on this machine


def export(
    model_file: Path,
    target: Path,
    form: Form = Form(),
    *,
    walk: BoundWalk | None = None,
    force: bool = True,
) -> list[Proof]:
    """Write an ONNX file and its side file. Returns proofs of fp32 and, last, of the file."""
    generator = synthesis.open_differentiable(model_file, device="cpu")
    model = generator.model
    if model.planes == 4:
        form = replace(form, layout="rgba")
    numbers = sum(w.numel() for w in generator.network.state_dict().values())
    numbers += walk.frames * (model.z_dim + model.classes) if walk else 0
    if numbers * 4 > _LARGEST_BYTES:
        raise ModelError(f"{model_file}: over 2 GB of weights and walk do not fit in an ONNX file.")
    mixed = walk is not None or form.classes == "weights"
    core = _core(generator.network, model, mixed=mixed)
    rows = None if walk is None else _rows(walk, model)
    closed = walk is None or walk.paths[0].closed
    inputs, latents = _probe(model, rows, closed=closed, mixed=mixed)
    one_by_one = zip(*(torch.from_numpy(x).split(1) for x in latents), strict=True)
    expected = torch.cat([generator(*row) for row in one_by_one])
    checkpoint.check_finite(model_file, {"what it makes": expected})
    meta = _meta(generator, form, walk)
    proofs = []
    # The inner file is renamed first, so that no side file is left without its model.
    beside = target.with_suffix(".json")
    with whole(beside, force=force) as side, whole(target, force=force) as part:
        for weights in dict.fromkeys(("fp32", form.weights)):
            proto, meta["weights"] = _smaller(core, weights, model), weights
            if form.output == "frames":
                proto = graph.with_pixels(proto, layout=form.layout)
            if rows is not None:
                proto = graph.with_walk(proto, rows, closed=closed)
            strip(proto)
            check(proto)
            write(part, proto, meta)
            output, proof = _prove(part, weights, inputs, expected.numpy())
            _judge(proof, form.least_psnr_db)
            proofs.append(proof)
        first = {name: array[:_SELF_TEST_ROWS] for name, array in inputs.items()}
        exact = form.weights != "int8"
        meta["self_test"] = selftest.vectors(first, output[:_SELF_TEST_ROWS], exact=exact)
        meta["onnx_sha256"] = write(part, proto, meta)
        selftest.verify(part, device="cpu")
        proofs[-1] = replace(proofs[-1], size_bytes=part.stat().st_size)  # with the self-test
        side.write_text(json.dumps(meta, indent=1))
    return proofs


def _core(network: torch.nn.Module, model: ModelConfig, *, mixed: bool) -> onnx.ModelProto:
    """The graph of a generator: z, and label int32 [B] or, if `mixed`, class_weights -> image."""
    return traced(network, _feed(model, 0, np.arange(2), mixed=mixed), "image")


def traced(
    network: torch.nn.Module, example: Mapping[str, np.ndarray], output: str
) -> onnx.ModelProto:
    """The graph of a network for any batch, as torch writes it for an example."""
    # torch's exporter warns of its own deprecations, which the user cannot change.
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            network,
            tuple(map(torch.from_numpy, example.values())),
            dynamo=True,
            opset_version=graph.OPSET,
            input_names=list(example),
            output_names=[output],
            dynamic_shapes=tuple({0: "batch"} for _ in example),
            verbose=False,
        )
    core = program.model_proto
    strip(core)
    core.graph.name = "core"
    return core


def _smaller(core: onnx.ModelProto, weights: str, model: ModelConfig) -> onnx.ModelProto:
    if weights == "fp16":
        return variants.half_weights(core)
    if weights == "fp32":
        return core
    mixed = core.graph.input[-1].name == "class_weights"
    # int8 is calibrated on 128 latents; the proof uses others.
    batches = np.arange(128).reshape(-1, 16)
    return variants.int8(core, (_feed(model, 1, index, mixed=mixed) for index in batches))


def _feed(
    model: ModelConfig, seed: int, index: np.ndarray, *, mixed: bool = False
) -> dict[str, np.ndarray]:
    """Inputs of the core: latents of a seed, and one class after the other or, if `mixed`, four
    steps from each to the next."""
    feed = {"z": seeds.gaussian(seed, index, z_dim=model.z_dim)}
    if model.classes and mixed:
        one_hot = np.eye(model.classes, dtype=np.float32)
        first, step = np.divmod(index, 4)
        share = (step / np.float32(4))[:, None].astype(np.float32)
        one, other = (one_hot[(first + k) % model.classes] for k in (0, 1))
        feed["class_weights"] = (1 - share) * one + share * other
    elif model.classes:
        feed["label"] = (index % model.classes).astype(np.int32)
    return feed


def _rows(walk: BoundWalk, model: ModelConfig) -> np.ndarray:
    """The table of a walk, float32 [F, Z + classes]; without labels it shows the first class."""
    rows = walk.latents(0, walk.frames)
    if rows.shape[1] == model.z_dim:
        first = np.eye(1, model.classes, dtype=np.float32)
        rows = np.concatenate([rows, first.repeat(len(rows), 0)], axis=1)
    return rows


def _probe(
    model: ModelConfig, rows: np.ndarray | None, *, closed: bool, mixed: bool
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Inputs of the file for its proof, and the inputs of the generator for the same frames."""
    count = sum(_PROOF_BATCHES)
    if rows is None:
        feed = _feed(model, 0, np.arange(count), mixed=mixed)
        return feed, list(feed.values())
    on_rows = np.arange(count - len(_PROOF_TIMES)) * 37 % len(rows) / len(rows)
    t = np.concatenate([_PROOF_TIMES, on_rows]).astype(np.float32)
    parts = np.split(graph.walk_rows(rows, t, closed=closed), [model.z_dim], axis=1)
    return {"t": t}, parts[: 1 + bool(model.classes)]


def _meta(
    generator: synthesis.Differentiable, form: Form, walk: BoundWalk | None
) -> dict[str, object]:
    """The entries of the file's metadata (as text) and of the side file (as JSON)."""
    model = generator.model
    meta = {
        "contract": onnx_file.WALK if walk else onnx_file.GENERATOR,
        **{name: getattr(model, name) for name in ("z_dim", "width", "height", "classes")},
        "model": asdict(model),
        "facts": generator.facts,
        "generator_sha256": generator.sha256,
        "seed": "Threefry-2x32-20 + Box-Muller: key = seed, counter = (pair, index)",
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "vidgan_version": __version__,
        "output": form.output,
        "layout": form.layout,
    }
    if walk:
        return meta | {"walk": walk.comment(), "frames": walk.frames}
    input_name = {"label": "label", "weights": "class_weights"}[form.classes]
    return meta | ({"class_input": input_name} if model.classes else {})


def strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter writes about this machine: source lines and stack traces.

    A node without a name gets that of its output, because tools tell nodes apart by name.
    """
    graph = proto.graph
    for node in graph.node:
        node.name = node.name or f"node_{node.output[0]}"
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    del proto.metadata_props[:]
    del proto.functions[:]
    proto.producer_name, proto.producer_version = "vidgan", __version__


def check(proto: onnx.ModelProto) -> None:
    """Refuse a graph that breaks the contract: other operators, or paths of this machine."""
    onnx.checker.check_model(proto, full_check=True)
    operators = {node.op_type for node in proto.graph.node}
    if operators - ALLOWED:
        raise ModelError(f"the exported graph uses {sorted(operators - ALLOWED)}: a bug in vidgan.")
    text = onnx.ModelProto()
    text.CopyFrom(proto)
    for weights in text.graph.initializer:  # among millions of random bytes some spell ".py"
        weights.ClearField("raw_data")
    if trace := _LOCAL_TRACE.search(text.SerializeToString()):
        raise ModelError(f"the file holds a path of this machine ({trace[0]!r}): a bug in vidgan.")


def write(part: Path, proto: onnx.ModelProto, meta: Mapping[str, object]) -> str:
    """Returns the SHA-256 of the file."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in meta.items()}
    onnx.helper.set_model_props(proto, texts)
    content = proto.SerializeToString(deterministic=True)
    part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _prove(
    file: Path, weights: str, inputs: dict[str, np.ndarray], expected: np.ndarray
) -> tuple[np.ndarray, Proof]:
    """Run the file in batches and then row by row, and compare the output with that of torch."""
    opened = onnx_file.OnnxFile(file, device="cpu")
    ends = np.cumsum(_PROOF_BATCHES)[:-1]
    batches = zip(*(np.split(x, ends) for x in inputs.values()), strict=True)
    output = np.concatenate([opened.run(dict(zip(inputs, b, strict=True))) for b in batches])
    start = time.perf_counter()
    rows = ({name: x[i : i + 1] for name, x in inputs.items()} for i in range(len(output)))
    if not np.array_equal(output, np.concatenate([opened.run(row) for row in rows])):
        raise ModelError(f"{file.name}: its frames depend on the batch size; nothing was written.")
    frames_per_s = len(output) / (time.perf_counter() - start)
    difference = selftest.difference(output, expected)
    return output, Proof(weights, len(output), difference, file.stat().st_size, frames_per_s)


def _judge(proof: Proof, least_psnr_db: float | None) -> None:
    difference = proof.difference
    if proof.weights == "fp32" and (difference.max_level > 1 or difference.differing > 0.001):
        raise ModelError(
            f"the exported file differs from torch by up to {difference.max_level} grey levels in "
            f"{difference.differing:.2%} of bytes (allowed: 1 level, 0.1 %); nothing was written."
        )
    least = LEAST_PSNR_DB[proof.weights] if least_psnr_db is None else least_psnr_db
    if not difference.psnr_db >= least:  # NaN is no bound
        raise ModelError(
            f"the frames with {proof.weights} are {difference.psnr_db:.1f} dB from torch's, below "
            f"{least:g} dB; nothing was written. --least-psnr sets a lower bound."
        )
