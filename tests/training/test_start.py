"""A run that begins with the networks of another."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import flat_pictures, write_pictures
from tests.training.test_loop import classes, newest_checkpoint, same_runs, settings  # noqa: F401
from tests.training.test_state import opened
from vidgan import config
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.generator import checkpoint
from vidgan.training import loop, start


@pytest.fixture(scope="module", params=["dcgan", "r3gan"])
def trained(tmp_path_factory, request):
    """A run of 32x32 pictures."""
    folder = tmp_path_factory.mktemp("start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGAN_CACHE", str(folder / "cache"))
        pictures = write_pictures(folder / "pictures", flat_pictures())
        chosen = settings(pictures, images=160, model={"name": request.param})
        return loop.train(chosen, runs=folder)


def begun(source, folder, origin, **keys):
    run = opened(source, folder, start=str(origin), **keys)
    start.begin(run.state, str(origin), run.dataset)
    return run.state


def tensors(network, *kinds):
    return [t for name, t in network.state_dict().items() if name.endswith(kinds)]


def test_the_networks_are_those_of_the_start(trained, pictures, tmp_path, said):
    saved, _ = checkpoint.read(newest_checkpoint(trained))
    for origin in (trained, newest_checkpoint(trained), trained / "generator.safetensors"):
        state = begun(pictures, tmp_path, origin)
        for part in ("generator", "discriminator", "average"):
            own = getattr(state, part).state_dict()
            assert all(torch.equal(own[name], saved[f"{part}/{name}"]) for name in own)
        assert said[-1] == f"starts from {origin}" and state.images_seen == 0


def test_a_generator_alone_begins_without_its_discriminator(trained, pictures, tmp_path, said):
    alone = shutil.copy(trained / "generator.safetensors", tmp_path / "alone.safetensors")
    state, kept = begun(pictures, tmp_path, alone), checkpoint.load_generator(alone)[0]
    fresh = opened(pictures, tmp_path, model={"name": state.generator.__module__.split(".")[-1]})
    for network in (state.generator, state.average):
        network.fold()
        assert all(map(torch.equal, tensors(network, "weight"), tensors(kept, "weight")))
    pairs = zip(
        tensors(state.discriminator, ""), tensors(fresh.state.discriminator, ""), strict=True
    )
    assert all(torch.equal(*pair) for pair in pairs)
    assert said[-1] == f"starts from {alone}; new in D: all"


NEW = {
    ("dcgan", 56): "",  # 7x5 pixels double thrice, as 4x4 do
    ("r3gan", 56): "",
    ("dcgan", 64): "; new in G: layers.0, layers.1, layers.3, layers.4, noise.1"
    "; new in D: layers.8, layers.9, layers.11",
    ("r3gan", 64): "; new in G: blocks.0.first, blocks.0.second"
    "; new in D: blocks.4.first, blocks.4.second",
}


@pytest.mark.parametrize("width", [56, 64])
def test_other_sizes_keep_the_layers_nearest_to_the_picture(trained, tmp_path, width, said):
    height = {56: 40, 64: 64}[width]
    frames = np.tile(flat_pictures()[:, :1, :1], (1, height, width, 1))
    source = write_pictures(tmp_path / "other", frames)
    state = begun(source, tmp_path, trained, model={"width": width, "height": height})
    kept = checkpoint.load_generator(trained / "generator.safetensors")[0]
    state.average.fold()
    last, first = tensors(state.average, "weight")[-1], tensors(state.discriminator, "weight")[0]
    maps = 8  # beside which a dcgan may have a layout
    assert torch.equal(last[:maps], tensors(kept, "weight")[-1][:maps])
    saved, _ = checkpoint.read(newest_checkpoint(trained))
    assert any(
        torch.equal(first, tensor) for tensor in saved.values() if tensor.shape == first.shape
    )
    assert state.generator(torch.randn(4, 100)).shape == (4, 3, height, width)
    name = "r3gan" if "r3gan" in str(trained) else "dcgan"
    assert said[-1] == f"starts from {trained}{NEW[name, width]}"


def test_grey_pictures_begin_with_the_mean_of_the_colours(trained, tmp_path):
    frames = np.tile(np.arange(0, 240, 6, np.uint8)[:, None, None, None], (1, 32, 32, 3))
    source = write_pictures(tmp_path / "grey", frames)
    grey = begun(source, tmp_path, trained).average
    kept = checkpoint.load_generator(trained / "generator.safetensors")[0]
    grey.fold()
    *_, own = (layer for layer in grey.modules() if hasattr(layer, "weight"))
    *_, coloured = (layer for layer in kept.modules() if hasattr(layer, "weight"))
    assert torch.allclose(own.bias, coloured.bias.mean(0, keepdim=True))
    assert 1 in own.weight.shape[:2] and 3 in coloured.weight.shape[:2]


def test_classes_are_new_beside_a_latent_that_is_kept(trained, classes, tmp_path, said):  # noqa: F811
    state = begun(classes, tmp_path, trained)
    assert state.generator.embedding.weight.shape == (2, 64)
    saved, _ = checkpoint.read(newest_checkpoint(trained))
    assert "codes" not in saved or torch.equal(state.codes, saved["codes"])  # r3gan has none
    assert "new in G: embedding" in said[-1] and "in D: embedding" in said[-1]
    learned = loop.train(settings(classes, images=80, start=str(trained)), runs=tmp_path)
    back = begun(tmp_path / "colours" / "red", tmp_path, learned, labels=False)
    assert back.generator.embedding is None


def test_a_run_with_a_start_resumes_bitwise_without_the_start(trained, pictures, tmp_path):
    origin = shutil.copytree(trained, tmp_path / "origin")
    keys = {"start": str(origin), "checkpoint_every_images": 80}
    whole = loop.train(settings(pictures, images=160, **keys), runs=tmp_path / "whole")
    part = loop.train(settings(pictures, images=80, **keys), runs=tmp_path / "part")
    shutil.rmtree(origin)
    recorded = config.load(part / "config.toml")
    asked = replace(recorded, train=replace(recorded.train, images=160))
    loop.train(asked, runs=tmp_path, resume=part)
    assert same_runs(whole, part)


def test_what_cannot_be_a_start_is_one_line(trained, pictures, tmp_path):
    refused = {
        "no run with a checkpoint": ({"start": str(tmp_path)}, UsageError),
        "channels = 16.* has 8": ({"start": str(trained), "model": {"channels": 16}}, ConfigError),
        "growing": ({"start": str(trained), "grow_every_images": 80}, ConfigError),
        "not a model file": ({"start": str(next(pictures.iterdir()))}, ModelError),
    }
    for line, (keys, kind) in refused.items():
        with pytest.raises(kind, match=line) as caught:
            opened(pictures, tmp_path, **keys)
        assert "\n" not in str(caught.value)
