import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tests import conftest
from tests.conftest import listening, write_pictures
from tests.faults.kills import ranks
from tests.films import noise, write
from tests.waiting import another_process_in, children, wait_until
from vidgan import config, signals
from vidgan.data import cache
from vidgan.errors import ConfigError, DataError, DivergedError, SystemFault
from vidgan.film import alpha
from vidgan.generator import checkpoint, export, selftest
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.networks import base
from vidgan.networks.architectures import DISCRIMINATORS
from vidgan.networks.losses import LOSSES
from vidgan.training import batches, log, loop, setup
from vidgan.training.log import logged
from vidgan.training.run_folder import locked
from vidgan.training.state import Run, restore, save

SMALL = {"width": 32, "height": 32, "channels": 8}
QUICK = {"batch_size": 8, "flip": True, "checkpoint_every_images": 160, "distance_every_images": 0}


def settings(source, *, model=None, discriminator=None, labels=True, alpha=False, **train_keys):
    table = {"model": SMALL | (model or {}), "train": QUICK | train_keys}
    data = {"source": str(source), "labels": labels, "alpha": alpha}
    return config.from_dict(table | {"discriminator": discriminator or {}, "data": data})


@pytest.fixture
def classes(tmp_path):
    """Twenty pictures in each of two class folders."""
    for channel, name in ((0, "red"), (2, "blue")):
        levels = np.arange(channel, 200, 10, np.uint8)[:, None, None, None]
        frames = np.tile(levels, (1, 32, 32, 3))
        frames[..., channel] = 255
        write_pictures(tmp_path / "colours" / name, frames)
    return tmp_path / "colours"


def newest_checkpoint(run):
    return max((run / "checkpoints").glob("*.safetensors"))


def newest_state(run):
    return load_file(newest_checkpoint(run))


def same_weights(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def same_runs(a, b):
    kept = [load_file(run / "generator.safetensors") for run in (a, b)]
    return same_weights(newest_state(a), newest_state(b)) and same_weights(*kept)


def resumes_bitwise(source, folder, **keys):
    """Train 160 images at once, and with a stop after 80. Returns the second run."""
    whole = loop.train(settings(source, images=160, **keys), runs=folder / "whole")
    part = loop.train(settings(source, images=80, **keys), runs=folder / "part")
    loop.train(settings(source, images=160, **keys), runs=folder, resume=part)
    assert same_runs(whole, part)
    return part


def test_a_run_folder_holds_what_the_design_says(pictures, tmp_path):
    run = loop.train(settings(pictures, images=320), runs=tmp_path / "runs")
    assert run.name == "00000-pictures-dcgan32"
    names = {"config.toml", "reals.png", "generator.safetensors", "progress.mp4", "report.html"}
    assert names < {path.name for path in run.iterdir()}
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    assert last["images_seen"] == 320
    assert {"images_per_s", "loss_g", "loss_d"} < last.keys()
    with Image.open(run / "samples000000320.png") as grid:
        assert grid.size == (8 * 32, 4 * 32)
    wanted = settings(pictures, images=320, model={"colours": 3})
    made = replace(
        wanted, model=replace(wanted.model, anchors=512, taps=3, noise=True, layout=True)
    )
    assert config.load(run / "config.toml") == config.resolved(made)
    assert loop.train(settings(pictures, images=8), runs=tmp_path / "runs").name.startswith("00001")


def test_a_cell_of_the_samples_is_the_picture_of_its_number_as_seed(pictures, tmp_path):
    run = loop.train(settings(pictures, images=160, seed=3), runs=tmp_path)
    samples = np.asarray(Image.open(run / "samples000000160.png")).astype(int)
    row, column = divmod(17, 8)
    cell = samples[32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
    z = seeds.gaussian(17, np.zeros(1), z_dim=100)
    assert np.abs(open_generator(run / "generator.safetensors")(z)[0] - cell).max() <= 1


@pytest.mark.parametrize(("different", "warns"), [(1, True), (9, True), (10, False)])
def test_fewer_than_ten_different_pictures_are_a_warning(different, warns, tmp_path, said):
    frames = noise(10)[:different] + noise(10)[:1] * 3
    loop.train(settings(write_pictures(tmp_path / "few", frames), images=8), runs=tmp_path / "runs")
    assert any(f"only {different} different picture" in line for line in said) == warns


@pytest.mark.parametrize(("count", "flip"), [(299, False), (299, True), (300, False)])
def test_less_than_some_hundreds_of_pictures_say_what_helps(count, flip, tmp_path, said):
    source = write_pictures(tmp_path / "some", noise(count))
    loop.train(settings(source, images=8, flip=flip), runs=tmp_path / "runs")
    (line,) = [line for line in said if "pictures are few" in line] or [""]
    assert (str(count) in line, "--flip" in line) == (count < 300, count < 300 and not flip)


def test_a_run_that_goes_on_is_rendered_from_its_first_minute_on(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_FIRST_S", 0.0)
    seen = []

    def look(now, share):
        (run,) = tmp_path.joinpath("runs").iterdir()
        if now.images_seen >= 16 and not seen:
            conftest.vidgan("render", "--model", run, "--frames", 2, tmp_path / "out.gif")
            with pytest.raises(SystemFault, match="is training here"), locked(run):
                pass
            seen.append((run / "generator.safetensors").read_bytes())

    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)
    how = settings(pictures, images=48, checkpoint_every_images=10**6, samples_every_images=16)
    show = log.Show()
    show.training = look
    run = loop.train(how, runs=tmp_path / "runs", show=show)
    assert len(seen) == 1 and (tmp_path / "out.gif").exists()
    assert (run / "generator.safetensors").read_bytes() != seen[0]  # the last one, at the end
    conftest.vidgan("render", "--model", run, "--frames", 8, "--through-training", f"{tmp_path}/f/")
    assert len(list((tmp_path / "f").iterdir())) == 8


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
def test_grey_data_train_a_generator_of_exactly_grey_pictures(tmp_path, name):
    levels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 1), np.uint8)
    folder = write_pictures(tmp_path / "grey", np.tile(levels, 3))
    run = resumes_bitwise(folder, tmp_path, model={"name": name})
    assert config.load(run / "config.toml").model.colours == 1
    export.export(run / "generator.safetensors", tmp_path / "generator.onnx")
    z = np.random.default_rng(1).standard_normal((4, 100), np.float32)
    for file in (run / "generator.safetensors", tmp_path / "generator.onnx"):
        frames = open_generator(file)(z)
        assert frames.std() > 1 and (frames == frames[..., :1]).all()


