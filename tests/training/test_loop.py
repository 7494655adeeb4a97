import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from vidgan import config
from vidgan.errors import ConfigError, DivergedError, ModelError, SystemFault
from vidgan.film.writer import write_png
from vidgan.generator import checkpoint
from vidgan.generator.synthesis import open_generator
from vidgan.training import loop, setup
from vidgan.training.run_folder import locked
from vidgan.training.state import restore, save

SMALL = {
    "model": {"width": 32, "height": 32, "channels": 8},
    "train": {
        "batch_size": 8,
        "flip": True,
        "checkpoint_every_images": 160,
        "distance_every_images": 0,  # tests/test_validation.py
    },
}


def settings(source, *, model=None, **train_keys):
    table = {**SMALL, "data": {"source": str(source)}}
    table["model"] = {**SMALL["model"], **(model or {})}
    table["train"] = {**SMALL["train"], **train_keys}
    return config.from_dict(table)


@pytest.fixture
def classes(tmp_path):
    """Twenty pictures in each of two class folders."""
    for number in range(40):
        kind = ("red", "blue")[number % 2]
        folder = tmp_path / "colours" / kind
        folder.mkdir(parents=True, exist_ok=True)
        picture = np.full((32, 32, 3), 5 * number, np.uint8)
        picture[..., 2 * (kind == "blue")] = 255
        write_png(folder / f"{number:02d}.png", picture)
    return tmp_path / "colours"


def newest_state(run):
    return load_file(max((run / "checkpoints").glob("*.safetensors")))


