"""Fine-tuning of imported networks starts from the integers of the import, and its forward pass stays the engine's."""

from __future__ import annotations

from dataclasses import replace

import nir_files
import numpy as np
import pytest
import torch
from nir_files import given, graph, leaky, node, taken
from random_networks import frames as frames_for
from test_quantize_integer_graph import assert_equal, learn, packed

from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import ImportedGraph, import_graph
from gradrtl.quantize.graph_rounding import GraphFormats
from gradrtl.quantize.imported import Asked, quantize_imported
from gradrtl.quantize.imported_reals import reals_of_imported
from gradrtl.quantize.integer_graph import IntegerGraph
from gradrtl.quantize.reals import NEURON

EIGHT = GraphFormats(decay_bits=15)


def module_of(record, asked, formats=EIGHT, framework="snntorch", **changes) -> IntegerGraph:
    imported = import_graph(record, Convention.of(framework, **changes))
    network = quantize_imported(imported, asked, formats)
    return IntegerGraph(network, reals_of_imported(imported, asked, formats, network))


def drawn(seed: int) -> tuple[ImportedGraph, Asked, GraphFormats]:
    """A random graph of the neurons of NIR, and how it is imported."""
    rng = np.random.default_rng([seed, 2])
    record = (nir_files.random_neurons if seed % 2 else nir_files.random_graph)(seed)
    convention = Convention.of(str(rng.choice(["nir", "snntorch", "spikingjelly"])))
    formats = replace(EIGHT, weight_bits=int(rng.choice([3, 4, 8])), input_bits=int(rng.choice([1, 4, 8])))
    kind = str(rng.choice(["spikes", "graded", "static"]))
    imported = import_graph(record, convention)
    asked = Asked(int(rng.integers(1, 8)), kind, None, bool(rng.random() < 0.4))
    mixed = any(len({c.convolves for c in one.inputs}) == 2 for one in imported.populations)
    return imported, replace(asked, per_channel=asked.per_channel and not mixed), formats


@pytest.mark.parametrize("seed", range(30))
def test_the_module_starts_from_the_integers_and_stays_the_engine_s(seed: int) -> None:
    imported, asked, formats = drawn(seed)
    network = quantize_imported(imported, asked, formats)
    module = IntegerGraph(network, reals_of_imported(imported, asked, formats, network))
    assert module.export().digest == network.digest
    frames = frames_for(network, 4, seed)
    assert_equal(module, frames)
    learn(module, packed(network, frames), times=2)
    assert module.export().digest != network.digest
    assert_equal(module, frames)


def chain(weight, threshold=1.0, neuron=leaky, **fields):
    nodes = {"input": given(2), "fc": node("Linear", weight=weight), "lif": neuron(threshold=threshold, **fields)}
    return graph({**nodes, "output": taken(len(weight))}, "input -> fc -> lif -> output")


WEIGHT = np.array([[0.31, -0.5], [0.27, 0.11]])


def test_reals_are_those_of_the_file() -> None:
    own = module_of(chain(WEIGHT, np.array([0.7, 0.9])), Asked(3)).populations[0].reals
    np.testing.assert_array_equal(own.weights[0], WEIGHT)
    np.testing.assert_allclose(own.threshold, [0.7, 0.9])
    np.testing.assert_allclose(own.reset_amount, np.array([0.7, 0.9]) / 0.9)  # snnTorch subtracts a step later
    assert own.strict
    assert not module_of(chain(WEIGHT), Asked(3), compare="ge").populations[0].reals.strict


def test_rows_have_units_of_their_own_and_the_size_of_the_file() -> None:
    module = module_of(chain(WEIGHT, 0.7), Asked(3, per_channel=True))
    own = module.populations[0].reals
    assert own.unit.shape == (2,)
    np.testing.assert_allclose(own.weights[0], WEIGHT)
    np.testing.assert_allclose(own.threshold, 0.7)
    assert module.network.population("lif").neuron.threshold[0] != module.network.population("lif").neuron.threshold[1]


