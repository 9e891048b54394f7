"""The module that learns on graphs: each spike and membrane is the integer machines', gradients are what they claim."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np
import pytest
import random_graphs
import torch
from random_graphs import with_gradient
from random_networks import frames as frames_for
from test_model_graph_integers import GRAPHS
from test_quantize_graph_rounding import EXACT, checkpoint, network_of

from gradrtl.errors import UserError
from gradrtl.model.description import DenseSpec
from gradrtl.model.graph import (
    LI,
    ConnectionSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)
from gradrtl.model.graph_network import GraphNetwork
from gradrtl.model.sequences import latencies
from gradrtl.quantize import integer_graph
from gradrtl.quantize.graph_ptq import weight_units
from gradrtl.quantize.graph_rounding import GraphFormats, at_units, fold_graph, reals_of
from gradrtl.quantize.images import frames_of_images
from gradrtl.quantize.integer_graph import IntegerGraph
from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.quantize.reals import of_integers
from gradrtl.sim import engine
from gradrtl.sim.frames import check

SMALL = random_graphs.SMALL


def packed(network: QuantizedNetwork, frames: object) -> torch.Tensor:
    """Frames of all inputs, one behind the other."""
    parts = check(network, frames)  # type: ignore[arg-type]
    return torch.from_numpy(np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1))


def module_of(network: QuantizedNetwork) -> IntegerGraph:
    worths = [[1.0] * len(population.inputs) for population in network.populations]
    return IntegerGraph(network, of_integers(network, [0.25] * len(worths), worths))


def assert_equal(module: IntegerGraph, frames: object) -> None:
    """Spikes and membranes of all populations and steps, and sums: module == engine."""
    network = module.export()
    expected = engine.run(network, frames, trace=True, threads=1)  # type: ignore[arg-type]
    spikes, membranes, sums = module.trace(packed(network, frames))
    assert expected.trace is not None
    for population, ours, v, fast, theirs in zip(
        network.populations, spikes, membranes, expected.trace.spikes, expected.trace.membranes, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), fast, f"spikes of {population.name}")
        np.testing.assert_array_equal(v.numpy(), theirs, f"membranes of {population.name}")
    np.testing.assert_array_equal(sums.numpy(), expected.counts[:, : network.classes])


@pytest.mark.parametrize("seed", range(40))
def test_forward_is_the_integer_arithmetic(seed: int) -> None:
    network = with_gradient(random_graphs.graph(seed))
    module = module_of(network)
    assert module.export().digest == network.digest
    assert_equal(module, frames_for(network, 5, seed))


def learn(module: IntegerGraph, x: torch.Tensor, times: int = 3) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    goal = torch.randn(len(x), module.network.classes, generator=torch.Generator().manual_seed(0))
    for _ in range(times):
        loss = torch.nn.functional.mse_loss(module(x), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("seed", [*range(0, 12), 25])
def test_it_stays_so_while_it_learns(seed: int) -> None:
    network = with_gradient(random_graphs.graph(seed, SMALL))
    module, frames = module_of(network), frames_for(network, 5, seed)
    learn(module, packed(network, frames))
    found = module.export()
    assert found.digest != network.digest
    assert_equal(module, frames)
    for ours, given in zip(found.edges, network.edges, strict=True):
        assert not ours.synapses.weight[given.synapses.weight == 0].any()


@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_are_those_of_the_floats_where_nothing_is_rounded(name: str) -> None:
    """Weights, decays and thresholds lie on the grid of the integers: spikes are equal, and so are gradients."""
    graph = GRAPHS[name]
    if graph.readout.kind == "largest":  # of equal membranes each step shares the gradient in its own way
        graph = replace(graph, readout=replace(graph.readout, kind="sum"))
    made = checkpoint(graph)
    folded = fold_graph(made)
    units = weight_units(folded, EXACT)
    module, floats = IntegerGraph(at_units(folded, EXACT, units), reals_of(folded, EXACT, units)), network_of(made)
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 2, (6, 2, 4, 4)).astype(np.uint8) * 255)
    goal = torch.randn(6, made.network.classes, generator=torch.Generator().manual_seed(5))
    outputs = []
    for network in (module, floats):
        found, rates = network(images, layer_rates=True)
        ((found * goal).sum() + sum(rate.square().sum() for rate in rates[:-1])).backward()
        outputs.append([found.double(), *(rate.double() for rate in rates)])
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    reached = 0
    for one, other in zip(module.populations, floats.populations, strict=True):
        for index, (weight, synapses) in enumerate(zip(one.weights, other.synapses, strict=True)):
            expected = synapses.weight.grad.flatten()[getattr(one, f"place{index}")]
            reached += bool(expected.abs().max() > 1e-3)
            torch.testing.assert_close(weight.grad.float(), expected, rtol=1e-4, atol=1e-5)
        if other.bias is not None:
            torch.testing.assert_close(one.bias.grad.float(), other.bias.grad, rtol=1e-4, atol=1e-5)
    assert reached >= len(made.weights) - 1


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_long_frames_are_computed_in_segments(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same outputs and gradients."""
    network = with_gradient(random_graphs.graph(seed, replace(SMALL, most_steps=30)))
    x, found = packed(network, frames_for(network, 3, seed)), []
    for short in (1000, 2):
        monkeypatch.setattr(integer_graph, "SHORT", short)
        calls: list[int] = []
        module = module_of(network)
        run = module._run
        module._run = lambda *given, run=run, calls=calls: calls.append(given[0]) or run(*given)  # type: ignore[method-assign]
        outputs, rates = module(x, layer_rates=True)
        (outputs.sum() + sum(rate.sum() for rate in rates)).backward()
        assert len(calls) == (1 if short == 1000 else 2 * -(-network.steps // (isqrt(network.steps - 1) + 1)))
        found.append([outputs.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    assert network.steps > 2
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


def one_neuron(weight: int, integer: int, *, unit: float = 0.3, **reals: Any) -> IntegerGraph:
    """A neuron that neither decays nor resets, behind one input of spikes; one step."""
    neuron = IntNeuron("none", "none", threshold=integer)
    hidden = Population("a", (1,), neuron, 0, (Connection("in", Dense(np.array([[weight]], np.int8)), 4),))
    network = QuantizedNetwork(Input((1,), 1, "spikes", "in"), (hidden,), 1)
    own = of_integers(network, [unit], [[1.0]])[0]
    return IntegerGraph(network, (replace(own, **reals),))


def test_the_units_gradient_is_that_of_learned_step_size_quantization() -> None:
    """One neuron, one step: `d(u - theta)/ds` with `u`, `theta` fake-quantised, by hand."""
    unit, weight, threshold = 0.3, 1.0, 1.1  # 3.33 units round to 3, 3.67 up to 4
    module = one_neuron(3, 4, unit=unit, weights=(np.array([[weight]]),), threshold=np.array([threshold]))
    x = torch.ones((1, 1), dtype=torch.uint8)
    module(x).sum().backward()
    slope = 1 / (1 + (math.pi * unit * (3 - 4)) ** 2)  # of the spike, one unit below its threshold
    residues = (3 - weight / unit) - (4 - threshold / unit)
    found = module.populations[0]
    assert found.log_scale.grad.item() == pytest.approx(slope * unit * residues)
    assert found.weights[0].grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(
    ("strict", "threshold", "expected"),
    [(False, 1.2, 4), (True, 1.2, 5), (False, 1.21, 5), (True, 1.21, 5), (False, 1.2 + 1e-8, 4), (True, 1.2 - 1e-8, 5)],
)
def test_thresholds_are_reached_as_the_real_ones_are(strict: bool, threshold: float, expected: int) -> None:
    module = one_neuron(3, expected, threshold=np.array([threshold]), strict=strict)
    assert module.export().populations[0].neuron.threshold.tolist() == [expected]


def test_a_silent_neuron_stays_silent_in_any_unit() -> None:
    module = one_neuron(3, 1)
    with torch.no_grad():
        module.populations[0].log_scale += 20.0  # a unit in which the threshold is nearly 0: where the membrane rests
    assert module.export().populations[0].neuron.threshold.tolist() == [1]


def test_units_of_channels() -> None:
    """Maps of neurons and dense ones: thresholds, reset values and biases follow the unit of their channel."""
    for name in ("loop of maps", "recurrent"):
        made = checkpoint(GRAPHS[name])
        folded, formats = fold_graph(made), GraphFormats(4, per_channel=True, input_bits=3)
        units = weight_units(folded, formats)
        network = at_units(folded, formats, units)
        assert network.populations[0].neuron.threshold.size == network.populations[0].channels > 1
        module = IntegerGraph(network, reals_of(folded, formats, units))
        assert module.export().digest == network.digest
        images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (6, 2, 4, 4)).astype(np.uint8))
        learn(module, images)
        found = [frames_of_images(given, network.steps, images.numpy()) for given in network.inputs]
        assert_equal(module, found[0] if len(found) == 1 else tuple(found))


def test_what_does_not_fit_names_the_population() -> None:
    network = with_gradient(random_graphs.graph(1, SMALL))
    worths = [[1.0] * len(population.inputs) for population in network.populations]
    reals = of_integers(network, [1.0] * len(worths), worths)
    last = network.populations[-1].name

    def refused(message: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=re.escape(message)):
            IntegerGraph(network, (*reals[:-1], replace(reals[-1], **changes)))

    own = reals[-1]
    where = f"reals of population {last}"
    refused(f"{where} bias is rounded to another integer, expected its integers", bias=own.bias + 1)
    refused(f"{where} threshold is rounded to another integer", threshold=own.threshold + 1)
    refused(
        "that are rounded to others, expected its integers",
        weights=(own.weights[0], own.weights[1] * 0 + 32, *own.weights[2:]),
    )
    refused(f"{where} unit shape is (77,), expected (1,)", unit=np.ones(77))
    refused(f"{where} unit or worths is 0 or below", unit=np.zeros(1))
    refused(f"{where} bias is float32, expected an array of float64", bias=own.bias.astype(np.float32))
    refused(f"{where} threshold is not finite", threshold=own.threshold * np.nan)
    refused(f"{where} weights is 0, expected {len(own.weights)}, its connections", weights=())
    with pytest.raises(UserError, match="reals is 0, expected"):
        IntegerGraph(network, ())


def test_membranes_are_compared_in_one_unit() -> None:
    made = checkpoint(GRAPHS["recurrent"])
    folded, formats = fold_graph(made), GraphFormats(4)
    units = weight_units(folded, formats)
    reals = reals_of(folded, formats, units)
    apart = replace(reals[1], unit=np.repeat(reals[1].unit, 3))
    with pytest.raises(UserError, match="population out units is 3, expected 1: membranes are compared"):
        IntegerGraph(at_units(folded, formats, units), (reals[0], apart))


def test_the_loss_sees_membranes_at_their_worth() -> None:
    made = checkpoint(GRAPHS["recurrent"])
    folded, formats = fold_graph(made), GraphFormats(4)
    units = weight_units(folded, formats)
    hidden, out = reals_of(folded, formats, units)
    network = at_units(folded, formats, units)
    frames = packed(network, frames_for(network, 5))
    plain, dear = (IntegerGraph(network, (hidden, replace(out, worth=worth)))(frames) for worth in (1.0, 3.0))
    assert plain.abs().max() > 0
    torch.testing.assert_close(dear, 3 * plain)


def test_sums_that_outgrow_single_precision_are_noticed() -> None:
    module = one_neuron(3, 4)
    assert module.dtype == torch.float32
    module.check()
    with torch.no_grad():
        module.populations[0].log_scale -= 17.0  # a threshold 24 million times as large
    with pytest.raises(UserError, match="largest sum is"):
        module.check()
    assert one_neuron(3, 1 << 23).dtype == torch.float64


def test_a_latency_code_goes_through_training_and_fine_tuning() -> None:
    """Floats, integers and fine-tuning see the same events of an image, and the integers say that it is a code."""
    part = InputSpec("pixels", (2, 4, 4), held=False, latency=True)
    once = NeuronSpec(1.0, 1.0, "none", refractory=5)
    heard = ConnectionSpec(("pixels",), DenseSpec(12, bias=False))
    populations = (
        PopulationSpec("hidden", (heard,), once),
        PopulationSpec("out", (ConnectionSpec(("hidden",), DenseSpec(3, bias=False)),), LI),
    )
    description = Graph("coded", (part,), populations, ReadoutSpec("out", "sum"), 5)
    assert Graph.from_json(description.to_json()) == description
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (6, 2, 4, 4)).astype(np.uint8))
    given = GraphNetwork(description)._given(part, images)
    assert np.array_equal(given.numpy(), latencies(images.numpy(), 5).swapaxes(0, 1))
    folded, formats = fold_graph(checkpoint(description)), GraphFormats(4)
    units = weight_units(folded, formats)
    network = at_units(folded, formats, units)
    (events,) = network.inputs
    assert (events.kind, network.notes["latency"]) == ("spikes", ["pixels"])
    module = IntegerGraph(network, reals_of(folded, formats, units))
    learn(module, images)
    frames = frames_of_images(events, 5, images.numpy(), latency=True)
    assert_equal(module, frames)
    assert engine.run(module.export(), frames, trace=True).trace.spikes[0].any()
    assert module.export().notes["latency"] == ["pixels"]