@pytest.fixture
def cut_outs(tmp_path):
    """Twenty squares of a colour on nothing."""
    frames = np.zeros((20, 32, 32, 4), np.uint8)
    frames[:, 8:24, 8:24] = np.random.default_rng(0).integers(40, 256, (20, 1, 1, 4))
    return write_pictures(tmp_path / "cut", frames)


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
def test_transparency_is_learned_shown_kept_and_exported(cut_outs, tmp_path, name, monkeypatch):
    run = resumes_bitwise(cut_outs, tmp_path, model={"name": name}, alpha=True)
    assert config.load(run / "config.toml").model.colours == 4
    for picture in ("reals.png", "samples000000160.png"):
        shown = np.asarray(Image.open(run / picture))
        assert shown.shape == (128, 256, 3)
    assert np.asarray(Image.open(run / "reals.png"))[1, 1].tolist() == [224] * 3  # squares
    model, exported = run / "generator.safetensors", tmp_path / "generator.onnx"
    export.export(model, exported)
    export.export(model, images := tmp_path / "float.onnx", export.Form(output="float"))
    z = np.random.default_rng(1).standard_normal((4, 100), np.float32)
    frames = open_generator(model)(z)
    assert frames.shape == (4, 32, 32, 4) and (frames[..., :3] <= frames[..., 3:]).all()
    for file in (exported, images):
        assert np.abs(open_generator(file)(z).astype(int) - frames).max() <= 1
    session = onnxruntime.InferenceSession(exported)
    (straight,) = session.run(None, {"z": z})
    assert np.abs(alpha.premultiplied(straight).astype(int) - frames).max() <= 1
    assert selftest.verify(exported)
    monkeypatch.chdir(tmp_path)
    conftest.vidgan("render", "--model", run, "--frames", 2, "out/")
    conftest.vidgan("sample", "--model", exported, "--count", 2, "stills/")
    files = [*Path("out").iterdir(), *Path("stills").iterdir()]
    assert [np.asarray(Image.open(file)).shape for file in files] == [(32, 32, 4)] * 4


