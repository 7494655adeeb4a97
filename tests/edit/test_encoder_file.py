import shutil

import numpy as np
import onnxruntime
import pytest
import torch

from tests.conftest import save_model, small_generator, vidgan
from vidgan.edit import encoder, encoder_file
from vidgan.errors import ModelError, UsageError
from vidgan.generator import selftest
from vidgan.generator.synthesis import open_differentiable, open_generator
from vidgan.networks import pixels


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(encoder, "_SAMPLES", 64)
    monkeypatch.setattr(encoder, "_STEPS", 2)


def test_the_file_of_an_encoder_answers_as_torch_does(tmp_path, capsys):
    """Of a generator with classes, whose sides are no multiples of those that an encoder sees."""
    model = save_model(
        tmp_path / "generator.safetensors", *small_generator(72, 40, class_names=("a", "b", "c"))
    )
    assert encoder_file.content_for_page(model) is None
    target = tmp_path / "encoder.onnx"
    vidgan("export", "--encoder", target, "--model", model)
    assert "what it leads to: at most" in capsys.readouterr().out
    assert encoder.file_of(model).exists()
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 72, 3), np.uint8)
    generator = open_differentiable(model, device="cpu")
    with torch.no_grad():
        z, logits = encoder.open_encoder(generator, model)(
            pixels.to_float(torch.from_numpy(frames))
        )
    expected = torch.cat([z, logits.softmax(1)], 1).numpy()
    small = encoder_file.content_for_page(model)
    for content, tolerance in ((target.read_bytes(), 1e-4), (small, 2e-2)):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (rows,) = session.run(None, {"frames": frames})
        np.testing.assert_allclose(rows, expected, atol=tolerance)
    assert len(small) < 0.6 * target.stat().st_size
    assert "2 frames" in selftest.verify(target)
    with pytest.raises(ModelError, match="an encoder makes no pictures"):
        open_generator(target)
    with pytest.raises(UsageError, match="sets all other options"):
        vidgan("export", "--encoder", target, "--model", model, "--int8")


def test_an_encoder_that_does_not_survive_its_export_is_not_written(
    model_file, tmp_path, monkeypatch
):
    model = shutil.copy(model_file, tmp_path / "generator.safetensors")
    monkeypatch.setattr(encoder_file, "_LEAST_DB", {"fp32": 200.0})
    with pytest.raises(ModelError, match=r"below 200 dB; nothing was written"):
        encoder_file.write_encoder(model, tmp_path / "encoder.onnx")
    assert not (tmp_path / "encoder.onnx").exists()
