"""Grad R against a trace worked out by hand, and against the paper's update rule read directly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradrtl.errors import UserError
from gradrtl.model.gradr import AlphaControl, GradR, Prior, centre, rewire, rewired, theta_of


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
    rewire(layer)
    return layer


def test_by_hand() -> None:
    """Two connections, loss y^2 / 2 at x = (1, 2), plain SGD with lr = 1/2, alpha = 1/5, p = 1/2 (so theta_c = 0).

    The prior moves theta by alpha * lr = 0.1 towards 0, *past* it too. s = (+, -), theta = (0.3, 0.1) at first.

    1. w = (0.3, -0.1), y = 0.1, dL/dw = (0.1, 0.2), times s: (0.1, -0.2).
       theta = (0.25, 0.2) after SGD, (0.15, 0.1) after the prior.
    2. w = (0.15, -0.1), y = -0.05, dL/dw = (-0.05, -0.1), times s: (-0.05, 0.1).
       theta = (0.175, 0.05), (0.075, -0.05): the second connection is pruned.
    3. w = (0.075, 0), y = 0.075, dL/dw = (0.075, 0.15), times s: (0.075, -0.15), the second not masked.
       theta = (0.0375, 0.025), (-0.0625, -0.075): both are pruned.
    4. w = 0, y = 0, no gradient. theta = (0.0375, 0.025): both regrow.
    """
    layer = linear([[0.3, -0.1]])
    theta = theta_of(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    prior = Prior([layer], optimizer, alpha=0.2, p=0.5, scales=[1.0])
    trace = []
    for _ in range(4):
        loss = layer(torch.tensor([[1.0, 2.0]], dtype=torch.float64)).square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        prior.step()
        trace.append(theta.flatten().tolist())
    expected = [[0.15, 0.1], [0.075, -0.05], [-0.0625, -0.075], [0.0375, 0.025]]
    assert np.allclose(trace, expected, rtol=0, atol=1e-15)
    assert layer.weight.flatten().tolist() == pytest.approx([0.0375, -0.025])


@pytest.mark.parametrize("p", [0.5, 0.9])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_against_the_rule(kind: str, p: float) -> None:
    """A regression trained by torch and, beside it, by the paper's formulas in NumPy."""
    rng = np.random.default_rng(5)
    inputs, targets = rng.normal(size=(30, 6)), rng.normal(size=(30, 3))
    start = rng.normal(size=(3, 6)) * 0.3
    lr, alpha = 0.05, 0.7
    layer = linear(start.tolist())
    optimizer: torch.optim.Optimizer = {
        "sgd": lambda: torch.optim.SGD(layer.parameters(), lr=lr),
        "momentum": lambda: torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9),
        "adam": lambda: torch.optim.Adam(layer.parameters(), lr=lr),
    }[kind]()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    prior = Prior([layer], optimizer, alpha, p, [1.0])

    theta, sign = np.abs(start), np.sign(start)
    theta_c = math.log(2 * (1 - p)) / alpha
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    regrown = 0
    for step in range(1, 81):
        loss = (layer(torch.tensor(inputs)) - torch.tensor(targets)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        prior.step()
        scheduler.step()

        weight = sign * np.maximum(theta, 0)
        error = inputs @ weight.T - targets
        gradient = sign * (2 / error.size * error.T @ inputs)
        if kind == "sgd":
            move = gradient
        elif kind == "momentum":
            first = 0.9 * first + gradient
            move = first
        else:
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        before = theta > 0
        theta = theta - lr * move
        theta = theta - alpha * lr * np.sign(theta - theta_c)
        regrown += int((~before & (theta > 0)).sum())
        lr *= 0.97
        assert np.allclose(theta_of(layer).detach().numpy(), theta, rtol=0, atol=1e-12)
    assert regrown > 0 or (kind, p) == ("sgd", 0.9)


def test_state_dict_brings_everything_back() -> None:
    torch.manual_seed(1)
    layer, other = nn.Linear(5, 4), nn.Linear(5, 4)
    rewire(layer)
    rewire(other)
    with torch.no_grad():
        theta_of(layer).sub_(0.2)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(theta_of(layer), theta_of(other))
    assert list(rewired(nn.Sequential(layer, nn.Linear(1, 1), other))) == [layer, other]


def test_start_is_the_initial_weight_and_zeros_draw_their_sign() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3)
    parametrization = GradR(weight)
    assert torch.equal(parametrization(parametrization.right_inverse(weight)), weight)
    assert set(GradR(torch.zeros(200)).sign.tolist()) == {-1.0, 1.0}


def test_centre() -> None:
    assert centre(0.1, 0.5) == 0
    assert centre(0.1, 0.99) == pytest.approx(math.log(0.02) / 0.1)
    for p in (0.49, 1.0):
        with pytest.raises(UserError, match="p is"):
            centre(0.1, p)


def test_alpha_control_pushes_towards_the_wanted_connectivity() -> None:
    layer = linear([[0.3, -0.1]])
    prior = Prior([layer], torch.optim.SGD(layer.parameters(), lr=0.1), 0.1, 0.9, [1.0])
    control = AlphaControl(prior)
    control.update(connectivity=0.2, wanted=0.1)
    assert prior.alpha > 0.1
    control.update(connectivity=0.05, wanted=0.1)
    assert prior.alpha == pytest.approx(0.1)
    for _ in range(1000):
        control.update(connectivity=0.0, wanted=0.5)
    assert prior.alpha == control.lowest
