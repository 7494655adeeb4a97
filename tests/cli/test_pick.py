import base64
import http.client
import json
import shutil

import numpy as np
import pytest

from tests.conftest import save_model, small_generator
from tests.generator.test_web_page import node, serving
from vidgan.cli import pick
from vidgan.generator import favourites
from vidgan.generator.synthesis import open_generator
from vidgan.latent import seeds


def test_pictures_are_marked_named_and_kept_in_a_browser(model_file, tmp_path):
    model = tmp_path / "my model.safetensors"
    shutil.copy(model_file, model)
    with serving(pick.server(model)) as port:
        page = (f"http://127.0.0.1:{port}/", 390, "dark", tmp_path / "page.png", "a&amp;b")
        seen = node("pick.mjs", *page)
    begin = f"vidgan render --model '{model}' "
    assert seen["commands"] == [
        None,
        f"{begin}--seeds 17,3 --seconds 4 out.mp4",
        f"{begin}--keyframes '17,a&amp;b' --seconds 4 out.mp4",
        f"{begin}--keyframes '17,a&amp;b,40' --seconds 6 out.mp4",
        f"{begin}--keyframes 'a&amp;b,40' --seconds 4 out.mp4",
    ]
    assert seen["marks"] == ["a&amp;b2", "171", "403"] and seen["refusal"].startswith("17: not a")
    assert seen["kept_before"] == [] and seen["kept_after"] == ["a&amp;b"]
    assert seen["injected"] == 0 and seen["overflow"] <= 0
    assert [fault for fault in seen["faults"] if "400" not in fault] == []  # of the refusal
    assert favourites.favourites(model) == {"a&amp;b": {"seed": 3, "index": 0}}
    shown = np.frombuffer(base64.b64decode(seen["pixels"]), np.uint8).reshape(64, 64, 4)
    wanted = open_generator(model)(seeds.numbered([17], z_dim=100))[0]
    assert np.array_equal(shown[..., :3], wanted)


def test_a_picture_of_a_class_is_kept_with_it(tmp_path):
    model, names = tmp_path / "generator.safetensors", ("flags", "</script>", "old maps")
    save_model(model, *small_generator(class_names=names))
    latent = {"latent": [0.5] * 100, "class": 1}
    favourites.keep(model, "mine", latent, force=False)
    with serving(pick.server(model)) as port:
        page = (f"http://127.0.0.1:{port}/", 1240, "light", tmp_path / "page.png", "map")
        seen = node("pick.mjs", *page, "old maps")
    first, two, *mixed = seen["commands"]
    assert (first, mixed) == (None, [None, None, None])  # not all have a name
    assert seen["marks_left"] == 2  # the one whose class is not shown any more is not among them
    assert two.endswith("--seeds 17,3 --labels 0,2,0 --seconds 4 out.mp4")
    assert (seen["kept_before"], seen["kept_after"]) == (["mine"], ["mine", "map"])
    kept = {"mine": latent, "map": {"seed": 3, "index": 0, "class": 2}}
    assert favourites.favourites(model) == kept


@pytest.fixture
def ask(model_file, tmp_path):
    """Asks a server of the page. Returns the status and what it says."""
    model = tmp_path / "generator.safetensors"
    shutil.copy(model_file, model)
    with serving(pick.server(model)) as port:

        def ask(method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request(method, path, body, {"Host": f"127.0.0.1:{port}"} | headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")

        ask.own = {"Origin": f"http://127.0.0.1:{port}"}
        yield ask


def test_only_the_page_itself_can_keep_something(ask, tmp_path):
    coast = json.dumps({"seed": "17", "name": "coast"})
    for origin in ({}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
        assert ask("POST", "/keep", coast, **origin)[0] == 403
    assert ask("POST", "/keep", coast, Host="evil.example", **ask.own)[0] == 421
    assert ask("PUT", "/keep", coast, **ask.own)[0] == 405
    assert ask("GET", "/keep?seed=17&name=coast")[0] == ask("GET", "/pick.py")[0] == 404
    assert not (tmp_path / "favourites.json").exists()
    assert ask("POST", "/keep", coast, **ask.own) == (200, "")
    assert ask("POST", "/keep", coast, **ask.own)[0] == 400  # kept already


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"seed": 3, "name": "a"}', '{"seed": "x", "name": "a"}', "9" * 9999]
)
def test_nonsense_is_not_kept(body, ask, tmp_path):
    assert ask("POST", "/keep", body, **ask.own)[0] == 400
    assert not (tmp_path / "favourites.json").exists()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "1 to 64 pictures"),
        ("keyframes=" + ",".join(map(str, range(65))), "1 to 64 pictures"),
        ("keyframes=99999999999999999999", "seed 99999999999999999999"),
        ("keyframes=cost", "no favourite"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused(query, says, ask):
    status, text = ask("GET", f"/sheet.png?{query}")
    assert status == 400 and says in text
