import os

import numpy as np
import pytest
import torch
from torch import nn

from tests.films import nearly_equal
from vidgan.errors import ModelError
from vidgan.generator.import_weights import import_weights
from vidgan.generator.synthesis import open_generator
from vidgan.networks import pixels


class Tutorial(nn.Module):
    """The generator of PyTorch's tutorial and of examples/dcgan, with the same names of layers."""

    def __init__(self, *, z_dim=100, channels=8, colours=3, stages=4, bias=False):
        super().__init__()
        widths = [channels * 2**s for s in range(stages)][::-1]
        layers = [nn.ConvTranspose2d(z_dim, widths[0], 4, 1, 0, bias=bias)]
        for before, after in zip(widths, [*widths[1:], colours], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True)]
            layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias))
        self.main = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z):
        return self.main(z[:, :, None, None])


def trained(**sizes):
    torch.manual_seed(0)
    net = Tutorial(**sizes)
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, sizes.get("z_dim", 100)))
        net.main[-2].weight *= 5
    return net.eval()


def assert_refused(folder, says):
    with pytest.raises(ModelError, match=says):
        import_weights(folder / "weights.pt", folder / "generator.safetensors")
    assert [p.name for p in folder.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize(
    ("sizes", "prefix"),
    [
        ({}, ""),
        ({}, "module."),
        ({"z_dim": 64, "channels": 16}, ""),
        ({"stages": 3}, ""),
        ({"colours": 1}, ""),
        ({"bias": True}, ""),
    ],
)
def test_the_tutorials_generator_makes_the_same_frames_here(tmp_path, sizes, prefix):
    net = trained(**sizes)
    source, target = tmp_path / "weights.pt", tmp_path / "generator.safetensors"
    torch.save({f"{prefix}{k}": v for k, v in net.state_dict().items()}, source)
    import_weights(source, target)
    generator = open_generator(target)
    assert generator.z_dim == sizes.get("z_dim", 100)
    assert generator.height == generator.width == 8 * 2 ** (sizes.get("stages", 4) - 1)
    z = np.random.default_rng(0).standard_normal((3, generator.z_dim)).astype(np.float32)
    with torch.inference_mode():
        expected = pixels.to_frames(net(torch.from_numpy(z)).expand(-1, 3, -1, -1)).numpy()
    assert nearly_equal(generator(z), expected) and expected.std() > 5


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda g: {"netG": g},
        lambda g: {"state_dict": g, "epoch": 7},
        lambda g: {"epoch": 7, "models": {"generator": g}, "losses": [0.5]},
        lambda g: {
            "G": g,
            "D": {"main.0.weight": torch.zeros(64, 3, 4, 4)},
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
    ],
)
def test_the_one_generator_in_a_checkpoint_is_taken(tmp_path, wrapped):
    state = trained().state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save(wrapped(state), tmp_path / "wrapped.pt")
    for name in ("plain", "wrapped"):
        import_weights(tmp_path / f"{name}.pt", tmp_path / f"{name}.safetensors")
    z = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    plain, other = (open_generator(tmp_path / f"{n}.safetensors")(z) for n in ("plain", "wrapped"))
    assert np.array_equal(plain, other)


def test_of_two_generators_none_is_guessed(tmp_path):
    state = trained().state_dict()
    torch.save({"G": state, "ema": {"G": state}}, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"2 generators \(\['G'\], \['ema'\]\['G'\]\)")


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


@pytest.mark.parametrize("content", [Trap(), {"main.0.weight": Trap()}, Tutorial()])
def test_a_file_that_would_run_code_is_refused_and_never_run(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "weights.pt")
    assert_refused(tmp_path, "more than tensors")


@pytest.mark.parametrize(
    "state",
    [
        {"mapping.w": torch.zeros(3)},
        {"main.0.weight": torch.zeros(64, 3, 4, 4)},  # a discriminator
        {"main.0.weight": torch.zeros(100, 64, 7, 7), "main.3.weight": torch.zeros(64, 3, 4, 4)},
        {"main.0.bias": torch.zeros(3)},
        {"epoch": 3, "netG": {"mapping.w": torch.zeros(3)}},
        {"main.0.weight": torch.zeros(100, 64, 4, 4), "label_emb.weight": torch.zeros(10, 50)},
        {},
        [1, 2],
    ],
)
def test_for_other_layers_the_error_says_what_was_expected(tmp_path, state):
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"expected the DCGAN.*main\.0\.weight")


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02.", b"PK\x03\x04broken"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    assert_refused(tmp_path, r"weights\.pt")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, number):
    state = trained().state_dict()
    state["main.3.weight"][0, 0, 1, 1] = number
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"weights\.pt: layers\.3\.weight has NaN or infinite")


def test_a_generator_whose_pictures_are_no_numbers_is_refused(tmp_path):
    state = trained().state_dict()
    state["main.1.running_var"].fill_(-1.0)
    torch.save(state, tmp_path / "weights.pt")
    assert_refused(tmp_path, r"weights\.pt: what it makes has NaN")


def test_a_few_bytes_repeated_to_terabytes_take_no_memory(tmp_path):
    state = trained().state_dict()
    huge = torch.zeros(1).expand(100, 8 * 4096, 4, 4)
    torch.save(state | {"main.0.weight": huge}, tmp_path / "weights.pt")
    assert_refused(tmp_path, "expected the DCGAN")
