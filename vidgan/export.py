"""A generator to one ONNX file, and the proof that it makes the same frames.

The file appears under its name only after ONNX Runtime has reproduced torch: at most 1 grey level,
at most 0.1 % of bytes, over several batch sizes, and exactly the same frames whatever the batch.
"""

import contextlib
import io
import itertools
import json
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from vidgan import __version__, assembly, checkpoint, config, latents, runtime, selftest, variants
from vidgan.assembly import OPSET
from vidgan.config import ModelConfig
from vidgan.errors import ModelError
from vidgan.provenance import DIGITAL_SOURCE_TYPE
from vidgan.trajectory import Spline as LatentPath

ALLOWED = frozenset(
    (
        # The core, labels, pixels; walks; int8.
        *("Reshape", "Gemm", "MatMul", "Conv", "ConvTranspose", "Relu", "LeakyRelu", "Tanh"),
        *("Resize", "Slice", "Add", "Mul", "Gather", "Concat", "Round", "Clip", "Transpose"),
        *("Cast", "Pad", "Floor", "Sub", "Unsqueeze"),
        *("DepthToSpace", "QuantizeLinear", "DequantizeLinear"),
    )
)
WEIGHTS = {"fp32": 60.0, "fp16": 60.0, "int8": 38.0}  # and the PSNR in dB below which is refused
_PROOF_BATCHES = (1, 2, 5, 16)
_PROOF_TIMES = np.array([0, 0.5, -0.3, 0.9999999, 2.6, -1e-9, 0.013, 1, 1.5, 7.25], np.float32)
_SELF_TEST_ROWS = 3
_LARGEST_BYTES = 2**31 - 2**24  # what one ONNX file holds, less what stands around the weights
_TIMED_S = 0.4
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
    walk: LatentPath | None = None,
    recipe: dict[str, object] | None = None,
    least_psnr_db: float | None = None,
) -> list[Proof]:
    """Write an ONNX file (export/README.md is its contract) and a side file from
    generator.safetensors.

    output          "frames", or "float" for `image` float32 [B, 3, H, W] in [-1, 1]
    layout          "rgb" or "rgba", of frames
    weights         "fp32", or "fp16" as stored; arithmetic stays float32
    int8            8-bit weights and arithmetic instead
    walk            a path to bake in, so that the input is a time; `recipe` tells how it was made
    least_psnr_db   refuse what comes out worse; by default as in WEIGHTS
    Returns the proofs of the fp32 form and, last, of the file. Raises ModelError.
    """
    generator, model, facts = checkpoint.load_generator(model_file)
    if sum(w.numel() * 4 for w in generator.state_dict().values()) > _LARGEST_BYTES:
        raise ModelError(f"{model_file}: over 2 GB of weights, more than one ONNX file can hold.")
    core = _core(generator, model, mixed=walk is not None)
    weights = "int8" if int8 else weights
    rows = None if walk is None else _rows(walk, model.classes)
    part = target.with_name(f".{target.stem}.part.onnx")
    meta = {
        "contract": runtime.GENERATOR if walk is None else runtime.WALK,
        "model": json.dumps(config.to_dict(model)),
        "output": output,
        "layout": layout,
        "facts": json.dumps(facts),
        "seed": "Threefry-2x32-20 + Box-Muller: key = seed, counter = (pair, index)",
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "vidgan_version": __version__,
        **({} if walk is None else {"recipe": json.dumps(recipe), "frames": str(walk.frames)}),
    }
    inputs, seen = _probe(model, rows, closed=getattr(walk, "closed", True))
    with torch.inference_mode():  # row by row: sums may take another order in another batch
        rowwise = zip(*(torch.from_numpy(x).split(1) for x in seen), strict=True)
        expected = torch.cat([generator(*row) for row in rowwise]).numpy()
    proofs = []
    try:
        for kind in dict.fromkeys(("fp32", weights)):
            small = _variant(core, kind, model)
            proto = assembly.with_pixels(small, layout=layout) if output == "frames" else small
            if rows is not None:
                proto = assembly.with_walk(proto, rows, closed=walk.closed)
            _strip(proto)
            _check(proto)
            _write(part, proto, meta | {"weights": kind})
            made, proof = _prove(part, kind, inputs, expected)
            proofs.append(proof)
            _judge(proof, WEIGHTS[kind] if least_psnr_db is None else least_psnr_db)
        own = {name: array[:_SELF_TEST_ROWS] for name, array in inputs.items()}
        test = selftest.vectors(own, made[:_SELF_TEST_ROWS], exact=weights != "int8")
        _write(part, proto, meta | {"weights": weights, "self_test": json.dumps(test)})
        selftest.verify(part)
        side = _side(model, meta | {"weights": weights}, test, runtime.OnnxFile(part).sha256)
        checkpoint.write_bytes(target.with_suffix(".json"), side)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return proofs