@pytest.mark.parametrize("changes", [{"held": True}, {"held": False, "counts": 2}])
def test_a_latency_code_is_of_still_images(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="input pixels latency is True, expected False where it is held, or has counts"):
        InputSpec("pixels", (1, 4, 4), latency=True, **changes)


def test_first_spikes_have_no_gradient() -> None:
    network = random_graphs.graph(1)
    assert network.readouts[0].kind == "first"
    with pytest.raises(UserError, match="readout is first, expected count, membrane, largest, sum"):
        module_of(network)


@pytest.mark.parametrize("seed", range(8))
def test_answers_after_every_step(seed: int) -> None:
    """What has been read until then, in the unit of the last."""
    network = with_gradient(random_graphs.graph(seed, SMALL))
    read = network.readouts[0]
    module, frames = module_of(network), packed(network, frames_for(network, 5))
    spikes, membranes, _ = module.trace(frames)
    number = network.graph.index[read.source]
    x = (
        (spikes if read.kind == "count" else membranes)[number]
        .unflatten(2, (-1, read.group))
        .sum(dim=3)
        .transpose(0, 1)
    )
    found, rates = module(frames, layer_rates=True, every_step=True)
    last, others = module(frames, layer_rates=True)
    assert torch.equal(found[-1], last)
    assert all(torch.equal(a, b) for a, b in zip(rates, others, strict=True))
    one = {"membrane": x, "sum": x.cumsum(dim=0), "count": x.cumsum(dim=0)}
    if read.group == 1:
        one["largest"] = x.cummax(dim=0).values
    if read.kind in one:
        expected = one[read.kind].double()
        assert torch.allclose(found.detach() * expected[-1].sum(), expected * last.detach().sum())
