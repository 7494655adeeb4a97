"""Commands that people mistype: the exit code, a part of the one line that is said, the arguments.

Plain data, so that a test can run every entry, and so that two versions can be compared.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MODEL = "MODEL"  # stands for a generator of z_dim 100, .safetensors or .onnx
EARTH = str(Path(__file__).parent.parent / "assets" / "earth.mp4")  # a film without sound

_RENDERS = [  # all with a model that is sound
    (2, ".xyz is no kind of file", ["out.xyz"]),
    (2, "there is no folder nowhere", ["nowhere/out.mp4"]),
    (2, "there is no folder mine.mp4", ["mine.mp4/out.mp4"]),
    (5, "/proc: cannot be written to", ["/proc/out.mp4"]),
    (2, "give the file another name", ["folder.mp4"]),
    (2, "or --force to replace it", ["mine.mp4"]),
    (2, "or --force", ["frames"]),
    (2, "holds more than frames (photo.png)", ["--force", "frames"]),
    (2, "--frames -5: at least 1", ["--frames", "-5", "out.mp4"]),
    (2, "add --yes to go on", ["--frames", "1000000000", "out.mp4"]),
    (3, "there is no sound in it", ["--audio", EARTH, "out.mp4"]),
    (3, "cannot be read as sound", ["--audio", "notes.txt", "out.mp4"]),
    (3, "cannot be read as sound", ["--audio", "absent.wav", "out.mp4"]),
    (2, "keyframes of 3 numbers; this model takes 100", ["--keyframes", "k.npy", "out.mp4"]),
    (2, "--keyframes notes.txt", ["--keyframes", "notes.txt", "out.mp4"]),
    (2, ".npy (it is neither)", ["--keyframes", "k.npz", "out.mp4"]),
    (2, ".npy (No such file", ["--keyframes", "absent.npy", "out.mp4"]),
    (2, "both, or neither", ["--sign", "cert.pem", "out.mp4"]),
    (2, "No such file", ["--sign", "cert.pem", "--sign-key", "key.pem", "out.mp4"]),
]

WRONG_COMMANDS = [
    (2, "ships cifar10, demo, earth", ["train", "--recipe", "tinny"]),
    (2, "--frames 0", ["render", "--frames", "0", "out.mp4"]),
    (2, "--frames 1.5: a whole number", ["render", "--frames", "1.5", "out.mp4"]),
    (2, "--count 2.5: a whole number", ["sample", "--count", "2.5", "stills"]),
    (2, "fps", ["render", "--fps", "0", "out.mp4"]),
    (2, "--frams", ["render", "--frams", "3", "out.mp4"]),
    (2, "did you mean train.images", ["train", "--recipe", "recipe.toml"]),
    (2, "--for", ["train", "--for", "soon"]),
    (2, "--for 20: a time", ["train", "--for", "20"]),
    (2, "--for -5s: a time", ["train", "--for", "-5s"]),
    (2, "--size 0: no side", ["train", "--size", "0"]),
    (2, "multiple of 8", ["train", "--size", "63"]),
    (3, "empty", ["train", "empty"]),
    (3, "nowhere", ["train", "nowhere"]),
    (4, "notes.txt", ["render", "--model", "notes.txt", "out.mp4"]),
    (4, "notes.onnx", ["render", "--model", "notes.onnx", "out.mp4"]),
    (4, "no such file", ["export", "--model", "absent.safetensors", "generator.onnx"]),
    (2, ".onnx", ["export", "generator.bin"]),
    (2, "one of the two", ["export", "--int8", "--weights", "fp16", "generator.onnx"]),
    (2, "three channels", ["export", "--output", "float", "--layout", "rgba", "g.onnx"]),
    (2, "spiral: known are", ["export", "--walk", "spiral", "walk.onnx"]),
    (4, "notes.onnx", ["verify", "notes.onnx"]),
    (4, "absent.onnx", ["verify", "absent.onnx"]),
    (2, ".safetensors", ["import", "notes.txt", "generator.pt"]),
    (4, "notes.txt", ["import", "notes.txt", "generator.safetensors"]),
    (2, "not a run", ["train", "--resume", "empty"]),
    (2, "--size 50: a side", ["train", "--size", "50"]),
    (2, "--truncation", ["render", "--truncation", "-1", "out.mp4"]),
    (2, "128000x128000", ["render", "--scale", "1000", "out.mp4"]),
    (2, "--count writes a folder", ["sample", "--count", "5", "out.png"]),
    (2, "nowhere: there is no such file", ["evaluate", "nowhere"]),
    (
        4,
        "not a model file of vidgan, or damaged. ",
        ["render", "--model", "m.safetensors", "out.mp4"],
    ),
    (4, "(Failed to load model", ["render", "--model", "m.onnx", "out.mp4"]),
    *((code, says, ["render", "--model", MODEL, *rest]) for code, says, rest in _RENDERS),
]


def prepare(folder: Path) -> None:
    """Make the files and folders that the commands name, in the folder where they are run."""
    for name in ("empty", "frames", "folder.mp4"):
        (folder / name).mkdir()
    for name in ("mine.mp4", "frames/photo.png"):
        (folder / name).write_text("mine")
    for name in ("notes.txt", "notes.onnx"):
        (folder / name).write_text("not a model")
    (folder / "recipe.toml").write_text("[train]\nimage = 3\n")
    np.save(folder / "k.npy", np.ones((4, 3), np.float32))
    np.savez(folder / "k.npz", np.ones((4, 100), np.float32))
    save_file({"w": np.ones(3)}, folder / "m.safetensors", metadata={"vidgan": "{}"})
    (folder / "m.onnx").write_bytes(b"\x08\x0a\xff")
