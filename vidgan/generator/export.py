"""A generator to one ONNX file, and the proof that it makes the same frames.

The file appears under its name only after ONNX Runtime has reproduced torch: at most 1 grey level,
at most 0.1 % of bytes, over several batch sizes, and exactly the same frames whatever the batch.
"""

import contextlib
import hashlib
import io
import json
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch

from vidgan import __version__, config
from vidgan.config import ModelConfig
from vidgan.disk.files import whole
from vidgan.errors import ModelError
from vidgan.generator import checkpoint, graph, onnx_file, selftest, variants
from vidgan.generator.graph import OPSET
from vidgan.latent import paths, seeds
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE

ALLOWED = frozenset(
    (
        *("Reshape", "Gemm", "MatMul", "Conv", "ConvTranspose", "Relu", "LeakyRelu", "Tanh"),
        *("Resize", "Slice", "Add", "Mul", "Gather", "Concat"),
        *("Round", "Clip", "Transpose", "Pad", "Cast"),  # pixels
        *("Floor", "Sub", "Unsqueeze"),  # walks
        *("DepthToSpace", "QuantizeLinear", "DequantizeLinear"),  # int8
    )
)
LEAST_PSNR_DB = {"fp32": 60.0, "fp16": 60.0, "int8": 38.0}
_PROOF_BATCHES = (1, 2, 5, 16)
_PROOF_TIMES = (0, 0.5, -0.3, 0.9999999, 2.6, -1e-9, 0.013, 1)
_SELF_TEST_ROWS = 3
_LARGEST_BYTES = 2**31 - 2**24  # what one ONNX file holds, less what stands around the weights
_LOCAL_TRACE = re.compile(rb"stack_trace|site-packages|\.py\b|/home/|/Users/|/tmp/")


@dataclass(frozen=True)
class Proof:
    weights: str
    frames: int
    found: selftest.Difference  # from torch
    size_bytes: int
    frames_per_s: float  # one by one in ONNX Runtime, here


def export(
    model_file: Path,
    target: Path,
    *,
    output: str = "frames",
    layout: str = "rgb",
    weights: str = "fp32",
    int8: bool = False,
    walk: paths.Path | None = None,
    recipe: Mapping[str, object] | None = None,
    least_psnr_db: float | None = None,
) -> list[Proof]:
    """Write an ONNX file (its contract: export/README.md) and a side file from
    generator.safetensors.

    output          "frames", or "float" for `image` float32 [B, 3, H, W] in [-1, 1]
    layout          "rgb" or "rgba", of frames
    weights         "fp32", or "fp16" as stored; arithmetic stays float32
    int8            8-bit weights and arithmetic instead
    walk            a path to bake in, so that the input is a time; `recipe` tells how it was made
    least_psnr_db   refuse what comes out worse; by default as in LEAST_PSNR_DB
    Returns the proofs of the fp32 form and, last, of the file. Raises ModelError.
    """
    generator, model, facts = checkpoint.load_generator(model_file)
    numbers = sum(w.numel() for w in generator.state_dict().values())
    numbers += walk.frames * (model.z_dim + model.classes) if walk else 0
    if numbers * 4 > _LARGEST_BYTES:
        raise ModelError(
            f"{model_file}: over 2 GB of weights and path, more than one ONNX file can hold."
        )
    core = _core(generator, model, mixed=walk is not None)
    rows = None if walk is None else _rows(walk, model.classes)
    inputs, seen = _probe(model, rows, closed=walk is None or walk.closed)
    with torch.inference_mode():  # row by row: sums may take another order in another batch
        rowwise = zip(*(torch.from_numpy(x).split(1) for x in seen), strict=True)
        expected = torch.cat([generator(*row) for row in rowwise]).numpy()
    meta = _meta(model, facts) | {"output": output, "layout": layout}
    if walk is not None:
        meta |= {"contract": onnx_file.WALK, "recipe": recipe, "frames": walk.frames}
    weights = "int8" if int8 else weights
    proofs = []
    # The inner one is renamed first: no side file of a model that never came.
    with whole(target.with_suffix(".json")) as side, whole(target) as part:
        for meta["weights"] in dict.fromkeys(("fp32", weights)):
            proto = _smaller(core, meta["weights"], model)
            if output == "frames":
                proto = graph.with_pixels(proto, layout=layout)
            if rows is not None:
                proto = graph.with_walk(proto, rows, closed=walk.closed)
            _strip(proto)
            _check(proto)
            _write(part, proto, meta)
            made, proof = _prove(part, meta["weights"], inputs, expected)
            _judge(proof, least_psnr_db)
            proofs.append(proof)
        own = {name: array[:_SELF_TEST_ROWS] for name, array in inputs.items()}
        meta["self_test"] = selftest.vectors(own, made[:_SELF_TEST_ROWS], exact=not int8)
        meta["onnx_sha256"] = _write(part, proto, meta)
        selftest.verify(part)
        proofs[-1] = replace(proofs[-1], size_bytes=part.stat().st_size)  # with its self-test
        side.write_text(json.dumps(meta, indent=1))
    return proofs


