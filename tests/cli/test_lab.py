"""The page in which a GAN trains: its losses, its pictures and its file are those of Python."""

import base64
import hashlib
import json
import lzma
import subprocess
import sys

import av
import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from tests.films import nearly_equal
from tests.generator.test_web_page import node
from vidgan import Walk
from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.data.cache import Dataset
from vidgan.disk.places import bundled
from vidgan.generator import checkpoint, export, selftest, web_page
from vidgan.generator.synthesis import open_generator
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, find_mark
from vidgan.networks import augment, pixels
from vidgan.networks.architectures import make_discriminator, make_generator
from vidgan.networks.losses import LOSSES
from vidgan.training import codes

BATCH, CHANNELS = 8, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    web_page.write_lab(folder / "lab.html")
    Image.new("RGB", (40, 30)).save(folder / "one.png")
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """What a person who trains saw and saved, as JSON of lab.mjs."""
    return node("lab.mjs", "trained", (folder / "lab.html").as_uri(), folder)


@pytest.fixture(scope="module")
def large(folder):
    """The same of coloured pictures of 64x64, in a folder of its own."""
    own = folder / "large"
    own.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(own / f"{i}.png")
    seen = node("lab.mjs", "large", (folder / "lab.html").as_uri(), own)
    assert (array_of(seen["pictures"]) == pictures[:1]).all()
    return seen


def test_a_gan_trains_in_the_page_from_a_file_with_no_connection(trained, folder):
    assert trained["errors"] == []
    fetched = [url for url in trained["requests"] if not url.startswith(("data:", "blob:"))]
    assert fetched == [(folder / "lab.html").as_uri()]
    assert (folder / "lab.html").stat().st_size < 3e6
    assert trained["count"] == "4,000 pictures"
    assert all(map(np.isfinite, trained["losses"]))
    assert trained["samples"] > 20  # levels of grey
    assert trained["status"].endswith("images/s")
    assert trained["rests"] and trained["overflow"] == []
    assert trained["refusal"].startswith("1 pictures are too few")
    assert trained["stopped"] == ["Stopped", False]  # a film begun while it learned


@pytest.fixture(params=[("trained", ""), ("large", "large")], ids=["32", "64"])
def taken(request, folder):
    """The folder of what was downloaded, and three frames of the page itself."""
    name, inside = request.param
    seen, side = request.getfixturevalue(name), 64 if inside else 32
    assert seen["errors"] == []
    frames = np.frombuffer(base64.b64decode(seen["frames"]), np.uint8).reshape(3, side, side, -1)
    return folder / inside, np.broadcast_to(frames, (3, side, side, 3))


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.onnx"])
def test_its_files_are_models_of_vidgan_that_make_the_same_frames(taken, name):
    folder, seen = taken
    z = np.sin(np.arange(100) * np.arange(1, 4)[:, None] + np.arange(3)[:, None], dtype=np.float64)
    model = folder / name
    assert nearly_equal(open_generator(model)(z.astype(np.float32)), seen) and seen.std() > 5
    assert find_mark(model)["digital_source_type"] == DIGITAL_SOURCE_TYPE
    command = [sys.executable, "-m", "vidgan", "render", "--model", str(model), "--frames", "4"]
    command += ["--force", str(folder / "out.mp4")]
    subprocess.run(command, check=True, capture_output=True)


