import base64
import contextlib
import dataclasses
import gzip
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from http.server import ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageSequence
from safetensors.numpy import load_file

from tests.conftest import loop, save_model, small_generator, vidgan, write_pictures
from tests.films import nearly_equal
from tests.sounds import write_sound
from vidgan.cli import export, serve
from vidgan.config import ModelConfig
from vidgan.disk import places
from vidgan.edit import encoder, encoder_file
from vidgan.errors import SystemFault, UsageError
from vidgan.film import sound
from vidgan.generator import directions, web_page
from vidgan.generator.synthesis import open_differentiable, open_generator
from vidgan.latent.seeds import gaussian
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.networks.architectures import make_generator
from vidgan.render import pipeline
from vidgan.render.walk import Walk

ROOT = Path(__file__).parents[2]
WEB = ROOT / "export" / "web"
HASH = "#seed=7&keyframes=4&speed=4"  # 30 frames
LINE = np.linspace(-1, 1, 101).tolist()  # a direction


def node(script: str, *arguments: object, text: str = "") -> dict:
    command = ["node", str(ROOT / "tests/web" / script), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve within the block, at the port that it yields."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def shipped():
    return places.bundled("assets/generator.safetensors")


@pytest.fixture(scope="module")
def player(shipped, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "player.html"
    web_page.write_html(shipped, file)
    return file


@pytest.fixture(scope="module")
def site(shipped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    export.export(site=folder, model=shipped)
    return folder


@pytest.fixture(scope="module")
def mended(player):
    """What happens where things once went wrong, as JSON of drive.mjs."""
    walk = Walk(z_dim=100, seed=11, frames=40, truncation=[0.7])
    walk.save(player.parent / "of-python.json")
    return node("drive.mjs", "mended", player.as_uri() + HASH, player.parent)


@pytest.fixture(scope="module")
def played(player):
    """What happens in ten minutes of play, as JSON of drive.mjs."""
    return node("drive.mjs", "played", player.as_uri() + HASH, player.parent)


@pytest.fixture(scope="module")
def session(player):
    """What a person at the page saw and saved, as JSON of drive.mjs."""
    return node("drive.mjs", "page", player.as_uri() + HASH, player.parent)


@pytest.fixture(scope="module")
def expected(player):
    """The 30 frames uint8 [30, H, W, 3] that Python makes of the generator inside the page."""
    return frames_inside(player, loop(seed=7, frames=30, z_dim=100, keyframes=4).latents(0, 30))


def frames_inside(player: Path, z: np.ndarray) -> np.ndarray:
    """Of rows of a walk: latents, with the class weights of a generator of classes behind them."""
    halves = gzip.decompress(base64.b64decode(block(player, "model")))
    content = bytearray(len(halves))
    middle = (len(halves) + 1) // 2
    content[0::2], content[1::2] = halves[:middle], halves[middle:]
    onnx = onnxruntime.InferenceSession(bytes(content), providers=["CPUExecutionProvider"])
    widths = [one.shape[1] for one in onnx.get_inputs()]
    parts = np.split(z, np.cumsum(widths)[:-1], axis=1)
    feed = {one.name: part for one, part in zip(onnx.get_inputs(), parts, strict=True)}
    return onnx.run(["frames"], feed)[0][..., :3].astype(int)


def decoded(pixels: list[str], size: tuple[int, int]) -> np.ndarray:
    """RGBA pictures in base64, of a size (H, W) -> int [N, H, W, 3]."""
    content = np.frombuffer(b"".join(map(base64.b64decode, pixels)), np.uint8)
    return content.reshape(-1, *size, 4)[..., :3].astype(int)


def block(player: Path, name: str) -> str:
    return re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', player.read_text())[1]


def test_the_page_plays_from_a_file_with_no_connection(session, player):
    assert session["errors"] == []
    fetched = [url for url in session["requests"] if not url.startswith(("data:", "blob:"))]
    assert fetched == [player.as_uri()]
    assert "connect-src 'none'" in player.read_text()[:2000]


def test_its_frames_are_those_of_python(session, expected):
    pixels = decoded(session["pixels"], expected.shape[1:3])
    assert nearly_equal(pixels, expected[[0, 7, 29]]) and expected.std() > 5


def test_the_page_says_first_what_it_shows_and_one_thing_to_do(session):
    said = session["says"]
    assert said.startswith("None of this exists") and "Drag the picture" in said
    assert not any(word in said.lower() for word in ("latent", "truncation", "gan", "seed"))


def test_a_drag_moves_the_picture_and_comes_back(session):
    assert session["rests"] and session["drag_moves"] and session["drag_comes_back"]


def test_keyframes_are_kept_reordered_and_removed(session):
    assert session["kept"] == [0, 1, 2, 3, "latent"]
    assert session["reordered"] == [3, 0, 1, 2, "latent"]
    assert session["removed"] == [3, 1, 2, "latent"]
    assert session["loaded"] == [0, 1, 2, 3]
    assert "5 numbers" in session["refusal"]
    assert session["nine"] >= 3
    assert session["hash"].startswith("#seed=18446744073709551615&")


def test_a_recorded_film_is_exact_tagged_and_marked(session, player, expected):
    film = player.parent / "film"
    with av.open(film) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30)
        frames = list(container.decode(stream))
    assert len(frames) == 30 and (frames[0].width, frames[0].height) == (512, 512)
    assert [int(x) for x in (frames[0].color_primaries, frames[0].color_trc)] == [1, 1]
    assert (int(frames[0].colorspace), int(frames[0].color_range)) == (1, 1)
    decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    height, width = expected.shape[1:3]
    small = decoded.reshape(30, height, 512 // height, width, 512 // width, 3).mean((2, 4))
    assert np.abs(small - expected).mean() < 3
    mark = find_mark(film)
    assert mark["digital_source_type"] == DIGITAL_SOURCE_TYPE
    assert mark["comment"]["seed"] == 7 and mark["comment"]["frames"] == 30


def test_a_film_may_be_webm_too(session, player, expected):
    film = player.parent / "page.webm"
    with av.open(film) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        frames = list(container.decode(video=0))
    # The times of WebM are whole milliseconds.
    assert [frame.time for frame in frames] == pytest.approx(np.arange(30) / 30, abs=0.0006)
    height, width = expected.shape[1:3]
    pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    small = pixels.reshape(30, height, 512 // height, width, 512 // width, 3).mean((2, 4))
    assert np.abs(small - expected).mean() < 3
    assert find_mark(film)["comment"]["seed"] == 7


def test_a_saved_walk_names_the_model_and_every_keyframe(session, player):
    walk = json.loads((player.parent / "seeds.json").read_text())
    info = json.loads(block(player, "info"))
    assert walk["model"] == info["sha256"] and walk["frames"] == 30
    assert walk["keyframes"] == [{"seed": 7, "index": i} for i in range(4)]
    (path,) = Walk.load(player.parent / "seeds.json").paths()
    same = loop(seed=7, frames=30, z_dim=100, keyframes=4)
    assert np.array_equal(path.latents(0, 30), same.latents(0, 30))
    kinds = [set(k) for k in json.loads((player.parent / "latents.json").read_text())["keyframes"]]
    assert kinds == [{"seed", "index"}] * 3 + [{"latent"}]


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("loop", {}),
        ("loop", {"closed": False, "hold": 0.25}),
        ("lerp", {"hold": 0.3}),
        ("lerp", {"closed": False, "ease": "in-out"}),
        ("slerp", {"ease": "smoothstep"}),
        ("slerp", {"closed": False, "hold": 0.5, "ease": "in-out"}),
        ("spline", {}),
        ("spline", {"closed": False}),
        ("circle", {}),
        ("walk", {}),
        ("walk", {"closed": False}),
        ("noise", {}),
        ("loop", {"directions": [{"name": "a, b:c", "strengths": [-2, 0.1, 2], "vector": LINE}]}),
        (
            "lerp",
            {"closed": False, "directions": [{"name": "a", "strengths": [1], "vector": LINE}]},
        ),
    ],
)
def test_node_and_python_compute_and_load_the_same_walks(path, settings, tmp_path):
    seeds = [7, 2**32 + 5, 2**64 - 1]
    closed = settings.get("closed", True)
    latent = gaussian(11, np.array([4]), z_dim=101)[0]
    keyframes = [{"seed": 2**64 - 1, "index": k} for k in range(2 if path == "circle" else 8)]
    keyframes[1] = {"latent": latent.tolist()}
    settings = settings | {"path": path, "keyframes": keyframes, "frames": 77, "truncation": 0.7}
    walk = Walk(z_dim=101, seed=2**64 - 1, **settings)
    walk.save(tmp_path / "python.json")
    refused = [
        {"path": "zigzag"},
        {"path": "circle", "closed": False},
        {"path": "walk", "hold": 0.2},
        {"path": "lerp", "hold": 1},
        {"path": "lerp", "ease": "valueOf"},
        {"path": "noise", "keyframes": 1},
        {"keyframes": 2.5},
        {"frames": 1.5},
        {"hold": None},
        {"closed": None},
        {"truncation": -1},
        {"truncation": 1.1},
        {"format": "vidgan-walk-1"},
        {"path": "circle", "grid": [2, 2]},
        {"labels": [0]},
        {"fraems": 12},
        {"keyframes": [{"seed": 1, "index": 0, "weight": 2}] * 3},
        {"directions": [{"name": "a", "strengths": [1], "vector": LINE}]},
        {"format": "vidgan-walk-3"},
        {"format": "vidgan-walk-3", "directions": [{"name": "a", "strengths": [1], "vector": [1]}]},
        {"format": "vidgan-walk-3", "directions": [None]},
    ]
    asked = {"z_dim": 101, "frames": 43, "closed": closed, "truncation": 0.8, "index": 2**32 - 1}
    asked |= {
        "keyframes": [{"seed": str(2**40 + 3), "index": k} for k in range(5)],
        "seeds": [str(s) for s in seeds],
        "walk": (tmp_path / "python.json").read_text(),
        "of": {"path": path, "closed": closed},
        "lengths": [1, 75, 105, 134, 135, 136, 165],
        "refused": refused,
        "labels": [[0], [3, 1], [3, 1, 4, 3], [2, 2], [4, 4, 0]],
    }
    answer = node("latents.mjs", text=json.dumps(asked))
    for seed, theirs in zip(seeds, answer["gaussian"], strict=True):
        ours = gaussian(seed, np.array([2**32 - 1]), z_dim=101)[0]
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
    five = loop(seed=2**40 + 3, frames=43, z_dim=101, keyframes=5, closed=closed, truncation=0.8)
    np.testing.assert_allclose(answer["latents"], five.latents(0, 43), atol=1e-6)
    for labels, theirs in zip(asked["labels"], answer["weights"], strict=True):
        one = Walk(z_dim=101, frames=43, closed=closed, labels=labels).paths(5)[0]
        np.testing.assert_allclose(theirs, one.class_weights(0, 43), atol=1e-7)
    default = [Walk(z_dim=101, frames=n, path=path, closed=closed) for n in asked["lengths"]]
    assert answer["counts"] == [len(w.keyframes_in_full()) for w in default]
    assert all("walk" in error or "always a loop" in error for error in answer["refused"])

    ours = walk.paths()[0].latents(0, 77)
    np.testing.assert_allclose(answer["played"], ours, atol=1e-6)
    assert answer["by_hash"] == answer["walk"]
    (tmp_path / "page.json").write_text(answer["walk"])  # as the page saves it
    keys = ("path", "closed", "hold", "ease", "seed", "keyframes", "frames", "truncation")
    for name in ("python.json", "page.json"):
        loaded = Walk.load(tmp_path / name)
        np.testing.assert_allclose(loaded.paths()[0].latents(0, 77), ours, atol=1e-6)
        assert [getattr(loaded, key) for key in keys] == [getattr(walk, key) for key in keys]


def test_another_path_is_played_and_saved(session, player):
    walk = Walk.load(player.parent / "circle.json")
    assert (walk.path, walk.closed, walk.frames) == ("circle", True, 30)
    assert session["loop_is_fixed"] and session["unused"] == 2
    z = walk.paths()[0].latents(9, 10)
    ours = frames_inside(player, z)
    assert nearly_equal(decoded([session["circle"]], ours.shape[1:3]), ours)
    on_loop = loop(seed=7, frames=30, z_dim=100, keyframes=4).latents(9, 10)
    assert np.abs(ours - frames_inside(player, on_loop)).mean() > 2


def test_the_page_morphs_from_class_to_class_as_a_render_does(tmp_path):
    names = ("flags", "<img src=x onerror='window.hacked = 1'></script>", "@@WASM@@", "a," * 50)
    file = save_model(tmp_path / "generator.safetensors", *small_generator(class_names=names))
    player = tmp_path / "player.html"
    web_page.write_html(file, player)
    walk = Walk(seed=7, frames=30, labels=[0, 2, 1]).bind(open_generator(file))
    walk.walk.save(tmp_path / "of-python.json")
    seen = node("drive.mjs", "classes", f"{player.as_uri()}{HASH}&labels=0,2", tmp_path)
    assert seen["errors"] == seen["overflow"] == [] and seen["injected"] == [None, 0]
    assert seen["options"] == list(names) and seen["mixture"] == f"50% {names[0]}, 50% {names[2]}"
    assert seen["linked"] and seen["removed"] == [2, 1]
    for name, labels in (("two", [0, 2]), ("three", [0, 2, 1])):
        assert json.loads((tmp_path / f"{name}.json").read_text())["labels"] == labels
    assert seen["loaded"] and seen["refused"]
    assert seen["mixes"] and seen["left"] and seen["unmixed"] and seen["through"] == [0, 1, 2, 3]
    assert seen["alone"] == [names[0], "0,2,1"]
    mixed = find_mark(tmp_path / "mixed.png")["comment"]
    weights = np.array(mixed["class_weights"], np.float32)
    assert "labels" not in mixed and weights.argmax() == 2 and 0.05 < weights.min() < 0.24
    latent = np.array(mixed["keyframes"][0]["latent"], np.float32)
    with Image.open(tmp_path / "mixed.png") as picture:
        small = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX), float)
    ours = frames_inside(player, np.concatenate([latent, weights])[None])[0]
    assert np.abs(small - ours).mean() < 2
    assert seen["worst_level"] <= 1  # of the self-test, by which a site chooses its runtime
    rows = walk.latents(0, 30)[[0, 7, 29]]
    assert ((rows[:, 100:] > 0.1).sum(1) > 1).any()  # one of them is a mixture
    pixels = decoded(seen["pixels"], (64, 64))
    assert nearly_equal(pixels, frames_inside(player, rows))
    rendered = np.stack(list(pipeline.frames(walk.generator, walk)))[[0, 7, 29]].astype(int)
    assert np.abs(pixels - rendered).mean() < 0.5  # whose weights are not in fp16