def test_transparency_begins_with_a_run_without_it(cut_outs, tmp_path):
    before = loop.train(settings(cut_outs, images=8), runs=tmp_path)
    how = settings(cut_outs, images=16, alpha=True, start=str(before))
    after = newest_state(loop.train(how, runs=tmp_path))
    first, key = newest_state(before), "discriminator/layers.0.weight"
    assert first[key].shape[1] == 3 and after[key].shape[1] == 4
    assert np.abs(after[key][:, :3] - first[key]).max() < 0.01  # two steps of Adam


def test_transparency_that_is_not_there_is_refused(pictures):
    with pytest.raises(ConfigError, match=r"--alpha: nothing in .*pictures is transparent"):
        setup.open_data(settings(pictures, alpha=True))
    with pytest.raises(ConfigError, match=r"model\.colours = 4: 4 goes with data\.alpha"):
        setup.open_data(settings(pictures, model={"colours": 4}))


def test_grey_asked_for_coloured_pictures_is_refused(pictures):
    with pytest.raises(
        ConfigError, match=r"model\.colours = 1: not all of these pictures are grey"
    ):
        setup.open_data(settings(pictures, model={"colours": 1}))


def test_a_run_of_an_older_version_keeps_three_colours(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 1), np.uint8)
    folder = write_pictures(tmp_path / "grey", np.tile(levels, 3))
    run = loop.train(settings(folder, images=8, model={"colours": 3}), runs=tmp_path)
    how = run / "config.toml"
    how.write_text(how.read_text().replace("colours = 3\n", ""))
    again = log.continued(run, config.load(how))
    longer = replace(again, train=replace(again.train, images=16))
    loop.train(longer, runs=tmp_path, resume=run)
    assert int(newest_checkpoint(run).stem) == 16


