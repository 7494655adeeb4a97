import copy

import torch
from torch.func import functional_call

from vidgan.networks import losses
from vidgan.training import unrolled


def discriminator():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def loss_on(net, real, fake):
    def of(weights):
        return losses.nonsaturating_d(*(functional_call(net, weights, (x,)) for x in (real, fake)))

    return of


def stepped(net, adam, real, fake, steps):
    for _ in range(steps):
        adam.zero_grad()
        losses.nonsaturating_d(net(real), net(fake)).backward()
        adam.step()


def test_simulated_steps_are_those_adam_would_take_and_change_nothing():
    net, (real, fake) = discriminator(), torch.randn(2, 16, 2).unbind()
    adam = torch.optim.Adam(net.parameters(), 1e-2, (0.5, 0.99))
    stepped(net, adam, real, fake, 3)  # its moments are no longer zero
    before, moments = copy.deepcopy(net.state_dict()), copy.deepcopy(adam.state_dict()["state"])
    weights = unrolled.ahead(net, adam, loss_on(net, real, fake), steps=5)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    for index, state in adam.state_dict()["state"].items():
        assert all(torch.equal(moments[index][k], v) for k, v in state.items())
    stepped(net, adam, real, fake, 5)
    for name, weight in net.named_parameters():
        torch.testing.assert_close(weights[name], weight.detach(), atol=2e-5, rtol=1e-3)


def test_the_gradient_of_g_includes_the_answer_of_d():
    net, real = discriminator().double(), torch.randn(16, 2).double()
    adam = torch.optim.Adam(net.parameters(), 1e-2, (0.5, 0.99))
    direction = torch.randn(16, 2).double()
    start = torch.randn(16, 2).double()

    def loss_g(x):
        fake = start + x * direction
        weights = unrolled.ahead(net, adam, loss_on(net, real, fake), steps=3)
        return losses.nonsaturating_g(None, functional_call(net, weights, (fake,)))

    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss_g(x), x)
    by_difference = (loss_g(x + 1e-5) - loss_g(x - 1e-5)).item() / 2e-5
    torch.testing.assert_close(gradient.item(), by_difference, rtol=1e-4, atol=1e-8)


def test_a_weight_without_a_gradient_does_not_outweigh_the_others():
    net = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(net.weight), torch.nn.init.zeros_(net.bias)
    real, fake = torch.randn(2, 16, 2).unbind()
    fake[:, 1] = real[:, 1]  # so the weight of the second number has no gradient
    fake.requires_grad_()
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    weights = unrolled.ahead(net, adam, loss_on(net, real, fake), steps=1)
    still = {name: weight.detach() for name, weight in weights.items()}
    full, direct = (
        torch.autograd.grad(functional_call(net, w, (fake,)).mean(), fake, retain_graph=True)[0]
        for w in (weights, still)
    )
    assert full.norm() < 2 * direct.norm()
