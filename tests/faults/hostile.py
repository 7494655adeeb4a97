"""What `fuzz` feeds: for each kind, valid files, how to change them, and who reads them."""

import errno
import hashlib
import io
import itertools
import json
import random
import socket
import struct
import threading
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w
from PIL import Image

from tests.conftest import save_model, small_generator, vidgan
from tests.faults.mutations import Tree, mutated, mutated_tree, text_of
from tests.films import moving, read_frames, write
from tests.sounds import write_sound

ROOT = Path(__file__).parents[2]
SECRET = b"what no server gives out"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of input. Everything imports vidgan only when it runs."""

    seeds: Callable[[Path], dict[str, bytes]]  # valid contents by the names of their files
    read: Callable[[Path], None]  # the real reader
    change: Callable[[bytes, Sequence[bytes], random.Random], bytes] = mutated
    inputs: int = 1000  # in the tests; fewer where each takes long


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


class Painter:
    """A generator that costs nothing."""

    z_dim, height, width, planes = 8, 16, 16, 3
    classes, class_names = 3, ("a", "b", "c")
    sha256 = weights_sha256 = "painter"
    runs_on = "numpy"

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        levels = np.clip(128 + 60 * z[:, :3], 0, 255).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None], (len(z), 16, 16, 3))


# Walks and recipes: text that is a tree.


def _walks(folder: Path) -> dict[str, bytes]:
    from vidgan.render.walk import Walk

    write_sound(folder / "song.wav", duration_s=0.2)
    some = [{"seed": 3, "index": 0}, {"latent": [0.5] * 8}, {"seed": 4, "index": 1}]
    for name, settings in {
        "plain": {},
        "list": {"keyframes": some, "truncation": [0.5, 1.0], "closed": False, "path": "slerp"},
        "classes": {"labels": [0, 2, 1], "hold": 0.2, "ease": "smoothstep", "path": "lerp"},
        "grid": {"grid": [2, 2], "path": "noise"},
        "even": {"constant_speed": True, "path": "spline"},
        "sound": {"audio": str(folder / "song.wav"), "path": "circle"},
    }.items():
        Walk(z_dim=8, model="painter", **settings).save(folder / f"{name}.json")
    walks = [json.loads((folder / f"{name}.json").read_text()) for name in ("plain", "list")]
    walks[1]["fade"] = 0.5
    (folder / "chapters.json").write_text(json.dumps(walks))
    (folder / "song.wav").unlink()
    return _files(folder)


def _read_walk(path: Path) -> None:
    from vidgan.render import chapters, pipeline
    from vidgan.render.walk import Walk

    walks = Walk.load_all(path)
    pipeline.check_frames(sum(walk.frames for walk in walks), yes=False)
    if len(walks) > 1:
        walks = chapters.with_one_sound(walks)
    bound = [walk.bind(Painter()) for walk in walks]
    film = chapters.Chapters(bound) if len(bound) > 1 else bound[0]
    pipeline.check_frames(film.frames, yes=False)
    film.comment()
    for index in {0, film.frames // 2, film.frames - 1}:
        film.generator(film.latents(index, index + 1))


def _recipes(folder: Path) -> dict[str, bytes]:
    from vidgan import config

    full = config.to_toml(config.Config()).encode()
    return {path.name: path.read_bytes() for path in (ROOT / "train").glob("*.toml")} | {
        "full.toml": full
    }


def _read_recipe(path: Path) -> None:
    from vidgan import config

    config.to_toml(config.resolved(config.load(path)))


def _tree_or_bytes(loads: Callable[[str], Tree], dumps: Callable[[Tree], str]) -> Callable:
    def change(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
        if chance.random() < 0.35:
            return mutated(seed, others, chance)
        return text_of(mutated_tree(loads(seed.decode()), chance), dumps)

    return change


# Models.


def _models(folder: Path) -> dict[str, bytes]:
    save_model(folder / "plain.safetensors", *small_generator(32, 32))
    save_model(folder / "classes.safetensors", *small_generator(32, 32, ("a", "b")))
    save_model(folder / "r3gan.safetensors", *small_generator(32, 32, name="r3gan"))
    return _files(folder)


def _open_model(path: Path) -> None:
    from vidgan.generator import synthesis

    generator = synthesis.open_generator(path)
    generator(np.zeros((1, generator.z_dim), np.float32))


def _change_safetensors(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Bytes, or the tree in the header, or the description within it. Most checksums fit."""
    changed = _change_header(seed, others, chance)
    return changed if chance.random() < 0.2 else _signed(changed)


