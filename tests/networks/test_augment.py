"""Promises of the augmentation: the same for the same draws, and open to gradients."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from vidgan.disk.places import bundled
from vidgan.film import reader
from vidgan.networks import augment
from vidgan.networks.pixels import to_float


@pytest.fixture(scope="module")
def image():
    """Eight pictures of the footage, float32 [8, 3, 64, 64]."""
    frames = itertools.islice(reader.read_frames(bundled("assets/earth.mp4"), every=20), 8)
    small = np.stack([np.asarray(Image.fromarray(frame).resize((64, 64))) for frame in frames])
    return to_float(torch.from_numpy(small))


def test_draws_depend_on_seed_picture_and_stream_alone():
    a = augment.draw(3, 128, 8, 0)
    assert torch.equal(a[2:5], augment.draw(3, 130, 3, 0))  # whatever the batch
    assert augment.draw(3, 0, 9999, 0).min() >= 0 and augment.draw(3, 0, 9999, 0).max() < 1
    others = [augment.draw(*key) for key in ((4, 128, 8, 0), (3, 136, 8, 0), (3, 128, 8, 1))]
    assert not any(torch.equal(a, other) for other in others)


def test_the_middle_of_all_draws_changes_nothing_but_makes_the_hole(image):
    seen = augment.diff_augment(image, torch.full((8, augment.DRAWS), 0.5))
    changed = (seen - image).abs().amax(1) > 1e-5
    assert changed[:, 17:47, 17:47].all(0).any() and not changed[:, :16].any()
    assert (seen[:, :, 20:44, 20:44] == 0).all()


def test_a_shift_is_by_whole_pixels_and_at_most_an_eighth(image):
    image = image[:1]
    for u, pixels in ((0.0, -8), (0.999, 8)):
        draws = torch.tensor([[0.5, 0.5, 0.5, u, 0.5, 0.0, 0.0]])
        seen = augment.diff_augment(image, draws)[:, :, 40:, 16:48]
        assert torch.allclose(seen, image[:, :, 40:, 16 + pixels : 48 + pixels], atol=1e-5)


def test_a_picture_does_not_depend_on_its_neighbours(image):
    draws = augment.draw(0, 0, 8, 0)
    whole = augment.diff_augment(image, draws)
    alone = torch.cat([augment.diff_augment(image[i : i + 1], draws[i : i + 1]) for i in range(8)])
    assert torch.allclose(whole, alone, atol=1e-6)


def test_the_gradient_reaches_the_picture(image):
    image = image.clone().requires_grad_()
    augment.diff_augment(image, augment.draw(0, 0, 8, 1)).square().sum().backward()
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()


def test_auto_leaves_large_data_alone():
    assert augment.chosen("auto", 2400) == "diff" and augment.chosen("auto", 200_000) == "none"
    assert augment.chosen("diff", 200_000) == "diff" and augment.chosen("ada", 10) == "ada"


def ada(image, p, seed=0):
    draws = augment.draw(seed, 0, len(image), 0, draws=augment.ADA_DRAWS)
    return augment.ada_augment(image, draws, p)


def test_ada_does_nothing_at_p_zero_and_ever_more_above(image):
    torch.testing.assert_close(ada(image, 0.0), image, atol=1e-4, rtol=0)
    changed = [
        sum(
            (ada(image, p, seed) - image).abs().amax((1, 2, 3)).gt(1e-3).sum() for seed in range(20)
        )
        for p in (0.02, 0.1, 0.8)
    ]
    assert 10 < changed[0] < changed[1] < changed[2] == 160


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (0, 0.79, lambda x: x.flip(3)),
        (1, 0.0, lambda x: x.flip(2, 3)),  # two quarter turns
        (10, 0.4 + 0.4 * 0.6827, lambda x: x + 0.2),  # brightness, one deviation
        (12, 0.79, lambda x: x - 2 * x.mean(1, keepdim=True)),  # grey axis flipped
        (13, 0.0, None),  # hue: half a turn
    ],
)
def test_ada_s_distortions_are_what_they_are_called(image, column, value, expected):
    draws = torch.full((len(image), augment.ADA_DRAWS), 0.9)
    draws[:, column] = value
    seen = augment.ada_augment(image, draws, 0.8)
    grey = image.mean(1, keepdim=True)
    wanted = expected(image) if expected else 2 * grey - image
    torch.testing.assert_close(seen, wanted, atol=1e-3, rtol=1e-3)


def test_ada_keeps_the_second_gradient_that_a_slope_penalty_needs(image):
    image, weight = image[:2].clone().requires_grad_(), torch.randn(3, requires_grad=True)
    logits = torch.tanh(ada(image, 0.8)).mean((2, 3)) @ weight
    (slope,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    slope.square().sum().backward()
    assert weight.grad.abs().min() > 0


def test_ada_s_p_follows_d_and_is_clamped():
    assert augment.adapted(0.0, 0.9, images=500) == pytest.approx(0.001)
    assert augment.adapted(0.5, 0.1, images=500) == pytest.approx(0.499)
    assert augment.adapted(0.0, 0.1, images=500) == 0
    assert augment.adapted(0.8, 1.0, images=10**6) == augment.ADA_CAP