def test_its_onnx_file_is_like_that_of_vidgan_export(taken):
    folder, _ = taken
    file, weights = folder / "generator.onnx", folder / "generator.safetensors"
    other = folder / "python.onnx"
    assert "3 frames" in selftest.verify(file, device="cpu")  # frames of the page itself
    export.export(weights, other)
    own, pythons = onnx.load(file), onnx.load(other)
    export.check(own)
    assert places(own.graph) == places(pythons.graph)
    assert (own.ir_version, own.opset_import) == (pythons.ir_version, pythons.opset_import)
    assert [n.op_type for n in own.graph.node] == [n.op_type for n in pythons.graph.node]
    said, wanted = ({p.key: p.value for p in one.metadata_props} for one in (own, pythons))
    assert said.keys() == wanted.keys()
    same = said.keys() - {"model", "facts", "self_test"}
    assert {key: said[key] for key in same} == {key: wanted[key] for key in same}
    assert json.loads(said["facts"]) == json.loads(wanted["facts"])
    assert json.loads(said["model"]).items() <= json.loads(wanted["model"]).items()
    _, _, facts = checkpoint.load_generator(weights)
    assert said["generator_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["images_seen"] >= 64


def places(net: onnx.GraphProto) -> list[tuple]:
    """The inputs and outputs of a graph."""
    return [(place.name, place.type) for place in (*net.input, *net.output)]


def test_its_codes_and_layouts_are_those_of_python(trained, folder):
    packed = bundled("export/web/built/digits.bin.xz").read_bytes()
    digits = np.frombuffer(lzma.decompress(packed), np.uint8).reshape(-1, 28, 28, 1)
    frames = np.pad(digits, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    assert (frames[:12, ..., :1] == array_of(trained["digits"])).all()
    dataset = Dataset("digits", frames, None, (), "", grey=True)
    page, model, _ = checkpoint.load_generator(folder / "generator.safetensors")
    python = make_generator(model)
    codes.tell(dataset, codes.make_codes(dataset, count=model.z_dim - 1), python)
    for seen, wanted in zip(measured(page), measured(python), strict=True):
        torch.testing.assert_close(seen, wanted, rtol=0, atol=2e-3)


def measured(generator: torch.nn.Module) -> list[torch.Tensor]:
    """What no random rotation of the components changes: how alike anchors are, and layouts."""
    anchors, layout = generator.anchors, generator.layout
    return [anchors @ anchors.T, layout.mean, layout.contrast, *layout(anchors)]


def test_its_film_is_the_walk_that_vidgan_renders(trained, folder):
    with av.open(folder / "film.mp4") as container:
        decoded = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert decoded.shape == (30, 512, 512, 3)
    mark = find_mark(folder / "film.mp4")
    assert mark["digital_source_type"] == DIGITAL_SOURCE_TYPE
    model = open_generator(folder / "generator.onnx")
    assert mark["comment"]["model"] == model.weights_sha256
    (folder / "walk.json").write_text(json.dumps(mark["comment"]))
    walk = Walk.load(folder / "walk.json").bind(model)
    frames = model(walk.latents(0, 30))
    small = decoded.reshape(30, 32, 16, 32, 16, 3).mean((2, 4))
    assert np.abs(small - frames).mean() < 3 and frames.std() > 5


def test_a_set_of_pictures_is_halved_by_averaging_and_doubled_smoothly(trained, large):
    pictures = array_of(large["pictures"]).astype(float)
    halved = pictures.reshape(-1, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(halved - array_of(large["small"])[:1]).max() <= 0.5
    small, doubled = (array_of(trained[name]).astype(float) for name in ("digits", "digits64"))
    for axis in (1, 2):
        edges = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        wide = np.pad(small, edges, mode="edge")
        before, now, after = (wide.take(range(k, k + small.shape[axis]), axis) for k in range(3))
        pairs = [0.75 * now + 0.25 * before, 0.75 * now + 0.25 * after]
        shape = list(small.shape)
        shape[axis] *= 2
        small = np.stack(pairs, axis + 1).reshape(shape)
    assert np.abs(small[: len(doubled)] - doubled).max() <= 0.5 and doubled.max() > 200


def test_in_the_plane_a_collapse_is_provoked_and_cured(folder):
    seen = node("lab.mjs", "played", (folder / "lab.html").as_uri(), folder)
    assert seen["errors"] == [] and seen["overflow"] == []
    collapsed, cured = (int(seen[name].split()[0]) for name in ("collapsed", "cured"))
    assert collapsed <= 2 and cured >= 4, seen
    assert seen["spiral"] == ""  # it has no heaps to be counted


@pytest.mark.parametrize(("side", "colours"), [(32, 1), (64, 3)])
def test_its_losses_and_gradients_are_those_of_torch(folder, side, colours):
    torch.manual_seed(0)
    sizes = {"width": side, "height": side, "channels": CHANNELS, "colours": colours}
    model = ModelConfig(**sizes, anchors=16, taps=3, noise=True, layout=True)
    generator = make_generator(model).train()
    discriminator = make_discriminator(DiscriminatorConfig(name="dcgan", norm="batch"), model)
    generator.anchors.copy_(torch.nn.functional.normalize(torch.randn(16, 100)))
    layout = generator.layout
    for buffer, scale in ((layout.mean, 0.3), (layout.parts, 0.1), (layout.contrast, 1.0)):
        buffer.copy_(scale * torch.randn(buffer.shape))
    frames = torch.randint(0, 256, (BATCH, side, side, colours), dtype=torch.uint8)
    z = torch.randn(BATCH, 100)
    known = torch.randn(BATCH // 2, 100)
    draws = torch.rand(2, BATCH, 7)
    names = ["non-saturating", "hinge", "lsgan", "rpgan", "minimax"]
    real = pixels.to_float(frames.expand(-1, -1, -1, 3))
    expected = {}
    for name in names:
        fake = generator(z, None, known)
        judged = [
            discriminator(augment.diff_augment(x, u))
            for x, u in zip((real, fake), draws, strict=True)
        ]
        loss_d = LOSSES[name].of_d(*judged)
        loss_g = LOSSES[name].of_g(*judged) + 10 * distance(fake[: len(known)], real[: len(known)])
        sizes = [
            torch.stack([x.norm() for x in grads(loss, net)]).norm().item()
            for loss, net in ((loss_d, discriminator), (loss_g, generator))
        ]
        expected[name] = [loss_d.item(), loss_g.item(), *sizes]
    given = {
        "g": of_generator(generator.state_dict()),
        "d": of_discriminator(discriminator.state_dict()),
        "real": array(frames),
        "codes": array(known),
        "z": array(z),
        "measured": {
            "anchors": array(generator.anchors),
            "mean": array(channels_last(layout.mean, colours)),
            "parts": array(channels_last(layout.parts, colours)),
            "contrast": array(layout.contrast),
        },
        "draws": [one.flatten().tolist() for one in draws],
        "losses": names,
    }
    found = node("lab.mjs", "losses", "", folder, text=json.dumps(given))["found"]
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def distance(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Of small pictures, and of contrasts."""
    pairs = zip(*([codes.small(x), *codes.contrasts(x)] for x in (fake, real)), strict=True)
    first, *others = [(a - b).square().mean() for a, b in pairs]
    return first + 10 * sum(others)


def channels_last(small: torch.Tensor, colours: int) -> torch.Tensor:
    """Numbers of small pictures [..., C H W] as the page has them, [..., H W C]."""
    return small.unflatten(-1, (colours, -1)).transpose(-1, -2).flatten(-2)


def grads(loss: torch.Tensor, network: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)


def array(tensor: torch.Tensor) -> dict:
    return {"shape": list(tensor.shape), "values": tensor.flatten().tolist()}


def norms(state: dict, numbers: list[int]) -> list[dict]:
    keys = {"gain": "weight", "bias": "bias"}
    return [
        {key: array(state[f"layers.{n}.{name}"]) for key, name in keys.items()} for n in numbers
    ]


def array_of(pictures: dict) -> np.ndarray:
    """The first pictures of a set in the page: uint8 [N, H, W, colours]."""
    content = np.frombuffer(base64.b64decode(pictures["bytes"]), np.uint8)
    return content.reshape(-1, pictures["side"], pictures["side"], pictures["colours"])


def of_generator(state: dict) -> dict:
    """The weights as the page has them: channels last."""
    first = state["layers.0.weight"].permute(0, 2, 3, 1).reshape(100, -1)
    kernels = kernels_of(state)[1:]
    doubles = [array(state[f"layers.{n}.weight"].permute(2, 3, 0, 1)) for n in kernels]
    return {
        "first": array(first),
        "norms": norms(state, [n - 2 for n in kernels]),
        "strengths": [
            array(state[f"noise.{n}.strength"].flatten()) for n in range(1, len(kernels))
        ],
        "doubles": doubles,
        "bias": array(state[f"layers.{kernels[-1]}.bias"]),
    }


def kernels_of(state: dict) -> list[int]:
    """The numbers of the convolutions among the layers."""
    names = [name for name, tensor in state.items() if tensor.ndim == 4]
    return [int(name.split(".")[1]) for name in names]


def of_discriminator(state: dict) -> dict:
    halves, (*kernels, last) = [], kernels_of(state)
    for n in kernels:
        out, into = (weight := state[f"layers.{n}.weight"]).shape[:2]
        blocks = weight.permute(2, 3, 1, 0).reshape(2, 2, 2, 2, into, out)
        halves.append(array(blocks.permute(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * into, out)))
    return {
        "halves": halves,
        "norms": norms(state, [n + 1 for n in kernels[1:]]),
        "bias": array(state["layers.0.bias"]),
        "last": array(state[f"layers.{last}.weight"].permute(2, 3, 1, 0).reshape(-1, 1)),
        "lastBias": array(state[f"layers.{last}.bias"]),
    }