WAYS = {  # the stop falls between two lazy penalties, and between two steps of G
    "dcgan": {"distance_every_images": 32},
    "r3gan": {"model": {"name": "r3gan"}},
    "r3gan's D": {"discriminator": {"name": "r3gan"}},
    "dcgan's D": {"model": {"name": "r3gan"}, "discriminator": {"name": "dcgan"}},
    "wgan-gp": {"loss": "wgan", "discriminator_steps": 3, "penalty_every_steps": 1},
    "sngan": {
        "discriminator": {"norm": "spectral"},
        "loss": "hinge",
        "feature_matching": 1.0,
        "learning_rate_d": 4e-4,
    },
    "lsgan": {"loss": "lsgan"},
    "no labels": {"labels": False},
    "minimax": {"loss": "minimax"},
    "mismatch": {"mismatch": 1.0},
    "motion": {"motion": True},
    "mismatch, r3gan": {"mismatch": 1.0, "model": {"name": "r3gan"}},
    "ada": {"augment": "ada", "code_weight": 0.0},  # D is soon sure of fakes without layouts
    "unrolled": {"unrolled_steps": 2},
    "growing": {"grow_every_images": 24},  # and in the middle of a fade
    "pretrained": {"discriminator": {"pretrained_weight": 0.5}},
    "pretrained, r3gan": {
        "model": {"name": "r3gan"},
        "discriminator": {"pretrained_weight": 0.5},
        "unrolled_steps": 1,
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_train_resumes_to_bitwise_the_same_weights(classes, tmp_path, way, said):
    run = resumes_bitwise(classes, tmp_path, **WAYS[way])
    kinds = () if way == "no labels" else ("blue", "red")
    assert open_generator(run / "generator.safetensors").class_names == kinds
    assert ("classes: 0 blue, 1 red; samples show each in turn" in said) == bool(kinds)
    assert any(", 40 pictures, cpu" in line for line in said)
    assert (0 < newest_state(run)["ada"][0] < 161 / 500_000) == (way == "ada")


def test_auto_learns_classes_of_twenty_pictures_and_says_so_once(classes, said):
    chosen, _ = setup.open_data(settings(classes, labels="auto"))
    assert (chosen.model.class_names, chosen.data.labels) == (("blue", "red"), True)
    assert (
        sum("learns 2 classes" in line and "recipe: [data] labels = false" in line for line in said)
        == 1
    )
    (classes / "red" / "00.png").unlink()
    chosen, _ = setup.open_data(settings(classes, labels="auto"))
    assert (chosen.model.class_names, chosen.data.labels) == ((), False)
    (line,) = (line for line in said if "learns none" in line)
    assert "red has only 19" in line and "recipe: [data] labels = true" in line
    count = len(said)
    assert setup.open_data(chosen)[0] == chosen and len(said) == count  # the same run, resumed
    forced, _ = setup.open_data(settings(classes, labels=True))
    assert forced.model.class_names == ("blue", "red") and len(said) == count


def test_a_run_from_before_class_scale_goes_on_without_it(classes):
    new, _ = setup.open_data(settings(classes))
    assert new.model.class_scale == config.CLASS_SCALE
    assert setup.open_data(new)[0] == new
    older = settings(classes, model={"class_names": ["blue", "red"]})
    assert setup.open_data(older)[0].model.class_scale == 1


def test_the_variety_within_classes_is_logged(classes, tmp_path):
    varieties = []
    for labels in (True, False):
        run = loop.train(settings(classes, images=320, labels=labels), runs=tmp_path)
        varieties.append(logged(run)[-1].class_variety)
    assert varieties[0] > 0 and varieties[1] is None


def test_a_wrong_class_is_any_of_the_others():
    labels = np.arange(7).repeat(1000).astype(np.int32)
    share = np.random.default_rng(0).random(7000, np.float32)
    share[0] = 1.0  # to which 1 - 2^-32 rounds
    wrong = batches._others(labels, share, 7)
    assert not (wrong == labels).any() and wrong.dtype == np.int32
    seen = np.bincount(7 * labels + wrong, minlength=49).reshape(7, 7)
    assert (seen + 1000 * np.eye(7) > 120).all()
    assert (batches._others(np.zeros(3, np.int32), share[:3], 2) == 1).all()


def test_a_real_with_a_wrong_class_counts_as_a_fake_in_the_loss_of_d(classes, tmp_path):
    losses = [
        logged(loop.train(settings(classes, images=8, mismatch=weight), runs=tmp_path))[0].loss_d
        for weight in (0.0, 1.0, 2.0)
    ]
    assert losses[1] > losses[0] + 0.5  # two more terms, near log 2 each
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=0.01)


class Pretrained(base.Discriminator):
    """Two maps of logits, of features that do not train."""

    def __init__(self):
        super().__init__()
        eyes = torch.nn.Conv2d(3, 8, 4, stride=4, bias=False), torch.nn.BatchNorm2d(8)
        self.eyes = torch.nn.Sequential(*eyes).requires_grad_(False).eval()
        self.eyes[0].weight.copy_(torch.arange(-192, 192).reshape(8, 3, 4, 4) / 500)
        self.judges = torch.nn.ModuleList(torch.nn.Conv2d(8, 1, size) for size in (1, 4))

    def features(self, image):
        return [self.eyes(image).tanh()]

    def logits(self, seen, classes=None):
        return [judge(*self.features(*seen)) for judge in self.judges]


@pytest.mark.parametrize(
    "keys", [{"loss": "rpgan", "feature_matching": 1.0}, {"unrolled_steps": 1, "augment": "ada"}]
)
def test_frozen_modules_are_in_no_optimizer_or_checkpoint(pictures, tmp_path, monkeypatch, keys):
    built = []
    monkeypatch.setitem(DISCRIMINATORS, "dcgan", lambda *_: built.append(Pretrained()) or built[-1])
    state = newest_state(resumes_bitwise(pictures, tmp_path, **keys))
    trained = {key for key in state if key.startswith("discriminator/")}
    judges = [f"discriminator/judges.{i}.{name}" for i in (0, 1) for name in ("weight", "bias")]
    assert trained == set(judges)
    assert {key.split("/")[1] for key in state if key.startswith("adam_d/")} == set("0123")
    for d in built:
        assert torch.equal(d.eyes[0].weight, Pretrained().eyes[0].weight)
        assert d.judges[0].weight.requires_grad and not d.eyes[0].weight.requires_grad


def test_the_scaler_of_fp16_is_part_of_the_state(pictures, tmp_path):
    # fp16 trains on CUDA only; the scaler itself works on a CPU.
    chosen, dataset = setup.open_data(config.resolved(settings(pictures, images=8)))
    fabric = setup.launch(chosen)
    state = setup.build(chosen, fabric, dataset)
    run = Run(chosen, dataset, fabric, state, tmp_path)
    state.scaler = torch.amp.GradScaler("cpu")
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1)
    state.scaler.scale(weight.sum() * math.inf).backward()
    state.scaler.step(optimizer)
    state.scaler.update()
    halved = state.scaler.state_dict()
    assert halved["scale"] == 2.0**15
    (tmp_path / "checkpoints").mkdir()
    save(run)
    state.scaler = torch.amp.GradScaler("cpu")
    restore(run)
    assert state.scaler.state_dict() == halved


