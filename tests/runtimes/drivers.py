"""How each runtime with a Python package opens an exported file and runs it.

    python drivers.py RUNTIME FOLDER CASE...

Runs the golden inputs in FOLDER and prints one line of JSON: version, frames per second (one by
one), frames. One process per runtime: some of them abort. Needs the runtime and numpy, no vidgan.
"""

import base64
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

THREADS = len(os.sched_getaffinity(0))


def onnxruntime(file):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return ort.__version__, lambda feed: session.run(None, feed)[0]


def onnx_reference(file):
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(file))
    return version("onnx"), lambda feed: session.run(None, feed)[0]


def openvino(file):
    import openvino as ov

    core = ov.Core()
    # On CPUs that have it, the default is arithmetic in bfloat16: frames up to 17 levels off.
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(file), "CPU", hints)
    return version("openvino"), lambda feed: model(feed)[0]


def opencv(file):
    import cv2

    net = cv2.dnn.readNetFromONNX(str(file))

    def run(feed):
        for name, array in feed.items():
            net.setInput(array, name)
        return net.forward()

    return cv2.__version__, run


def tract(file):
    import tract as tr

    model = tr.onnx().load(str(file)).into_model().into_runnable()
    return version("tract"), lambda feed: model.run(list(feed.values()))[0].to_numpy()


def tinygrad(file):
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    runner = OnnxRunner(file)

    def run(feed):
        (made,) = runner({name: Tensor(array) for name, array in feed.items()}).values()
        return made.numpy()

    return version("tinygrad"), run


RUNTIMES = {
    "onnxruntime": onnxruntime,
    "onnx.reference": onnx_reference,
    "OpenVINO": openvino,
    "OpenCV": opencv,
    "tract": tract,
    "tinygrad": tinygrad,
}


def unpacked(told):
    content = base64.b64decode(told["base64"])
    return np.frombuffer(content, told["type"]).reshape(told["shape"])


def speed(run, feed):
    """Frames per second, one by one, over about a second."""
    one = {name: array[:1] for name, array in feed.items()}
    run(one)
    start, frames = time.perf_counter(), 0
    while frames == 0 or time.perf_counter() - start < 1:
        run(one)
        frames += 1
    return frames / (time.perf_counter() - start)


def main(name, folder, *cases):
    golden = json.loads((folder / "golden.json").read_text())
    frames, frames_per_s = {}, None
    for case in cases:
        feed = {key: unpacked(value) for key, value in golden[case].items()}
        file = folder / f"{case}.onnx"
        number, run = RUNTIMES[name](file)
        made = np.ascontiguousarray(run(feed)).astype(np.uint8)
        frames[case] = base64.b64encode(made.tobytes()).decode()
        # Opened once more, as tinygrad keeps to the batch size that it has seen.
        frames_per_s = frames_per_s or speed(RUNTIMES[name](file)[1], feed)
    print(json.dumps({"version": number, "frames_per_s": frames_per_s, "frames": frames}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
