"""How each runtime with a Python package opens an exported file and runs it.

    python drivers.py RUNTIME FOLDER SECONDS CASE...

It runs the golden inputs in FOLDER and prints one line of JSON: the version and the frames. If
SECONDS is not 0, it also measures frames per second, one by one, for that long. Each runtime has a
process of its own, because some of them abort. It needs the runtime and numpy, but not vidgan.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
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
    # By default it computes in bfloat16 on CPUs that can, and frames are up to 17 levels off.
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
        (output,) = runner({name: Tensor(array) for name, array in feed.items()}).values()
        return output.numpy()

    return version("tinygrad"), run


def mnn(file):
    import MNN

    converted = file.with_suffix(".mnn")
    # It tries to install a package that reports its use. Without a package index it cannot.
    command = ["mnnconvert", "-f", "ONNX", "--modelFile", file, "--MNNModel", converted]
    tool([*command, "--bizCode", "vidgan"], PIP_NO_INDEX="1")
    manager = MNN.nn.create_runtime_manager(({"precision": "high", "numThread": THREADS},))
    names = {"generator": ["z"], "label": ["z", "label"], "walk": ["t"]}
    names = (names | {"weights": ["z", "class_weights"]})[file.stem]
    net = MNN.nn.load_module_from_file(str(converted), names, ["frames"], runtime_manager=manager)

    def constant(array):
        kind = {"float32": MNN.expr.float, "int32": MNN.expr.int}[array.dtype.name]
        return MNN.expr.const(np.ascontiguousarray(array), list(array.shape), MNN.expr.NCHW, kind)

    def run(feed):
        outputs = net.forward([*map(constant, feed.values())])
        return np.array(MNN.expr.convert(outputs[0], MNN.expr.NCHW).read())

    return version("MNN"), run


def iree(file):
    """It converts floats above 127 to uint8 wrongly, but to int32 rightly. So int32 comes first."""
    import iree.runtime as rt
    import onnx

    model = onnx.load(file)
    (cast,) = (n for n in model.graph.node if n.op_type == "Cast" and n.output[0] == "frames")
    cast.attribute[0].i = onnx.TensorProto.INT32
    cast.output[0] = "whole"
    last = onnx.helper.make_node("Cast", ["whole"], ["frames"], to=onnx.TensorProto.UINT8)
    model.graph.node.append(last)
    hop, mlir, compiled = (file.with_suffix(s) for s in (".hop.onnx", ".mlir", ".vmfb"))
    onnx.save(model, hop)
    tool(["iree-import-onnx", hop, "--opset-version", "20", "-o", mlir])
    device = "--iree-hal-target-device=local"
    backend = "--iree-hal-local-target-device-backends=llvm-cpu"
    tool(["iree-compile", device, backend, "--iree-llvmcpu-target-cpu=host", mlir, "-o", compiled])
    module = rt.load_vm_flatbuffer_file(str(compiled), driver="local-task")
    entry = module[model.graph.name]
    return version("iree-base-runtime"), lambda feed: entry(*feed.values()).to_host().view(np.uint8)


def tvm(file):
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(file), keep_params_in_input=False)
    built = relax.build(relax.get_pipeline("zero")(module), target="llvm")
    machine = relax.VirtualMachine(built, tvm.cpu())

    def run(feed):
        return machine["main"](*map(tvm.runtime.tensor, feed.values())).numpy()

    return version("apache-tvm"), run


def litert(file):
    from ai_edge_litert.interpreter import Interpreter

    folder = file.with_suffix(".tf")
    shapes = {"generator": ["z:1,100"], "label": ["z:1,100", "label:1"], "walk": ["t:1"]}
    shapes = (shapes | {"weights": ["z:1,100", "class_weights:1,5"]})[file.stem]
    converted = folder / f"{file.stem}.fixed_float32.tflite"
    if not converted.is_file():
        copy = shutil.copy(file, file.with_suffix(".fixed.onnx"))  # it changes the file it reads
        tool(["onnx2tf", "-i", copy, "-o", folder, "-n", "-ois", *shapes])  # no dynamic batch
    net = Interpreter(str(converted), num_threads=THREADS)
    net.allocate_tensors()
    details = {d["name"].split(":")[0]: d for d in net.get_input_details()}

    def run(feed):
        frames = []
        for row in range(len(next(iter(feed.values())))):
            for name, array in feed.items():
                (detail,) = (d for at, d in details.items() if at.endswith(name))
                net.set_tensor(detail["index"], array[row : row + 1])
            net.invoke()
            frames.append(net.get_tensor(net.get_output_details()[0]["index"]))
        return np.concatenate(frames)

    return version("ai-edge-litert"), run


def ncnn(file):
    """It has neither bytes nor batches, so the float form runs one latent at a time."""
    import ncnn as nc

    assert file.stem == "generator", "ncnn has neither classes nor a 1-D input"
    # The program is called directly, because the Python package around it imports torch.
    converter = Path(find_spec("pnnx").origin).with_name("pnnx")
    tool([converter, file.with_name("generator-float.onnx"), "inputshape=[1,100]f32", "fp16=0"])
    net = nc.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage, net.opt.num_threads = False, THREADS
    net.load_param(str(file.with_name("generator_float.ncnn.param")))
    net.load_model(str(file.with_name("generator_float.ncnn.bin")))

    def run(feed):
        images = []
        for z in feed["z"]:
            extractor = net.create_extractor()
            extractor.input("in0", nc.Mat(z.copy()))
            images.append(np.array(extractor.extract("out0")[1]))
        half = np.float32(127.5)
        levels = np.clip(np.round(np.stack(images) * half + half), 0, 255)
        return levels.transpose(0, 2, 3, 1)  # [B, 3, H, W] -> [B, H, W, 3]

    return version("ncnn"), run


def tool(command, **environment):
    """Run a program that belongs to the runtime and lies beside this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | environment | {"PATH": path}
    command = [str(word) for word in command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])


