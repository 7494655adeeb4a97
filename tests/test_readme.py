"""Every command of README.md runs, with less work to do. Those of the other pages parse."""

import hashlib
import re
import shlex
import shutil
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import conftest, films
from tests.films import read_frames
from tests.generator import zoo
from tests.latent.test_motion import turning
from tests.marks.test_c2pa import make as make_certificate
from tests.sounds import write_sound
from vidgan import Walk, open_generator
from vidgan.cli.main import app
from vidgan.disk.places import bundled
from vidgan.edit import encoder
from vidgan.generator import motion as motions
from vidgan.latent.npy import write_latents

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "train/README.md", "export/README.md", "assets/README.md")

NOT_RUN = {
    "python3 -m venv .venv": "these tests run in such a folder",
    ". .venv/bin/activate": "these tests run in such a folder",
    "pip install .": "downloads; tests/test_layout.py builds the wheel and looks into it",
    "make demo": "trains for minutes",
    "make test": "runs these tests",
    "make test-faults": "runs for minutes",
    "vidgan train torchvision:cifar10": "downloads",
}
# A command gets these options, in place of what the page says, by its longest beginning found here.
FORCE, FEW_FRAMES = {"--force": ""}, {"--frames": "4", "--force": ""}
OPTIONS = {
    "train": {"--for": "0.2k", "--recipe": "small.toml", "--size": "32x32"},
    "train --resume": {"--for": "0.4k"},  # with the recipe of the run, which ended at 0.2k
    "evaluate": {"--count": "20"},
    "render": FEW_FRAMES,
    "render --audio": FORCE,  # the sound decides the number of frames
    "render --audio song.mp3 --audio-part": FORCE | {"--audio-part": "0:00.1-0:00.2"},
    "render --keyframes coast,3,22,9 --seconds": {"--seconds": "0.2", "--force": ""},
    "render --background": FEW_FRAMES | {"--model": "cutouts.safetensors"},
    "render --for-web": {"--seconds": "0.2", "--force": ""},
    "render --walk walk.json,b.json --model": FORCE | {"--model": "generator.onnx,generator.onnx"},
    "render --direction": FEW_FRAMES | {"--model": "earth"},  # of the run here there are none
    "sample --seeds 17,17,17": {"--model": "earth"},
    "directions": {"--model": "earth"},
    "restore": {"--model": "earth"},
    "render --walk": FORCE,  # walk.json says 4 frames
    "render --labels": FEW_FRAMES | {"--model": "classes.safetensors"},
    "sample": FORCE,
    "sample --count": {"--count": "20"},
    "sample --labels": FORCE | {"--model": "classes.safetensors"},
    "keep 17": FORCE,  # it is there for the commands that use it
    "export": FORCE,
    "motion": FORCE,
    "invert": {"--steps": "3", "--force": ""},
    "pick": {"--port": "0"},
    "serve": {"--port": "0"},
}
RECIPE = "[model]\nchannels = 4\n[train]\ndistance_every_images = 0\n"


def commands(page: str) -> list[str]:
    """The lines of a page that are to be typed, without their comments."""
    text = (ROOT / page).read_text(encoding="utf-8").partition("\n## The tree")[0]
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"^    (\S.*?)(?:  +#.*)?$", text, flags=re.MULTILINE)


def verbs(page: str) -> list[str]:
    return [line.removeprefix("vidgan ") for line in commands(page) if line.startswith("vidgan ")]


def with_less_work(command: str) -> list[str]:
    """The words of `vidgan COMMAND`, with the options of the table above."""
    words = shlex.split(command)
    beginning = max(filter(command.startswith, OPTIONS), key=len, default="")
    for option, value in OPTIONS.get(beginning, {}).items():
        if option not in words:
            words += [option, value] if value else [option]
        elif value:
            words[words.index(option) + 1] = value
    return words


