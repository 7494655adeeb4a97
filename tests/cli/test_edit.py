"""The verbs that edit, for every kind of generator."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from tests.conftest import save_model, small_generator, vidgan
from tests.edit.test_invert import made
from tests.generator import zoo
from vidgan.edit import encoder, find_directions, invert, restore
from vidgan.generator.synthesis import open_generator
from vidgan.latent.npy import read_latents


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoder, "_SAMPLES", 64)
    monkeypatch.setattr(encoder, "_STEPS", 2)
    monkeypatch.setattr(invert, "_TUNE_STEPS", 10)
    monkeypatch.setattr(invert.Inverter.__call__, "__kwdefaults__", {"label": None, "steps": 5})
    monkeypatch.setattr(restore.restore, "__defaults__", (1, 40))
    few = find_directions.find.__kwdefaults__ | {"pairs": 8}
    monkeypatch.setattr(find_directions.find, "__kwdefaults__", few)
    monkeypatch.setattr(find_directions, "_PER_NUMBER", 1)
    monkeypatch.setattr(find_directions, "_FRESH", 2)


def model_of(kind: str) -> Path:
    file, name = Path("generator.safetensors"), kind.partition(" ")[0]
    if name == "imported":
        network = zoo.Mlp() if "grey" in kind else zoo.Tutorial()
        torch.save(zoo.trained(network).state_dict(), "weights.pt")
        vidgan("import", "weights.pt", file)
        return file
    classes = ("sea", "sand", "ice") if "classes" in kind else ()
    network, model = small_generator(64, 32, classes, name, colours=int("grey" in kind))
    if name == "r3gan":  # whose random weights paint far beyond black and white
        network.paint.weight.data *= 0.3
    return save_model(file, network, model)


def picture(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    "kind", ["dcgan classes", "r3gan", "r3gan classes", "imported", "imported grey"]
)
def test_every_kind_of_generator_is_edited(kind, capsys):
    model = model_of(kind)
    photo = made(model, label=1 if "classes" in kind else None)
    high, wide, _ = photo.shape
    Image.fromarray(photo).save("photo.png")
    label = ("--label", "sand") if "classes" in kind else ()
    of = ("--model", model)
    vidgan("invert", "photo.png", *of, *label, "--steps", 10, "--tune", "tuned.safetensors")
    latent = read_latents(Path("photo.npy"))
    weights = np.eye(3, dtype=np.float32)[[1]] if "classes" in kind else None
    before, after = (
        invert.psnr(open_generator(file, device="cpu")(latent, weights)[0], photo)
        for file in (model, "tuned.safetensors")
    )
    assert after >= before  # a picture that is near enough is not tuned to

    mask = np.zeros((high, wide), np.uint8)
    mask[: high // 2, : wide // 2] = 255
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(photo).filter(ImageFilter.GaussianBlur(2)).save("blurred.png")
    Image.fromarray(photo).resize((wide // 4, high // 4), Image.Resampling.BOX).save("small.png")
    for number, words in enumerate(
        (
            ("photo.png", "--mask", "mask.png"),
            ("photo.png", "--denoise"),
            ("blurred.png", "--deblur"),
            ("small.png", "--upscale", 4),
        )
    ):
        vidgan("restore", *words, f"fixed{number}.png", *of)
        assert picture(f"fixed{number}.png").shape == (high, wide, 3)

    vidgan("export", "--encoder", "encoder.onnx", *of)
    capsys.readouterr()
    vidgan("verify", "encoder.onnx")
    assert "marked as synthetic" in (said := capsys.readouterr().out) and "proved" in said

    vidgan("directions", *of)
    known = json.loads(Path("generator.directions.json").read_text())["directions"]
    assert {"brighter", "sefa1", "pca1"} <= known.keys()
    words = ("--keyframes", "photo.png,5", "--direction", "sefa1=-1..1", "--frames", 4)
    vidgan("render", *of, *words, "--save-walk", "walk.json", "stills/")
    walk = json.loads(Path("walk.json").read_text())
    assert len(walk["keyframes"][0]["latent"]) == latent.shape[1]
    assert bool(walk["labels"]) == ("classes" in kind)
