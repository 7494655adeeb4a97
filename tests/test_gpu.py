"""What only a GPU can show. `make benchmark-gpu` runs these; VIDGAN_TEST_DEVICE=cpu tries them."""

import os

import numpy as np
import pytest
import torch

from tests.training.test_loop import classes, newest_state, resumes_bitwise, settings
from tests.training.test_step import KINDS
from vidgan.errors import SystemFault, UsageError
from vidgan.generator import selftest
from vidgan.generator.synthesis import open_generator
from vidgan.networks.device import chosen
from vidgan.training import loop
from vidgan.training.log import logged

__all__ = ["classes"]
pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("VIDGAN_TEST_DEVICE", "cuda")


@pytest.fixture(autouse=True)
def there():
    try:
        chosen(DEVICE)
    except UsageError as error:
        pytest.skip(str(error))
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_step_trains_in_every_precision(classes, tmp_path, kind, precision):
    if precision == "fp16" and (DEVICE != "cuda" or kind == "unrolled"):
        pytest.skip("refused")
    how = settings(classes, images=80, **(KINDS[kind] | {"precision": precision}))
    run = loop.train(how, runs=tmp_path, device=DEVICE)
    assert all(np.isfinite(tensor).all() for tensor in newest_state(run).values())


@pytest.mark.parametrize("model", ["dcgan", "r3gan"])
def test_the_first_step_is_that_of_the_cpu(classes, tmp_path, model):
    how = settings(classes, images=8, model={"name": model}, precision="fp32")
    ours, wanted = (
        logged(loop.train(how, runs=tmp_path, device=device))[0] for device in (DEVICE, "cpu")
    )
    for name in ("loss_g", "loss_d", "gradient_g", "gradient_d"):
        assert getattr(ours, name) == pytest.approx(getattr(wanted, name), rel=0.02)


@pytest.mark.parametrize("model", ["dcgan", "r3gan"])
def test_a_deterministic_run_resumes_to_bitwise_the_same_weights(classes, tmp_path, model):
    resumes_bitwise(classes, tmp_path, model={"name": model}, deterministic=True)


@pytest.mark.parametrize("kind", ["model_file", "onnx_file"])
def test_frames_are_those_of_the_cpu(kind, request):
    file = request.getfixturevalue(kind)
    z = np.random.default_rng(0).standard_normal((40, 100)).astype(np.float32)
    ours, wanted = (open_generator(file, device=device)(z) for device in (DEVICE, "cpu"))
    off = selftest.difference(ours, wanted)
    assert off.max_level <= 1 and off.differing <= 0.001


@pytest.mark.skipif(DEVICE == "cpu", reason="fills the memory")
def test_too_little_memory_is_one_line(classes, tmp_path):
    how = settings(classes, batch_size=2**20, model={"channels": 64})
    with pytest.raises(SystemFault, match="out of memory"):
        loop.train(how, runs=tmp_path, device=DEVICE)
