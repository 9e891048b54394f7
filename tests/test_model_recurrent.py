"""Populations over time: the float twin of the integer neuron, and the fast operation against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradrtl.model import dynamics, recurrent
from gradrtl.model.graph import AdaptationSpec, CurrentSpec, NeuronSpec
from gradrtl.model.surrogates import Firing, Surrogate
from gradrtl.quantize.neuron import Adaptation, IntNeuron, LeakKind, Reset, SynapticCurrent

NEURONS = {
    "lif": NeuronSpec(0.5),
    "soft": NeuronSpec(0.75, reset="soft", reset_amount=0.5, start_value=0.25),
    "none": NeuronSpec(0.9, reset="none"),
    "current": NeuronSpec(0.75, current=CurrentSpec(0.5)),
    "old current": NeuronSpec(0.75, current=CurrentSpec(0.5, "old"), reset="soft"),
    "adaptive": NeuronSpec(0.75, adaptation=AdaptationSpec(0.75, 0.5)),
    "refractory": NeuronSpec(0.5, reset_value=-0.5, refractory=2),
    "refractory, soft": NeuronSpec(0.5, reset="soft", refractory=1, start_value=0.5),
    "all": NeuronSpec(0.5, current=CurrentSpec(0.75, "old"), adaptation=AdaptationSpec(0.5, 0.25), refractory=1),
    "li": NeuronSpec(0.75, reset="none", spiking=False, current=CurrentSpec(0.5)),
}


SURROGATES = [Surrogate(), Surrogate("fast-sigmoid", 3.0), Surrogate("membrane")]


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("loops", [(), (1,), (1, 3)])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda surrogate: surrogate.kind)
def test_all_steps_at_once_are_those_of_the_definition(
    name: str, static: bool, loops: tuple[int, ...], surrogate: Surrogate
) -> None:
    neuron = NEURONS[name]
    if not neuron.spiking and loops:
        pytest.skip("what does not spike is heard by nobody")
    torch.manual_seed(list(NEURONS).index(name))
    steps, images, neurons = 7, 3, 5
    current = torch.randn((1 if static else steps, images, neurons), dtype=torch.float64).add_(0.3).requires_grad_()
    weights = [torch.randn((neurons, neurons), dtype=torch.float64).mul_(0.5).requires_grad_() for _ in loops]
    decays = (0.3 + 0.6 * torch.rand((3, neurons), dtype=torch.float64)).requires_grad_()
    cotangent = torch.randn((steps, images, neurons), dtype=torch.float64)

    fast, near = recurrent.run(current, neuron, steps, decays, list(zip(weights, loops, strict=True)), surrogate)
    of_fast = torch.autograd.grad((fast * cotangent).sum(), [current, decays, *weights], allow_unused=True)

    state, made, reached = dynamics.start(neuron, current[0]), [], []
    firing = Firing(surrogate, neuron.threshold)
    for t in range(steps):
        total = current[0 if static else t]
        for weight, delay in zip(weights, loops, strict=True):
            if t >= delay:
                total = total + made[t - delay] @ weight.t()
        before = state
        u, spikes, state = dynamics.step(total, before, neuron, dynamics.Parameters(*decays), firing)
        made.append(spikes if neuron.spiking else state.membrane)
        reached.append(dynamics.drive(u, before.adaptation, before.refractory == 0))
    slow = torch.stack(made)
    of_slow = torch.autograd.grad((slow * cotangent).sum(), [current, decays, *weights], allow_unused=True)
    assert torch.allclose(fast, slow, rtol=1e-12, atol=1e-12)
    assert torch.allclose(near, torch.stack(reached), rtol=1e-12, atol=1e-12)
    assert slow.any()
    if neuron.spiking:
        assert torch.equal(slow > 0, torch.stack(reached) >= neuron.threshold)
    for found, expected in zip(of_fast, of_slow, strict=True):
        expected = torch.zeros_like(found) if expected is None else expected
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loops", [(1,), (1, 3)])
def test_loops_are_short_products_under_autocast(loops: tuple[int, ...]) -> None:
    """Weights and gradients of few digits are bfloat16 already, and nothing is rounded: all is equal."""
    torch.manual_seed(2)
    neuron, steps, images, neurons = NEURONS["current"], 6, 4, 8
    current = torch.randint(-8, 17, (steps, images, neurons)).div(8).requires_grad_()
    weights = [torch.randint(-4, 5, (neurons, neurons)).div(4).requires_grad_() for _ in loops]
    decays = torch.full((3, neurons), 0.5).requires_grad_()
    found = []
    for short in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            spikes, _ = recurrent.run(current, neuron, steps, decays, list(zip(weights, loops, strict=True)))
        assert spikes.dtype == torch.float32
        found.append((spikes, torch.autograd.grad(spikes.sum(), [current, decays, *weights])))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][0].any()
    for exact, rounded in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(exact, rounded, rtol=0.02, atol=0.02 * float(exact.abs().max()))
    assert any(not torch.equal(*both) for both in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_the_float_neuron_is_the_integer_neuron_before_rounding(seed: int) -> None:
    """Decays of quarters and membranes with enough low bits: nothing is rounded in four steps, and all is equal."""
    rng = np.random.default_rng(seed)
    shift, fraction, steps = 2, 8, 4
    reset = ("hard", "soft", "none")[seed % 3]
    spiking = seed % 7 != 0
    decay, of_current, of_adaptation = rng.integers(0, 5, (3, 6))
    threshold, jump = int(rng.integers(1, 6)), int(rng.integers(0, 4))
    value = int(rng.integers(-2, 1)) if reset == "hard" else 0
    amount = int(rng.integers(1, 6)) if reset == "soft" else None
    begin = int(rng.integers(-3, 4))
    refractory = int(rng.integers(0, 3)) if spiking else 0
    enters = "new" if seed % 5 else "old"
    has_current, adapts = seed % 4 > 0, spiking and seed % 4 < 3
    unit = 1 << fraction
    integer = IntNeuron(
        LeakKind.MULTIPLY, Reset(reset), threshold * unit, shift, decay.astype(np.int64), value * unit, fraction, None,
        spiking, None if amount is None else amount * unit, begin * unit,
        current=SynapticCurrent(of_current.astype(np.int64), shift, enters) if has_current else None,
        adaptation=Adaptation(of_adaptation.astype(np.int64), shift, jump * unit) if adapts else None,
        refractory=refractory,
    )  # fmt: skip
    floats = NeuronSpec(
        1.0, threshold, reset, value, amount, begin, spiking,
        CurrentSpec(1.0, enters) if has_current else None, AdaptationSpec(1.0, jump) if adapts else None, refractory,
    )  # fmt: skip
    values = np.stack([decay, of_current, of_adaptation]) / (1 << shift)
    parameters = dynamics.Parameters(*torch.from_numpy(values))
    sums = rng.integers(-4, 9, (steps, 50, 6))
    state = dynamics.start(floats, torch.zeros((50, 6), dtype=torch.float64))
    of_integer = integer.start(integer.parameters)
    for current in sums:
        u, spikes, state = dynamics.step(torch.from_numpy(current).double(), state, floats, parameters)
        updated = integer.update(of_integer, current, integer.parameters)
        of_integer = updated.state
        assert (u.numpy() * unit == updated.potential).all()
        assert (spikes.numpy() == updated.spikes).all()
        assert (state.membrane.numpy() * unit == of_integer.membrane).all()
        if has_current:
            assert (state.current.numpy() * unit == of_integer.current).all()
        if adapts:
            assert (state.adaptation.numpy() * unit == of_integer.adaptation).all()
        assert (state.refractory.numpy() == of_integer.refractory).all()
