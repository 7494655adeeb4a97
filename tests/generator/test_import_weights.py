import argparse
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.films import nearly_equal
from tests.generator import zoo
from vidgan.cli import export as verbs
from vidgan.errors import ModelError, UsageError
from vidgan.generator import checkpoint
from vidgan.generator.export import export
from vidgan.generator.import_weights import Asked, import_weights
from vidgan.generator.synthesis import open_generator
from vidgan.networks import pixels


def leaky(slope=0.2):
    return lambda: nn.LeakyReLU(slope)


# Each with its z_dim and what must be asked for.
KINDS = {
    "the tutorial": (lambda: zoo.Tutorial(), 100, {}),
    "another z_dim": (lambda: zoo.Tutorial(z_dim=64, channels=4), 64, {}),
    "32x32": (lambda: zoo.Tutorial(stages=3), 100, {}),
    "grey": (lambda: zoo.Tutorial(colours=1), 100, {}),
    "with biases": (lambda: zoo.Tutorial(bias=True), 100, {}),
    "128x128, halving from 16 times the width": (
        lambda: zoo.Tutorial(stages=5, channels=4),
        100,
        {},
    ),
    "28x28, cut from 32": (lambda: zoo.Tutorial(colours=1, last=(1, 1, 2)), 100, {}),
    "28x28, blocks": (lambda: zoo.Blocks(), 64, {}),
    "28x28, kernels 4 3 4 4": (lambda: zoo.Kernels4344(), 100, {}),
    "28x28, linear to 7x7": (lambda: zoo.Linear7(), 100, {}),
    "28x28, kernels of 5": (lambda: zoo.Linear7(kernel=5, act=leaky(0.3)), 100, {}),
    "28x28, linear only": (lambda: zoo.Mlp(), 100, {}),
    "named layers": (lambda: zoo.Named(), 100, {}),
    "a linear layer without activation": (lambda: zoo.Fc(), 100, {}),
    "upsampling, eps of 0.8": (lambda: zoo.Upsampling(), 100, {}),
    "blocks of upsampling": (lambda: zoo.UpBlocks(), 128, {}),
    "bilinear": (
        lambda: zoo.UpBlocks(mode="bilinear", act=leaky()),
        128,
        {"upsample": "bilinear-corners", "activation": "leaky-relu:0.2"},
    ),
    "leaky": (lambda: zoo.Tutorial(act=leaky()), 100, {}),
    "slightly leaky": (lambda: zoo.Tutorial(act=leaky(0.01)), 100, {"activation": "leaky-relu"}),
    "sigmoid": (lambda: zoo.Tutorial(end=nn.Sigmoid), 100, {"output": "sigmoid"}),
    "no output activation": (lambda: zoo.Tutorial(end=nn.Identity), 100, {"output": "none"}),
    "another eps": (lambda: zoo.Tutorial(eps=0.01), 100, {"eps": (0.01,)}),
}
# One of each kind of layer; the export takes seconds.
EXPORTED = ("28x28, blocks", "28x28, kernels of 5", "28x28, linear only", "upsampling, eps of 0.8")


def expected_frames(net, z, asked):
    with torch.inference_mode():
        image = net(torch.from_numpy(z))
    image = image * 2 - 1 if asked.get("output") == "sigmoid" else image
    return pixels.to_frames(image.expand(-1, 3, -1, -1)).numpy()


def latents(z_dim=100, count=3):
    return np.random.default_rng(0).standard_normal((count, z_dim)).astype(np.float32)


def imported(folder, content, **asked):
    """The frames of latents after an import of what torch.save writes."""
    torch.save(content, folder / "weights.pt")
    import_weights(folder / "weights.pt", folder / "generator.safetensors", Asked(**asked))
    return open_generator(folder / "generator.safetensors")(latents())