def test_what_would_be_rounded_otherwise_is_the_integer() -> None:
    """A threshold that is whole but for the noise of 32 bits: the import takes it as whole, fine-tuning as it is."""
    noisy = 40.0 * (1 - 5e-7)
    module = module_of(chain(np.array([[1.0, 2.0], [1.0, 1.0]]), noisy, nir_files.integrate), Asked(3), framework="nir")
    assert module.network.population("lif").neuron.threshold.tolist() == [41]
    assert module.populations[0].reals.threshold.tolist() == [40.0]


def test_a_weight_that_was_rounded_otherwise_is_its_integer() -> None:
    """As a tie may be, once a weight has been divided by that of its row and multiplied again."""
    imported = import_graph(chain(WEIGHT), Convention.of("snntorch"))
    network = quantize_imported(imported, Asked(3))
    lif = network.population("lif")
    integers = lif.inputs[0].synapses.weight.copy()
    integers[0, 1] += 1
    other = replace(lif.inputs[0], synapses=replace(lif.inputs[0].synapses, weight=integers))
    changed = replace(network, populations=(replace(lif, inputs=(other,)),))
    module = IntegerGraph(changed, reals_of_imported(imported, Asked(3), EIGHT, changed))
    assert module.export().digest == changed.digest != network.digest
    own = module.populations[0].reals.weights[0]
    assert (own != WEIGHT).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("reset", [2 / 3, 0.7])
def test_a_threshold_within_a_unit_of_the_reset_value(reset: float) -> None:
    """Both are rounded to the same integer, though the threshold is above; fine-tuning alone would keep them apart."""
    fields = {"neuron": nir_files.integrate, "v_reset": reset}
    far = module_of(chain(np.array([[0.25, 0.5]]), 9.0, **fields), Asked(2), framework="nir", compare="ge")
    unit = far.network.notes["units"]["lif"]
    near = chain(np.array([[0.25, 0.5]]), unit * np.ceil(reset / unit), **fields)
    module = module_of(near, Asked(2), framework="nir", compare="ge")
    neuron = module.network.population("lif").neuron
    assert neuron.threshold[0] - neuron.reset_value[0] == (1 if reset / unit % 1 < 0.5 else 0)


def test_membranes_are_worth_what_they_are_in_the_file() -> None:
    """Of a read-out whose sum is multiplied by a gain, outputs are those of the file, not of the weights."""
    nodes = {
        "input": given(2),
        "fc": node("Linear", weight=np.array([[4.0, 1.0], [2.0, 3.0]])),
        "li": node("LI", tau=2e-4, r=0.5, v_leak=0.0),  # half of it stays in a step of 1e-4, and the gain is 1/4
        "output": taken(2),
    }
    module = module_of(graph(nodes, "input -> fc -> li -> output"), Asked(1), framework="nir")
    assert module.populations[0].reals.worth == 0.25
    outputs = module(torch.tensor([[1, 0]], dtype=torch.uint8))
    torch.testing.assert_close(outputs.detach().double(), torch.tensor([[1.0, 0.5]], dtype=torch.float64))


def test_reals_by_neuron_and_by_map_go_together() -> None:
    """Thresholds one a neuron, reset values one a map."""
    shape = (2, 2, 2)
    threshold = np.arange(1, 9).reshape(shape) / 4
    reset = np.broadcast_to(np.array([0.25, -0.5]).reshape(2, 1, 1), shape)
    nodes = {
        "input": given(1, 3, 3),
        "conv": node("Conv2d", weight=np.full((2, 1, 2, 2), 0.25) * np.array([1, 3]).reshape(2, 1, 1, 1),
                     stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=np.zeros(2)),
        "if": nir_files.integrate(threshold, v_reset=reset),
        "output": taken(*shape),
    }  # fmt: skip
    module = module_of(graph(nodes, "input -> conv -> if -> output"), Asked(4), framework="nir")
    assert {getattr(module.populations[0].reals, name).size for name in NEURON} == {1, 2, 8}
    assert_equal(module, frames_for(module.network, 3, 0))
