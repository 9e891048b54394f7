"""LIF and IF neurons: traces worked out by hand, gradients against autograd."""

from __future__ import annotations

import math

import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model.description import FloatNeuron
from gradrtl.model.neurons import Spike, fire, step

LIF = FloatNeuron()  # tau = 2, decaying input, threshold 1, hard reset to 0

# kind -> neuron, constant current, and by hand: u before the spike, step by step; it spikes where u >= 1
TRACES = {
    "hard": (LIF, 1.2, [0.6, 0.9, 1.05, 0.6, 0.9, 1.05]),
    "soft": (FloatNeuron(reset="soft"), 1.2, [0.6, 0.9, 1.05, 0.625, 0.9125, 1.05625, 0.628125]),
    "not decaying": (FloatNeuron(decay_input=False), 0.6, [0.6, 0.9, 1.05, 0.6]),
    "tau 4": (FloatNeuron(tau=4.0), 2.0, [0.5, 0.875, 1.15625, 0.5]),
    "if": (FloatNeuron(kind="if"), 0.5, [0.5, 1.0, 0.5, 1.0]),
    "v_reset": (FloatNeuron(v_reset=0.5), 1.5, [1.0, 1.0, 1.0]),
    "exactly": (LIF, 2.0, [1.0, 1.0]),
    "never": (LIF, 1.0, [0.5, 0.75, 0.875, 0.9375]),
    "inhibited": (LIF, -1.0, [-0.5, -0.75, -0.875]),
}


@pytest.mark.parametrize("name", TRACES)
def test_trace(name: str) -> None:
    neuron, current, expected = TRACES[name]
    v = torch.tensor([neuron.v_reset], dtype=torch.float64)
    spikes = []
    for u in expected:
        v_before = v
        s, v = step(torch.tensor([current], dtype=torch.float64), v, neuron)
        assert neuron.decay * float(v_before) + neuron.gain * current == pytest.approx(u, abs=1e-12)
        spikes.append(float(s))
    assert spikes == [float(u > neuron.threshold - 1e-9) for u in expected]
    together, _ = fire(torch.full((1, 1), current, dtype=torch.float64), neuron, len(expected))
    assert together.flatten().tolist() == spikes


def test_surrogate() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    Spike.apply(x).sum().backward()
    assert x.grad is not None
    expected = [1 / (1 + math.pi**2), 1.0, 1 / (1 + math.pi**2 / 4)]
    assert x.grad.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    "neuron",
    [
        LIF,
        FloatNeuron(reset="soft"),
        FloatNeuron(decay_input=False),
        FloatNeuron(kind="if"),
        FloatNeuron(tau=4.0, v_reset=-0.25),
    ],
)
@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_gradient_of_fire_is_that_of_step(neuron: FloatNeuron, static: bool, slope: float) -> None:
    torch.manual_seed(3)
    steps = 6
    current = torch.randn((1 if static else steps, 4, 5), dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn((steps, 4, 5), dtype=torch.float64)
    with torch.no_grad():
        current.add_(0.8)
    fast, _ = fire(current, neuron, steps, slope)
    (fast_gradient,) = torch.autograd.grad((fast * cotangent).sum(), current)

    v = torch.full((4, 5), neuron.v_reset, dtype=torch.float64)
    slow = []
    for t in range(steps):
        spikes, v = step(current[0 if static else t], v, neuron, slope)
        slow.append(spikes)
    assert torch.equal(fast, torch.stack(slow))
    (slow_gradient,) = torch.autograd.grad((torch.stack(slow) * cotangent).sum(), current)
    assert torch.allclose(fast_gradient, slow_gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "alif"), ("tau", 1.0), ("reset", "none"), ("threshold", 0.0), ("threshold", -1.0)]
)
def test_refuses(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"neuron.{field}"):
        FloatNeuron(**{field: value})  # type: ignore[arg-type]
