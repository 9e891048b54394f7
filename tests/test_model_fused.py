"""A layer as one compiled operation against torch's own operations and `step`, gradients and statistics included."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradrtl.model import fused, kernels
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool
from gradrtl.model.networks import SpikingLayer, SpikingNetwork
from gradrtl.model.neurons import max_pool, step

NEURONS = [
    FloatNeuron(),
    FloatNeuron(reset="soft"),
    FloatNeuron(decay_input=False),
    FloatNeuron(kind="if"),
    FloatNeuron(tau=4.0, v_reset=-0.25),
]
STEPS = 4


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    before = torch.get_num_threads()
    monkeypatch.setattr(kernels, "SMALLEST_PART", 100)
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def defined(
    x: Tensor, norm: nn.BatchNorm2d | None, neuron: FloatNeuron, size: int, slope: float = 0.0
) -> tuple[Tensor, Tensor]:
    """What `fused.fire` is to do."""
    flat = x.flatten(0, 1).permute(0, 3, 1, 2)
    current = (flat if norm is None else norm(flat)).unflatten(0, x.shape[:2])
    v = torch.full_like(current[0], neuron.v_reset)
    fired, membranes = [], []
    for t in range(STEPS):
        now = current[0 if len(current) == 1 else t]
        membranes.append((neuron.decay * v + neuron.gain * now).detach())
        spikes, v = step(now, v, neuron, slope)
        fired.append(spikes)
    whole = torch.stack(fired)
    pooled = max_pool(whole, torch.stack(membranes), size)
    assert torch.equal(pooled.flatten(0, 1), functional.max_pool2d(whole.flatten(0, 1), size))
    return pooled.permute(0, 1, 3, 4, 2), whole.mean(dim=0).permute(0, 2, 3, 1)


def norm_of(kind: str | None, channels: int, dtype: torch.dtype) -> nn.BatchNorm2d | None:
    if kind is None:
        return None
    norm = nn.BatchNorm2d(channels, dtype=dtype).train(kind == "training")
    assert norm.running_mean is not None
    norm.running_mean.uniform_(-0.5, 0.5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(0.0, 1.0)
    return norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [None, "training", "evaluation"])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("slope", [0.0, 2.5])
def test_is_what_is_defined(
    neuron: FloatNeuron, static: bool, size: int, norm: str | None, dtype: torch.dtype, threads: int, slope: float
) -> None:
    """Maps of 7 x 8: windows of 2 and of 3 leave rows and columns over."""
    torch.manual_seed(0)
    x = torch.randn((1 if static else STEPS, 3, 7, 8, 5), dtype=dtype) * 1.5 + 0.5
    one = norm_of(norm, 5, dtype)
    two = deepcopy(one)
    x_one, x_two = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, rates = fused.fire(x_one, one, neuron, STEPS, size, True, slope)
    expected, expected_rates = defined(x_two, two, neuron, size, slope)
    assert rates is not None
    assert 0 < float(expected_rates.detach().mean()) < 1
    if norm is None or dtype == torch.float64:  # in float32 torch rounds the currents of a norm otherwise
        assert torch.equal(spikes, expected)
        assert torch.equal(rates, expected_rates)
    assert (spikes != expected).sum() <= 1
    to_spikes, to_rates = torch.randn_like(spikes), torch.randn_like(rates)
    ((spikes * to_spikes).sum() + (rates * to_rates).sum()).backward()
    ((expected * to_spikes).sum() + (expected_rates * to_rates).sum()).backward()
    near = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(x_one.grad, x_two.grad, **near)
    if one is not None and two is not None:
        for found, wanted in zip(one.parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(found.grad, wanted.grad, **near)
        for found, wanted in zip(one.buffers(), two.buffers(), strict=True):
            torch.testing.assert_close(found, wanted, **near)


def test_statistics_far_from_zero() -> None:
    """A mean a thousand times the deviation: squares are summed from near it, so nothing cancels."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 5, 4, 6) + 1000 * torch.arange(6)
    norm = nn.BatchNorm2d(6)
    mean, variance = fused._statistics(x, norm)
    torch.testing.assert_close(mean, x.double().mean(dim=(0, 1, 2, 3)).float())
    torch.testing.assert_close(variance, x.double().var(dim=(0, 1, 2, 3), correction=0).float(), rtol=1e-4, atol=0)