@pytest.fixture(scope="module")
def stocked(tmp_path_factory, model_file, onnx_file):
    """A folder with every file that a command of README.md expects, and the folder of the cache."""
    folder, cache = tmp_path_factory.mktemp("stocked"), tmp_path_factory.mktemp("cache")
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    for name in ("mypictures", "holiday/beach", "holiday/city", "fakes", "reals"):
        conftest.write_pictures(folder / name, noise)
    (folder / "assets" / "gallery").mkdir(parents=True)
    (folder / "player").mkdir()
    for name in ("index.html", "model.onnx"):  # by which `export --site` knows its own folder
        (folder / "player" / name).touch()
    (folder / "small.toml").write_text(RECIPE)
    write_sound(folder / "song.mp3", duration_s=0.2)
    Image.fromarray(noise[0]).save(folder / "photo.jpg")
    earth = open_generator(bundled("assets/generator.safetensors"))
    Image.fromarray(earth(np.ones((1, 100), np.float32))[0]).save(folder / "damaged.png")
    Image.fromarray(np.eye(128, dtype=np.uint8) * 255).save(folder / "mask.png")
    write_latents(folder / "photo.npy", np.ones((1, 100), np.float32))
    _, key = make_certificate(folder, "cert")
    key.rename(folder / "key.pem")
    for name, frames in (("film.mp4", noise), ("out.mp4", noise[:4]), ("out.webm", noise[:4])):
        films.write(folder / name, frames)
    shutil.copy(onnx_file, folder / "generator.onnx")
    torch.save(zoo.Tutorial().state_dict(), folder / "weights.pt")
    conftest.write_pictures(folder / "cutouts", np.concatenate([noise, noise[..., :1]], axis=3))
    conftest.save_model(folder / "cutouts.safetensors", *conftest.small_generator(colours=4))
    generator = conftest.small_generator(class_names=tuple("0123456789"))
    conftest.save_model(folder / "classes.safetensors", *generator)
    for name in ("walk.json", "b.json"):
        Walk(frames=4).bind(open_generator(model_file)).walk.save(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VIDGAN_CACHE", str(cache))
        conftest.vidgan(*with_less_work("train"))
        (run_folder,) = (folder / "runs").iterdir()
        run_folder.rename(folder / "runs" / "00000-earth-dcgan64")
        conftest.vidgan("keep", 17, "coast")
        file = folder / "runs" / "00000-earth-dcgan64" / "generator.safetensors"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        motions.write(motions.file_of(file), turning(z_dim=100), digest)
    return folder, cache


@pytest.fixture
def here(stocked, tmp_path, monkeypatch):
    """A copy of the stocked folder, in which the test runs."""
    folder, cache = stocked
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("VIDGAN_CACHE", str(cache))
    monkeypatch.setattr(encoder, "_SAMPLES", 64)
    monkeypatch.setattr(encoder, "_STEPS", 2)

    serve_forever = ThreadingHTTPServer.serve_forever

    def ctrl_c(server):  # which reaches the main thread alone
        if threading.current_thread() is not threading.main_thread():
            return serve_forever(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", ctrl_c)


@pytest.mark.parametrize(
    "command", [c for c in verbs("README.md") if f"vidgan {c}" not in NOT_RUN], ids=str
)
def test_a_command_of_the_readme_runs(command, here):
    conftest.vidgan(*with_less_work(command))


def test_every_line_to_type_in_the_readme_is_run_or_listed_with_a_reason():
    typed = commands("README.md")
    assert len(typed) >= 40 and set(NOT_RUN) <= set(typed)
    assert [c for c in typed if not c.startswith("vidgan ") and c not in NOT_RUN] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_parses(page):
    for command in verbs(page):
        app.parse_args(command, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES)
def test_every_script_and_make_target_that_a_page_names_exists(page):
    text, makefile = (ROOT / page).read_text(encoding="utf-8"), (ROOT / "Makefile").read_text()
    for script in re.findall(r"\bpython (?:-m )?((?:tests|assets)[\w./]*)", text):
        assert (ROOT / f"{script.removesuffix('.py').replace('.', '/')}.py").is_file(), script
    for target in re.findall(r"(?:`|^    )make (\w+)", text, flags=re.MULTILINE):
        rule = rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:"
        assert re.search(rule, makefile, flags=re.MULTILINE), target


def test_the_walk_that_the_readme_shows_is_as_a_walk_is_saved(here):
    (text,) = re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)
    Path("shown.json").write_text(text)
    Walk.load(Path("shown.json")).save(Path("saved.json"))
    assert Path("saved.json").read_text() == text


def test_the_python_example_makes_a_film_of_120_frames(here):
    code, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    Path("out.mp4").unlink()
    exec(compile(code, "README.md", "exec"), {})
    assert len(list(read_frames(Path("out.mp4")))) == 120


def test_the_python_example_finds_the_latent_of_a_photograph(here, capsys):
    _, code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.endswith(" dB\n")
    assert Walk.load(Path("photo.json")).keyframes[1] == {"seed": 5, "index": 0}
