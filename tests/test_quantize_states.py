"""A step of integer neurons in torch: its integers are `IntNeuron.update`, its gradients those of its definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from gradrtl.model import kernels
from gradrtl.model.neurons import Spike
from gradrtl.quantize.neuron import Adaptation, IntNeuron, LeakKind, Reset, Rounding, State, SynapticCurrent
from gradrtl.quantize.states import NEVER, Parameters, rows_of, rule_of, start, step

STEPS = 5
SHAPE = (3, 4, 5)  # batch, positions, channels
CURRENTS = [None, SynapticCurrent(5, 3, "new"), SynapticCurrent(3, 2, "old")]
ADAPTATIONS = [None, Adaptation(7, 3, 6)]
KINDS = list(product(CURRENTS, ADAPTATIONS, (0, 2), Rounding))


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(kernels, "SMALLEST_PART", 20)
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def neurons(leak: LeakKind, reset: Reset) -> list[IntNeuron]:
    """All states, with parameters that differ from channel to channel where they may."""
    random = np.random.default_rng(0)
    channels = SHAPE[-1]
    own = {
        Reset.HARD: {"reset_value": random.integers(-3, 3, channels)},
        Reset.SOFT: {"reset_amount": random.integers(4, 9, channels)},
        Reset.NONE: {},
    }
    plain = IntNeuron(
        leak, reset, random.integers(8, 14, channels), 3, random.integers(2, 9, channels), fraction=1,
        start_value=random.integers(-4, 5, channels), membrane_bits=6, **own[reset],
    )  # fmt: skip
    return [
        replace(plain, current=current, adaptation=adaptation, refractory=refractory, rounding=rounding)
        for current, adaptation, refractory, rounding in KINDS
    ]


def straight(x: Tensor) -> Tensor:
    """The floor, with the gradient of the identity."""
    return x + (x.floor() - x).detach()


def potential(v: Tensor, x: Tensor, factor: Tensor, neuron: IntNeuron, half: float) -> Tensor:
    worth = 1 / 2**neuron.shift
    if neuron.leak == "shift":
        return v - straight(v * worth + half) + x
    if neuron.leak == "multiply":
        return straight(v * factor * worth + half) + x
    if neuron.leak == "decaying_input":
        return v + straight((x - v) * worth + half)
    return v + x


def defined(sums: Tensor, own: Parameters, neuron: IntNeuron) -> list[Tensor]:
    """Spikes and membranes of all steps, in torch's own operations."""
    half = 0.5 if neuron.rounding == "nearest" else 0.0
    v = own.start_value + torch.zeros_like(sums[0])
    i, a, waiting = (torch.zeros_like(sums[0]) for _ in range(3))
    found = []
    for t in range(STEPS):
        x = sums[t] * 2**neuron.fraction
        if neuron.current is not None:
            new = straight(i * own.current_factor / 2**neuron.current.shift + half) + x
            i, x = new, new if neuron.current.enters == "new" else i
        u = potential(v, x, own.factor, neuron, half)
        is_free = (waiting == 0).to(u.dtype)
        spikes = Spike.apply(own.unit * (u - own.threshold - a)) * is_free
        down = spikes.detach()
        after = {"hard": own.reset_value, "soft": u - own.reset_amount, "none": u}[neuron.reset]
        moved = (after * down + u * (1 - down)).clamp(*neuron.bounds)
        v = moved * is_free + v * (1 - is_free)
        if neuron.adaptation is not None:
            a = straight(a * own.adaptation_factor / 2**neuron.adaptation.shift + half) + own.adaptation_jump * spikes
        waiting = torch.where(down > 0, float(neuron.refractory), (waiting - 1).clamp(min=0))
        found += [spikes, v]
    return found


def operation(sums: Tensor, own: Parameters, neuron: IntNeuron) -> list[Tensor]:
    state, found, rows = start(own, sums[0]), [], rows_of(own, SHAPE[-1], sums.dtype)
    for t in range(STEPS):
        spikes, state, _ = step(sums[t], state, rows, rule_of(neuron))
        found += [spikes, state.membrane]
    return found


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("leak", LeakKind)
def test_integers_and_gradients(leak: LeakKind, reset: Reset) -> None:
    torch.manual_seed(1)
    rate = 0.0
    for neuron in neurons(leak, reset):
        sums = torch.randint(-9, 26, (STEPS, *SHAPE)).double()
        goals = [torch.randn(SHAPE, dtype=torch.float64) for _ in range(2 * STEPS)]
        unit = torch.rand(SHAPE[-1], dtype=torch.float64) / 8 + 0.05
        results = []
        for function in (operation, defined):
            leaves = [torch.from_numpy(values.astype(float)) for values in neuron.parameters]
            leaves = [leaf.clone().requires_grad_() for leaf in (sums, *leaves, unit)]
            found = function(leaves[0], Parameters(*leaves[1:]), neuron)
            sum(((x * goal).sum() for x, goal in zip(found, goals, strict=True)), torch.zeros(())).backward()
            results.append((found, [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]))
        (found, gradients), (expected, expected_gradients) = results
        state = neuron.start(neuron.parameters)
        for t in range(STEPS):
            updated = neuron.update(state, sums[t].numpy().astype(np.int64), neuron.parameters)
            state = updated.state
            for values, wanted in ((found[2 * t], updated.spikes), (found[2 * t + 1], state.membrane)):
                assert np.array_equal(values.detach().numpy(), np.broadcast_to(wanted, SHAPE))
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)
        for name, ours, theirs in zip(("sums", *Parameters._fields), gradients, expected_gradients, strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )
        rate += float(torch.stack(found[::2]).detach().mean()) / len(KINDS)
    assert 0.03 < rate < 0.6


@pytest.mark.parametrize("current", CURRENTS)
def test_a_silent_neuron_and_single_precision(current: SynapticCurrent | None) -> None:
    """Its membranes are those of the integers, and its gradients those of a neuron whose threshold is far away."""
    neuron = replace(neurons(LeakKind.MULTIPLY, Reset.NONE)[0], current=current, spiking=False)
    own = Parameters(*(torch.from_numpy(values.astype(np.float32)) for values in neuron.parameters), torch.ones(1))
    own = own._replace(threshold=torch.full((1,), NEVER))
    sums = torch.randint(-9, 16, (STEPS, *SHAPE)).float()
    goals, gradients = torch.randn(STEPS, *SHAPE), []
    for function in (operation, defined):
        leaf = sums.clone().requires_grad_()
        found = function(leaf, own, neuron)
        sum((x * goal).sum() for x, goal in zip(found[1::2], goals, strict=True)).backward()
        gradients.append(leaf.grad)
    assert gradients[1].abs().max() > 0.1
    torch.testing.assert_close(*gradients)
    rows, state = rows_of(own, SHAPE[-1], sums.dtype), start(own, sums[0])
    expected = State(*map(np.asarray, neuron.start(neuron.parameters)))
    for t in range(STEPS):
        spikes, state, _ = step(sums[t], state, rows, rule_of(neuron))
        expected = neuron.update(expected, sums[t].numpy().astype(np.int64), neuron.parameters).state
        assert not spikes.any()
        assert np.array_equal(state.membrane.numpy(), np.broadcast_to(expected.membrane, SHAPE))
