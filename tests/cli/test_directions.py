"""The verb directions and the option --direction, with the generator that comes with vidgan."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vidgan as library
from tests.conftest import vidgan
from tests.films import read_frames
from vidgan.edit import find_directions
from vidgan.errors import UsageError
from vidgan.marks.xmp import find_mark


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_shipped_ones_are_listed_in_80_columns_and_drawn(capsys):
    vidgan("directions", "sheet.png", "--model", "earth")
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "..3 " in line or "..2 " in line]
    assert len(rows) >= 6 and all(len(line) <= 80 for line in rows)
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (10 * 128, len(rows) * 128)
    with pytest.raises(UsageError, match="come with it"):
        vidgan("directions", "--model", "earth", "--force")


def test_those_of_another_generator_are_found_and_kept_beside_it(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(find_directions.find, "__kwdefaults__", _few())
    model = shutil.copy(model_file, tmp_path / "g.safetensors")
    vidgan("directions", "--model", model)
    found = json.loads(Path("g.directions.json").read_text())["directions"]
    assert {"brighter", "sefa1", "pca1"} <= found.keys()
    vidgan("render", "--model", model, "--direction", "sefa1=1", "--frames", 3, "out.mp4")
    with pytest.raises(UsageError, match="exists already"):
        Path("s.png").touch()
        vidgan("directions", "s.png", "--model", model)


def _few() -> dict[str, object]:
    return find_directions.find.__kwdefaults__ | {"pairs": 8}


def test_brighter_pictures_are_brighter():
    vidgan(
        "sample",
        "--model",
        "earth",
        "--seeds",
        "17,17,17",
        "--direction",
        "brighter=-2..2",
        "a.png",
    )
    dark, usual, light = np.split(pixels("a.png"), 3, axis=1)
    assert dark.mean() + 4 < usual.mean() < light.mean() - 4
    vidgan("sample", "--model", "earth", "--seeds", 17, "b.png")
    assert np.array_equal(usual, pixels("b.png"))


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as picture:
        return np.asarray(picture)


def test_a_film_goes_through_a_range_and_its_walk_repeats_it():
    words = ["render", "--model", "earth", "--frames", 12, "--scale", 1]
    vidgan(*words, "--direction", "brighter=-2..2", "--save-walk", "w.json", "a.mkv")
    vidgan("render", "--model", "earth", "--walk", "w.json", "--scale", 1, "b.mkv")
    vidgan(*words, "c.mkv")
    a, b, c = (np.stack(list(read_frames(Path(f"{name}.mkv")))) for name in "abc")
    assert np.array_equal(a, b)
    change = (a.astype(float) - c).mean((1, 2, 3))
    assert change[0] < -4 and change[6] > 4  # the loop comes back to where it began
    comment = find_mark(Path("a.mkv"))["comment"]
    assert comment["directions"] == {"brighter": [-2.0, 2.0]}
    walk = json.loads(Path("w.json").read_text())
    Path("w.json").write_text(json.dumps(walk | {"format": "vidgan-walk-2"}))
    with pytest.raises(UsageError, match="vidgan-walk-3"):
        vidgan("render", "--model", "earth", "--walk", "w.json", "d.mkv")


def test_a_library_user_gets_them_too():
    assert library.directions is find_directions.directions
