import math

import pytest
import torch

from tests.benchmarks import ring
from vidgan.networks import losses

SEEDS = range(3)
R, F = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -3.0])


def softplus(x):
    return math.log1p(math.exp(x))


def mean(*values):
    return sum(values) / len(values)


BY_HAND = {
    "non-saturating": (
        mean(softplus(0), softplus(-2)) + mean(softplus(1), softplus(-3)),
        mean(softplus(-1), softplus(3)),
    ),
    "minimax": (
        mean(softplus(0), softplus(-2)) + mean(softplus(1), softplus(-3)),
        -mean(softplus(1), softplus(-3)),
    ),
    "lsgan": (0.5 * mean(1 + 1, 1 + 9), 0.5 * mean(0, 16)),
    "hinge": (mean(1, 0) + mean(2, 0), 1.0),
    "wgan": (-1.0 - 1.0, 1.0),
    "rpgan": (mean(softplus(1), softplus(-5)), mean(softplus(-1), softplus(5))),
}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_is_the_sum_over_maps_of_the_value_of_its_equation(name):
    loss = losses.LOSSES[name]
    assert loss.of_d([R], [F]).item() == pytest.approx(BY_HAND[name][0], abs=1e-6)
    assert loss.of_g([R], [F]).item() == pytest.approx(BY_HAND[name][1], abs=1e-6)
    two = [R, R.reshape(2, 1, 1).expand(2, 3, 4)], [F, F.reshape(2, 1, 1).expand(2, 3, 4)]
    assert loss.of_d(*two).item() == pytest.approx(2 * BY_HAND[name][0], abs=1e-6)
    assert loss.of_g(*two).item() == pytest.approx(2 * BY_HAND[name][1], abs=1e-6)
    torch.testing.assert_close(loss.certainty(*two), loss.certainty([R], [F]))
    assert loss.signs_on_reals(*two) == loss.signs_on_reals([R], [F])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_stay_finite_and_g_keeps_a_gradient_where_d_is_sure(name):
    r, f = torch.full((4,), 200.0), torch.full((4,), -200.0, requires_grad=True)
    loss = losses.LOSSES[name]
    loss.of_g([r], [f]).backward()
    assert torch.isfinite(loss.of_d([r], [f])) and torch.isfinite(f.grad).all()
    # Only the minimax loss saturates. That is its known fault.
    assert f.grad.abs().max().item() < 1e-6 if name == "minimax" else (f.grad < -0.2).all()


def test_a_d_that_cannot_tell_is_half_sure_whatever_the_loss():
    for loss in losses.LOSSES.values():
        logits = [torch.full((4,), loss.undecided or 0.0)]
        assert [p.item() for p in loss.certainty(logits, logits)] == [0.5, 0.5]
    paired = losses.LOSSES["rpgan"]
    assert paired.certainty([torch.tensor([7.0])], [torch.tensor([3.0])])[0] > 0.85


def test_the_squared_gradient_of_a_parabola_is_known():
    image = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]], requires_grad=True)  # [2, 1, 1, 2]
    squares = image.square()  # gradient 2 x
    logits = squares.flatten(1).sum(1)
    assert losses.squared_gradient([logits], image).tolist() == [20.0, 36.0]
    # The mean over a map of two logits, and a map of one: (1 / 2 + 1) times the gradient.
    assert losses.squared_gradient([squares, logits], image).tolist() == [45.0, 81.0]


def test_the_gradient_penalty_asks_for_a_gradient_of_norm_one():
    between = torch.zeros(2, 1, 1, 2, requires_grad=True)
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8]])  # norms 5 and 1
    logits = (between.flatten(1) * weight).sum(1)
    assert losses.gradient_penalty([logits], between).tolist() == pytest.approx([16.0, 0.0])


def test_penalties_are_float32_and_reach_the_weights_under_autocast():
    layer = torch.nn.Conv2d(3, 1, 4)
    image = torch.randn(2, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = losses.squared_gradient([layer(image).flatten(0)], image)
    penalty.mean().backward()
    assert penalty.dtype == torch.float32
    exact = layer.weight.square().sum().item()
    assert penalty.tolist() == pytest.approx([exact, exact], rel=0.02)
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach(), rtol=0.02, atol=0.01)


def test_feature_matching_compares_means_only():
    real = torch.tensor([[1.0, 0.0], [3.0, 0.0]])[:, :, None, None]
    fake = torch.tensor([[4.0, 1.0], [4.0, 1.0]])[:, :, None, None]
    assert losses.feature_distance([real] * 2, [fake] * 2).item() == pytest.approx(4 + 1)
    assert losses.feature_distance([real], [real.flip(0)]).item() == 0


def test_paired_losses_with_both_penalties_cover_the_ring_from_every_seed():
    modes = [ring.covered(ring.train("rpgan + R1 + R2", seed=seed, steps=500))[0] for seed in SEEDS]
    assert modes == [8, 8, 8]


def test_the_ring_counts_modes_that_are_there():
    assert ring.covered(ring.centres().repeat_interleave(512, 0)) == (8, 1.0)
    assert ring.covered(ring.centres()[:1].repeat(4096, 1)) == (1, 1.0)