def test_bfloat16() -> None:
    """What the synapses put out in bfloat16 is widened; spikes and gradients are rounded to it, and nothing between."""
    torch.manual_seed(2)
    x = (torch.randn((STEPS, 3, 6, 7, 5)) + 0.5).bfloat16()
    one = norm_of("training", 5, torch.float32)
    two = deepcopy(one)
    narrow, wide = x.clone().requires_grad_(), x.float().requires_grad_()
    spikes, rates = fused.fire(narrow, one, FloatNeuron(), STEPS, 2, True)
    expected, expected_rates = fused.fire(wide, two, FloatNeuron(), STEPS, 2, True)
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), expected)
    assert rates is not None and expected_rates is not None and torch.equal(rates, expected_rates)  # noqa: PT018
    cotangent = torch.randn(spikes.shape).bfloat16()
    spikes.backward(cotangent)
    expected.backward(cotangent.float())
    assert narrow.grad is not None and wide.grad is not None  # noqa: PT018
    assert narrow.grad.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.grad.float(), wide.grad, rtol=2**-7, atol=2**-12)


def test_sums_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SMALLEST_PART", 100)
    torch.manual_seed(3)
    x, norm = torch.randn((STEPS, 7, 6, 6, 4)), nn.BatchNorm2d(4)
    before, outcomes = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        given = x.clone().requires_grad_()
        norm.zero_grad()
        fused.fire(given, norm, FloatNeuron(), STEPS, 2, False)[0].square().sum().backward()
        outcomes.append((given.grad, norm.weight.grad.clone(), norm.bias.grad.clone()))
    torch.set_num_threads(before)
    for other in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcomes[0], other, strict=True))


LAYERS = {
    "max": LayerSpec(ConvSpec(6), FloatNeuron(reset="soft"), pool=Pool("max", 2)),
    "average": LayerSpec(ConvSpec(6, (3, 2), (2, 1), (1, 0)), pool=Pool("average", 2)),
    "no pool": LayerSpec(ConvSpec(6, bias=True)),
    "dense": LayerSpec(DenseSpec(30, bias=True)),
}


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_same_on_an_accelerator(name: str, steps: int) -> None:
    torch.manual_seed(4)
    layer = SpikingLayer(LAYERS[name], (2, 9, 7), STEPS)
    x = torch.rand(steps, 5, 2, 9, 7) * 4
    flat = x.flatten(0, 1) if name != "dense" else x.flatten(2).flatten(0, 1)
    outcomes = []
    for way in (layer.compiled, layer.plain):
        layer.zero_grad()
        out, rates = way(layer.synapses(flat), steps, True)
        assert rates is not None
        (out.square().sum() + rates.square().sum()).backward()
        outcomes.append((out.detach(), rates.detach(), layer.synapses.weight.grad.clone()))
    assert 0 < float(outcomes[0][1].mean()) < 1
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    torch.testing.assert_close(outcomes[0][2], outcomes[1][2], rtol=1e-5, atol=1e-4)
    assert layer(x, False)[1] is None


def test_rates_under_autocast_are_exact() -> None:
    """Three steps: 1/3 is rounded to float32, not to bfloat16."""
    network = SpikingNetwork(Network("n", (1, 4, 4), (LayerSpec(ConvSpec(2, bias=True)),), steps=3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        votes, (rates,) = network(torch.zeros((1, 1, 4, 4), dtype=torch.uint8), layer_rates=True)
    assert votes.dtype == rates.dtype == torch.float32
    assert torch.equal(votes * 3, (votes * 3).round())