def test_the_page_of_a_full_dcgan_fits_in_14_mb(player, shipped):
    """64x64, channels 64. Its weights are drawn from trained ones, so that they compress alike."""
    assert player.stat().st_size < 8e6
    full = make_generator(ModelConfig(width=64, height=64, channels=64))
    trained = np.concatenate([w.ravel() for w in load_file(shipped).values() if w.ndim == 4])
    count = sum(weight.numel() for weight in full.parameters() if weight.ndim == 4)
    drawn = np.random.default_rng(0).choice(trained, count).astype(np.float16).tobytes()
    model = web_page._packed(drawn[0::2] + drawn[1::2])
    assert 12e6 < player.stat().st_size - len(block(player, "model")) + len(model) <= 14e6


def test_the_page_works_without_motion_without_h264_and_at_every_width(player):
    seen = node("drive.mjs", "still", player.as_uri() + HASH, player.parent)
    assert seen["rests"] and seen["overflow"] == seen["small"] == [] and seen["errors"] == []
    film = player.parent / "film.webm"
    with av.open(film) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        assert container.metadata["MOVIE/DIGITAL_SOURCE_TYPE"] == DIGITAL_SOURCE_TYPE
        assert len(list(container.decode(video=0))) == 30
    assert find_mark(film)["comment"]["seed"] == 7


