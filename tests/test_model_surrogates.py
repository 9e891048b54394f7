"""The choices of the surrogate gradient, worked out by hand; `test_model_recurrent.py` has their compiled twins."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model import dynamics
from gradrtl.model.config import TrainConfig
from gradrtl.model.description import ConvSpec, DenseSpec
from gradrtl.model.graph import ConnectionSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, ReadoutSpec
from gradrtl.model.networks import module_of
from gradrtl.model.surrogates import ATAN, Firing, Surrogate
from gradrtl.shapes import Pool

NEURON = NeuronSpec(0.5, threshold=2.0, reset="soft")
PIXELS = torch.tensor([[[[0, 90], [180, 255]]]], dtype=torch.uint8)


def graph(threshold: float = 0.5, maps: bool = False) -> Graph:
    neuron = NeuronSpec(0.5, threshold=threshold, reset="soft")
    synapses = ConvSpec(3, (3, 3)) if maps else DenseSpec(6)
    populations = (
        PopulationSpec("hidden", (ConnectionSpec(("image",), synapses),), neuron),
        PopulationSpec(
            "out", (ConnectionSpec(("hidden",), DenseSpec(3), pool=Pool("max", 2) if maps else None),), neuron
        ),
    )
    return Graph("small", (InputSpec("image", (1, 2, 2)),), populations, ReadoutSpec("out"), 3)


@pytest.mark.parametrize(
    ("surrogate", "expected"),
    [
        (ATAN, [1 / (1 + math.pi**2), 1.0, 1 / (1 + math.pi**2 / 4)]),
        (Surrogate("fast-sigmoid", 3.0), [1 / 16, 1.0, 1 / 6.25]),
    ],
)
def test_derivatives_by_distance_from_the_threshold(surrogate: Surrogate, expected: list[float]) -> None:
    x = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    spikes = Firing(surrogate, 2.0)(x, torch.tensor([1.0, 1.0, 1.0]))
    assert spikes.tolist() == [0, 1, 1]
    (found,) = torch.autograd.grad(spikes.sum(), x)
    assert found.tolist() == pytest.approx(expected)


def test_membranes_as_signals_by_hand() -> None:
    """Two neurons, three steps: the first fires in the second, the other never. With a cotangent of 1, 2 and 4 at the
    steps, the first has these over its threshold of 2 as the gradient of each step's input; the other has none."""
    current = torch.tensor([[1.5, 0.1], [1.5, 0.1], [0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    decay = torch.tensor([0.5, 0.5], dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(2, dtype=torch.float64)
    firing = Firing(Surrogate("membrane"), NEURON.threshold)
    state, made = dynamics.start(NEURON, current[0]), []
    for t in range(3):
        given = current[t], state, NEURON, dynamics.Parameters(decay, nothing, nothing), firing
        _, spikes, state = dynamics.step(*given)
        made.append(spikes)
    assert torch.stack(made).tolist() == [[0, 0], [1, 0], [0, 0]]
    total = sum(2**t * spikes.sum() for t, spikes in enumerate(made))
    to_current, to_decay = torch.autograd.grad(total, [current, decay], allow_unused=True)
    assert to_current.tolist() == [[0.5, 0], [1, 0], [2, 0]]
    assert to_decay is None


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("kind", ["atan", "fast-sigmoid", "membrane"])
def test_a_graph_uses_its_surrogate_alone_backwards(kind: str, maps: bool) -> None:
    """Compiled for all steps at once, and step by step where there is no compiled loop: the same gradients."""
    gradients: list[Any] = []
    outputs = []
    for compiled in (True, False):
        torch.manual_seed(1)
        network = module_of(graph(maps=maps), Surrogate(kind, 2.0))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(4)
        if not compiled:
            network.pools = dict.fromkeys(network.pools, 0)  # type: ignore[assignment]
            network._runs_at_once = lambda population: False  # type: ignore[method-assign, union-attr, assignment]
        outputs.append(network(PIXELS))
        gradients.append(torch.autograd.grad(outputs[-1].sum(), list(network.parameters())))
    assert torch.equal(*outputs)
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert any(found.any() for found in gradients[0])
    torch.manual_seed(1)
    other = module_of(graph(maps=maps))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(4)
    plain = torch.autograd.grad(other(PIXELS).sum(), list(other.parameters()))
    assert torch.equal(other(PIXELS), outputs[0])
    assert (kind == "atan") == all(torch.allclose(a, b) for a, b in zip(plain, gradients[0], strict=True))


def test_a_configuration_names_its_surrogate() -> None:
    config = TrainConfig(surrogate="fast-sigmoid", slope=4)
    assert Surrogate.of(config) == Surrogate("fast-sigmoid", 4.0)
    assert Surrogate.of(TrainConfig()) == ATAN
    assert Surrogate.of(replace(config, surrogate="membrane")).carries is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Surrogate("sharp"), "surrogate is sharp, expected"),
        (lambda: Surrogate("fast-sigmoid", 0.0), "slope is 0.0, expected above 0"),
        (lambda: TrainConfig(surrogate="sharp"), "surrogate is sharp, expected one of atan, fast-sigmoid, membrane"),
        (lambda: TrainConfig(slope=-1.0), "slope is -1.0, expected above 0"),
        (
            lambda: module_of(graph(-0.5), Surrogate("membrane")),
            "threshold of hidden is -0.5, expected above 0 with the surrogate membrane",
        ),
    ],
)
def test_wrong_surrogates(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
