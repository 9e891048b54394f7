"""Grad R: pruning and regrowth by gradient descent on a hidden parameter of each connection.

Chen, Yu, Fang, Huang, Tian, "Pruning of Deep Spiking Neural Networks through Gradient Rewiring", IJCAI 2021. A weight
is `w = s * relu(theta)` with a fixed random sign `s`. The gradient that reaches `theta` is `s * dL/dw`, *not* masked by
the relu: a pruned connection (`theta <= 0`) still learns, and regrows when its `theta` rises above zero. A Laplacian
prior on `theta` with its centre at `theta_c` pulls connections apart from the loss: after each optimiser step,
`theta -= alpha * lr * sign(theta - theta_c)`. For a target sparsity `p >= 1/2` of the prior alone,
`theta_c = ln(2 * (1 - p)) / alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import require


class _Rewire(torch.autograd.Function):
    """`s * relu(theta)`, with the gradient of `s * theta`."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, sign: Tensor) -> Tensor:
        ctx.save_for_backward(sign)
        return torch.relu(theta).mul_(sign)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (sign,) = ctx.saved_tensors
        return gradient * sign, None


class GradR(nn.Module):
    """The parametrisation `theta -> s * relu(theta)`, made from initial weights: `theta = |w|`, `s` their signs.

    A random initialisation gives random signs and a fully connected start. A weight of zero gets a random sign.
    """

    sign: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        drawn = torch.randint(0, 2, weight.shape, device=weight.device, dtype=weight.dtype) * 2 - 1
        self.register_buffer("sign", torch.where(weight == 0, drawn, weight.detach().sign()))

    def forward(self, theta: Tensor) -> Tensor:
        return _Rewire.apply(theta, self.sign)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight * self.sign


def rewire(layer: nn.Module) -> None:
    """Put `layer.weight` under Grad R; `layer.parametrizations.weight.original` is `theta`."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", GradR(weight))


def theta_of(layer: Any) -> nn.Parameter:
    """The hidden parameter of a rewired layer."""
    return layer.parametrizations.weight.original


def _parametrization(layer: Any) -> nn.Module:
    return layer.parametrizations.weight[0]


def rewired(module: nn.Module) -> Iterator[nn.Module]:
    """The submodules whose weight is under Grad R, in order."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight") and isinstance(_parametrization(layer), GradR):
            yield layer


def centre(alpha: float, p: float) -> float:
    """`theta_c` of the prior: 0 for `p = 1/2`, below zero for a larger target sparsity."""
    require(0.5 <= p < 1, "p", p, "at least 0.5, below 1")
    return math.log(2 * (1 - p)) / alpha if alpha > 0 else 0.0


@torch.no_grad()
def prior_step(theta: Tensor, lr: float, alpha: float, p: float) -> None:
    """`theta -= alpha * lr * sign(theta - theta_c)`, in place; `theta` is of any shape."""
    if alpha > 0:
        theta.sub_(torch.sign(theta - centre(alpha, p)), alpha=alpha * lr)


class Prior:
    """The prior on all Grad R layers of a network: call `step()` after each `optimizer.step()`.

    It reads each parameter's current learning rate from the optimiser, so any optimiser and scheduler can be used.
    `scales` holds a factor on `alpha` for each layer.
    """

    def __init__(
        self, layers: list[nn.Module], optimizer: torch.optim.Optimizer, alpha: float, p: float, scales: list[float]
    ) -> None:
        require(alpha >= 0, "alpha", alpha, "0 or above")
        centre(alpha, p)
        self.alpha, self.p = alpha, p
        self.optimizer = optimizer
        self.scale_of = {id(theta_of(layer)): scale for layer, scale in zip(layers, scales, strict=True)}

    def step(self) -> None:
        for group in self.optimizer.param_groups:  # read at each call: loading a state replaces the groups
            for parameter in group["params"]:
                if id(parameter) in self.scale_of:
                    prior_step(parameter, group["lr"], self.alpha * self.scale_of[id(parameter)], self.p)


class AlphaControl:
    """Adjusts the `alpha` of a prior so that the connectivity follows a schedule: an integral controller on logarithms.

    This is an addition to the paper, in which `alpha` is constant and the connectivity is a result.
    """

    def __init__(self, prior: Prior, gain: float = 0.1, lowest: float = 1e-4, highest: float = 10.0) -> None:
        self.prior, self.gain, self.lowest, self.highest = prior, gain, lowest, highest

    def update(self, connectivity: float, wanted: float) -> None:
        """Raise `alpha` if more connections are non-zero than the schedule says, lower it if fewer are."""
        error = math.log(max(connectivity, 1e-6) / wanted)
        alpha = self.prior.alpha * math.exp(self.gain * max(-2.0, min(2.0, error)))
        self.prior.alpha = max(self.lowest, min(self.highest, alpha))
