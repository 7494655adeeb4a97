import numpy as np
import pytest

from tests.conftest import save_model, small_generator
from vidgan.generator.synthesis import open_generator
from vidgan.render import pipeline
from vidgan.render.walk import Walk


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Three generators of two classes, whose pictures differ."""
    folder, files = tmp_path_factory.mktemp("stages"), []
    for number in range(3):
        network, model = small_generator(class_names=("flags", "maps"))
        network.layers[-2].weight.data *= 1 - 0.4 * number
        files.append(save_model(folder / f"{number}.safetensors", network, model))
    return [open_generator(file) for file in files]


@pytest.mark.parametrize("options", [{}, {"labels": [0, 1]}, {"grid": [2, 1]}])
def test_a_film_begins_with_the_first_generator_and_ends_with_the_last(options, stages):
    walk = Walk(frames=41, **options)
    films = [list(pipeline.frames((b := walk.bind(stage)).generator, b)) for stage in stages]
    bound = walk.bind(stages[-1]).through(stages)
    grown = list(pipeline.frames(bound.generator, bound))
    assert len(grown) == 41
    for stage, index in ((0, 0), (1, 20), (2, 40)):
        assert np.array_equal(grown[index], films[stage][index])
    half = (films[0][10].astype(float) + films[1][10]) / 2
    assert np.abs(grown[10] - half).max() <= 0.5
    assert (films[0][10] != films[1][10]).any()


def test_a_frame_does_not_depend_on_how_many_are_made_at_once(stages):
    bound = Walk(frames=41).bind(stages[-1]).through(stages)
    every = np.stack(list(pipeline.frames(bound.generator, bound)))
    for start, stop in ((0, 1), (7, 12), (39, 41)):
        assert np.array_equal(bound.generator(bound.latents(start, stop)), every[start:stop])


def test_a_film_of_other_generators_is_another_film(stages):
    bound = Walk(frames=3).bind(stages[-1])
    hashes = {bound.through(some).generator.sha256 for some in (stages, stages[1:], stages[::2])}
    assert len(hashes) == 3
    assert bound.through(stages).comment()["generators"] == 3
    assert "generators" not in bound.comment()
