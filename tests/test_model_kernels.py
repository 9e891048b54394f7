"""The compiled loops of training against torch's own operations, gradients included, on one thread and on several."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from gradrtl.model import kernels, neurons
from gradrtl.model.description import Neuron
from gradrtl.model.pooling import max_pool

NEURONS = [Neuron(), Neuron(reset="soft"), Neuron(decay_input=False), Neuron(kind="if"), Neuron(tau=4.0, v_reset=-0.25)]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    before = torch.get_num_threads()
    monkeypatch.setattr(kernels, "SMALLEST_PART", 100)
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("neuron", NEURONS)
def test_fire(neuron: Neuron, static: bool, threads: int) -> None:
    """Two blocks and a bit, so that each part of the loop is met."""
    torch.manual_seed(1)
    steps, shape = 5, (3, 2 * kernels.BLOCK // 3 + 7)
    current = torch.randn((1 if static else steps, *shape), dtype=torch.float64) + 0.8
    gradient = torch.randn((steps, *shape), dtype=torch.float64)
    outcomes = []
    for forward, backward in (
        (neurons._forward, neurons._backward),
        (neurons._compiled_forward, neurons._compiled_backward),
    ):
        u, spikes = torch.empty_like(gradient), torch.empty_like(gradient)
        forward(current, u, spikes, neuron)
        to_current = torch.empty_like(current)
        backward(gradient, u, to_current, neuron)
        outcomes.append((u, spikes, to_current))
    (u, spikes, to_current), (fast_u, fast_spikes, fast_to_current) = outcomes
    assert 0 < float(spikes.mean()) < 1
    assert torch.equal(spikes, fast_spikes)
    assert torch.allclose(u, fast_u, rtol=0, atol=1e-12)
    assert torch.allclose(to_current, fast_to_current, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 6, 6), (5, 7, 9), (4, 3, 2)])
@pytest.mark.parametrize("size", [2, 3])
def test_max_pool(shape: tuple[int, int, int], size: int, threads: int) -> None:
    """Spikes are nearly all ties: the gradient must go where torch sends it."""
    torch.manual_seed(2)
    n, height, width = shape[0], max(shape[1], size), max(shape[2], size)
    spikes = (torch.rand((n, height, width, 5)) < 0.3).float().requires_grad_()
    expected = functional.max_pool2d(spikes.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    found = max_pool(spikes, size)
    assert torch.equal(found, expected)
    cotangent = torch.randn(found.shape)
    gradients = [torch.autograd.grad((pooled * cotangent).sum(), spikes)[0] for pooled in (found, expected)]
    assert torch.equal(*gradients)


def test_a_part_that_fails_is_heard_of(threads: int) -> None:
    def kernel(first: int, last: int) -> None:
        raise ValueError(f"{first}:{last}")

    with pytest.raises(ValueError, match="0:"):
        kernels.in_parts(kernel, 1000)
