import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.conftest import flat_pictures, write_pictures
from tests.training.test_loop import settings
from vidgan.disk.places import bundled
from vidgan.errors import ModelError
from vidgan.generator import runs
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds
from vidgan.render.walk import Walk
from vidgan.training import loop


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with snapshots at 0, 40, 80, 120 and 160 images."""
    folder = tmp_path_factory.mktemp("trained")
    how = settings(
        write_pictures(folder / "pictures", flat_pictures()), images=160, samples_every_images=40
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGAN_CACHE", str(folder / "cache"))
        return loop.train(how, runs=folder / "runs")


def write_snapshots(run, images, size=10):
    (run / "generators").mkdir(parents=True, exist_ok=True)
    for seen in images:
        runs.snapshot_file(run, seen).write_bytes(bytes(size))


def test_a_snapshot_is_the_generator_of_the_samples_of_its_moment(trained):
    assert list(runs.snapshots(trained)) == [0, 40, 80, 120, 160]
    for images, path in runs.snapshots(trained).items():
        samples = np.asarray(Image.open(trained / f"samples{images:09d}.png")).astype(int)
        first = open_generator(path)(seeds.numbered([0], z_dim=100))[0]
        assert np.abs(samples[:32, :32] - first).max() <= 1
    last, kept = load_file(path), load_file(trained / "generator.safetensors")
    assert all(np.array_equal(last[name], kept[name]) for name in last.keys() | kept)


@pytest.mark.parametrize(
    ("moment", "seen"), [("0", 0), ("0.09k", 80), ("101", 120), ("120", 120), ("50k", 160)]
)
def test_a_run_as_it_was_is_the_nearest_snapshot_and_is_named(moment, seen, trained, said):
    path, name = runs.find_model(Path(f"{trained}@{moment}"))
    assert path == runs.snapshot_file(trained, seen) and name == str(path)
    (line,) = said
    assert line.startswith(f"{trained}: at {seen} images, the nearest that is kept to ")


def test_a_checkpoint_stands_for_the_generator_of_its_moment(trained):
    (checkpoint,) = (trained / "checkpoints").iterdir()
    assert runs.find_model(checkpoint)[0] == runs.snapshot_file(trained, 160)


def test_a_run_without_a_name_is_the_newest(trained, monkeypatch):
    monkeypatch.chdir(trained.parent.parent)
    assert (
        runs.find_model(Path("@40"))[1]
        == f"runs/{trained.name}/generators/000000000040.safetensors"
    )
    assert runs.find_model(None)[1] == f"runs/{trained.name}/generator.safetensors"


def test_a_folder_with_an_at_in_its_name_is_that_folder(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "mine@40")
    assert runs.find_model(copy)[0] == copy / "generator.safetensors"
    assert runs.find_model(Path(f"{copy}@0"))[0] == runs.snapshot_file(copy, 0)


def test_what_a_run_does_not_have_is_said(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model, says in (
        (f"{trained}@half", "after @ stands a number of images"),
        (f"{trained}@999999999999999999999999", "after @ stands a number of images"),
        ("absent@50k", "absent: not the folder of a run"),
        ("@50k", "runs: not the folder of a run"),
    ):
        with pytest.raises(ModelError, match=says):
            runs.find_model(Path(model))
    old = shutil.copytree(trained, tmp_path / "old", ignore=shutil.ignore_patterns("generators"))
    with pytest.raises(ModelError, match="has kept no generators of earlier"):
        runs.find_model(Path(f"{old}@50k"))
    (old / "generator.safetensors").unlink()
    with pytest.raises(ModelError, match="old: has no generator yet"):
        runs.find_model(old)


def test_a_generator_of_earlier_learned_from_what_its_run_says(tmp_path):
    (tmp_path / "generators").mkdir()
    (tmp_path / "config.toml").write_text('[data]\nsource = "holiday"\n')
    for file in ("generator.safetensors", "generators/000000050000.safetensors"):
        assert runs.trained_on(tmp_path / file).source == "holiday"


def test_the_shipped_generator_never_stands_in_for_that_of_a_run(
    trained, tmp_path, monkeypatch, said
):
    monkeypatch.chdir(tmp_path)
    shipped = bundled("assets/generator.safetensors")
    assert runs.find_model(None) == (shipped, "the shipped generator")
    new = tmp_path / "runs" / "00001-x"
    new.mkdir(parents=True)
    (new / "config.toml").touch()
    with pytest.raises(ModelError, match=r"00001-x: has no generator yet.*--model earth"):
        runs.find_model(None)
    assert runs.find_model(Path("earth"))[0] == shipped and not said
    old = Path("runs/00000-x")
    shutil.copytree(trained, old)
    os.utime(old / "config.toml", (1, 1))
    assert runs.find_model(None)[1] == f"{old}/generator.safetensors"
    assert said == [f"runs/00001-x: HAS NO GENERATOR YET; THIS IS OF {old}/generator.safetensors."]


def test_snapshots_are_thinned_evenly_and_never_lose_the_ends(tmp_path):
    moments = [0]
    for _ in range(60):
        moments.append(int(moments[-1] * 1.1) + 1000)
        write_snapshots(tmp_path, moments[-1:] if len(moments) > 2 else moments)
        runs.thin(tmp_path)
    kept = list(runs.snapshots(tmp_path))
    assert len(kept) == 32 and kept[0] == 0 and kept[-1] == moments[-1]
    ratios = [(b + 10_000) / (a + 10_000) for a, b in pairwise(kept)]
    assert max(ratios) < 1.4
    (tmp_path / "generators" / "mine.safetensors").touch()
    large = tmp_path / "large"
    write_snapshots(large, range(40))
    with runs.snapshot_file(large, 7).open("r+b") as file:
        file.truncate(2**28 // 12)  # 12 of this size
    runs.thin(large)
    kept = list(runs.snapshots(large))
    assert len(kept) == 12 and (kept[0], kept[-1]) == (0, 39)
    assert (tmp_path / "generators" / "mine.safetensors").exists()


def test_a_history_ends_where_it_is_asked_to(trained, model_file):
    every = list(runs.snapshots(trained).values())
    assert runs.history(trained / "generator.safetensors") == every
    assert runs.history(every[2]) == every[:3]
    for model in (every[0], model_file):
        with pytest.raises(ModelError, match="there are no generators of earlier"):
            runs.history(model)


def test_a_run_is_found_by_its_number_and_by_the_beginning_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("00001-earth-dcgan64", "00012-emoji-dcgan64", "00012-emoji-dcgan48"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.toml").touch()
    first = Path("runs/00001-earth-dcgan64")
    for text in ("runs/00001", "runs/1", "1", "00001", "runs/00001-ea", first):
        assert runs.named_run(Path(text)) == first
    for text in ("runs/12", "runs/00012", "runs/0001", "runs", "other", "2", "runs/2"):
        wanted = first if text == "runs/0001" else Path(text)
        assert runs.named_run(Path(text)) == wanted
    with pytest.raises(ModelError, match=f"{first}: has kept no generators"):
        runs.find_model(Path("runs/1@50k"))


def test_a_walk_names_the_run_that_it_was_saved_with(tmp_path, monkeypatch, model_file, said):
    monkeypatch.chdir(tmp_path)
    Path("runs/00000-a-dcgan64").mkdir(parents=True)
    shutil.copy(model_file, "runs/00000-a-dcgan64/generator.safetensors")
    earth = open_generator(bundled("assets/generator.safetensors"))
    Walk(frames=4, model=open_generator(model_file).sha256).bind(earth)
    Walk(frames=4, model=earth.sha256).bind(open_generator(model_file))
    Walk(frames=4, model="0" * 64).bind(earth)
    assert [line.partition("differ.")[2] for line in said] == [
        " Saved with: --model runs/00000-a-dcgan64",
        " Saved with: --model earth",
        "",
    ]
