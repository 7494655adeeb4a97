import contextlib
import copy
import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import SingleDeviceStrategy
from torch.nn.functional import softplus
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.training.test_loop import classes, newest_state, same_runs, same_weights, settings
from vidgan import config
from vidgan.errors import ConfigError
from vidgan.networks import pixels
from vidgan.training import loop, setup
from vidgan.training.batches import batches
from vidgan.training.state import Run
from vidgan.training.step import Step

__all__ = ["classes"]


class Scaled(MixedPrecision):
    """The scaler of fp16 around arithmetic in float32, where powers of two change no digit."""

    def forward_context(self):
        return contextlib.nullcontext()

    def convert_input(self, data):
        return data


@pytest.fixture
def half(monkeypatch):
    """Makes runs train as on a GPU with fp16: Fabric's plugin with a scaler, here on the CPU."""

    def use(plugin=MixedPrecision, **scaler):
        def launch(_, *__, **___):
            scales = torch.amp.GradScaler("cpu", **scaler)
            return Fabric(accelerator="cpu", plugins=plugin("16-mixed", "cpu", scales))

        monkeypatch.setattr(loop, "launch", launch)

    return use


@pytest.mark.parametrize("keys", [{}, {"r1": 1.0}, {"loss": "wgan"}, {"discriminator_steps": 2}])
def test_a_scale_that_grows_with_every_step_changes_no_weight(pictures, tmp_path, half, keys):
    how = settings(pictures, images=80, augment="none", precision="fp32", **keys)
    plain = loop.train(how, runs=tmp_path / "plain")
    half(Scaled, init_scale=2.0**4, growth_interval=1)
    scaled = loop.train(how, runs=tmp_path / "scaled")
    state = newest_state(scaled)
    assert state.pop("scaler/scale") == 2.0**14  # ten steps, each doubled it once
    state = {name: value for name, value in state.items() if not name.startswith("scaler/")}
    assert same_weights(state, newest_state(plain))
    lines = [(run / "stats.jsonl").read_text().splitlines()[-1] for run in (plain, scaled)]
    one, other = ({k: json.loads(x)[k] for k in ("gradient_g", "gradient_d")} for x in lines)
    assert one == other


def test_a_scale_that_is_too_high_is_halved_until_the_run_trains(pictures, tmp_path, half):
    half(init_scale=2.0**40)
    how = settings(pictures, images=320, r1=1.0, penalty_every_steps=1)
    run = loop.train(how, runs=tmp_path)
    state = newest_state(run)
    assert 1 < state["scaler/scale"] < 2.0**40 and 0 < state["adam_d/0/step"] < 40
    assert all(math.isfinite(x.sum()) for x in state.values())
    for line in (run / "stats.jsonl").read_text().splitlines():
        assert math.isfinite(json.loads(line)["gradient_d"])


def test_a_run_in_fp16_resumes_with_its_scale(pictures, tmp_path, half):
    half(init_scale=2.0**12, growth_interval=3)
    whole = loop.train(settings(pictures, images=160), runs=tmp_path / "whole")
    part = loop.train(settings(pictures, images=80), runs=tmp_path / "part")
    loop.train(settings(pictures, images=160), runs=tmp_path, resume=part)
    assert same_runs(whole, part)


def test_one_look_of_d_at_the_fakes_gives_both_networks_their_own_gradients(pictures, tmp_path):
    how = settings(pictures, images=80, augment="none", precision="fp32", code_weight=0.0)
    how, dataset = setup.open_data(how)
    fabric = setup.launch(how)
    run = Run(how, dataset, fabric, setup.build(how, fabric, dataset), tmp_path)
    g, d = copy.deepcopy((run.state.generator, run.state.discriminator))
    batch = next(batches(run))
    Step(run)(batch)
    real, fake = pixels.to_float(batch.real), g(batch.z)
    (r,), (f,) = d(real), d(fake.detach())
    (softplus(-r).mean() + softplus(f).mean()).backward()
    wanted = torch.autograd.grad(softplus(-d(fake)[0]).mean(), list(g.parameters()))
    ours = [
        p.grad for p in (*run.state.generator.parameters(), *run.state.discriminator.parameters())
    ]
    for mine, other in zip(ours, [*wanted, *(p.grad for p in d.parameters())], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6)


KINDS = {
    "dcgan": {},
    "r3gan": {"model": {"name": "r3gan"}, "penalty_every_steps": 1},
    "wgan": {"loss": "wgan", "discriminator_steps": 2},
    "growing": {"grow_every_images": 8},
    "unrolled": {"unrolled_steps": 1, "precision": "fp32", "augment": "none"},
    "feature matching": {"feature_matching": 1.0, "mismatch": 1.0},
    "ada": {"augment": "ada"},
    "pretrained": {"discriminator": {"pretrained_weight": 0.5}},
}


class Shapes(CPUAccelerator):
    def setup_device(self, device):
        pass


# Of these, CUDA has no way that is the same every time: torch.use_deterministic_algorithms says so.
UNREPEATABLE = (
    *("adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "reflection_pad2d_backward"),
    *("upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "grid_sampler_2d_backward"),
    *("nll_loss_forward", "histc", "cumsum", "put_", "median.dim", "max_unpool2d"),
)


class OneDevice(TorchDispatchMode):
    """Every operation but a copy must find all its tensors on one device, numbers apart."""

    def __init__(self):
        super().__init__()
        self.unrepeatable = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = str(operation).removeprefix("aten.").lstrip("_")
        self.unrepeatable |= {known for known in UNREPEATABLE if name.startswith(known)}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        devices = {str(x.device) for x in tensors if x.ndim}
        assert len(devices) < 2 or "copy" in str(operation), f"{operation}: {devices}"
        return operation(*args, **kwargs or {})


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_mixes_tensors_of_two_devices(classes, tmp_path, monkeypatch, kind):
    """On a device that knows only shapes, and is not where tensors are made by default."""
    how, dataset = setup.open_data(settings(classes, images=80, **KINDS[kind]))
    fabric = Fabric(strategy=SingleDeviceStrategy(torch.device("meta"), Shapes()))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    # They look at numbers, of which there are none.
    monkeypatch.setattr(Step, "_check_finite", lambda *_: None)
    monkeypatch.setattr(Step, "_adapt", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "item", lambda _: 0.5)
    with OneDevice() as seen:
        run = Run(how, dataset, fabric, setup.build(how, fabric, dataset), tmp_path)
        step = Step(run)
        for batch in itertools.islice(batches(run), 3):
            outcome = step(batch)
        assert outcome.fake.is_meta and outcome.loss_d.is_meta and outcome.gradient_g.is_meta
    try:  # what a GPU cannot repeat is refused together with `deterministic`
        config.resolved(replace(how, train=replace(how.train, deterministic=True)), on_gpu=True)
    except ConfigError:
        return
    assert not seen.unrepeatable
