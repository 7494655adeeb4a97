"""Sliders get names from what is measured in pictures, and are offered where it follows them."""

import numpy as np
import pytest

from tests import conftest
from vidgan.disk.places import bundled
from vidgan.edit import find_directions
from vidgan.edit.find_directions import MEASURES, find, measures, rank_correlation
from vidgan.generator import directions as kept
from vidgan.generator.synthesis import open_differentiable, open_generator
from vidgan.latent import seeds

SHIPPED = bundled("assets/generator.safetensors")


class Painter:
    """A generator of which all is known: z[0] is light, z[1] red against blue, z[2] the left."""

    z_dim, height, width, classes, class_names = 8, 16, 16, 0, ()

    def __call__(self, z: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
        light, warm, left = z[:, :3].T[:, :, None, None, None] * 12
        side = np.sign(np.arange(16) - 7.5)[None, None, :, None]
        texture = 30 * ((np.arange(16) % 2)[:, None, None] - 0.5)
        picture = 128 + light + warm * np.array([1, 0, -1]) - left * side + texture
        if class_weights is not None:
            picture = picture + 40 * class_weights[:, 1, None, None, None]
        return picture.clip(0, 255).astype(np.uint8)


class TwoClasses(Painter):
    classes, class_names = 2, ("dark", "light")


@pytest.mark.parametrize("generator", [Painter(), TwoClasses()], ids=["plain", "classes"])
def test_a_slider_points_along_what_its_name_says(generator):
    found = find(generator, pairs=400)
    for name, axis in (("brighter", 0), ("warmer", 1), ("light-left", 2)):
        one = found[name]
        along = one.vector / np.linalg.norm(one.vector)
        assert along[axis] > 0.99 and one.range == 3 and one.correlation > 0.98, name
        others = {other: abs(one.moves[other]) for other in ("brighter", "warmer", "light-left")}
        assert 0.6 < others.pop(name) < 1.4 and max(others.values()) < 0.1, name
    assert found["light-top"].range == found["sharper"].range == 0  # nothing in z changes them


def test_the_same_seed_finds_the_same():
    once, again = find(Painter(), pairs=64), find(Painter(), pairs=64)
    assert list(once) == list(again)
    assert all(np.array_equal(once[name].vector, again[name].vector) for name in once)


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])
@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_the_first_layers_give_directions_without_names(name, classes, tmp_path):
    generator, model = conftest.small_generator(32, 32, class_names=classes, name=name)
    file = conftest.save_model(tmp_path / "generator.safetensors", generator, model)
    network = open_differentiable(file, device="cpu").network
    network.anchors = None  # else the first layer sees other latents than z
    z = seeds.gaussian(0, np.arange(400), z_dim=model.z_dim).astype(np.float64)
    found = find_directions._unnamed(network, z, model.classes)
    assert list(found) == [f"{kind}{n}" for kind in ("sefa", "pca") for n in (1, 2, 3, 4)]
    assert all(abs(np.linalg.norm(vector) - 1) < 1e-9 for vector in found.values())
    first = network.start if name == "r3gan" else network.layers[0]
    weights = first.weight.flatten(1).detach().double().numpy()
    weights = weights.T[: model.z_dim] if name == "r3gan" else weights[: model.z_dim]
    changes = [np.linalg.norm(found[f"sefa{n}"] @ weights) for n in (1, 2, 3, 4)]
    assert np.allclose(changes, np.linalg.svd(weights)[1][:4], rtol=1e-3)


def test_other_samples_of_the_shipped_generator_give_the_same_directions():
    generator = open_generator(SHIPPED, device="cpu")
    known = kept.read(SHIPPED, generator.weights_sha256)
    z = seeds.gaussian(5, np.arange(2048), z_dim=100).astype(np.float64)
    measured = find_directions._measuring(generator, lambda done, total: None, 0)
    vectors, *_ = find_directions._vectors(measured(z), measured(-z), z)
    for name in ("brighter", "greener", "light-left", "light-top"):
        ours, theirs = vectors[MEASURES.index(name)], np.array(known[name]["vector"])
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert cosine > 0.95, (name, cosine)  # of a quarter of the samples


def test_what_the_shipped_directions_say_holds_for_latents_that_found_none_of_them():
    generator = open_generator(SHIPPED, device="cpu")
    known = kept.read(SHIPPED, generator.weights_sha256)
    named = {name: one for name, one in known.items() if one["range"] and name in MEASURES}
    assert len(named) >= 6
    for name, one in named.items():
        steps = np.linspace(-one["range"], one["range"], 7)
        z = seeds.gaussian(99, np.arange(12), z_dim=100)[:, None]
        swept = (z + steps[:, None] * np.array(one["vector"])).reshape(-1, 100)
        values = measures(generator(swept.astype(np.float32)))[:, MEASURES.index(name)]
        followed = np.mean([rank_correlation(steps, row) for row in values.reshape(12, 7)])
        assert followed > 0.8, (name, followed)


def test_measures_say_what_they_are_called():
    value = dict(zip([*MEASURES, "subject"], measures(_scene()[None])[0], strict=True))
    assert value["subject"] == 1 and 0.05 < value["larger"] < 0.08
    assert value["right"] > 0.6 and value["lower"] < 0.4  # a red square there, on dark ground
    assert value["area-warmer"] == value["area-greener"] == 0 and value["darks"] > 0.9
    mirrored = dict(zip(MEASURES, measures(_scene()[None, :, ::-1])[0], strict=False))
    assert mirrored["light-left"] == pytest.approx(-value["light-left"])
    assert mirrored["right"] == pytest.approx(1 - value["right"]) and value["symmetric"] < 0


def _scene() -> np.ndarray:
    picture = np.full((64, 96, 3), 20, np.uint8)
    picture[10:30, 60:80] = 255, 30, 30
    return picture


def test_rank_correlation_gives_equal_numbers_equal_ranks():
    assert rank_correlation(np.arange(5), np.array([1, 2, 30, 400, 5000])) == pytest.approx(1)
    assert rank_correlation(np.arange(5), -np.arange(5)) == pytest.approx(-1)
    assert rank_correlation(np.arange(3), np.array([0, 0, 1])) == pytest.approx(0.75**0.5)
    assert rank_correlation(np.arange(3), np.zeros(3)) == 0
