"""Promises of the augmentation: the same for the same draws, and open to gradients."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from vidgan import augment, footage
from vidgan.bundled import bundled
from vidgan.dcgan import to_float


@pytest.fixture(scope="module")
def image():
    """Eight pictures of the footage, float32 [8, 3, 64, 64]."""
    frames = itertools.islice(footage.read_frames(bundled("assets/earth.mp4"), every=20), 8)
    small = np.stack([np.asarray(Image.fromarray(frame).resize((64, 64))) for frame in frames])
    return to_float(torch.from_numpy(small.transpose(0, 3, 1, 2)))  # [B, H, W, C] -> [B, C, H, W]


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
    assert augment.is_on("auto", 2400) and not augment.is_on("auto", 200_000)
    assert augment.is_on("diff", 200_000) and not augment.is_on("none", 10)
