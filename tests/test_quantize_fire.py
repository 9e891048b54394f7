"""Integer neurons as one compiled operation against their definition in torch's own operations, gradients included."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gradrtl.model import kernels
from gradrtl.model.neurons import Spike, max_pool
from gradrtl.quantize.fire import Rule, fire
from gradrtl.quantize.rounding import Leak

LEAKS = [Leak("none"), Leak("shift", 2), Leak("multiply", 5, 21), Leak("decaying_input", 1)]
STEPS = 4


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(kernels, "SMALLEST_PART", 100)
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def straight(x: Tensor, y: Tensor) -> Tensor:
    """The value of `y`, with the gradient of `x`."""
    return x + (y - x).detach()


def update(v: Tensor, scaled: Tensor, leak: Leak) -> Tensor:
    worth = 2.0**-leak.shift
    if leak.kind == "decaying_input":
        part = (scaled - v) * worth
        return v + straight(part, part.floor())
    if leak.kind == "multiply":
        part = v * (leak.factor * worth)
        return straight(part, part.floor()) + scaled
    if leak.kind == "shift":
        part = v * worth
        return v - straight(part, part.floor()) + scaled
    return v + scaled


def defined(
    current: Tensor, threshold: Tensor, unit: Tensor, reset: Tensor, rule: Rule, size: int
) -> tuple[Tensor, Tensor]:
    """What `fire` is to do."""
    scaled = current * 2**rule.fraction
    v = reset.expand(scaled.shape[1:])
    fired, membranes = [], []
    for t in range(STEPS):
        u = update(v, scaled[0 if len(scaled) == 1 else t], rule.leak)
        spikes = Spike.apply(unit * (u - threshold))
        down = spikes.detach()
        v = u - down * threshold if rule.soft else u * (1 - down) + down * reset
        if rule.membrane_bits is not None:
            v = v.clamp(-(2 ** (rule.membrane_bits - 1)), 2 ** (rule.membrane_bits - 1) - 1)
        fired.append(spikes)
        membranes.append(u.detach() - threshold.detach())
    whole, over = (torch.stack(x).permute(0, 1, 4, 2, 3) for x in (fired, membranes))
    return max_pool(whole, over, size).permute(0, 1, 3, 4, 2), whole.mean(dim=0).permute(0, 2, 3, 1)


@pytest.mark.parametrize("membrane_bits", [None, 6])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("static", "size", "fraction"), [(True, 1, 0), (False, 2, 1), (True, 3, 2), (False, 1, 0)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.kind)
def test_is_what_is_defined(
    leak: Leak, soft: bool, static: bool, size: int, fraction: int, per_channel: bool, membrane_bits: int | None
) -> None:
    """Maps of 7 x 8: windows of 2 and of 3 leave rows and columns over."""
    torch.manual_seed(0)
    rule = Rule(leak, fraction, soft, membrane_bits, STEPS)
    given = torch.randint(-12, 20, (1 if static else STEPS, 3, 7, 8, 5)).double()
    channels = 5 if per_channel else 1
    threshold = torch.randint(8 << fraction, 14 << fraction, (channels,)).double()
    unit = torch.rand(channels, dtype=torch.float64) / 8 + 0.05
    reset = torch.zeros(1, dtype=torch.float64) if per_channel else torch.tensor([-2.0], dtype=torch.float64)
    goal = torch.randn(STEPS, 3, 7 // size, 8 // size, 5, dtype=torch.float64)
    goal_of_rates = torch.randn(3, 7, 8, 5, dtype=torch.float64)
    results = []
    for function in (fire, defined):
        leaves = [tensor.clone().requires_grad_() for tensor in (given, threshold, unit)]
        extra = (True,) if function is fire else ()
        spikes, rates = function(*leaves, reset, rule, size, *extra)
        ((spikes * goal).sum() + (rates * goal_of_rates).sum()).backward()
        results.append((spikes.detach(), rates.detach(), [leaf.grad for leaf in leaves]))
    (spikes, rates, gradients), (expected, expected_rates, expected_gradients) = results
    assert 0.02 < float(expected_rates.mean()) < 0.98
    assert torch.equal(spikes, expected)
    assert torch.equal(rates, expected_rates)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    single = fire(given.float(), threshold.float(), unit.float(), reset.float(), rule, size, True)
    assert torch.equal(single[0].double(), expected)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_gradients_of_what_is_used_alone(wanted: tuple[bool, bool]) -> None:
    rule = Rule(LEAKS[3], 0, False, None, STEPS)
    current = torch.randint(0, 30, (STEPS, 2, 4, 4, 3)).double().requires_grad_()
    one = torch.ones(1, dtype=torch.float64)
    results = []
    for function in (fire, defined):
        current.grad = None
        outputs = function(current, 10 * one, 0.1 * one, 0 * one, rule, 2, *((True,) if function is fire else ()))
        loss = sum((x.sum() for x, used in zip(outputs, wanted, strict=True) if used), 0 * current.sum())
        loss.backward()
        assert current.grad is not None
        results.append(current.grad.clone())
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    assert math.isfinite(float(results[0].sum()))