def test_the_site_runs_with_threads_behind_the_server(site, expected):
    with serving(serve.server(site)) as port:
        url = f"http://127.0.0.1:{port}/"
        seen = node("drive.mjs", "site", url + HASH, site.parent)
    assert seen["errors"] == [] and seen["isolated"]
    assert f" {min(4, seen['cores'])} thread" in seen["about"]
    assert all(request.startswith((url, "data:", "blob:")) for request in seen["requests"])
    pixels = decoded(seen["pixels"], expected.shape[1:3])
    assert np.abs(pixels - expected[[0, 7, 29]]).max() <= 1


def test_what_is_touched_while_a_film_is_made_does_not_change_it(mended, player, expected):
    assert Path(mended["film"]).stem == "walk-7"
    with av.open(player.parent / "touched") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width = expected.shape[1:3]
    small = np.stack(frames).reshape(30, height, 512 // height, width, 512 // width, 3)
    assert np.abs(small.mean((2, 4)) - expected).mean((1, 2, 3)).max() < 4
    assert find_mark(player.parent / "touched")["comment"]["truncation"] == 1


def test_the_page_refuses_what_python_refuses_and_what_it_cannot_play(mended, player):
    assert mended["errors"] == [] and mended["refused_leave_it"]
    assert "1000 keyframes" in mended["many"] and mended["hundreds"] == "Loaded x.json"
    assert '"fraems"' in mended["unknown"][0] and '"weight"' in mended["unknown"][1]
    assert "several" in mended["several"]
    walks = [Walk.load(player.parent / f"of-{name}.json") for name in ("python", "page")]
    of_python, of_page = (walk.paths()[0].latents(0, 40) for walk in walks)
    assert walks[0].truncation == [0.7] and np.array_equal(of_python, of_page)


def test_the_keys_of_a_walk_are_the_same_in_the_page_and_in_python():
    script = "import {USUAL} from './src/walk.js'; console.log(JSON.stringify(USUAL))"
    command = ["node", "--input-type=module", "-e", script]
    usual = json.loads(subprocess.check_output(command, cwd=WEB))
    assert usual == {field.name: field.default for field in dataclasses.fields(Walk)}


def test_a_phone_held_sideways_shows_the_picture_and_full_screen_has_the_transport(mended):
    assert mended["overflow"] == 0 and mended["in_full_screen"] == [True, True]
    for width, height in {"844": 390, "667": 375, "932": 430}.items():
        assert min(mended["picture"][width]) > 0.9 * height
    assert min(mended["remove"]) >= 24
    assert mended["link"] == [False, True]  # to a file, which leads nowhere; the page can be sent


def test_back_undoes_and_what_was_kept_stays(played):
    assert played["errors"] == []
    seed, *rolled = played["rolled"].split()
    assert seed != "7" and rolled == ["0", "1", "2", "3", "latent"]
    assert played["sown"] == "99 0 1 2 3 latent" and played["picked"] == "103 0 1 2 3 latent"
    assert played["back"] == [played["sown"], played["rolled"], "7 0 1 2 3 latent", "7 0 1 2 3"]
    assert played["no_more"] and played["forward"] == "7 0 1 2 3 latent"
    assert played["without"] == "7 0 2 3 latent" and played["undone"]


def test_what_is_left_behind_is_found_again(played):
    assert played["left"] and played["returned"] and played["found_again"]


def test_a_picture_has_children_and_a_map_around_it(played):
    assert played["children"] == "Choose one" and played["grandchildren"]
    assert played["kept_child"].count("latent") == 2
    assert played["roamed"] and played["went"]


def test_a_picture_and_a_clip_can_be_sent(played, player, expected):
    height, width = expected.shape[1:3]

    def small(picture: Image.Image) -> np.ndarray:
        pixels = np.asarray(picture.convert("RGB"), float)
        shape = (height, len(pixels) // height, width, pixels.shape[1] // width, 3)
        return pixels.reshape(shape).mean((1, 3))

    still, clip = player.parent / "still.png", player.parent / "clip.webp"
    with Image.open(still) as picture:
        assert picture.size == (512, 512)
        assert np.abs(small(picture) - expected[15]).mean() < 2
    of_clip = frames_inside(player, loop(seed=7, frames=20, z_dim=100, keyframes=4).latents(0, 20))
    gif = clip.with_suffix(".gif")
    for file in (clip, gif):
        with Image.open(file) as pictures:
            assert (pictures.n_frames, pictures.info["loop"]) == (20, 0)
            for frame, picture in zip(of_clip, ImageSequence.Iterator(pictures), strict=True):
                assert np.abs(small(picture) - frame).mean() < 4
                assert picture.info["duration"] == 50
    assert clip.stat().st_size < 1e6 and gif.stat().st_size < 3e6
    for file in (still, clip, gif):
        mark = find_mark(file)
        assert mark["digital_source_type"] == DIGITAL_SOURCE_TYPE and mark["comment"]["seed"] == 7
    walk = Walk(**find_mark(still)["comment"])  # of the one picture
    z = walk.paths()[0].latents(0, 1)
    assert nearly_equal(frames_inside(player, z)[0], expected[15])
    assert played["shared"] == "walk-7.png" and played["not_shared"]


def test_a_gamepad_and_a_midi_controller_play_the_page(player, tmp_path):
    """There are none: the page is given objects of the shape that browsers give it."""
    seen = node("drive.mjs", "handled", player.as_uri() + HASH, tmp_path)
    assert seen["errors"] == seen["overflow"] == seen["small"] == []
    assert seen["found"] and seen["rests"] and seen["sticks"] and seen["slides"] and seen["linked"]
    assert seen["kept"] == [0, 1, 2, 3, "latent"] and seen["next"] == pytest.approx(1 / 5)
    assert seen["chosen"] == "15" and seen["map"] == "true" and seen["roams"] and seen["went"]
    assert seen["plays"] == "Pause" and seen["midi"] and seen["one_change"] == 1
    lowest, highest = seen["knobs"]
    assert lowest < -1 and highest > 1
    assert seen["key"] == pytest.approx(2 / 5) and seen["picked"] == "16"


def test_the_page_can_be_sent_with_the_walk_inside(played, player):
    assert played["arrived"] and len(played["pixels"]) == 3
    sent, again = (player.parent / f"{name}.html" for name in ("sent", "again"))
    assert sent.read_bytes() == again.read_bytes()
    assert abs(sent.stat().st_size - player.stat().st_size) < 2000
    fetched = [url for url in played["requests"] if not url.startswith(("data:", "blob:"))]
    assert {*fetched} == {player.as_uri(), sent.as_uri()}


def test_sliders_with_names_move_the_picture_and_are_in_the_walk(player, tmp_path):
    """A walk of Python has a direction of its own, and one whose strength changes."""
    known = directions.entries_of(
        places.bundled("assets/generator.safetensors"), {"brighter": [-2, 2]}
    )
    own = {"name": "mine", "strengths": [1], "vector": np.linspace(-0.2, 0.2, 100).tolist()}
    moved = Walk(z_dim=100, seed=7, frames=30, keyframes=4, directions=[*known, own])
    moved.save(tmp_path / "moved.json")
    seen = node("drive.mjs", "slid", player.as_uri() + HASH, tmp_path)
    assert seen["errors"] == seen["overflow"] == seen["small"] == []
    assert seen["moves"] and {"+1.5", "\N{MINUS SIGN}0.1"} < {*seen["said"]}
    both = [["brighter", 1.5], ["light-left", -0.1]]
    assert seen["arrived"] == seen["sent"] == both and seen["foreign"]
    assert seen["undone"] == both[:1] and seen["reset"] == [] and seen["unreset"] == "1.5"
    assert seen["drags_the_same"]
    assert seen["loaded"] == [["brighter", -2, 2], ["mine", 1]]
    assert {"Brighter\N{MINUS SIGN}2 to +2", "Mine+1", "Light left"} < {*seen["labels"]}
    walk = Walk.load(tmp_path / "slid.json")
    assert '"vidgan-walk-3"' in (tmp_path / "slid.json").read_text()
    still = Walk(**find_mark(tmp_path / "slid.png")["comment"])
    rows = walk.paths()[0].latents(0, 30)
    np.testing.assert_allclose(still.paths()[0].latents(0, 1)[0], rows[15], atol=1e-5)
    ours = frames_inside(player, np.stack([*rows[[0, 7, 29]], moved.paths()[0].latents(9, 10)[0]]))
    theirs = decoded([*seen["pixels"], seen["moved"]], ours.shape[1:3])
    assert nearly_equal(theirs, ours)
    on_path = loop(seed=7, frames=30, z_dim=100, keyframes=4).latents(0, 1)
    assert np.abs(ours[0] - frames_inside(player, on_path)[0]).mean() > 5


def test_a_photograph_becomes_a_keyframe(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "_SAMPLES", 64)
    monkeypatch.setattr(encoder, "_STEPS", 2)
    names = ("flags", "stars", "signs")
    file = save_model(tmp_path / "generator.safetensors", *small_generator(class_names=names))
    encoder.open_encoder(open_differentiable(file, device="cpu"), file)
    content, page = encoder_file.content_for_page(file), tmp_path / "photo.html"
    web_page.write_html(file, page, {"encoder": content})
    picture = open_generator(file)(gaussian(3, np.arange(1), z_dim=100), np.eye(3)[[1]])[0]
    Image.fromarray(picture).save(tmp_path / "photo.png")
    # Twice as large, and wider: what is beside it is cropped.
    wide = np.pad(picture.repeat(2, 0).repeat(2, 1), ((0, 0), (40, 40), (0, 0)))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    seen = node("drive.mjs", "photo", page.as_uri() + HASH, tmp_path)
    assert seen["errors"] == seen["overflow"] == seen["small"] == []
    assert all(seen[key] for key in ("unreadable", "found", "drop", "paste", "sent"))
    assert "vidgan invert" in seen["says"]
    onnx = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (row,) = onnx.run(None, {"frames": picture[None]})[0]
    assert seen["labels"] == [row[100:].argmax()]
    keyframes = json.loads((tmp_path / "photo.json").read_text())["keyframes"]
    np.testing.assert_allclose(keyframes[-1]["latent"], row[:100], atol=1e-3)
    *_, dropped, pasted = json.loads((tmp_path / "wide.json").read_text())["keyframes"]
    assert dropped == pasted
    assert np.corrcoef(dropped["latent"], row[:100])[0, 1] > 0.98


def test_a_page_travels_through_the_training_and_asks_what_is_real(tmp_path):
    run, noise = tmp_path / "runs" / "00000-x", np.random.default_rng(0)
    (run / "generators").mkdir(parents=True)
    write_pictures(tmp_path / "reals", noise.integers(0, 256, (15, 64, 64, 3), np.uint8))
    (run / "config.toml").write_text(f'[data]\nsource = "{tmp_path / "reals"}"\n')
    files = {
        "generators/000000000000": "r3gan",
        "generators/000000012000": "dcgan",
        "generator": "dcgan",
    }
    for name, architecture in files.items():
        generator, model = small_generator(name=architecture)
        if name == "generator":
            generator.layers[-2].weight.data *= -1
        save_model(run / f"{name}.safetensors", generator, model)
    page, licence = tmp_path / "page.html", "mine, CC0"
    vidgan("export", "--history", "--quiz", licence, "--html", page, "--model", run)
    vidgan("export", "--history", "--quiz", licence, "--site", tmp_path / "site", "--model", run)
    assert web_page.is_site(tmp_path / "site")
    seen = node("drive.mjs", "extras", page.as_uri() + HASH, tmp_path)
    assert seen["errors"] == seen["overflow"] == seen["small"] == []
    assert seen["ages"] == ["before the first picture", "12,000 pictures seen", "as it is now"]
    z = loop(seed=7, frames=30, z_dim=100, keyframes=4).latents(0, 1)
    ours = np.concatenate([open_generator(run / f"{n}.safetensors")(z) for n in files]).astype(int)
    assert np.abs(decoded(seen["pixels"], (64, 64)) - ours).mean((1, 2, 3)).max() < 0.5
    assert seen["again"] and np.abs(ours[0] - ours[1]).mean() > 5
    walks = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("past", "now")]
    assert walks[0]["model"] is None and len(walks[1]["model"]) == 64
    assert licence in seen["licence"] and seen["score"].startswith("The end: 5 of 10 right")
    assert seen["photo"] == [False, 0]  # of a generator without an encoder
    assert seen["closed"] and len(seen["real"]) == len({*seen["real"]}) == 5
    files = (tmp_path / "reals").iterdir()
    reals = {np.asarray(Image.open(file)).astype(int).tobytes() for file in files}
    assert {picture.tobytes() for picture in decoded(seen["real"], (64, 64))} < reals


def test_sound_moves_the_page_by_the_rule_of_a_render(player, tmp_path):
    song = write_sound(tmp_path / "song.wav", rate=22_050)
    with av.open(str(song)) as container:
        pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    script = (
        "import {listen} from './src/sound.js';"
        "const samples = JSON.parse((await process.stdin.toArray()).join(''));"
        "console.log(JSON.stringify(listen(Float32Array.from(samples), 30)))"
    )
    command = ["node", "--input-type=module", "-e", script]
    samples = json.dumps((np.concatenate(pieces) / 32768).tolist())
    theirs = json.loads(subprocess.check_output(command, cwd=WEB, input=samples, text=True))
    ours = sound.listen(song, Fraction(30))
    for key in ("speed", "gain"):
        np.testing.assert_allclose([one[key] for one in theirs], getattr(ours, key), atol=1e-6)
    assert np.ptp(ours.speed) > 1 and len(theirs) == 60
    seen = node("drive.mjs", "sounds", player.as_uri() + HASH, tmp_path)
    assert seen["errors"] == seen["overflow"] == seen["small"] == []
    assert all(seen[key] for key in ("unreadable", "music", "note", "rests", "microphone"))
    assert seen["stopped"] == ["Music", True, True]


def test_a_site_opened_as_a_file_says_what_to_do(site):
    seen = node("drive.mjs", "doubleclick", (site / "index.html").as_uri(), site.parent)
    assert seen["errors"] == [] and seen["seen"]
    assert seen["sorry"].endswith("vidgan serve site")


def test_a_gpu_in_name_only_is_not_used(site):
    with serving(serve.server(site)) as port:
        seen = node("drive.mjs", "software", f"http://127.0.0.1:{port}/{HASH}", site.parent)
    assert seen["errors"] == [] and "of WebAssembly" in seen["about"]


def test_the_server_gives_out_its_folder_and_nothing_else(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("hello")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")

    def ask(path: str, method: str = "GET", host: str = "") -> tuple[int, bytes, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Cross-Origin-Embedder-Policy"]

    with serving(serve.server(folder)) as port:
        assert ask("/?x=1") == ask("/index.html") == (200, b"hello", "require-corp")
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/link.txt", "/%00"):
            assert ask(path)[0] == 404, path
        assert ask("/", host="evil.example")[0] == 421
        assert [ask("/", method)[0] for method in ("HEAD", "POST", "PUT", "OPTIONS")] == [405] * 4
    with pytest.raises(UsageError, match=r"no index\.html"):
        serve.server(tmp_path)
    with pytest.raises(UsageError, match="65535"):
        serve.server(folder, port=65536)


@pytest.mark.parametrize(
    "slow", ["GET / HTTP/1.1\r\nHost:", "GET /large HTTP/1.1\r\nHost: {}\r\n\r\n"]
)
def test_the_server_answers_beside_clients_that_are_slow_on_purpose(tmp_path, slow):
    """They ask without end, or take nothing of their answer."""
    (tmp_path / "index.html").write_text("hello")
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    few_files = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))\n"
        "from vidgan.__main__ import main; sys.argv[1:] = ['serve', '.', '--port', '0']; main()"
    )
    command = [sys.executable, "-c", few_files]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen(command, **pipes) as process, contextlib.ExitStack() as clients:
        try:
            url = process.stdout.readline().split()[0]
            host = url.split("/")[2]
            for _ in range(200):
                address = ("127.0.0.1", int(host.split(":")[1]))
                client = clients.enter_context(socket.create_connection(address, timeout=10))
                client.send(slow.format(host).encode())
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.read() == b"hello"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == ("", "") and process.returncode == 0
        finally:
            process.kill()


def test_the_server_ends_without_an_error_at_ctrl_c(tmp_path):
    (tmp_path / "index.html").write_text("hello")
    command = [sys.executable, "-m", "vidgan", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[0]
            with urllib.request.urlopen(url) as answer:
                assert answer.read() == b"hello"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_the_built_page_is_up_to_date_with_its_sources():
    done = subprocess.run(["node", "build.mjs", "--check"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_page_that_was_not_installed_is_named(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "__file__", str(tmp_path / "vidgan/disk/places.py"))
    with pytest.raises(SystemFault, match=r"page\.html is missing"):
        export.export(html=tmp_path / "player.html", model=shipped)
    assert list(tmp_path.iterdir()) == []
