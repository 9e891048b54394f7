"""Imported networks as the start of training: the same spikes in floats; what training does not know is refused."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import nir_files
import numpy as np
import pytest
import torch
from nir_files import given, graph, integrate, leaky, node, taken

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.importing import reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import ImportedGraph, import_graph
from gradrtl.model.importing.records import Record
from gradrtl.model.importing.training import trainable
from gradrtl.model.networks import network_of

STEPS = 5


def imported(record: Record, framework: str = "nir", **changes: Any) -> ImportedGraph:
    return import_graph(record, Convention.of(framework, **{"compare": "ge", **changes}))


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 3 else (1, 1, prod(shape))


def assert_same_spikes(found: ImportedGraph, seed: int = 0, readout: str | None = None) -> None:
    """Rates of all populations, and what is read: trained network == meaning of the file."""
    (name, seen), shape = next(iter(found.inputs.items())), image_shape(next(iter(found.inputs.values())))
    images = np.random.default_rng(seed).integers(0, 2, (6, *shape)).astype(np.uint8)
    frames = np.repeat(images.reshape(6, 1, prod(seen)).astype(np.float64), STEPS, axis=1)
    expected = reference.run(found.structure, {name: frames})
    description, arrays = trainable(found, shape, STEPS, readout)
    network = network_of(Checkpoint(description, arrays))
    with torch.no_grad():
        outputs, rates = network(torch.from_numpy(images * 255), layer_rates=True)
    order = sorted(description.populations, key=lambda spec: spec.name == description.readout.source)
    for spec, rate in zip(order, rates, strict=True):
        if spec.neuron.spiking:
            wanted = expected.spikes[spec.name].mean(axis=1)
            np.testing.assert_allclose(rate.flatten(1).numpy(), wanted, atol=1e-6, err_msg=spec.name)
    source, kind = description.readout.source, description.readout.kind
    if kind != "count":
        values = expected.membranes[source]
        wanted = {"membrane": values[:, -1], "largest": values.max(axis=1), "sum": values.mean(axis=1)}[kind]
        np.testing.assert_allclose(outputs.numpy(), wanted, rtol=1e-4, atol=1e-4)


def off_the_grid(record: Record) -> Record:
    """With thresholds that membranes do not meet exactly: weights are divided by them, and have 32 bits."""
    nodes = dict(record.nodes)
    for name, one in nodes.items():
        if "v_threshold" in one.fields:
            nodes[name] = replace(one, fields={**one.fields, "v_threshold": 0.97 * one.fields["v_threshold"]})
    return replace(record, nodes=nodes)


@pytest.mark.parametrize("seed", range(30))
def test_spikes_are_those_of_the_file(seed: int) -> None:
    """Of the first random network of a row that training knows."""
    make = nir_files.random_neurons if seed % 2 else nir_files.random_graph
    for number in range(100):
        found = imported(off_the_grid(make(1000 * seed + number)))
        try:
            trainable(found, image_shape(next(iter(found.inputs.values()))), STEPS)
        except UserError:
            continue
        assert_same_spikes(found, seed)
        return
    raise AssertionError("no network of a hundred")


def chain(*, neuron: Any = None, weight: Any = None, bias: Any = None, sources: int = 4, last: Any = None) -> Record:
    weight = np.random.default_rng(5).integers(-2, 5, (3, sources)) / 4 if weight is None else weight
    fields = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    nodes = {
        "input": given(sources),
        "fc": node("Linear" if bias is None else "Affine", **fields),
        "lif": leaky() if neuron is None else neuron,
        "output": taken(len(weight)),
    }
    return graph(nodes, "input -> fc -> lif -> output")


NEURONS = {
    "thresholds by neuron, learnt": leaky(0.75, np.array([0.5, 1.0, 1.5])),
    "decays by neuron": leaky(np.array([0.5, 0.75, 0.875])),
    "gains": node("LIF", tau=2e-4, r=np.array([2.0, 4.0, 8.0]), v_leak=0.0, v_threshold=1.0),
    "leak and reset": node("LIF", tau=2e-4, r=2.0, v_leak=0.25, v_threshold=1.0, v_reset=-0.5),
    "leaks by neuron": leaky(0.75, np.array([1.1, 1.2, 1.3]), v_leak=np.array([0.1, 0.2, 0.3]),
                             v_reset=np.array([0.1, 0.2, 0.3])),
    "current": node("CubaLIF", tau_mem=2e-4, tau_syn=4e-4, r=2.0, v_leak=0.0, v_threshold=1.0, w_in=4.0),
    "currents by neuron": node("CubaLIF", tau_mem=2e-4, tau_syn=np.array([2e-4, 4e-4, 3e-4]), r=2.0, v_leak=0.0,
                               v_threshold=1.0, w_in=np.array([1.0, 2.0, 4.0])),
    "leaky read-out": node("LI", tau=2e-4, r=np.array([1.0, 2.0, 3.0]), v_leak=np.full(3, 0.5)),
    "current read-out": node("CubaLI", tau_mem=2e-4, tau_syn=4e-4, r=2.0, v_leak=0.0, w_in=4.0),
}  # fmt: skip


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("bias", [None, np.array([0.5, 0.0, -0.25])])
def test_neurons(name: str, bias: Any) -> None:
    assert_same_spikes(imported(chain(neuron=NEURONS[name], bias=bias)))


@pytest.mark.parametrize("reset", ["value", "value-held", "subtract", "subtract-delayed", "none"])
def test_resets(reset: str) -> None:
    assert_same_spikes(imported(chain(), reset=reset))
    if reset != "subtract-delayed":
        assert_same_spikes(imported(chain(neuron=leaky(0.75, np.array([0.5, 1.0, 1.5]))), reset=reset))


@pytest.mark.parametrize("readout", ["membrane", "largest", "sum"])
def test_readouts(readout: str) -> None:
    assert_same_spikes(imported(chain(neuron=NEURONS["leaky read-out"])), readout=readout)


def test_numbers_stay_as_the_user_knows_them() -> None:
    """Gains go into weights; thresholds stay, unless they differ: weights and signs then keep their share of them."""
    one = chain(neuron=node("LIF", tau=2e-4, r=1.0, v_leak=0.0, v_threshold=0.75), bias=np.ones(3))
    description, arrays = trainable(imported(one), (1, 2, 2), STEPS)
    assert description.populations[0].neuron.threshold == 0.75
    weight = one.nodes["fc"].fields["weight"]
    np.testing.assert_allclose(arrays["population0.connection0.weight"], weight / 2)
    np.testing.assert_allclose(arrays["population0.bias"], 0.5)
    many = chain(neuron=leaky(0.75, np.array([0.5, 1.0, 2.0])))
    description, arrays = trainable(imported(many), (1, 2, 2), STEPS)
    assert description.populations[0].neuron.threshold == 1.0
    np.testing.assert_allclose(arrays["population0.connection0.weight"], weight / np.array([[0.5], [1.0], [2.0]]))


def test_an_input_sees_a_share_of_the_rows_at_each_step() -> None:
    found = imported(chain(sources=4))
    description, arrays = trainable(found, (1, 6, 2), 3)
    assert not description.inputs[0].held
    images = np.random.default_rng(0).integers(0, 2, (5, 1, 6, 2)).astype(np.uint8)
    expected = reference.run(found.structure, {"input": images.reshape(5, 3, 4).astype(float)})
    rates = network_of(Checkpoint(description, arrays))(torch.from_numpy(images * 255))
    np.testing.assert_allclose(rates.detach().numpy(), expected.spikes["lif"].mean(axis=1))


def two_outputs() -> Record:
    whole = chain()
    return replace(
        whole, nodes={**whole.nodes, "b": leaky(), "c": taken(3)}, edges=(*whole.edges, ("fc", "b"), ("b", "c"))
    )


def two_inputs() -> Record:
    whole = chain()
    more = {"other": given(3), "fc2": node("Linear", weight=np.eye(3))}
    return replace(whole, nodes={**whole.nodes, **more}, edges=(*whole.edges, ("other", "fc2"), ("fc2", "lif")))


def maps(loop: bool = False, **fields: Any) -> Record:
    """A convolution onto a map of 2 x 1 neurons, which may hear themselves densely."""
    nodes = {
        "input": given(1, 2, 2),
        "conv": node("Conv2d", weight=np.ones((1, 1, 1, 2)), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1,
                     bias=np.zeros(1)),
        "if": integrate(**fields),
        "output": taken(1, 2, 1),
        "rec": node("Linear", weight=np.eye(2)),
    }  # fmt: skip
    edges = ["input -> conv -> if -> output", *(["if -> rec -> if"] if loop else [])]
    return graph({name: one for name, one in nodes.items() if loop or name != "rec"}, *edges)


def delayed() -> Record:
    whole = chain()
    nodes = {**whole.nodes, "late": node("Delay", delay=np.full(4, 1e-4))}
    return graph(nodes, "input -> late -> fc -> lif -> output")


APART = np.array([0.1, 0.2, 0.3])
DECAYS = np.array([0.5, 0.6, 0.7])
ROWS = np.array([1.0, 2.0]).reshape(1, 2, 1)
REFUSED: dict[str, tuple[Record, dict[str, Any], str]] = {
    "two outputs": (two_outputs(), {}, "Outputs is lif, b, expected one to train"),
    "two inputs": (two_inputs(), {}, "Inputs is input, other, expected one, which sees the images"),
    "input": (
        chain(sources=5),
        {},
        "node input shape is (5,), expected 4 pixels of (1, 2, 2) images, or their 5th part",
    ),
    "several": (
        chain(),
        {"framework": "sinabs"},
        "node lif spikes in a step is perhaps several, expected one: --spikes single",
    ),
    "late": (chain(neuron=leaky(dt=1.0)), {"framework": "spyx"}, "node lif spikes is a step late"),
    "resets": (chain(neuron=leaky(v_reset=APART)), {}, "node lif v_reset is 0.1 to 0.3, expected one for all"),
    "amounts": (
        chain(neuron=leaky(DECAYS)),
        {"reset": "subtract-delayed"},
        "node lif reset, in thresholds, is 1.42857 to 2, expected one for all its neurons: --reset subtract",
    ),
    "slow decays": (chain(neuron=leaky(DECAYS + 0.299)), {}, "node lif decay is 0.799 to 0.999, expected between"),
    "thresholds": (chain(neuron=leaky(threshold=APART - 0.2)), {}, "node lif v_threshold is -0.1, expected above"),
    "delayed input": (
        delayed(),
        {},
        "node lif delay is 1, expected 0 from an Input that shows an image at every step",
    ),
    "dense maps": (
        maps(loop=True),
        {},
        "node if shape is (1, 2, 1), expected (neurons,) behind a dense connection",
    ),
    "maps": (
        maps(threshold=ROWS),
        {},
        "node if gain, threshold or bias is 0.5 to 1 within a map, expected one for each map",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_training_does_not_know_is_refused(name: str) -> None:
    record, changes, message = REFUSED[name]
    found = imported(record, **changes)
    with pytest.raises(UserError) as error:
        trainable(found, (1, 2, 2), 5)
    assert message in str(error.value)


def test_the_readout_fits_the_neurons() -> None:
    with pytest.raises(UserError, match="readout is sum, expected count: what lif has"):
        trainable(imported(chain()), (1, 2, 2), 3, "sum")
    with pytest.raises(UserError, match="readout is count, expected membrane, largest, sum: what lif has"):
        trainable(imported(chain(neuron=NEURONS["leaky read-out"])), (1, 2, 2), 3, "count")


@pytest.mark.parametrize("pool", ["AvgPool2d", "SumPool2d", "MaxPool2d"])
def test_pools(pool: str) -> None:
    fields = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    rng = np.random.default_rng(2)
    nodes = {
        "input": given(1, 6, 6),
        "conv1": node("Conv2d", weight=rng.integers(-1, 3, (2, 1, 3, 3)) / 4, bias=np.zeros(2), **fields),
        "if1": integrate(0.97),
        "pool": node(pool, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0)),
        "conv2": node("Conv2d", weight=rng.integers(-1, 3, (3, 2, 2, 2)) / 4, bias=np.zeros(3), **fields),
        "if2": integrate(0.97),
        "output": taken(3, 1, 1),
    }
    found = imported(graph(nodes, "input -> conv1 -> if1 -> pool -> conv2 -> if2 -> output"))
    assert found.populations[1].inputs[0].pool is not None
    assert_same_spikes(found)
