import contextlib
import json
import math

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from tests.training.test_loop import newest_state, same_runs, same_weights, settings
from vidgan.training import loop


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