def test_the_file_of_a_growing_generator_says_how_far_it_has_grown(pictures, tmp_path):
    run = loop.train(settings(pictures, images=80, grow_every_images=32), runs=tmp_path)
    frames = open_generator(run / "generator.safetensors")(np.zeros((1, 100), np.float32))
    assert (frames[:, ::4, ::4].repeat(4, 1).repeat(4, 2) == frames).all()


def train_command(folder, how):
    """The command but for Python, and for the folder of runs at its end."""
    recipe = folder / "recipe.toml"
    recipe.write_text(config.to_toml(how))
    return ["-m", "vidgan", "train", "--recipe", recipe, "--runs"]


def test_a_damaged_checkpoint_is_passed_over_and_changed_data_are_refused(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=320), runs=tmp_path)
    newest = newest_checkpoint(run)
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    loop.train(settings(pictures, images=320), runs=tmp_path, resume=run)
    assert any(newest.name in line and "damaged" in line for line in said)
    (pictures / "00.png").unlink()
    longer = settings(pictures, images=480)
    with pytest.raises(DataError, match=r"have changed.*--allow-data-change"):
        loop.train(longer, runs=tmp_path, resume=run)
    loop.train(longer, runs=tmp_path, resume=run, any_data=True)
    assert any("other data than before" in line for line in said)
    assert int(newest_checkpoint(run).stem) == 480


def test_a_run_of_classes_never_goes_on_with_others(classes, tmp_path):
    run = loop.train(settings(classes, images=8), runs=tmp_path)
    write_pictures(classes / "yellow", np.zeros((20, 32, 32, 3), np.uint8))
    how = config.load(run / "config.toml")
    with pytest.raises(DataError, match="other classes now"):
        longer = replace(how, train=replace(how.train, images=16))
        loop.train(longer, runs=tmp_path, resume=run, any_data=True)


@pytest.mark.parametrize("where", ["loss", "gradient of D", "gradient of G"])
def test_diverged_training_stops_before_a_weight_changes(pictures, tmp_path, monkeypatch, where):
    name, (d, g, _) = "non-saturating", LOSSES["non-saturating"]

    def no_gradient(r, f):  # a number whose gradient is NaN: the square root of 0
        return d(r, f) + (f * 0).sum().sqrt()

    broken = {
        "loss": {"g_of_map": lambda r, f: g(r, f) * math.nan},
        "gradient of D": {"d_of_map": no_gradient},
        "gradient of G": {"g_of_map": no_gradient},
    }
    monkeypatch.setitem(LOSSES, name, LOSSES[name]._replace(**broken[where]))
    steps = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_, **__: steps.append(1))
    with pytest.raises(DivergedError, match="diverged after 0 images"):
        loop.train(settings(pictures, images=160), runs=tmp_path)
    assert steps == []


def test_settings_that_exclude_each_other_are_refused():
    for keys, message in [
        ({"discriminator": {"norm": "batch"}, "r1": 1.0}, "discriminator.norm"),
        ({"model": {"name": "r3gan"}, "discriminator": {"norm": "spectral"}}, "discriminator.norm"),
        ({"discriminator": {"name": "r3gan"}, "grow_every_images": 24}, "only dcgan can grow"),
    ]:
        with pytest.raises(ConfigError, match=message):
            config.resolved(settings("earth", **keys))
    critic = {"discriminator": {"pretrained_weight": 0.5}}
    for keys in ({"augment": "ada"}, {"grow_every_images": 24}, critic):
        how = settings("earth", deterministic=True, **keys)
        config.resolved(how)  # on a CPU everything repeats
        with pytest.raises(ConfigError, match=r"train\.deterministic: on a GPU"):
            config.resolved(how, on_gpu=True)