RUNTIMES = {
    "onnxruntime": onnxruntime,
    "onnx.reference": onnx_reference,
    "OpenVINO": openvino,
    "OpenCV": opencv,
    "tract": tract,
    "tinygrad": tinygrad,
}
# These are large or have a converter of their own. `make runtimes` installs each separately.
OTHERS = {"MNN": mnn, "IREE": iree, "TVM": tvm, "LiteRT": litert, "ncnn": ncnn}


def unpacked(entry):
    content = base64.b64decode(entry["base64"])
    return np.frombuffer(content, entry["type"]).reshape(entry["shape"])


def speed(run, feed, seconds):
    """Frames per second of the quickest frame, which a busy machine disturbs least."""
    one = {name: array[:1] for name, array in feed.items()}
    run(one)
    end, quickest = time.perf_counter() + seconds, float("inf")
    while quickest == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        run(one)
        quickest = min(quickest, time.perf_counter() - start)
    return 1 / quickest


def main(name, folder, seconds, *cases):
    golden = json.loads((folder / "golden.json").read_text())
    open_file = (RUNTIMES | OTHERS)[name]
    frames, frames_per_s = {}, None
    for case in cases:
        feed = {key: unpacked(value) for key, value in golden[case].items()}
        version_name, run = open_file(folder / f"{case}.onnx")
        output = np.ascontiguousarray(run(feed)).astype(np.uint8)
        frames[case] = base64.b64encode(output.tobytes()).decode()
        if seconds and frames_per_s is None:
            # The file is opened again, because tinygrad keeps the batch size of its first call.
            frames_per_s = speed(open_file(folder / f"{case}.onnx")[1], feed, seconds)
    print(json.dumps({"version": version_name, "frames_per_s": frames_per_s, "frames": frames}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
