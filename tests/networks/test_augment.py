import itertools

import pytest
import torch

from vidgan.networks import augment


@pytest.fixture(scope="module")
def image():
    """Eight smooth pictures, float32 [8, 3, 64, 64]."""
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(2 * torch.rand(8, 3, 8, 8) - 1, (64, 64), mode="bicubic")


def draw(*key, kind="diff"):
    return augment.draw(*key, draws=augment.DRAWS[kind])


def test_draws_depend_on_seed_picture_and_stream_alone():
    a = draw(3, 128, 8, 0)
    assert torch.equal(a[2:5], draw(3, 130, 3, 0))  # whatever the batch
    assert draw(3, 0, 9999, 0).min() >= 0 and draw(3, 0, 9999, 0).max() < 1
    others = [draw(*key) for key in ((4, 128, 8, 0), (3, 136, 8, 0), (3, 128, 8, 1))]
    assert not any(torch.equal(a, other) for other in others)


def test_the_middle_of_all_draws_changes_nothing_but_makes_the_hole(image):
    seen = augment.diff_augment(image, torch.full((8, 7), 0.5))
    changed = (seen - image).abs().amax(1) > 1e-5
    assert changed[:, 17:47, 17:47].all(0).any() and not changed[:, :16].any()
    assert (seen[:, :, 20:44, 20:44] == 0).all()


@pytest.mark.parametrize("kind", ["diff", "ada"])
def test_alpha_is_moved_with_the_colours_and_not_coloured(image, kind):
    draws = draw(0, 0, 8, 0, kind=kind)

    def seen(picture, draws):
        if kind == "diff":
            return augment.diff_augment(picture, draws)
        return augment.ada_augment(picture, draws, 0.8)

    both = seen(torch.cat([image, image[:, :1]], 1), draws)
    assert torch.allclose(both[:, :3], seen(image, draws), atol=1e-5)
    still = draws.clone()
    if kind == "diff":  # brightness, saturation and contrast
        still[:, :3] = 0.5
    else:  # the last five, of which the value in the middle changes nothing
        still[:, -5:] = 0.99
    assert torch.allclose(both[:, 3], seen(image, still)[:, 0], atol=1e-5)


def test_a_shift_is_by_whole_pixels_and_at_most_an_eighth(image):
    image = image[:1]
    for u, pixels in ((0.0, -8), (0.999, 8)):
        draws = torch.tensor([[0.5, 0.5, 0.5, u, 0.5, 0.0, 0.0]])
        seen = augment.diff_augment(image, draws)[:, :, 40:, 16:48]
        assert torch.allclose(seen, image[:, :, 40:, 16 + pixels : 48 + pixels], atol=1e-5)


def test_a_shift_is_that_of_grid_sample_and_its_gradient_puts_each_pixel_back():
    """So that a gradient is exact in any order of additions: no place gets two of them."""
    torch.manual_seed(0)
    for height, width in ((64, 64), (72, 128), (32, 248)):
        image = torch.randn(8, 3, height, width, requires_grad=True)
        draws = torch.rand(8, 2)
        sides = torch.tensor([width, height])
        reach = (sides / 8).round()
        pixels = torch.floor(draws * (2 * reach + 1)) - reach
        theta = torch.eye(2, 3).repeat(8, 1, 1)
        theta[:, :, 2] = 2 * pixels / sides
        grid = torch.nn.functional.affine_grid(theta, list(image.shape), align_corners=False)
        wanted = torch.nn.functional.grid_sample(image, grid, mode="nearest", align_corners=False)
        moved, inside = augment._shifted(image, draws)
        seen, weight = moved * inside, torch.randn(image.shape)
        torch.testing.assert_close(seen, wanted, atol=1e-6, rtol=0)
        ours, theirs = (torch.autograd.grad(x, image, weight)[0] for x in (seen, wanted))
        assert torch.equal(ours, theirs)
        assert set(ours.flatten().tolist()) <= {0.0, *weight.flatten().tolist()}


def test_a_picture_does_not_depend_on_its_neighbours(image):
    draws = draw(0, 0, 8, 0)
    whole = augment.diff_augment(image, draws)
    alone = torch.cat([augment.diff_augment(image[i : i + 1], draws[i : i + 1]) for i in range(8)])
    assert torch.allclose(whole, alone, atol=1e-6)


def ada(image, p, seed=0):
    return augment.ada_augment(image, draw(seed, 0, len(image), 0, kind="ada"), p)


def test_ada_does_nothing_at_p_zero_and_ever_more_above(image):
    torch.testing.assert_close(ada(image, 0.0), image, atol=1e-4, rtol=0)
    changed = dict.fromkeys((0.02, 0.1, 0.8), 0)
    for p, seed in itertools.product(changed, range(20)):
        changed[p] += (ada(image, p, seed) - image).abs().amax((1, 2, 3)).gt(1e-3).sum()
    assert 10 < changed[0.02] < changed[0.1] < changed[0.8] == 160


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
def test_ada_s_transformations_are_what_they_are_called(image, column, value, expected):
    draws = torch.full((len(image), 15), 0.9)
    draws[:, column] = value
    seen = augment.ada_augment(image, draws, 0.8)
    grey = image.mean(1, keepdim=True)
    wanted = expected(image) if expected else 2 * grey - image
    torch.testing.assert_close(seen, wanted, atol=1e-3, rtol=1e-3)


def test_both_keep_the_second_gradient_that_a_gradient_penalty_needs(image):
    for augmented in (lambda x: augment.diff_augment(x, draw(0, 0, 8, 1)), lambda x: ada(x, 0.8)):
        leaf, weight = image.clone().requires_grad_(), torch.randn(3, requires_grad=True)
        logits = torch.tanh(augmented(leaf)).mean((2, 3)) @ weight
        (gradient,) = torch.autograd.grad(logits.sum(), leaf, create_graph=True)
        assert (gradient.abs().sum((1, 2, 3)) > 0).all()
        gradient.square().sum().backward()
        assert weight.grad.abs().min() > 0


def test_ada_s_p_follows_d_and_is_clamped():
    assert augment.adapted(0.0, 0.9, images=500) == pytest.approx(0.001)
    assert augment.adapted(0.5, 0.1, images=500) == pytest.approx(0.499)
    assert augment.adapted(0.0, 0.1, images=500) == 0
    assert augment.adapted(0.8, 1.0, images=10**6) == augment.ADA_CAP
