import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import save_model, small_generator, vidgan
from tests.films import nearly_equal
from tests.generator import zoo
from vidgan.edit import encoder, invert
from vidgan.errors import DataError, ModelError, UsageError
from vidgan.generator import checkpoint
from vidgan.generator.synthesis import open_generator
from vidgan.latent.npy import read_latents


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(encoder, "_SAMPLES", 512)
    monkeypatch.setattr(encoder, "_STEPS", 20)


@pytest.fixture
def model(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copy(model_file, tmp_path / "generator.safetensors")


def made(model, seed: int = 5, label: int | None = None) -> np.ndarray:
    generator = open_generator(model, device="cpu")
    z = np.random.default_rng(seed).normal(size=(1, generator.z_dim)).astype(np.float32)
    weights = None if label is None else np.eye(generator.classes, dtype=np.float32)[[label]]
    return generator(z, weights)[0]


def test_a_picture_that_the_generator_made_is_found_again(model):
    picture = made(model)
    found = invert.invert(model, picture)
    assert found.psnr > 25 and found.psnr > invert.psnr(picture, found.encoded) + 5
    played = open_generator(model, device="cpu")(found.latent[None])[0]  # in a batch of other size
    assert np.abs(played.astype(int) - found.refined).max() <= 1
    assert 9 < np.linalg.norm(found.latent) < 11  # as long as latents are: sqrt 100
    again = invert.invert(model, picture)
    assert np.array_equal(again.latent, found.latent)


@pytest.mark.parametrize("name", ["r3gan", "imported"])
def test_other_generators_are_inverted_too(name, tmp_path):
    file = tmp_path / "generator.safetensors"
    if name == "imported":
        torch.save(zoo.trained(zoo.Tutorial()).state_dict(), tmp_path / "weights.pt")
        vidgan("import", tmp_path / "weights.pt", file)
    else:
        save_model(file, *small_generator(32, 32, name=name))
    picture = made(file)
    found = invert.invert(file, picture)
    assert invert.psnr(picture, found.refined) > invert.psnr(picture, found.encoded)


def test_the_class_is_found_or_given(tmp_path):
    generator, config = small_generator(32, 32, ("a", "b", "c", "d"))
    with torch.no_grad():  # classes that can be told apart
        generator.embedding.weight *= 30
    file = save_model(tmp_path / "generator.safetensors", generator, config)
    for label in (1, 3):
        assert invert.invert(file, made(file, label=label)).label == label
    found = invert.invert(file, made(file, label=1), label="c", steps=3)
    assert found.label == 2


def test_a_tuned_generator_shows_the_picture_and_says_what_it_is(model):
    rng = np.random.default_rng(0)
    picture = np.asarray(
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((64, 64))
    )
    inverter = invert.Inverter(model, device="cpu")
    found = inverter(picture, steps=30)
    (tuned,) = invert.tune(inverter, [found], model.with_name("tuned.safetensors"))
    assert tuned.psnr > found.psnr + 3
    generator = open_generator(model.with_name("tuned.safetensors"), device="cpu")
    assert nearly_equal(generator(tuned.latent[None])[0], tuned.refined)
    _, _, facts = checkpoint.load_generator(model.with_name("tuned.safetensors"))
    assert facts["tuned_from"] == inverter.generator.sha256 and facts["tuned_to_pictures"] == 1
    before, after, other = (
        made(path, seed).astype(int)
        for path, seed in ((model, 9), ("tuned.safetensors", 9), (model, 8))
    )  # what it makes of other latents has hardly changed
    assert np.abs(before - after).mean() < 0.75 * np.abs(before - other).mean()


def test_the_command_writes_latents_and_shows_what_was_found(model, capsys):
    Image.fromarray(made(model)).resize((90, 64)).save("photo.jpg")
    vidgan("invert", "photo.jpg", "--model", model, "--steps", 10)
    assert read_latents(model.with_name("photo.npy")).shape == (1, 100)
    assert np.load("photo.npy").shape == (1, 100)
    with Image.open("photo-inverted.png") as shown:
        assert shown.width > 3 * 192
    assert "photo.npy: encoder " in (out := capsys.readouterr().out) and " dB" in out
    with pytest.raises(UsageError, match=r"photo-inverted.png: exists already"):
        vidgan("invert", "photo.jpg", "--model", model)
    vidgan("invert", "photo.jpg", "--model", model, "--steps", 0, "--force")
    vidgan("render", "--model", model, "--keyframes", "photo.npy", "--frames", 3, "out.mp4")


def test_pictures_that_cannot_be_used_are_named(model, onnx_file):
    Path("notes.jpg").write_text("no picture")
    for name in ("notes.jpg", "absent.jpg"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as a picture"):
            vidgan("invert", name, "--model", model)
    assert not encoder.file_of(model).exists()  # the error comes before the long work
    with pytest.raises(DataError, match=r"absent.jpg: cannot be read"):
        vidgan("render", "--model", model, "--keyframes", "absent.jpg,5", "out.mp4")
    with pytest.raises(ModelError, match=r"use generator.safetensors"):
        vidgan("sample", "--model", onnx_file, "--keyframes", "absent.jpg", "out.png")
    with pytest.raises(DataError, match="needs uint8"):
        invert.invert(model, np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(ModelError, match=r"use generator.safetensors"):
        vidgan("invert", "notes.jpg", "--model", onnx_file)


def test_photographs_are_keyframes_beside_seeds_and_files(model, capsys):
    for name in ("anna", "ben"):
        Image.fromarray(made(model, len(name))).save(f"{name}.png")
    vidgan("invert", "anna.png", "--model", model)
    words = ("--model", model, "--keyframes", "anna.png,5,anna.npy,anna.png")
    vidgan("render", *words, "--frames", 5, "--save-walk", "walk.json", "stills/")
    first, seed, *same = json.loads(Path("walk.json").read_text())["keyframes"]
    assert seed == {"seed": 5, "index": 0}
    kept = [float(x) for x in read_latents(Path("anna.npy"))[0]]
    assert first == {"latent": kept} and same == [first, first]
    vidgan("sample", *words, "four.png")
    capsys.readouterr()
    vidgan("verify", "four.png")
    assert "a latent" in capsys.readouterr().out


def test_a_photograph_as_keyframe_brings_its_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator, config = small_generator(32, 32, ("a", "b", "c"))
    with torch.no_grad():
        generator.embedding.weight *= 30
    model = save_model(tmp_path / "generator.safetensors", generator, config)
    Image.fromarray(made(model, label=2)).save("two.png")
    words = ("--keyframes", "two.png,5", "--frames", 4, "--save-walk", "walk.json")
    vidgan("render", "--model", model, *words, "stills/")
    assert json.loads(Path("walk.json").read_text())["labels"] == [2, 0, 2]