def _core(generator: torch.nn.Module, model: ModelConfig, *, mixed: bool) -> onnx.ModelProto:
    """z (and label int32 [B], or where classes mix class_weights) -> image."""
    names, example = ["z"], [torch.zeros(2, model.z_dim)]
    if model.classes:
        names.append("class_weights" if mixed else "label")
        example.append(
            torch.zeros(2, model.classes) if mixed else torch.zeros(2, dtype=torch.int32)
        )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not the user's
        program = torch.onnx.export(
            generator.eval(),
            tuple(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["image"],
            dynamic_shapes=tuple({0: "batch"} for _ in names),
            verbose=False,
        )
    core = program.model_proto
    _strip(core)
    core.graph.name = "core"
    return core


def _variant(core: onnx.ModelProto, weights: str, model: ModelConfig) -> onnx.ModelProto:
    if weights == "fp16":
        return variants.half_weights(core)
    return variants.int8(core, _calibration(core, model)) if weights == "int8" else core


def _calibration(core: onnx.ModelProto, model: ModelConfig) -> Iterator[dict[str, np.ndarray]]:
    """128 latents of the model's own kind, none of which the proof uses; classes in turn."""
    for start in range(0, 128, 16):
        index = np.arange(start, start + 16)
        feed = {"z": latents.gaussian(1, index, z_dim=model.z_dim)}
        if model.classes:
            label = (index % model.classes).astype(np.int32)
            one_hot = np.eye(model.classes, dtype=np.float32)[label]
            name = core.graph.input[1].name
            feed[name] = label if name == "label" else one_hot
        yield feed


def _rows(walk: LatentPath, classes: int) -> np.ndarray:
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
        z = latents.gaussian(0, np.arange(count), z_dim=model.z_dim)
        label = (np.arange(count) % max(model.classes, 1)).astype(np.int32)
        inputs = {"z": z, "label": label} if model.classes else {"z": z}
        return inputs, list(inputs.values())
    frames = np.linspace(0, len(rows), count - len(_PROOF_TIMES), endpoint=False).astype(int)
    t = np.concatenate([_PROOF_TIMES, (frames / len(rows)).astype(np.float32)])
    way = assembly.walk_rows(rows, t, closed=closed)
    return {"t": t}, [way[:, : model.z_dim], way[:, model.z_dim :]][: 1 + bool(model.classes)]


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


def _write(part: Path, proto: onnx.ModelProto, meta: dict[str, str]) -> None:
    onnx.helper.set_model_props(proto, meta)
    checkpoint.write_bytes(part, proto.SerializeToString(deterministic=True))


def _prove(
    file: Path, weights: str, inputs: dict[str, np.ndarray], expected: np.ndarray
) -> tuple[np.ndarray, Proof]:
    """Run the file in batches and one by one."""
    opened = runtime.OnnxFile(file)
    cuts = [0, *np.cumsum(_PROOF_BATCHES)]
    batches, singles = (
        [opened.run({k: x[a:b] for k, x in inputs.items()}) for a, b in itertools.pairwise(at)]
        for at in (cuts, range(cuts[-1] + 1))
    )
    made = np.concatenate(batches)
    if not np.array_equal(made, np.concatenate(singles)):
        raise ModelError(f"{file.name}: its frames depend on the batch size; nothing was written.")
    return made, Proof(
        weights=weights,
        frames=len(made),
        found=selftest.difference(made, expected),
        size_bytes=file.stat().st_size,
        frames_per_s=_speed(opened, {k: x[:1] for k, x in inputs.items()}),
    )


def _speed(opened: runtime.OnnxFile, feed: dict[str, np.ndarray]) -> float:
    start, runs = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - start) < _TIMED_S:
        opened.run(feed)
        runs += 1
    return runs / elapsed_s


def _judge(proof: Proof, least_psnr_db: float) -> None:
    found = proof.found
    if proof.weights == "fp32" and (found.max_level > 1 or found.differing > 0.001):
        raise ModelError(
            f"the exported file differs from torch by up to {found.max_level} grey levels in "
            f"{found.differing:.2%} of bytes (allowed: 1 level, 0.1 %); nothing was written."
        )
    if found.psnr_db < least_psnr_db:
        raise ModelError(
            f"with {proof.weights} weights the frames are {found.psnr_db:.1f} dB from torch's, "
            f"below {least_psnr_db:g} dB; nothing was written. --least-psnr takes a lower bound."
        )


def _side(model: ModelConfig, meta: dict[str, str], test: dict[str, object], sha256: str) -> bytes:
    """The metadata again, for runtimes that cannot read it in the file."""
    told = {key: meta[key] for key in ("contract", "output", "layout", "weights", "seed")}
    told |= {"digital_source_type": DIGITAL_SOURCE_TYPE, "vidgan_version": __version__}
    told |= {"z_dim": model.z_dim, "width": model.width, "height": model.height}
    told |= {"classes": model.classes, "class_names": list(model.class_names)}
    if "recipe" in meta:
        told |= {"recipe": json.loads(meta["recipe"]), "frames": int(meta["frames"])}
    return json.dumps(told | {"onnx_sha256": sha256, "self_test": test}, indent=1).encode()
