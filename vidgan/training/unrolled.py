"""Unrolled GAN: G learns from the D that it will meet some steps from now (Metz et al. 2017).

D's next steps are simulated, Adam and all, and G's gradient flows back through them. D itself takes
one ordinary step. The paper's G maximises the loss of that D; ours keeps its own loss against it,
which need not saturate. Knows no loss and no training loop.
"""

from collections.abc import Callable, Mapping

import torch

Weights = Mapping[str, torch.Tensor]
_LEAST_SLOPE = 1e-3  # of a layer's; smaller ones count as fixed


def ahead(
    discriminator: torch.nn.Module,
    adam: torch.optim.Optimizer,
    loss_of: Callable[[Weights], torch.Tensor],
    *,
    steps: int,
) -> Weights:
    """D's weights by name after so many steps of Adam on `loss_of`, by which they can be
    differentiated (equation 5). Neither D nor Adam changes. A step costs a pass through D and back,
    and as much memory again.
    """
    (group,) = adam.param_groups
    beta1, beta2 = group["betas"]
    own = dict(discriminator.named_parameters())
    states = [adam.state.get(parameter, {}) for parameter in own.values()]
    taken = [float(state.get("step", 0.0)) for state in states]
    first = [state.get("exp_avg", 0.0) for state in states]
    second = [state.get("exp_avg_sq", 0.0) for state in states]
    weights = {name: parameter.detach().requires_grad_() for name, parameter in own.items()}
    for step in range(1, steps + 1):
        gradients = torch.autograd.grad(
            loss_of(weights), list(weights.values()), create_graph=True, materialize_grads=True
        )
        for i, (name, slope) in enumerate(zip(weights, gradients, strict=True)):
            first[i] = beta1 * first[i] + (1 - beta1) * slope
            second[i] = beta2 * second[i] + (1 - beta2) * slope.square()
            mean = first[i] / (1 - beta1 ** (taken[i] + step))
            # The square root has no slope at 0, where a weight saw no gradient yet.
            size = (second[i] / (1 - beta2 ** (taken[i] + step)) + 1e-24).sqrt()
            # Where a weight has next to no slope its step is a sign, which no fake moves a little;
            # by the formula it would outweigh all others, ten-thousandfold.
            mean, size = (
                torch.where(size > _LEAST_SLOPE * size.square().mean().sqrt(), x, x.detach())
                for x in (mean, size)
            )
            weights[name] = weights[name] - group["lr"] * mean / (size + group["eps"])
    return weights