def _signed(content: bytes) -> bytes:
    """With the checksum that fits, else nothing behind that would ever be looked at."""
    from vidgan.generator.checkpoint import _CHECKSUM, _UNSET

    if not (stated := _CHECKSUM.search(content)):
        return content
    start, end = stated.span(1)
    unset = content[:start] + _UNSET.encode() + content[end:]
    return content[:start] + hashlib.sha256(unset).hexdigest().encode() + content[end:]


def _change_header(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    (size,) = struct.unpack("<Q", seed[:8])
    header, tensors = json.loads(seed[8 : 8 + size]), seed[8 + size :]
    match chance.randrange(4):
        case 0:
            return mutated(seed, others, chance)
        case 1:
            header = mutated_tree(header, chance)
        case _:
            facts = json.loads(header["__metadata__"]["vidgan"])
            header["__metadata__"]["vidgan"] = json.dumps(mutated_tree(facts, chance))
    text = text_of(header, lambda tree: json.dumps(tree, separators=(",", ":")))
    return struct.pack("<Q", len(text)) + text + tensors


def _onnx(folder: Path) -> dict[str, bytes]:
    from vidgan.generator import export

    for name, classes in (("plain", ()), ("classes", ("a", "b"))):
        model = save_model(folder / f"{name}.safetensors", *small_generator(32, 32, classes))
        export.export(model, folder / f"{name}.onnx")
        for left in (model, folder / f"{name}.json"):
            left.unlink()
    return _files(folder)


def _change_onnx(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Bytes, or one field of the graph."""
    import onnx

    if chance.random() < 0.4:
        return mutated(seed, others, chance)
    model = onnx.load_from_string(seed)
    for _ in range(chance.choice((1, 1, 2))):
        _change_field(model, chance)
    try:
        return model.SerializeToString()
    except ValueError:  # too large a number
        return mutated(seed, others, chance)


def _change_field(message: object, chance: random.Random) -> None:
    """Go down a protobuf message at random and change the field that is met."""
    fields = [f for f, _ in message.ListFields()]
    if not fields:
        return
    field = chance.choice(fields)
    value = getattr(message, field.name)
    many = not isinstance(value, (int, float, str, bytes)) and not hasattr(value, "ListFields")
    if many and value and chance.random() < 0.15:
        del value[chance.randrange(len(value)) :]
        return
    if many and value and hasattr(value[0], "ListFields"):
        _change_field(chance.choice(value), chance)
        return
    if hasattr(value, "ListFields"):
        _change_field(value, chance)
        return
    old = value[chance.randrange(len(value))] if many and value else value
    if isinstance(old, str):
        new: object = chance.choice(("", old + "x", "../../x", "/etc/passwd", "z", "frames"))
    elif isinstance(old, bytes):
        new = mutated(old, [old, b"x"], chance)
    elif isinstance(old, float):
        new = chance.choice((0.0, -old, float("nan"), 1e30))
    elif isinstance(old, int):
        new = chance.choice((0, 1, -1, old + 1, old * 7, 2**31 - 1, 16, 17, 64))
    else:
        return
    try:
        if many:
            value[chance.randrange(len(value))] = new
        else:
            setattr(message, field.name, new)
    except (ValueError, TypeError):
        return


def _state_dicts(folder: Path) -> dict[str, bytes]:
    import torch

    from tests.generator import zoo

    net = zoo.trained(zoo.Tutorial(z_dim=8, channels=4, stages=3), z_dim=8)
    state = net.state_dict()
    torch.save(state, folder / "plain.pt")
    torch.save({"netG": state, "epoch": 3}, folder / "wrapped.pth")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    return _files(folder)


def _import(path: Path) -> None:
    vidgan("import", path, path.with_name("imported.safetensors"), "--force")


# NumPy's keyframes.


def _npy(folder: Path) -> dict[str, bytes]:
    chance = np.random.default_rng(0)
    for name, rows in {
        "f4": chance.normal(size=(4, 100)).astype("<f4"),
        "f8": chance.normal(size=(3, 100)),
        "f2": chance.normal(size=(3, 100)).astype("<f2"),
        "order": np.asfortranarray(chance.normal(size=(5, 100)).astype(">f4")),
        "whole": chance.integers(-2, 3, (4, 100)),
    }.items():
        np.save(folder / f"{name}.npy", rows)
    save_model(folder.with_name("npy-model.safetensors"), *small_generator(32, 32))
    return _files(folder)


def _change_npy(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Bytes, or what the header says."""
    if chance.random() < 0.4:
        return mutated(seed, others, chance)
    (size,) = struct.unpack("<H", seed[8:10])
    shape = (chance.choice((0, 1, 2, 5, -1, 2**31, 2**62, 10**30)), chance.choice((100, 0, 99, -3)))
    kind = chance.choice(
        ("<f4", "|O", "<f8", "<c8", "<U4", "|b1", "<M8[s]", "|V8", "<i8", ">f2", "?")
    )
    dims = chance.choice((shape, shape[:1], (), (2, 1, 100), "x", [3, 100]))
    header = {"descr": kind, "fortran_order": chance.choice((True, False, 3)), "shape": dims}
    text = chance.choice((repr(header), repr(header), "{", "[" * 5000, "", "__import__('os')"))
    text = (text.ljust(size - 1) + "\n").encode()
    version = chance.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    form = "<H" if version[0] == 1 else "<I"
    return seed[:6] + version + struct.pack(form, len(text)) + text + seed[10 + size :]


def _render_keyframes(path: Path) -> None:
    model = path.parents[1] / "seeds/npy-model.safetensors"
    words = ["--model", model, "--frames", 2, "--force", path.with_name("out.mkv")]
    vidgan("render", "--scale", 1, "--keyframes", path, *words)


# Pictures, zips, films and sounds.


def _pictures(folder: Path) -> dict[str, bytes]:
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (24, 32, 4), np.uint8)
    rgb, exif = Image.fromarray(pixels[..., :3].copy()), Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "rgb.png")
    rgb.save(folder / "exif.jpg", exif=exif, quality=90)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "progressive.jpg", progressive=True)
    Image.fromarray(pixels).save(folder / "rgba.webp", lossless=True)
    rgb.save(folder / "lossy.webp")
    rgb.convert("P").save(folder / "palette.png", transparency=3)
    rgb.convert("1").save(folder / "one.bmp")
    rgb.save(folder / "rgb.bmp")
    deep = Image.fromarray(chance.integers(0, 65536, (24, 32), np.uint16))
    deep.save(folder / "deep.png")
    deep.save(folder / "deep.tif")
    more = [Image.fromarray(np.roll(pixels, n, 0)[..., :3].copy()) for n in range(1, 4)]
    for name, how in {
        "moving.gif": {},
        "moving.webp": {},
        "moving.png": {},
        "stack.tif": {"compression": "tiff_lzw"},
        "jpeg.tif": {"compression": "jpeg"},
        "deflate.tif": {"compression": "tiff_adobe_deflate"},
    }.items():
        rgb.save(folder / name, save_all=True, append_images=more, **how)
    import tifffile

    tifffile.imwrite(folder / "imagej.tif", pixels[..., 0][None].repeat(3, 0), imagej=True)
    return _files(folder)


