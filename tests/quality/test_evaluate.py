import hashlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.conftest import write_pictures
from vidgan.data import downloads
from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.networks import lite0
from vidgan.quality import evaluate, validation


@pytest.fixture
def measure(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def lines(made, against=None, *, metrics=(), inception=None, count=1000):
        how = {"count": count, "seed": 0, "metrics": metrics, "inception": inception}
        return evaluate.evaluate(made, against and str(against), **how)

    return lines


def number(line):
    return float(line.split()[1])


def test_pictures_like_the_reals_are_nearer_than_others(measure, pictures, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    noise = write_pictures(tmp_path / "noise", frames)
    distance, _, recall, variety, patches, coverage = measure(pictures, pictures)
    assert "FD-Lite0-320" in distance and "N = 20; real against real" in distance
    assert number(distance) == 0 and "recall-Lite0-320 1.000" in recall and number(variety) == 1
    assert "mean 0 (N = 20; real against real mean" in patches and number(coverage) == 1
    distance, _, recall, variety, patches, coverage = measure(noise, pictures)
    assert number(distance) > 500 and "recall-Lite0-320 0.000" in recall
    assert number(variety) < 0.8  # noise looks like noise
    assert "mean 0 (N" not in patches and number(coverage) < 0.5


def test_a_model_and_its_export_measure_the_same(measure, model_file, onnx_file, pictures):
    one, other = measure(model_file, pictures), measure(onnx_file, pictures)
    assert number(one[0]) == pytest.approx(number(other[0]), rel=0.01)


def test_a_model_is_compared_with_what_its_run_trained_on(measure, model_file, pictures):
    settings = model_file.with_name("config.toml")
    settings.write_text(f'[data]\nsource = "{pictures}"\n')
    try:
        assert measure(model_file) == measure(model_file, pictures)
    finally:
        settings.unlink()
    with pytest.raises(UsageError, match="say what to compare it with"):
        measure(model_file)


def test_a_run_is_measured_as_it_was_at_some_images(measure, model_file, pictures, tmp_path):
    (tmp_path / "run/generators").mkdir(parents=True)
    for images, content in ((1000, model_file.read_bytes()), (9000, b"not this one")):
        (tmp_path / f"run/generators/{images:012d}.safetensors").write_bytes(content)
    (tmp_path / "run/config.toml").write_text(f'[data]\nsource = "{pictures}"\n')
    assert measure(tmp_path / "run@1k") == measure(model_file, pictures)
    assert measure(Path("earth"), pictures)[0] != measure(model_file, pictures)[0]


def test_what_is_measured_is_said_in_words(measure, pictures):
    meaning = evaluate.MEANING
    for line in measure(pictures, pictures):
        for name in re.findall(r"([A-Za-z]+)(?:-[\w-]+)? \d", line.partition(" (")[0]):
            assert name.lower() in meaning.lower() or name == "mean"
    assert max(map(len, meaning.splitlines())) <= 80 and len(validation.MEANING) <= 80


def test_what_cannot_be_measured_is_refused_before_pictures_are_decoded(
    measure, pictures, tmp_path, said, monkeypatch
):
    with pytest.raises(DataError, match="no such file or folder"):
        measure(tmp_path / "absent", pictures)
    monkeypatch.setattr(lite0, "missing", lambda: "the extra is missing")
    with pytest.raises(SystemFault, match="the extra"):
        measure(pictures, pictures)
    assert said == []


def test_too_few_pictures_and_unknown_metrics_are_refused(measure, pictures):
    with pytest.raises(UsageError, match="--metrics fad: known are fid"):
        measure(pictures, pictures, metrics=["fad"])
    with pytest.raises(UsageError, match="pictures have no latents"):
        measure(pictures, pictures, metrics=["ppl"])
    for picture in list(pictures.iterdir())[19:]:
        picture.unlink()
    with pytest.raises(DataError, match="too few pictures to compare"):
        measure(pictures, pictures)


@pytest.mark.parametrize("metric", evaluate.STANDARD)
def test_missing_weights_are_named_and_not_fetched(measure, model_file, pictures, metric, tmp_path):
    with pytest.raises(SystemFault, match=r"is missing; vidgan does not fetch it: .*https://"):
        measure(model_file, pictures, metrics=[metric])
    assert not list((tmp_path / "torch").rglob("*.pth"))


def test_weights_that_are_not_the_standard_ones_are_refused(measure, pictures, tmp_path):
    (tmp_path / "inception.pth").write_bytes(b"anything")
    with pytest.raises(SystemFault, match="not the standard weights"):
        measure(pictures, pictures, metrics=["fid"], inception=tmp_path / "inception.pth")


@pytest.fixture
def any_weights(tmp_path, measure, monkeypatch):
    """Random weights under the standard names, whose checksums are declared to be standard."""
    vgg = downloads.import_torchvision().models.vgg
    import torch_fidelity
    from torch_fidelity import feature_extractor_inceptionv3 as inception
    from torch_fidelity import sample_similarity_lpips as lpips

    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"])
    monkeypatch.setattr(
        lpips, "torchvision_load_pretrained_vgg16", lambda: SimpleNamespace(features=features)
    )
    made = {evaluate._VGG: {}}
    with monkeypatch.context() as patch:
        for module in (inception, lpips):
            patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)
        network = torch_fidelity.FeatureExtractorInceptionV3("inception", ["2048"])
        made[evaluate._INCEPTION] = network.state_dict()
        similarity = torch_fidelity.SampleSimilarityLPIPS("lpips").state_dict()
        made[evaluate._LPIPS] = {k: w.abs() for k, w in similarity.items() if "lin" in k}
    # 299 pixels would prove no more, in ten times the time.
    monkeypatch.setattr(torch_fidelity.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 96)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for address, weights in made.items():
        file = folder / address.rpartition("/")[2]
        torch.save(weights, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        monkeypatch.setitem(evaluate.SHA256, address, digest)
    return folder


def test_fid_and_its_kin_come_from_torch_fidelity(measure, pictures, any_weights):
    file = any_weights / evaluate._INCEPTION.rpartition("/")[2]
    given = file.rename(any_weights.parent / "mine.pth")
    lines = measure(pictures, pictures, metrics=["fid", "kid", "is"], count=10, inception=given)[6:]
    found = {line.split()[0]: number(line) for line in lines}
    assert found["frechet_inception_distance"] == pytest.approx(0, abs=1e-3)
    assert found["inception_score_mean"] >= 0.999
    assert found["kernel_inception_distance_mean"] == pytest.approx(0, abs=1e-3)


def test_ppl_and_lpips_come_from_torch_fidelity(measure, model_file, pictures, any_weights):
    lines = measure(model_file, pictures, metrics=["ppl", "lpips"], count=10)[6:]
    assert [line.split()[0] for line in lines] == ["perceptual_path_length", "lpips_diversity"]
    assert all(number(line) > 0 for line in lines)
