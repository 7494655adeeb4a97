"""The page in which a GAN trains: its losses, its pictures and its file are those of Python."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generator.test_web_page import node
from vidgan.config import DiscriminatorConfig, ModelConfig
from vidgan.generator import checkpoint, web_page
from vidgan.generator.synthesis import open_generator
from vidgan.networks import augment, pixels
from vidgan.networks.architectures import make_discriminator, make_generator
from vidgan.networks.losses import LOSSES
from vidgan.training import codes

BATCH, CHANNELS = 8, 8
MODEL = ModelConfig(width=32, height=32, channels=CHANNELS, colours=1, anchors=16, taps=3)


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


def test_a_gan_trains_in_the_page_from_a_file_with_no_connection(trained, folder):
    assert trained["errors"] == []
    fetched = [url for url in trained["requests"] if not url.startswith(("data:", "blob:"))]
    assert fetched == [(folder / "lab.html").as_uri()]
    assert trained["count"] == "4,000 pictures"
    assert all(map(np.isfinite, trained["losses"]))
    assert trained["samples"] > 20  # levels of grey
    assert trained["status"].endswith("images/s")
    assert trained["rests"] and trained["overflow"] == []
    assert trained["refusal"].startswith("1 pictures are too few")


def test_its_file_is_a_model_of_vidgan_that_makes_the_same_frames(trained, folder):
    model = folder / "generator.safetensors"
    z = np.sin(np.arange(100) * np.arange(1, 4)[:, None] + np.arange(3)[:, None], dtype=np.float64)
    frames = open_generator(model)(z.astype(np.float32))
    seen = np.frombuffer(base64.b64decode(trained["frames"]), np.uint8).reshape(3, 32, 32, 1)
    assert np.abs(frames.astype(int) - seen).max() <= 1
    _, _, facts = checkpoint.load_generator(model)
    assert facts["data"] == "digits" and facts["images_seen"] >= 64
    command = [sys.executable, "-m", "vidgan", "render", "--model", str(model), "--frames", "4"]
    subprocess.run([*command, str(folder / "out.mp4")], check=True, capture_output=True)


def test_in_the_plane_a_collapse_is_provoked_and_cured(folder):
    seen = node("lab.mjs", "played", (folder / "lab.html").as_uri(), folder)
    assert seen["errors"] == [] and seen["overflow"] == []
    collapsed, cured = (int(seen[name].split()[0]) for name in ("collapsed", "cured"))
    assert collapsed <= 2 and cured >= 4, seen
    assert seen["spiral"] == ""  # it has no heaps to be counted


def test_its_losses_and_gradients_are_those_of_torch(folder):
    torch.manual_seed(0)
    generator = make_generator(MODEL).train()
    discriminator = make_discriminator(DiscriminatorConfig(name="dcgan", norm="batch"), MODEL)
    generator.anchors.copy_(torch.nn.functional.normalize(torch.randn(16, 100)))
    frames = torch.randint(0, 256, (BATCH, 32, 32, 1), dtype=torch.uint8)
    z = torch.randn(BATCH, 100)
    known = torch.randn(BATCH // 2, 100)
    draws = torch.rand(2, BATCH, 7)
    names = ["non-saturating", "hinge", "lsgan", "rpgan", "minimax"]
    real = pixels.to_float(frames.repeat(1, 1, 1, 3))
    expected = {}
    for name in names:
        fake = generator(z, None, known)
        judged = [
            discriminator(augment.diff_augment(x, u))
            for x, u in zip((real, fake), draws, strict=True)
        ]
        loss_d = LOSSES[name].of_d(*judged)
        loss_g = LOSSES[name].of_g(*judged) + 10 * codes.distance(fake, real)
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
        "z": array(z[BATCH // 2 :]),
        "anchors": array(generator.anchors),
        "draws": [one.flatten().tolist() for one in draws],
        "losses": names,
    }
    found = node("lab.mjs", "losses", "", folder, text=json.dumps(given))["found"]
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def grads(loss: torch.Tensor, network: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)


def array(tensor: torch.Tensor) -> dict:
    return {"shape": list(tensor.shape), "values": tensor.flatten().tolist()}


def norms(state: dict, numbers: tuple[int, ...]) -> list[dict]:
    keys = {"gain": "weight", "bias": "bias"}
    return [
        {key: array(state[f"layers.{n}.{name}"]) for key, name in keys.items()} for n in numbers
    ]


def of_generator(state: dict) -> dict:
    """The weights as the page has them: channels last."""
    first = state["layers.0.weight"].permute(0, 2, 3, 1).reshape(100, -1)
    doubles = [array(state[f"layers.{n}.weight"].permute(2, 3, 0, 1)) for n in (3, 6, 9)]
    return {
        "first": array(first),
        "norms": norms(state, (1, 4, 7)),
        "doubles": doubles,
        "bias": array(state["layers.9.bias"]),
    }


def of_discriminator(state: dict) -> dict:
    halves = []
    for n in (0, 2, 5):
        out, into = (weight := state[f"layers.{n}.weight"]).shape[:2]
        blocks = weight.permute(2, 3, 1, 0).reshape(2, 2, 2, 2, into, out)
        halves.append(array(blocks.permute(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * into, out)))
    return {
        "halves": halves,
        "norms": norms(state, (3, 6)),
        "bias": array(state["layers.0.bias"]),
        "last": array(state["layers.8.weight"].permute(2, 3, 1, 0).reshape(-1, 1)),
        "lastBias": array(state["layers.8.bias"]),
    }