def test_what_is_left_to_auto_follows_networks_data_and_device():
    for model in config.MODELS:
        assert config.resolved(settings("earth", model={"name": model})).discriminator.name == model
    mixed = config.resolved(settings("earth", discriminator={"name": "r3gan"}), spread=0.5)
    clear = settings("earth", model={"colours": 4}, discriminator={"name": "r3gan"})
    more = config.resolved(clear, spread=0.5).train.r1  # a fourth plane can differ, too
    assert more == pytest.approx(4 / 3 * mixed.train.r1)
    assert mixed.model.name == "dcgan" and mixed.discriminator.norm == "none"
    assert mixed.train.loss == "rpgan"
    assert mixed.train.r1 == mixed.train.r2 == pytest.approx(3 * 32 * 32 * 0.5 / 500)
    for on_gpu, expected in ((False, 32), (True, 64)):
        chosen = config.resolved(config.Config(), on_gpu=on_gpu)
        assert chosen.model.channels == chosen.train.batch_size == expected
    given = config.resolved(settings("earth"), on_gpu=True)
    assert given.model.channels == given.train.batch_size == 8


def test_a_run_trains_in_one_process_at_a_time_and_outlives_a_killed_one(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=8), runs=tmp_path)
    with another_process_in(locked, run) as other:
        with pytest.raises(SystemFault, match=f"process {other.pid} on") as refused:
            loop.train(settings(pictures, images=16), runs=tmp_path, resume=run)
        assert refused.value.exit_code == 5
        other.kill()
    loop.train(settings(pictures, images=16), runs=tmp_path, resume=run)
    assert any(str(other.pid) in line and "killed" in line for line in said)
    (run / "lock.owner").write_text("123 another-host\n")
    with pytest.raises(SystemFault, match="123 on another-host"), locked(run):
        pass


@pytest.mark.slow
def test_two_ranks_train_one_model_and_go_on_when_one_was_lost(pictures, tmp_path):
    train = train_command(tmp_path, settings(pictures, images=320, distance_every_images=160))
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    alone = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stderr": subprocess.PIPE, "text": True}
    alone["stdout"] = subprocess.PIPE
    command = [sys.executable, *ranks, *train]
    done = subprocess.run([*command, tmp_path / "runs"], check=True, timeout=240, **alone)
    (run,) = (tmp_path / "runs").iterdir()
    assert done.stdout == f"{run}/generator.safetensors\n"
    assert done.stderr.count("decoding once") == 1 and "holds this lock" not in done.stderr
    assert int(newest_checkpoint(run).stem) == 320
    assert (run / "best.safetensors").exists()  # one rank measures, the other waits
    said = [line for line in done.stderr.splitlines() if " images " in line or "deprecat" in line]
    assert sum("100%" in line for line in said) == 1 and "deprecat" not in "".join(said)

    with subprocess.Popen([*command, tmp_path / "lost"], **alone) as launcher:
        saved = (tmp_path / "lost").glob
        wait_until(lambda: list(saved("*/checkpoints/*160.safetensors")), launcher)
        os.kill(children(launcher)[1], signal.SIGKILL)
        _, stderr = launcher.communicate(timeout=30)
    (lost,) = (tmp_path / "lost").iterdir()
    (line,) = [line for line in stderr.splitlines() if line.startswith("vidgan: ")]
    assert f"--resume {lost} " in line and "rank 0 of 2 ends" in line
    assert "[rank0]" not in stderr and "exitcode  : 5" in stderr and not parts(lost)
    resume = [sys.executable, *ranks, "-m", "vidgan", "train", "--resume", lost]
    subprocess.run(resume, check=True, timeout=240, **alone)
    assert same_runs(run, lost)


@pytest.fixture
def asked(pictures, tmp_path, monkeypatch):
    """A function that asks whether any of two processes stops, the other of which says what `said`
    does (stop, number of a signal, seconds a step takes); and how often it was asked."""
    said, calls = [0.0, 0.0, 0.0], []
    how, dataset = setup.open_data(settings(pictures, images=10**6))
    fabric = setup.launch(how)

    def all_reduce(own, reduce_op):
        calls.append(1)
        return torch.maximum(own, torch.tensor(said))

    monkeypatch.setattr(type(fabric), "world_size", 2)
    monkeypatch.setattr(fabric, "all_reduce", all_reduce)
    run = Run(how, dataset, fabric, setup.build(how, fabric, dataset), tmp_path)
    return lambda *words: loop._agreed(run, *words), said, calls, run.state


