import pytest
import torch

from vidgan.errors import UsageError
from vidgan.networks import device


@pytest.fixture
def machine(monkeypatch):
    """Makes torch say that it found so many GPUs of Nvidia's, and perhaps that of a Mac."""

    def has(*, cuda=0, mps=False, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_auto_is_cuda_or_the_cpu_and_the_gpu_of_a_mac_is_asked_for(machine, monkeypatch):
    machine(mps=True)
    assert str(device.chosen()) == "cpu" and str(device.chosen("mps")) == "mps"
    assert device.precision_for("auto", torch.device("mps")) == "fp32"
    machine(cuda=2)
    assert [str(device.chosen(name)) for name in ("auto", "cuda", "cpu")] == [
        *("cuda:0", "cuda:0", "cpu")
    ]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(device.chosen()) == "cuda:1"
    assert device.precision_for("auto", device.chosen()) == "bf16"
    machine(cuda=1, bf16=False)
    assert device.precision_for("auto", device.chosen()) == "fp32"
    assert device.precision_for("fp16", device.chosen()) == "fp16"


@pytest.mark.parametrize(
    ("amx", "bf16", "intel", "wanted"),
    [(0, 0, 0, "fp32"), (0, 1, 0, "bf16"), (0, 1, 1, "fp32"), (1, 1, 1, "bf16"), (0, 0, 1, "fp32")],
)
def test_a_cpu_computes_in_bf16_only_if_it_is_fast_in_it(monkeypatch, amx, bf16, intel, wanted):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(bf16))
    monkeypatch.setattr(device, "_is_of_intel", lambda: bool(intel))
    assert device.precision_for("auto", torch.device("cpu")) == wanted
    assert device.precision_for("bf16", torch.device("cpu")) == "bf16"


def test_a_device_that_is_missing_or_cannot_is_one_line(machine):
    machine()
    for name in ("cuda", "mps", "tpu"):
        with pytest.raises(UsageError, match=rf"--device {name}: not here; torch .* auto, cpu\."):
            device.chosen(name)
    with pytest.raises(UsageError, match="--precision fp16: needs CUDA, not cpu"):
        device.precision_for("fp16", torch.device("cpu"))


def test_float32_is_exact_within_the_block_alone():
    def settings():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = settings()
    with pytest.raises(ValueError), device.exact():
        assert settings() == (False, False)
        raise ValueError
    assert settings() == before == (True, False)
