"""Unrolled GAN: G learns against the D of some steps ahead (Metz et al. 2017).

D's next steps, including those of Adam, are simulated, and G's gradient flows back through them. D
itself takes one ordinary step. In the paper G maximises the loss of that D. Here G keeps its own
loss against it, because that need not saturate. This module knows no loss and no training loop.
"""

from collections.abc import Callable, Mapping

import torch

Weights = Mapping[str, torch.Tensor]
_LEAST_GRADIENT = 1e-3  # relative to its tensor; the step of a weight with less is a constant


def ahead(
    discriminator: torch.nn.Module,
    adam: torch.optim.Optimizer,
    loss_of: Callable[[Weights], torch.Tensor],
    *,
    steps: int,
) -> Weights:
    """Simulate steps of Adam on `loss_of` and return D's weights by name (equation 5).

    The weights can be differentiated by all that `loss_of` depends on. Neither D nor Adam changes.
    """
    (group,) = adam.param_groups
    beta1, beta2 = group["betas"]
    trained = set(map(id, group["params"]))
    own = {name: p for name, p in discriminator.named_parameters() if id(p) in trained}
    states = [adam.state.get(parameter, {}) for parameter in own.values()]
    taken = [float(state.get("step", 0.0)) for state in states]
    first = [state.get("exp_avg", 0.0) for state in states]
    second = [state.get("exp_avg_sq", 0.0) for state in states]
    weights = {name: parameter.detach().requires_grad_() for name, parameter in own.items()}
    for step in range(1, steps + 1):
        gradients = torch.autograd.grad(
            loss_of(weights), list(weights.values()), create_graph=True, materialize_grads=True
        )
        for i, (name, gradient) in enumerate(zip(weights, gradients, strict=True)):
            first[i] = beta1 * first[i] + (1 - beta1) * gradient
            second[i] = beta2 * second[i] + (1 - beta2) * gradient.square()
            mean = first[i] / (1 - beta1 ** (taken[i] + step))
            # At 0, where a weight has seen no gradient yet, the square root has no derivative.
            size = (second[i] / (1 - beta2 ** (taken[i] + step)) + 1e-24).sqrt()
            # The step of a weight with a tiny gradient is only a sign. A small change of the fakes
            # does not change it, but its derivative would be ten thousand times all others.
            mean, size = (
                torch.where(size > _LEAST_GRADIENT * size.square().mean().sqrt(), x, x.detach())
                for x in (mean, size)
            )
            weights[name] = weights[name] - group["lr"] * mean / (size + group["eps"])
    return weights
