import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import save_model, small_generator, vidgan
from tests.generator import zoo
from vidgan.config import ModelConfig
from vidgan.edit import dissect
from vidgan.errors import ModelError, UsageError
from vidgan.generator.synthesis import open_differentiable
from vidgan.networks import imported


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    monkeypatch.setattr(dissect, "_LATENTS", 96)
    monkeypatch.chdir(tmp_path)


def of_layers(file: Path, layers: tuple[str, ...], z_dim: int) -> tuple[torch.nn.Module, Path]:
    model = ModelConfig(name="imported", width=32, height=32, z_dim=z_dim, layers=layers)
    network = imported.Generator(model).eval()
    for weight in network.parameters():
        weight.data.zero_()
    return network, model


def test_a_unit_of_which_all_is_known(tmp_path):
    """Unit 0 is light on the left, as z[0] says; unit 1 is red everywhere; unit 2 does nothing."""
    layers = ("linear 3 8 8", "relu", "upsample nearest", "upsample nearest", "conv 3 1", "tanh")
    network, model = of_layers(tmp_path, layers, 3)
    units = network.layers[0].weight.data.reshape(3, 8, 8, 3)
    units[0, :, :4, 0], units[1, :, :, 1], units[2, :, :, 2] = 1, 0.5, 1
    network.layers[4].weight.data[:, 0], network.layers[4].weight.data[0, 1] = 0.5, 0.5
    file = save_model(tmp_path / "generator.safetensors", network, model)
    (layer,) = dissect.dissect(open_differentiable(file, device="cpu"))
    assert layer.maps == (8, 8) and [one.number for one in layer.units] == [0, 1, 2]
    left, red, idle = layer.units
    assert layer.change[0] > 20 and layer.change[2] == 0
    assert left.follows["light-left"] > 0.8 > 0.3 > abs(left.follows["warmer"])
    assert left.changes["light-left"] < -1 and abs(left.changes["light-top"]) < 0.01
    assert red.follows["warmer"] > 0.8 and red.changes["warmer"] < -1
    assert (left.heat[:, :, :12] > 0.6).all() and not left.heat[:, :, 20:].any()
    before, *_, after = left.film
    assert (before[:, :, :16].astype(int) - after[:, :, :16]).mean() > 40
    assert np.array_equal(before[:, :, 16:], after[:, :, 16:])
    assert not any(idle.changes.values())


def test_a_silenced_unit_is_one_whose_weights_are_zero(tmp_path):
    generator, model = small_generator(32, 32)
    file = save_model(tmp_path / "generator.safetensors", generator, model)
    layer = dissect.dissect(opened := open_differentiable(file, device="cpu"))[1]
    unit = layer.units[0]
    norm = opened.network.layers[4]
    norm.weight.data[unit.number] = norm.bias.data[unit.number] = 0
    opened.network.noise["1"].strength.data[unit.number] = 0
    same = dissect._Probe(opened, 0)
    frames = same.made(np.arange(96))
    for silenced in unit.film[-1]:
        assert abs(frames.astype(int) - silenced).max((1, 2, 3)).min() <= 1
    assert layer.change[unit.number] == layer.change.max() > 0


def model_of(kind: str, folder: Path) -> Path:
    file = folder / "generator.safetensors"
    if kind == "imported":
        torch.save(zoo.trained(zoo.Tutorial()).state_dict(), folder / "weights.pt")
        vidgan("import", folder / "weights.pt", file)
        return file
    name, _, classes = kind.partition(" ")
    return save_model(file, *small_generator(32, 32, ("sea", "<sand>") if classes else (), name))


@pytest.mark.parametrize("kind", ["dcgan", "dcgan classes", "r3gan", "r3gan classes", "imported"])
def test_the_page_needs_no_other_file(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dissect, "_UNITS", 2)
    model = model_of(kind, tmp_path)
    vidgan("dissect", "units.html", "--model", model)
    page = Path("units.html").read_text()
    assert "units.html: " in capsys.readouterr().out
    assert "http" not in page and "@@" not in page and "96 random" in page
    layers = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert 2 <= len(layers) <= 3 and all(len(layer["units"]) == 2 for layer in layers)
    for layer in layers:
        assert layer["change"] == sorted(layer["change"], reverse=True)
        for unit in layer["units"]:
            film, still = map(picture, (unit["film"], unit["heat"]))
            assert 1 < film.n_frames <= 10 and still.n_frames == 1  # equal frames become one
            assert film.info["loop"] == 0
            assert film.size == still.size and film.width == 6 * film.height
            assert len(unit["classes"]) == 6 * ("classes" in kind)
            assert {*unit["classes"]} <= {"sea", "<sand>"}
    vidgan("dissect", "again.html", "--model", model)
    assert Path("again.html").read_text() == page
    vidgan("dissect", "again.html", "--model", model, "--seed", 1, "--force")
    assert Path("again.html").read_text() != page


def picture(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_large_pictures_are_fewer_and_shown_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(dissect, "_MOST_BYTES", 3 * 32 * 32 * 60)
    monkeypatch.setattr(dissect, "_WIDEST", 16)
    file = save_model(tmp_path / "generator.safetensors", *small_generator(32, 32))
    vidgan("dissect", "units.html", "--model", file)
    page = Path("units.html").read_text()
    assert "60 random" in page
    assert picture(re.search(r'"film": "(.*?)"', page)[1]).size == (96, 16)


def test_what_cannot_be_dissected_is_named(tmp_path, onnx_file):
    network, model = of_layers(tmp_path, ("linear 9 1 1", "relu", "linear 3 32 32", "tanh"), 3)
    file = save_model(tmp_path / "flat.safetensors", network, model)
    with pytest.raises(ModelError, match=r"flat.safetensors: has no layers of maps below"):
        vidgan("dissect", "units.html", "--model", file)
    with pytest.raises(ModelError, match=r"use generator.safetensors"):
        vidgan("dissect", "units.html", "--model", onnx_file)
    Path("mine.html").write_text("mine")
    for target, match in (("units.pdf", "end in .html"), ("mine.html", "exists already")):
        with pytest.raises(UsageError, match=match):
            vidgan("dissect", target, "--model", file)
    with pytest.raises(UsageError, match="is not of vidgan"):
        vidgan("dissect", "mine.html", "--model", file, "--force")
    assert not Path("units.html").exists()
