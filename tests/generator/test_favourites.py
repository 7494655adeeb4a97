import json

import pytest

from vidgan.disk.places import bundled
from vidgan.errors import ModelError, UsageError
from vidgan.generator import favourites


def test_a_favourite_is_kept_until_it_is_replaced(tmp_path):
    model = tmp_path / "generator.safetensors"
    assert favourites.favourites(model) == {}
    favourites.keep(model, "red coast", {"seed": 17, "index": 0}, force=False)
    favourites.keep(model, "3 flags", {"seed": 2**64 - 1, "index": 0, "class": 2}, force=False)
    with pytest.raises(UsageError, match="red coast: is kept already"):
        favourites.keep(model, "red coast", {"seed": 5, "index": 0}, force=False)
    favourites.keep(model, "red coast", {"seed": 5, "index": 0}, force=True)
    seeds = {name: keyframe["seed"] for name, keyframe in favourites.favourites(model).items()}
    assert seeds == {"red coast": 5, "3 flags": 2**64 - 1}
    assert len((tmp_path / "favourites.json").read_text().splitlines()) == 4  # a line for each


def test_favourites_of_a_run_are_those_of_its_snapshots(tmp_path):
    favourites.keep(tmp_path / "generators" / "000000000000.safetensors", "x", {}, force=False)
    assert favourites.favourites(tmp_path / "generator.safetensors") == {"x": {}}


def test_keyframes_are_favourites_and_seeds_in_the_order_given(tmp_path):
    model = tmp_path / "generator.safetensors"
    favourites.keep(model, "coast", {"seed": 17, "index": 0, "class": 2}, force=False)
    found = favourites.keyframes_of(model, "coast,203>coast")
    assert found == [
        {"seed": 17, "index": 0, "class": 2},
        {"seed": 203, "index": 0},
        {"seed": 17, "index": 0, "class": 2},
    ]
    other = tmp_path.parent / f"{tmp_path.name}-newer" / "generator.safetensors"
    other.parent.mkdir()
    with pytest.raises(UsageError, match=f"kept in another run, add --model {tmp_path.parent}"):
        favourites.keyframes_of(other, "coast")
    assert favourites.keyframes_of(model, "coast, 203,") == found[:2]
    with pytest.raises(UsageError, match=r"--keyframes cost: no favourite .* kept are coast"):
        favourites.keyframes_of(model, "coast,cost")


@pytest.mark.parametrize("name", ["", " ", "17", "a,b", "a>b", "latents.npy"])
def test_what_keyframes_would_read_as_something_else_is_no_name(name, tmp_path):
    with pytest.raises(UsageError, match="not a name"):
        favourites.keep(tmp_path / "generator.safetensors", name, {}, force=False)
    assert not list(tmp_path.iterdir())


def test_the_shipped_generator_has_none():
    with pytest.raises(UsageError, match="the shipped generator is of none"):
        favourites.keep(bundled("assets/generator.safetensors"), "coast", {}, force=False)


@pytest.mark.parametrize("content", ["", "[]", '{"x": 3}', '{"x": [1]}', "{", "[" * 10**5])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "favourites.json").write_text(content)
    with pytest.raises(ModelError, match=r"favourites\.json"):
        favourites.favourites(tmp_path / "generator.safetensors")


def test_a_file_edited_by_hand_may_hold_latents(tmp_path):
    (tmp_path / "favourites.json").write_text(json.dumps({"mine": {"latent": [0.5, 1.0]}}))
    found = favourites.keyframes_of(tmp_path / "generator.safetensors", "mine")
    assert found == [{"latent": [0.5, 1.0]}]
