"""Each loss against its value by hand, and the ring of eight Gaussians that a GAN must cover."""

import math

import pytest
import torch

from tests.benchmarks import ring
from vidgan import config
from vidgan.networks import architectures, losses

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


def test_the_settings_know_every_loss_and_network_by_name():
    assert set(config.LOSSES) == {"auto", *losses.LOSSES}
    assert set(config.MODELS) == set(architectures.NETWORKS)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_has_the_value_of_its_equation(name):
    of_d, of_g, _ = losses.LOSSES[name]
    assert of_d(R, F).item() == pytest.approx(BY_HAND[name][0], abs=1e-6)
    assert of_g(R, F).item() == pytest.approx(BY_HAND[name][1], abs=1e-6)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_stay_finite_and_losers_keep_a_gradient_where_d_is_sure(name):
    r, f = torch.full((4,), 200.0), torch.full((4,), -200.0, requires_grad=True)
    of_d, of_g, _ = losses.LOSSES[name]
    of_g(r, f).backward()
    assert torch.isfinite(of_d(r, f)) and torch.isfinite(f.grad).all()
    # The minimax loss alone saturates: that is its known fault.
    assert f.grad.abs().max().item() < 1e-6 if name == "minimax" else (f.grad < -0.2).all()


def test_a_d_that_cannot_tell_is_half_sure_whatever_the_loss():
    for name, loss in losses.LOSSES.items():
        logits = torch.full((4,), loss.undecided or 0.0)
        assert [p.item() for p in losses.certainty(name, logits, logits)] == [0.5, 0.5]
    assert losses.certainty("rpgan", torch.tensor([7.0]), torch.tensor([3.0]))[0] > 0.85


def test_the_squared_slope_of_a_parabola_is_known():
    image = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]], requires_grad=True)  # [2, 1, 1, 2]
    logits = image.square().flatten(1).sum(1)  # slope 2 x
    assert losses.squared_slope(logits, image).tolist() == [20.0, 36.0]


def test_the_gradient_penalty_asks_for_a_slope_of_one():
    between = torch.zeros(2, 1, 1, 2, requires_grad=True)
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8]])  # slopes 5 and 1
    logits = (between.flatten(1) * weight).sum(1)
    assert losses.gradient_penalty(logits, between).tolist() == pytest.approx([16.0, 0.0])


def test_penalties_are_float32_and_reach_the_weights_under_autocast():
    layer = torch.nn.Conv2d(3, 1, 4)
    image = torch.randn(2, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = losses.squared_slope(layer(image).flatten(0), image)
    penalty.mean().backward()
    assert penalty.dtype == torch.float32
    exact = layer.weight.square().sum().item()
    assert penalty.tolist() == pytest.approx([exact, exact], rel=0.02)
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach(), rtol=0.02, atol=0.01)


def test_feature_matching_compares_means_only():
    real = torch.tensor([[1.0, 0.0], [3.0, 0.0]])[:, :, None, None]
    fake = torch.tensor([[4.0, 1.0], [4.0, 1.0]])[:, :, None, None]
    assert losses.feature_distance(real, fake).item() == pytest.approx((4 + 1) / 2)
    assert losses.feature_distance(real, real.flip(0)).item() == 0


def test_paired_losses_with_both_penalties_cover_the_ring_from_every_seed():
    modes = [ring.covered(ring.train("rpgan + R1 + R2", seed=seed, steps=500))[0] for seed in SEEDS]
    assert modes == [8, 8, 8]


def test_the_ring_counts_modes_that_are_there():
    assert ring.covered(ring.centres().repeat_interleave(512, 0)) == (8, 1.0)
    assert ring.covered(ring.centres()[:1].repeat(4096, 1)) == (1, 1.0)
