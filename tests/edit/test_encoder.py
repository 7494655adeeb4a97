import shutil

import numpy as np
import pytest
import torch

from tests.conftest import save_model, small_generator
from vidgan.disk.places import bundled
from vidgan.edit import encoder, invert
from vidgan.generator.synthesis import open_differentiable


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(encoder, "_SAMPLES", 64)
    monkeypatch.setattr(encoder, "_STEPS", 2)


def test_an_encoder_is_trained_once_and_then_read(model_file, tmp_path, said):
    model = shutil.copy(model_file, tmp_path / "generator.safetensors")
    generator, calls = open_differentiable(model, device="cpu"), []
    first = encoder.open_encoder(generator, model, lambda done, total: calls.append((done, total)))
    assert (tmp_path / "generator.encoder.safetensors").exists()
    assert calls[-1][0] == calls[-1][1] and len(said) == 2
    again = encoder.open_encoder(generator, model, lambda *_: pytest.fail("trained again"))
    for name, weight in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert len(said) == 2


def test_the_shipped_generator_comes_with_its_encoder():
    model = bundled("assets/generator.safetensors")
    generator = open_differentiable(model, device="cpu")
    encoder.open_encoder(generator, model, lambda *_: pytest.fail("trained again"))
    assert encoder.file_of(model).stat().st_size < 3_000_000


def test_the_same_generator_gives_the_same_encoder(model_file):
    generator = open_differentiable(model_file, device="cpu")
    one, two = (encoder.train(generator, None).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("fault", ["of another generator", "damaged"])
def test_an_encoder_that_does_not_fit_is_trained_again(fault, model_file, tmp_path, said):
    model = shutil.copy(model_file, tmp_path / "generator.safetensors")
    generator = open_differentiable(model, device="cpu")
    file = encoder.file_of(model)
    encoder.open_encoder(generator, model)
    if fault == "damaged":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        other = save_model(tmp_path / "other.safetensors", *small_generator(64, 32))
        encoder.open_encoder(open_differentiable(other, device="cpu"), other)
        encoder.file_of(other).replace(file)
    del said[:]
    encoder.open_encoder(generator, model)
    assert fault in said[0] and "trained again" in said[0]
    assert encoder.open_encoder(generator, model).z_dim == 100


def test_an_encoder_that_cannot_be_kept_is_used_all_the_same(model_file, tmp_path, said):
    model = shutil.copy(model_file, tmp_path / f"{'x' * 225}.safetensors")  # its own name is longer
    assert encoder.open_encoder(open_differentiable(model, device="cpu"), model).z_dim == 100
    assert "too long" in said[-1] and "is not kept" in said[-1]


def test_the_linear_part_alone_beats_a_random_latent(model_file, monkeypatch):
    """Of latents that were never seen, and without a step of training after it."""
    monkeypatch.setattr(encoder, "_SAMPLES", 1024)
    monkeypatch.setattr(encoder, "_STEPS", 0)
    generator = open_differentiable(model_file, device="cpu")
    trained = encoder.train(generator, None)
    torch.manual_seed(1)
    z = torch.randn(16, 100)
    with torch.no_grad():
        image = generator(z)
        answer = generator(trained(image)[0])
        other = generator(torch.randn(16, 100))
    error, chance = ((x - image).square().mean().item() for x in (answer, other))
    assert error < 0.8 * chance  # which latent draws to which anchors is not linear


def test_a_run_teaches_its_encoder_its_own_data(pictures, tmp_path, said):
    generator, model = small_generator(32, 32)
    file = save_model(tmp_path / "generator.safetensors", generator, model)
    (tmp_path / "config.toml").write_text(f'[data]\nsource = "{pictures}"\n')
    assert invert.Inverter(file, device="cpu").encoder
    assert any("from its training data" in line for line in said)
    (tmp_path / "config.toml").write_text('[data]\nsource = "gone"\n')
    encoder.file_of(file).unlink()
    assert invert.Inverter(file, device="cpu").encoder
    assert any("gone" in line and "made pictures alone" in line for line in said)


def test_real_pictures_of_classes_are_used(tmp_path):
    file = save_model(tmp_path / "g.safetensors", *small_generator(32, 32, ("a", "b")))
    generator = open_differentiable(file, device="cpu")
    from vidgan.data.cache import Dataset

    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(20, dtype=np.int32) % 2
    for names in (("a", "b"), ("x",)):
        reals = Dataset("some", frames, labels, names, "", False)
        z, logits = encoder.train(generator, reals)(torch.zeros(1, 3, 32, 32))
        assert z.shape == (1, 100) and logits.shape == (1, 2) and z.isfinite().all()