def _open_folder(path: Path) -> None:
    _open_data(path.parent)


def _open_data(path: Path) -> None:
    """As training does: the size, then all pictures into the cache."""
    from vidgan.config import DataConfig
    from vidgan.data import cache

    config = DataConfig(source=str(path))
    cache.native_size(config)
    dataset = cache.open_dataset(config, width=16, height=16)
    dataset.take(np.arange(min(4, len(dataset))))


def _zips(folder: Path) -> dict[str, bytes]:
    png = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(png, "PNG")
    for name, method in (("stored", 0), ("deflated", 8), ("bzip2", 12), ("lzma", 14)):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", method) as archive:
            for member in (
                "a/1.png",
                "a/2.png",
                "b/3.png",
                "../../x.png",
                "C:\\y.png",
                "notes.txt",
            ):
                archive.writestr(member, png.getvalue())
    return _files(folder)


def _change_zip(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Half of the changes are in the directory, where names and sizes are."""
    if chance.random() < 0.5:
        return mutated(seed, others, chance)
    start = seed.index(b"PK\x01\x02")
    return seed[:start] + mutated(seed[start:], [o[-200:] for o in others], chance)


def _films(folder: Path) -> dict[str, bytes]:
    frames = moving(8)
    for name, how in {
        "a.mp4": {},
        "b.mkv": {},
        "c.webm": {},
        "d.mov": {},
        "e.mp4": {"codec": "h265"},
        "f.mkv": {"codec": "h264"},
        "g.webm": {"codec": "av1"},
    }.items():
        write(folder / name, frames, scale=1, **how)
    import av

    for name, codec, kind in (("h.avi", "mpeg4", "avi"), ("i.ts", "mpeg2video", "mpegts")):
        with av.open(str(folder / name), "w", format=kind) as film:
            stream = film.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for frame in map(av.VideoFrame.from_ndarray, frames):
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
    (folder / "j.mp4").write_text("ffconcat version 1.0\nfile a.mp4\nfile /etc/passwd\n")
    (folder / "k.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    return _files(folder)


def _read_film(path: Path) -> None:
    from vidgan.film import reader

    reader.probe(path)
    for _ in itertools.islice(read_frames(path), 500):
        pass


def _sounds(folder: Path) -> dict[str, bytes]:
    for suffix in (".wav", ".mp3", ".flac", ".mp4"):
        write_sound(folder / f"song{suffix}", duration_s=0.3)
    (folder / "list.wav").write_text("ffconcat version 1.0\nfile song.wav\nfile /etc/passwd\n")
    return _files(folder)


def _listen(path: Path) -> None:
    from fractions import Fraction

    from vidgan.film import sound

    drive = sound.listen(path, fps=Fraction(30))
    assert np.isfinite(drive.speed).all() and np.isfinite(drive.gain).all()


# `verify`, and the server.


def _verified(folder: Path) -> dict[str, bytes]:
    from vidgan.film.writer import write_png

    for suffix in (".mp4", ".mkv", ".webm", ".gif", ".webp", ".mov"):
        write(folder / f"film{suffix}", moving(3), scale=1, comment={"seed": 5})
    write_png(folder / "picture.png", moving(1)[0], {"seed": 5})
    Image.fromarray(moving(1)[0]).save(folder / "picture.jpg")
    return _files(folder) | _models(folder)


def _verify(path: Path) -> None:
    vidgan("verify", path)


_SERVER: list[tuple[str, int]] = []  # of this process


def _requests(folder: Path) -> dict[str, bytes]:
    """One request in each file. A site and a secret lie beside them."""
    site = folder.with_name("site")
    (site / "deep").mkdir(parents=True, exist_ok=True)
    folder.with_name("secret.txt").write_bytes(SECRET)
    for name in ("index.html", "app.js", "deep/model.onnx"):
        (site / name).write_text(name)
    if not (site / "link.txt").is_symlink():
        (site / "link.txt").symlink_to("../secret.txt")
    paths = ("/", "/app.js", "/deep/", "/deep/model.onnx?x=1#y", "/link.txt", "/../secret.txt")
    paths += ("/%2e%2e/secret.txt", "//secret.txt", "/..%2fsecret.txt", "/\\..\\secret.txt", "*")
    head = "Host: 127.0.0.1:PORT\r\nConnection: close\r\n"
    for number, path in enumerate(paths):
        request = f"GET {path} HTTP/1.1\r\n{head}Range: bytes=0-4\r\nAccept-Encoding: gzip\r\n\r\n"
        (folder / f"{number}.http").write_text(request)
    long = f"POST / HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nhello"
    (folder / "post.http").write_text(long)
    (folder / "late.http").write_text(
        f"HEAD /app.js HTTP/1.0\r\n{head}If-Modified-Since: x\r\n\r\n"
    )
    return _files(folder)


def _change_request(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Bytes, or a word, a header or a line changed for one of a list."""
    if chance.random() < 0.4:
        return mutated(seed, others, chance)
    lines = seed.split(b"\r\n")
    words = (b"PUT", b"TRACE", b"HTTP/0.9", b"HTTP/9.9", b"HTTP/1.1 x", b"/" * 3000, b"\0", b"%00")
    words += (b"%", b"/%c0%ae%c0%ae/secret.txt", b"http://127.0.0.1/", b"/./../secret.txt", b"")
    first = lines[0].split(b" ")
    first[chance.randrange(len(first))] = chance.choice(words)
    heads = (
        b"Host: evil.example",
        b"Host:",
        b"Transfer-Encoding: chunked",
        b"x",
        b": ",
        b"X: " * 99,
    )
    heads += (b"Content-Length: -1", b"Content-Length: 9e9", b"Range: bytes=-1-", b"A" * 70_000)
    heads += (b"Expect: 100-continue", b"Connection: keep-alive", b"X: y\r\n z", b"\xff\xfe: \x80")
    lines[0] = b" ".join(first)
    lines[chance.randrange(len(lines))] = chance.choice((*heads, lines[0]))
    if chance.random() < 0.1:
        lines[1:1] = [chance.choice(heads)] * 150
    return b"\r\n".join(lines)


def _ask(path: Path) -> None:
    if not _SERVER:
        from vidgan.cli.serve import server

        running = server(path.parents[1] / "seeds/site")
        threading.Thread(target=running.serve_forever, daemon=True).start()
        _SERVER.append(("127.0.0.1", running.server_address[1]))
    port = str(_SERVER[0][1]).encode()
    _exchange(path.read_bytes().replace(b"PORT", port))
    plain = b"GET /app.js HTTP/1.1\r\nHost: 127.0.0.1:" + port + b"\r\nConnection: close\r\n\r\n"
    assert _exchange(plain).endswith(b"\r\n\r\napp.js"), "the server does not answer any more"


def _exchange(request: bytes) -> bytes:
    """Send bytes, and read until the server has closed the connection."""
    answer = bytearray()
    with socket.create_connection(_SERVER[0], timeout=60) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except OSError as error:  # it may hang up on nonsense
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise
    assert SECRET not in answer, "the server gives out a file outside its folder"
    return bytes(answer)


_JSON, _TOML = _tree_or_bytes(json.loads, json.dumps), _tree_or_bytes(tomllib.loads, tomli_w.dumps)
KINDS = {
    "walk": Kind(seeds=_walks, read=_read_walk, change=_JSON),
    "recipe": Kind(seeds=_recipes, read=_read_recipe, change=_TOML),
    "safetensors": Kind(seeds=_models, read=_open_model, change=_change_safetensors),
    "onnx": Kind(seeds=_onnx, read=_open_model, change=_change_onnx, inputs=500),
    "state_dict": Kind(seeds=_state_dicts, read=_import, inputs=500),
    "npy": Kind(seeds=_npy, read=_render_keyframes, change=_change_npy),
    "zip": Kind(seeds=_zips, read=_open_data, change=_change_zip),
    "picture": Kind(seeds=_pictures, read=_open_folder),
    "film": Kind(seeds=_films, read=_read_film),
    "sound": Kind(seeds=_sounds, read=_listen),
    "verify": Kind(seeds=_verified, read=_verify),
    "http": Kind(seeds=_requests, read=_ask, change=_change_request),
}