def test_ranks_are_asked_twice_a_second_whether_one_stops_and_at_the_end(asked):
    ask, said, calls, state = asked
    ask_in, received = 0, []
    for _ in range(101):
        stop, ask_in = ask(False, received, 0.01, ask_in - 1)
        assert not stop
    assert len(calls) == 3  # at the steps 0, 50 and 100
    said[:] = [1, 15, 0.125]
    assert ask(False, received, 0.01, ask_in - 1) == (False, 49)  # all do the same steps
    assert ask(False, received, 0.01, 0) == (True, 4) and received == [15]
    assert ask(False, received, 9.0, 0)[1] == 1
    state.images_seen = 10**6
    said[:], received = [0, 2, 0.1], []
    assert ask(False, received, 0.01, 49)[0] is False and received == [2]


def test_two_ranks_stay_equal_and_reduce_nothing_but_gradients_at_most_steps(pictures, tmp_path):
    """Two processes of gloo, alone, as a launcher that is not torchrun would start them."""
    code = (
        "import os, sys\nfrom lightning_fabric import Fabric\nfrom vidgan.cli.main import main\n"
        "rank = int(os.environ['RANK'])\n"
        "from vidgan.training import codes, loop\nmake = codes.make_codes\n"
        "loop._ASK_EVERY_S = 60.0\n"  # however busy this machine is
        "codes.make_codes = lambda *a, **k: (1 + rank) * make(*a, **k)\n"  # as another machine
        "reduce, calls = Fabric.all_reduce, []\n"
        "Fabric.all_reduce = lambda *a, **k: (calls.append(1), reduce(*a, **k))[1]\n"
        "sys.argv[0] = 'vidgan'\n"
        "from vidgan.training.step import Step\nstep, states = Step.__call__, []\n"
        "Step.__call__ = lambda self, batch: (states.append(self._state), step(self, batch))[1]\n"
        "weights = lambda s: [*s.generator.parameters(), *s.discriminator.parameters(), s.codes]\n"
        "try:\n    main()\nfinally:\n"
        "    print(sum(w.detach().double().abs().sum().item() for w in weights(states[-1])))\n"
        "    print(len(calls), 'of 40')\n"
    )
    _, _, *train = train_command(tmp_path, settings(pictures, images=640, batch_size=16))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *train, tmp_path / "runs"],
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for env in ranks(2)
    ]
    said = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    (run,) = (tmp_path / "runs").iterdir()
    assert f"{run}/generator.safetensors" in said[0][0] and "generator" not in said[1][0]
    assert said[0][1].count("decoding once") == 1 and not said[1][1]
    assert "holds this lock" not in said[0][1]
    counts = [int(out.split()[-3]) for out, _ in said]
    assert counts[0] == counts[1] <= 20
    sums = [out.split()[-4] for out, _ in said]
    assert sums[0] == sums[1]  # each saw other pictures, and both have the same weights


@pytest.mark.slow
def test_a_signal_to_one_of_two_ranks_stops_both_at_one_step(pictures, tmp_path):
    how = settings(pictures, checkpoint_every_images=8)
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = [sys.executable, *ranks, *train_command(tmp_path, how), tmp_path / "runs"]
    alone = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **alone) as launcher:
        wait_until(lambda: list(tmp_path.glob("runs/*/checkpoints/*8.safetensors")), launcher)
        os.kill(children(launcher)[1], signal.SIGTERM)
        _, stderr = launcher.communicate(timeout=60)
    (run,) = (tmp_path / "runs").iterdir()
    assert stderr.count("exitcode  : 143") == 2
    assert f"Stopped. To continue: vidgan train --resume {run}\n" in stderr and not parts(run)


LITTLE_MEMORY = """
import re, resource, sys
from vidgan.cli.main import main
from vidgan.training import loop

used_kb = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, ((used_kb + 400_000) * 1024,) * 2)
sys.argv[0] = "vidgan"
main()
"""


def test_too_little_memory_is_one_line_that_says_what_to_lower(pictures, tmp_path):
    how = settings(pictures, batch_size=100_000, model={"channels": 64})
    _, _, *train = train_command(tmp_path, how)
    command = [sys.executable, "-c", LITTLE_MEMORY, *train, tmp_path / "runs"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    (run,) = (tmp_path / "runs").iterdir()
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == (
        f"vidgan: {run}: out of memory. Start again with a lower --batch-size (100000), "
        "--channels (64) or --size."
    )
    assert "Traceback" not in done.stderr


def test_memory_that_runs_out_later_names_the_last_checkpoint(pictures, tmp_path, monkeypatch):
    step, taken = loop.Step.__call__, []

    def no_memory(self, batch):
        taken.append(1)
        if len(taken) == 25:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self, batch)

    monkeypatch.setattr(loop.Step, "__call__", no_memory)
    with pytest.raises(SystemFault) as fault:
        loop.train(settings(pictures, images=320), runs=tmp_path)
    (run,) = tmp_path.glob("0*")
    words = str(fault.value)
    assert words.startswith(f"{run}: out of memory. Free some and go on with vidgan train --resume")
    assert f"(its last checkpoint is {newest_checkpoint(run)})" in words and "\n" not in words