def same_weights(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_run_folder_holds_what_the_design_says(pictures, tmp_path):
    run = loop.train(settings(pictures, images=320), runs=tmp_path / "runs")
    assert run.name == "00000-pictures-dcgan32"
    files = ("config.toml", "reals.png", "generator.safetensors", "preview.mp4", "report.html")
    for name in files:
        assert (run / name).is_file()
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    assert last["images_seen"] == 320
    assert {"images_per_s", "loss_g", "loss_d"} < last.keys()
    with Image.open(run / "fakes000000320.png") as grid:
        assert grid.size == (8 * 32, 4 * 32)
    assert config.load(run / "config.toml") == config.resolved(settings(pictures, images=320))
    assert loop.train(settings(pictures, images=8), runs=tmp_path / "runs").name.startswith("00001")


def test_a_stopped_and_resumed_run_ends_in_bitwise_the_same_weights(pictures, tmp_path):
    def until(images):
        return settings(pictures, images=images, distance_every_images=160)

    whole = loop.train(until(640), runs=tmp_path / "whole")
    part = loop.train(until(320), runs=tmp_path / "part")
    loop.train(until(640), runs=tmp_path, resume=part)
    assert same_weights(newest_state(whole), newest_state(part))
    kept = [load_file(run / "generator.safetensors") for run in (whole, part)]
    assert same_weights(*kept)


WAYS = {
    "r3gan": {"model": {"name": "r3gan"}},
    "wgan-gp": {"loss": "wgan", "discriminator_steps": 3, "penalty_every_steps": 1},
    "sngan": {
        "model": {"discriminator_norm": "spectral"},
        "loss": "hinge",
        "feature_matching": 1.0,
        "learning_rate_d": 4e-4,
    },
    "lsgan": {"loss": "lsgan"},
    "minimax": {"loss": "minimax"},
    "ada": {"augment": "ada"},
    "unrolled": {"unrolled_steps": 2},
    "growing": {"grow_every_images": 24},  # ends in the middle of a fade
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_train_resumes_to_bitwise_the_same_weights(classes, tmp_path, way):
    # Cut in the middle of a lazy penalty's and of G's turn.
    whole = loop.train(settings(classes, images=160, **WAYS[way]), runs=tmp_path / "whole")
    part = loop.train(settings(classes, images=80, **WAYS[way]), runs=tmp_path / "part")
    loop.train(settings(classes, images=160, **WAYS[way]), runs=tmp_path, resume=part)
    assert same_weights(newest_state(whole), newest_state(part))
    generator = open_generator(part / "generator.safetensors")
    assert generator.class_names == ("blue", "red")


def test_the_scaler_of_fp16_is_part_of_the_state(pictures, tmp_path):
    # fp16 trains on CUDA only; the scaler itself works on a CPU.
    chosen = config.resolved(settings(pictures, images=8))
    chosen, dataset = setup.open_data(chosen)
    state = setup.build(chosen, setup.launch(chosen))
    state.scaler = torch.amp.GradScaler("cpu")
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1)
    state.scaler.scale(weight.sum() * math.inf).backward()
    state.scaler.step(optimizer)
    state.scaler.update()
    halved = state.scaler.state_dict()
    assert halved["scale"] == 2.0**15
    (tmp_path / "checkpoints").mkdir()
    save(state, chosen, dataset, tmp_path)
    state.scaler = torch.amp.GradScaler("cpu")
    restore(state, tmp_path, dataset)
    assert state.scaler.state_dict() == halved


def test_ada_moves_its_p_and_a_resumed_run_goes_on_with_it(pictures, tmp_path):
    run = loop.train(settings(pictures, images=320, augment="ada"), runs=tmp_path)
    ada = newest_state(run)["ada"]
    assert 0 < ada[0] < 321 / 500_000


def test_a_growing_generator_s_file_says_how_far_it_has_grown(pictures, tmp_path):
    chosen = settings(pictures, images=80, grow_every_images=32, distance_every_images=0)
    run = loop.train(chosen, runs=tmp_path)
    path = run / "generator.safetensors"
    generator, model, _ = checkpoint.load_generator(path)
    assert model.growth == generator.growth == 1.0
    frames = open_generator(path)(np.zeros((1, 100), np.float32))
    assert (frames[:, ::4, ::4].repeat(4, 1).repeat(4, 2) == frames).all()


def test_class_folders_make_a_generator_of_classes_unless_told_otherwise(classes, tmp_path):
    table = config.to_dict(settings(classes, images=8))
    table["data"]["labels"] = False
    run = loop.train(config.from_dict(table), runs=tmp_path)
    assert open_generator(run / "generator.safetensors").classes == 0


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_bitwise_the_same_weights(pictures, tmp_path):
    recipe = tmp_path / "recipe.toml"
    how = settings(pictures, images=1600, distance_every_images=400)
    recipe.write_text(config.to_toml(how))
    command = [sys.executable, "-m", "vidgan", "train"]
    whole = [*command, "--recipe", str(recipe), "--runs", str(tmp_path / "whole")]
    subprocess.run(whole, check=True, capture_output=True)
    killed = [*command, "--recipe", str(recipe), "--runs", str(tmp_path / "killed")]
    with subprocess.Popen(killed, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        states = tmp_path / "killed"
        while not list(states.glob("*/checkpoints/*.safetensors")):
            time.sleep(0.01)  # until there is a state to resume from
        os.kill(process.pid, signal.SIGKILL)
    (run,) = (tmp_path / "killed").iterdir()
    assert int(max((run / "checkpoints").glob("*.safetensors")).stem) < 1600
    subprocess.run([*command, "--resume", str(run)], check=True, capture_output=True)
    (other,) = (tmp_path / "whole").iterdir()
    assert same_weights(newest_state(other), newest_state(run))
    kept = [load_file(folder / "generator.safetensors") for folder in (other, run)]
    assert same_weights(*kept)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=320), runs=tmp_path)
    newest = max((run / "checkpoints").glob("*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    loop.train(settings(pictures, images=320), runs=tmp_path, resume=run)
    assert any(newest.name in line and "damaged" in line for line in said)


def test_changed_data_is_refused_on_resume(pictures, tmp_path):
    run = loop.train(settings(pictures, images=160), runs=tmp_path)
    (pictures / "00.png").unlink()
    with pytest.raises(ModelError, match="data has changed"):
        loop.train(settings(pictures, images=320), runs=tmp_path, resume=run)


def test_training_that_leaves_the_numbers_stops_before_a_weight_is_touched(
    pictures, tmp_path, monkeypatch
):
    broken = loop.losses.LOSSES["non-saturating"]._replace(of_g=lambda r, f: f.mean() * math.nan)
    monkeypatch.setitem(loop.losses.LOSSES, "non-saturating", broken)
    with pytest.raises(DivergedError, match="after 0 images"):
        loop.train(settings(pictures, images=160), runs=tmp_path)


@pytest.mark.parametrize("where", ["D", "G"])
def test_a_gradient_that_is_no_number_never_reaches_a_weight(
    pictures, tmp_path, monkeypatch, where
):
    # The loss is a number, its slope is not: the square root of 0.
    loss = loop.losses.LOSSES["non-saturating"]

    def broken(r, f):
        return loss.of_d(r, f) + (f * 0).sum().sqrt()

    monkeypatch.setitem(
        loop.losses.LOSSES,
        "non-saturating",
        loss._replace(of_d=broken) if where == "D" else loss._replace(of_g=broken),
    )
    steps = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_, **__: steps.append(1))
    with pytest.raises(DivergedError, match="after 0 images"):
        loop.train(settings(pictures, images=160), runs=tmp_path)
    assert steps == []


def test_settings_that_exclude_each_other_are_refused(pictures, tmp_path):
    for model, keys in [
        ({"discriminator_norm": "batch"}, {"r1": 1.0}),
        ({"name": "r3gan", "discriminator_norm": "spectral"}, {}),
    ]:
        with pytest.raises(ConfigError, match="discriminator_norm"):
            loop.train(settings(pictures, model=model, **keys), runs=tmp_path)


@pytest.mark.parametrize("spread", [0.17, 0.50])  # the embedded footage; emoji, and digits
def test_gamma_makes_the_penalty_weigh_the_same_whatever_size_and_contrast(spread):
    keys = {"model": {"name": "r3gan", "width": 64, "height": 64, "channels": 8}}
    chosen = config.resolved(config.from_dict(keys), spread=spread).train
    assert chosen.r1 == chosen.r2 == pytest.approx(3 * 64 * 64 * spread / 500)
    # A D whose logit differs by 1 over the distance of two pictures pays this, and no more.
    for width, height in ((32, 32), (128, 72)):
        squared_distance = 3 * width * height * spread
        cost = config.gamma_for(width, height, spread) / 2 / squared_distance
        assert cost == pytest.approx(1 / 1000)


def test_width_and_batch_follow_the_device_unless_given():
    table = {"model": {"width": 64, "height": 64}}
    for on_gpu, expected in ((False, 32), (True, 64)):
        chosen = config.resolved(config.from_dict(table), on_gpu=on_gpu)
        assert chosen.model.channels == chosen.train.batch_size == expected
    given = config.resolved(settings("earth", batch_size=16), on_gpu=True)
    assert (given.model.channels, given.train.batch_size) == (8, 16)


HOLD = """
import sys, time
from pathlib import Path
from vidgan.training.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_trains_in_one_process_at_a_time_and_outlives_a_killed_one(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=8), runs=tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SystemFault, match=f"process {other.pid} on") as refused:
            loop.train(settings(pictures, images=16), runs=tmp_path, resume=run)
        assert refused.value.exit_code == 5
        other.kill()
    loop.train(settings(pictures, images=16), runs=tmp_path, resume=run)
    assert any(str(other.pid) in line and "killed" in line for line in said)
    (run / "lock").write_text("123 another-host\n")
    with pytest.raises(SystemFault, match="123 on another-host"), locked(run):
        pass


@pytest.mark.slow
def test_two_ranks_train_one_model(pictures, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(config.to_toml(settings(pictures, images=320, distance_every_images=160)))
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", "-m", "vidgan", "train"),
            *("--recipe", str(recipe), "--runs", str(tmp_path / "runs")),
        ],
        check=True,
        capture_output=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    (run,) = (tmp_path / "runs").iterdir()
    assert int(max((run / "checkpoints").glob("*.safetensors")).stem) == 320
    assert (run / "best.safetensors").exists()  # one rank measures, the other waits