def assert_refused(folder, says, **asked):
    with pytest.raises(ModelError, match=says):
        import_weights(folder / "weights.pt", folder / "generator.safetensors", Asked(**asked))
    assert [p.name for p in folder.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_generator_makes_the_frames_of_its_module(tmp_path, kind):
    make, z_dim, asked = KINDS[kind]
    net = zoo.trained(make(), z_dim=z_dim)
    source, target = tmp_path / "weights.pt", tmp_path / "generator.safetensors"
    torch.save(net.state_dict(), source)
    import_weights(source, target, Asked(**asked))
    generator, z = open_generator(target), latents(z_dim)
    frames, expected = generator(z), expected_frames(net, z, asked)
    assert frames.shape == expected.shape and nearly_equal(frames, expected)
    assert expected.std() > 10
    grey = (frames == frames[..., :1]).all()
    assert grey == (checkpoint.load_generator(target)[1].colours == 1)
    if kind in EXPORTED:
        export(target, target.with_suffix(".onnx"))  # which proves it
        assert nearly_equal(open_generator(target.with_suffix(".onnx"))(z), expected)


@pytest.fixture(scope="module")
def tutorial():
    return zoo.trained(zoo.Tutorial(channels=4, stages=3))


def test_the_command_says_what_it_assumed(tmp_path, tutorial, said, capsys):
    torch.save(tutorial.state_dict(), tmp_path / "weights.pt")
    verbs.import_(tmp_path / "weights.pt", tmp_path / "g.safetensors", activation="relu")
    assert "z 100 > conv-transpose 16 4 1 0 0 > norm 1e-05 > relu > conv-tr" in said[0]
    assert "--output tanh (or sigmoid, none), --eps 1e-05" in said[1] and len(said) == 2
    assert "32x32, z_dim 100" in capsys.readouterr().out


def test_latents_of_another_distribution_are_noticed(tmp_path, said):
    net = zoo.trained(zoo.Tutorial(channels=4, stages=3), latents=lambda z: z / 3**0.5)
    imported(tmp_path, net.state_dict())
    assert "uniform" in said[-1] and "--truncation" in said[-1]


def test_layers_that_do_not_fit_their_statistics_are_noticed(tmp_path, tutorial, said):
    state = tutorial.state_dict()
    state |= {name: tensor * 9 for name, tensor in state.items() if "running_var" in name}
    imported(tmp_path, state)
    assert "probably wrong" in said[-1]


def discriminator(prefix=""):
    return {f"{prefix}main.0.weight": torch.zeros(64, 3, 4, 4)}


class Model(nn.Module):
    """A Lightning module holds both networks."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator
        self.discriminator = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.Conv2d(8, 1, 16))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda g: {"netG": g.state_dict()},
        lambda g: {f"module.{name}": tensor for name, tensor in g.state_dict().items()},
        lambda g: {"state_dict": g.state_dict(), "epoch": 7, "loss": np.float64(0.5)},
        lambda g: {"epoch": 7, "models": {"generator": g.state_dict()}, "losses": [0.5]},
        lambda g: {
            "G": g.state_dict(),
            "D": discriminator(),
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
        lambda g: {
            "epoch": 3,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": Model(g).state_dict(),
            "callbacks": {"ModelCheckpoint": {"dirpath": Path("runs")}},
            "hyper_parameters": argparse.Namespace(lr=2e-4, latent_dim=100),
        },
    ],
)
def test_the_one_generator_in_a_checkpoint_is_taken(tmp_path, tutorial, wrapped):
    expected = expected_frames(tutorial, latents(), {})
    assert nearly_equal(imported(tmp_path, wrapped(tutorial)), expected)


@pytest.mark.parametrize(
    "archive", [torch.jit.script, lambda g: torch.jit.trace(g, latents_tensor())]
)
def test_the_tensors_of_a_torchscript_archive_are_read_and_its_code_is_not(
    tmp_path, tutorial, archive, monkeypatch
):
    with pytest.warns(Warning) as ignored:  # torch's own, that it is deprecated
        archive(tutorial).save(str(tmp_path / "weights.pt"))
    assert ignored
    monkeypatch.setattr(torch.jit, "load", None)
    import_weights(tmp_path / "weights.pt", tmp_path / "g.safetensors")
    expected = expected_frames(tutorial, latents(), {})
    assert nearly_equal(open_generator(tmp_path / "g.safetensors")(latents()), expected)


def latents_tensor():
    return torch.from_numpy(latents())


def test_safetensors_are_read_whose_names_are_in_another_order(tmp_path):
    net = zoo.trained(zoo.Upsampling())
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    import_weights(tmp_path / "weights.safetensors", tmp_path / "g.safetensors")
    frames = open_generator(tmp_path / "g.safetensors")(latents())
    assert nearly_equal(frames, expected_frames(net, latents(), {}))


def test_the_averaged_generator_is_taken_and_key_chooses(tmp_path, tutorial, said):
    average = zoo.trained(zoo.Tutorial(channels=4, stages=3), seed=2)
    content = {"netG": tutorial.state_dict(), "netG_ema": average.state_dict()}
    frames = imported(tmp_path, content)
    assert nearly_equal(frames, expected_frames(average, latents(), {}))
    assert "took the averaged generator netG_ema; others: --key netG" in said
    frames = imported(tmp_path, content, key="netG")
    assert nearly_equal(frames, expected_frames(tutorial, latents(), {}))


def test_of_two_generators_none_is_guessed(tmp_path, tutorial):
    state = tutorial.state_dict()
    torch.save({"G_A": state, "models": {"G_B": state}}, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"2 generators.*--key G_A, --key models\.G_B")
    assert_refused(tmp_path, r"no generator at D; there is: --key G_A, --key models\.G_B", key="D")


def test_a_size_that_the_layers_cannot_make_is_refused(tmp_path, tutorial):
    torch.save(tutorial.state_dict(), tmp_path / "weights.pt")
    assert_refused(tmp_path, "sides of .*28.*32.*--size", size=500)


@pytest.mark.parametrize("wrong", [{"activation": "elu"}, {"eps": (1.0, 2.0)}])
def test_a_wrong_option_is_one_clear_error(tmp_path, tutorial, wrong):
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        imported(tmp_path, tutorial.state_dict(), **wrong)


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


@pytest.mark.parametrize(
    "content",
    [
        Trap(),
        {"main.0.weight": Trap()},
        zoo.Tutorial(),
        {"state_dict": zoo.Tutorial().state_dict(), "hyper_parameters": Trap()},
        {"netG": zoo.Tutorial().state_dict(), "args": argparse.Namespace(trap=Trap())},
    ],
)
def test_a_file_that_would_run_code_is_refused_and_never_run(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "weights.pt")
    assert_refused(tmp_path, "more than tensors")


def test_a_torchscript_archive_with_a_trap_is_refused(tmp_path, tutorial, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = io.BytesIO()
    torch.save({"main": Trap()}, content)
    with zipfile.ZipFile(content) as saved, zipfile.ZipFile("weights.pt", "w") as archive:
        for name in saved.namelist():
            archive.writestr(name, saved.read(name))
        archive.writestr("archive/constants.pkl", b"")
    assert_refused(tmp_path, "more than tensors")


GENERATOR = zoo.Tutorial().state_dict()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"mapping.w": torch.zeros(3)}, r"mapping\.w \[3\] belongs to no layer"),
        (discriminator(), "too few layers"),
        ({"main.0.bias": torch.zeros(3)}, r"main\.0 \[0\] is"),
        ({"epoch": 3, "netG": {"mapping.w": torch.zeros(3)}}, r"epoch \(int\), netG\.mapping"),
        ({**GENERATOR, "label_emb.weight": torch.zeros(10, 50)}, "do not follow"),
        ({**GENERATOR, "main.1.running_mean": None, "main.1.running_var": None}, "without running"),
        ({}, r"found \(dict\)"),
        ([1, 2], r"found 0 \(int\), 1 \(int\)"),
    ],
)
def test_for_other_layers_the_error_says_what_was_found(tmp_path, state, reason):
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, reason)


def test_a_generator_that_is_not_at_the_key_is_said_to_be_without(tmp_path):
    torch.save(zoo.Tutorial().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="at nope; there is: one without --key"):
        import_weights(tmp_path / "weights.pt", tmp_path / "g.safetensors", Asked(key="nope"))


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02.", b"PK\x03\x04broken"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    assert_refused(tmp_path, r"weights\.pt")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, number):
    state = zoo.Tutorial().state_dict()
    state["main.3.weight"][0, 0, 1, 1] = number
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"weights\.pt: main\.3\.weight has NaN or infinite")


def test_a_generator_whose_pictures_are_no_numbers_is_refused(tmp_path):
    state = zoo.Tutorial().state_dict()
    state["main.1.running_var"].fill_(-1.0)
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"weights\.pt: what it makes has NaN")


def test_a_few_bytes_repeated_to_terabytes_take_no_memory(tmp_path):
    state = zoo.Tutorial().state_dict()
    huge = torch.zeros(1).expand(100, 8 * 4096, 4, 4)
    torch.save(state | {"main.0.weight": huge}, tmp_path / "weights.pt")
    assert_refused(tmp_path, "larger than the file")