def test_memory_that_runs_out_while_data_are_read_names_no_size_of_nothing(tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(loop, "open_data", no_memory)
    with pytest.raises(SystemFault, match=r"--batch-size \(auto\), --channels \(auto\)"):
        loop.train(config.Config(), runs=tmp_path)


@pytest.fixture
def training(pictures, tmp_path):
    """A command that has trained for some steps, with its stderr at a pipe; and its folder."""
    how = settings(pictures, checkpoint_every_images=8)
    command = [sys.executable, *train_command(tmp_path, how), tmp_path / "runs"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: list(tmp_path.glob("runs/*/checkpoints/*8.safetensors")), process)
            (run,) = (tmp_path / "runs").iterdir()
            yield process, run
        finally:
            process.kill()


def parts(run):
    return [path for path in run.rglob("*") if ".part-" in path.name or path.name == "lock.owner"]


@pytest.mark.parametrize("number", signals.NUMBERS)
def test_the_first_signal_is_answered_at_once_and_the_run_is_saved(number, training):
    process, run = training
    process.send_signal(number)
    said = process.stderr.read().splitlines()
    assert process.wait() == 128 + number and "Traceback" not in "\n".join(said)
    (first,) = [line for line in said if line.startswith("Stopping: this step ends")]
    assert first.endswith(f" To continue: vidgan train --resume {run}")
    assert said[-3].startswith(f"{run}: kept the last, at ")
    assert said[-1] == f"Stopped. To continue: vidgan train --resume {run}"
    assert (run / "report.html").exists() and not parts(run)
    newest_state(run)


def test_a_second_signal_leaves_at_once_and_nothing_half_written(training):
    process, run = training
    process.send_signal(signal.SIGTERM)
    for line in process.stderr:
        if line.startswith("Stopping"):
            break
    process.send_signal(signal.SIGINT)
    assert process.stderr.read().splitlines()[-1:] == ["vidgan: interrupted"]
    assert process.wait() == 130 and not parts(run)
    for path in (run / "checkpoints").iterdir():
        checkpoint.read(path, kind="training state")


def test_a_run_with_a_time_limit_begins_while_its_film_is_decoded(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", noise(40), scale=2)
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    monkeypatch.setattr(cache.Later, "is_there", lambda later: bool(later.get()))
    with listening() as lines:
        how = settings(film, images=80, duration_s=600)
        run = loop.train(how, runs=tmp_path)
    assert any("training begins with 1 of its 40 frames" in line for line in lines)
    assert any("goes on with all 40 pictures" in line for line in lines)
    assert logged(run)[-1].images_seen == 80 and len(newest_state(run)) > 10
    first, *_ = sorted((run / "checkpoints").iterdir())
    assert first.stem.lstrip("0") == "8"  # after one step on what there was
    assert not np.array_equal(load_file(first)["codes"], newest_state(run)["codes"])
    uninterrupted = newest_state(run)
    newest_checkpoint(run).unlink()  # as after a kill before the next one
    assert loop.train(how, runs=tmp_path, resume=run) == run
    assert logged(run)[-1].images_seen == 80
    assert same_weights(newest_state(run), uninterrupted)


def test_a_run_that_ends_before_its_film_is_decoded_is_whole(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", noise(40), scale=2)
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    monkeypatch.setattr(cache.Later, "is_there", lambda later: False)
    run = loop.train(settings(film, images=16, duration_s=600), runs=tmp_path)
    assert logged(run)[-1].images_seen == 16 and (run / "generator.safetensors").exists()


def test_grey_that_is_asked_for_of_a_film_is_known_when_all_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    grey = [np.full((32, 32, 3), 6 * i, np.uint8) for i in range(40)]
    film = write(tmp_path / "film.mkv", grey, scale=1, lossless=True)
    how = settings(film, model={"colours": 1}, images=8, duration_s=600)
    assert logged(loop.train(how, runs=tmp_path))[-1].images_seen == 8