def _core(generator: torch.nn.Module, model: ModelConfig, *, mixed: bool) -> onnx.ModelProto:
    """z (and label int32 [B], or where classes mix class_weights) -> image."""
    example = _feed(model, 0, np.arange(2), mixed=mixed)
    # The exporter's own deprecations are not the user's.
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            generator.eval(),
            tuple(map(torch.from_numpy, example.values())),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=["image"],
            dynamic_shapes=tuple({0: "batch"} for _ in example),
            verbose=False,
        )
    core = program.model_proto
    _strip(core)
    core.graph.name = "core"
    return core


def _smaller(core: onnx.ModelProto, weights: str, model: ModelConfig) -> onnx.ModelProto:
    if weights == "fp16":
        return variants.half_weights(core)
    if weights == "fp32":
        return core
    mixed = core.graph.input[-1].name == "class_weights"
    # 128 latents of the model's own kind; the proof uses others.
    batches = np.arange(128).reshape(-1, 16)
    return variants.int8(core, (_feed(model, 1, index, mixed=mixed) for index in batches))


def _feed(
    model: ModelConfig, seed: int, index: np.ndarray, *, mixed: bool = False
) -> dict[str, np.ndarray]:
    """Latents of a seed, with the classes in turn."""
    feed = {"z": seeds.gaussian(seed, index, z_dim=model.z_dim)}
    if model.classes:
        label = (index % model.classes).astype(np.int32)
        one_hot = np.eye(model.classes, dtype=np.float32)[label]
        feed |= {"class_weights": one_hot} if mixed else {"label": label}
    return feed


def _rows(walk: paths.Path, classes: int) -> np.ndarray:
    """float32 [F, Z + classes]: latents, and class weights where the model knows classes."""
    z = walk.latents(0, walk.frames)
    if not classes:
        return z
    weights = walk.class_weights(0, walk.frames)
    first = np.eye(1, classes, dtype=np.float32).repeat(len(z), 0)
    return np.concatenate([z, first if weights is None else weights], axis=1)


def _probe(
    model: ModelConfig, rows: np.ndarray | None, *, closed: bool
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What the proof feeds the file, and what the generator in torch must see for it."""
    count = sum(_PROOF_BATCHES)
    if rows is None:
        feed = _feed(model, 0, np.arange(count))
        return feed, list(feed.values())
    on_rows = np.arange(count - len(_PROOF_TIMES)) * 37 % len(rows) / len(rows)
    t = np.concatenate([_PROOF_TIMES, on_rows]).astype(np.float32)
    way = graph.walk_rows(rows, t, closed=closed)
    return {"t": t}, [way[:, : model.z_dim], way[:, model.z_dim :]][: 1 + bool(model.classes)]


def _meta(model: ModelConfig, facts: Mapping[str, object]) -> dict[str, object]:
    """What stands in the file's metadata (as text) and in the side file (as JSON)."""
    return {
        "contract": onnx_file.GENERATOR,
        **{name: getattr(model, name) for name in ("z_dim", "width", "height", "classes")},
        "model": config.to_dict(model),
        "facts": facts,
        "seed": "Threefry-2x32-20 + Box-Muller: key = seed, counter = (pair, index)",
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "vidgan_version": __version__,
    }


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
        raise ModelError(f"the exported file tells of its maker ({found[0]!r}): a bug in vidgan.")


def _write(part: Path, proto: onnx.ModelProto, meta: Mapping[str, object]) -> str:
    """Returns the SHA-256 of the file."""
    told = {k: v if isinstance(v, str) else json.dumps(v) for k, v in meta.items()}
    onnx.helper.set_model_props(proto, told)
    content = proto.SerializeToString(deterministic=True)
    part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _prove(
    file: Path, weights: str, inputs: dict[str, np.ndarray], expected: np.ndarray
) -> tuple[np.ndarray, Proof]:
    """Run the file in batches and, timed, one by one."""
    opened = onnx_file.OnnxFile(file)
    cuts = np.cumsum(_PROOF_BATCHES)[:-1]
    batches = zip(*(np.split(x, cuts) for x in inputs.values()), strict=True)
    made = np.concatenate([opened.run(dict(zip(inputs, b, strict=True))) for b in batches])
    start = time.perf_counter()
    rows = ({name: x[i : i + 1] for name, x in inputs.items()} for i in range(len(made)))
    if not np.array_equal(made, np.concatenate([opened.run(row) for row in rows])):
        raise ModelError(f"{file.name}: its frames depend on the batch size; nothing was written.")
    frames_per_s = len(made) / (time.perf_counter() - start)
    found = selftest.difference(made, expected)
    return made, Proof(weights, len(made), found, file.stat().st_size, frames_per_s)


def _judge(proof: Proof, least_psnr_db: float | None) -> None:
    found, least = proof.found, least_psnr_db
    if proof.weights == "fp32" and (found.max_level > 1 or found.differing > 0.001):
        raise ModelError(
            f"the exported file differs from torch by up to {found.max_level} grey levels in "
            f"{found.differing:.2%} of bytes (allowed: 1 level, 0.1 %); nothing was written."
        )
    least = LEAST_PSNR_DB[proof.weights] if least is None else least
    if found.psnr_db < least:
        raise ModelError(
            f"with {proof.weights} weights the frames are {found.psnr_db:.1f} dB from torch's, "
            f"below {least:g} dB; nothing was written. --least-psnr takes a lower bound."
        )
