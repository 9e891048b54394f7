"""Weights that training rounds, and that `quantize` then rounds no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gradrtl.model.conversion import convert
from gradrtl.model.description import ConvSpec, DenseSpec
from gradrtl.model.graph import ConnectionSpec, Graph, InputSpec, PopulationSpec, ReadoutSpec
from gradrtl.model.relu import ReluNetwork
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_graph import INTEGRATES, READS
from gradrtl.model.relu_train import Trained
from gradrtl.model.rounding import Rounded, fit, fit_together, leave_rounded, round_weights
from gradrtl.quantize.graph_ptq import quantize_graph
from gradrtl.quantize.graph_rounding import GraphFormats, fold_graph
from gradrtl.shapes import Pool

WEIGHT = torch.tensor([[3.0, -1.0, 2.0], [0.3, 0.1, 0.9]])


class Source(nn.Module):
    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = torch.tensor(threshold)


def test_the_scale_of_rounded_weights_errs_least_among_those_tried() -> None:
    rounded, one = Rounded(WEIGHT, 3, per_output=True), Rounded(WEIGHT, 3, per_output=False)
    for made in (rounded, one):
        fit_together([(made, WEIGHT)], (1.0,))
    assert rounded.scale.flatten().tolist() == pytest.approx([1.0, 0.3])
    assert torch.allclose(rounded(WEIGHT), torch.tensor([[3.0, -1.0, 2.0], [0.3, 0.0, 0.9]]))
    assert one.scale.shape == (1, 1)
    held = WEIGHT.clone().requires_grad_()
    (rounded(held) * torch.arange(6.0).reshape(2, 3)).sum().backward()
    assert held.grad is not None
    assert held.grad.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_connections_into_one_sum_share_a_unit_up_to_a_power_of_two() -> None:
    """What is rounded is what a spike adds: a weight times the threshold, and the value of a source of 1."""
    sources = Source(2.0), Source(0.5)
    weights = WEIGHT, 8 * WEIGHT.flip(1)
    parts = [(Rounded(weight, 3, True, source), weight) for weight, source in zip(weights, sources, strict=True)]
    fit_together(parts, (1.0, 0.25))
    # a spike adds twice WEIGHT or, from the second source, WEIGHT; so the integers of the first are shifted by one
    assert parts[0][0].scale.flatten().tolist() == pytest.approx([1.0, 0.3])
    assert parts[1][0].scale.flatten().tolist() == pytest.approx([8.0, 8 * 0.3])
    rounded = parts[0][0]
    before = rounded(WEIGHT)
    sources[0].threshold *= 2
    assert torch.equal(rounded.scale, rounded.unit / 4)
    assert not torch.equal(rounded(WEIGHT), before), "the scale follows the threshold"


def test_a_connection_without_weights_takes_part() -> None:
    parts = [(Rounded(weight, 3, True), weight) for weight in (WEIGHT, torch.zeros((2, 4)))]
    fit_together(parts, (1.0, 1.0))
    assert parts[0][0].scale.flatten().tolist() == pytest.approx([1.0, 0.3])
    assert not parts[1][0](torch.zeros((2, 4))).any()


def network_of_sums() -> ReluNetwork:
    """One population that sees pixels and two others, and a read-out of two, one of them pooled."""
    conv = ConvSpec(3)
    heard = {"a": ("image",), "b": ("a",), "c": ("a", "image", "b")}
    populations = [
        PopulationSpec(name, tuple(ConnectionSpec((one,), conv) for one in sources), INTEGRATES, batch_norm=True)
        for name, sources in heard.items()
    ]
    to_read = ConnectionSpec(("c",), DenseSpec(4), pool=Pool("average", 2)), ConnectionSpec(("b",), DenseSpec(4))
    read = PopulationSpec("output", to_read, READS, bias=True)
    parts = (InputSpec("image", (1, 4, 4)),)
    graph = Graph("sums", parts, (*populations, read), ReadoutSpec("output", "membrane"), 4)
    torch.manual_seed(0)
    network = ReluNetwork(graph, "shift")
    for value, name in enumerate("abc"):
        network.activation_of(name).threshold.data.fill_(0.7 * 3**value)
    for population in network.all:
        if population.norm is not None:
            population.norm.weight.data.normal_()
            population.norm.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("few", [False, True])
def test_integers_are_the_rounded_weights_also_of_several_connections(few: bool) -> None:
    """`few`: a single weight is left in a connection to the read-out, of three units."""
    network = network_of_sums()
    if few:
        pooled, single = network.all[-1].synapses
        most = pooled.weight.abs().max() * network.activation_of("c").threshold / 4
        single.weight.data.zero_()[0, 0] = 3 / 7 * most / network.activation_of("b").threshold
    round_weights(network, 4)
    for name, by in zip("abc", (1.3, 0.6, 2.9), strict=True):
        network.activation_of(name).threshold.data *= by
    leave_rounded(network)
    folded = fold_graph(convert(Trained(network.eval(), [], 0.0, {}), ReluConfig(network=network.description)))
    formats = GraphFormats(weight_bits=4, per_channel=True)
    made = quantize_graph(folded, formats)
    for population, rounded in zip(folded.populations, made.populations, strict=True):
        values = folded.source_values(population, formats)
        units = np.atleast_1d(made.notes["units"][rounded.name])
        for connection, weight, value in zip(rounded.inputs, population.weights, values, strict=True):
            integers = connection.synapses.weight
            scale = (units * 2.0**connection.shift / value).reshape(-1, *[1] * (weight.ndim - 1))
            assert np.abs(integers * scale - weight).max() < 1e-4 * scale.max(), rounded.name
            assert few or np.abs(integers).max() in (6, 7), rounded.name
    assert not few or made.populations[-1].inputs[1].synapses.weight.sum() in (3, 5, 6, 7)


def test_scales_are_fitted_anew() -> None:
    network = network_of_sums()
    round_weights(network, 4)
    layers = [layer for population in network.all for layer in population.synapses]
    before = [layer.weight.detach().clone() for layer in layers]
    for layer in layers:
        layer.parametrizations.weight.original.data *= 3
    fit(network)
    for layer, weight in zip(layers, before, strict=True):
        assert torch.allclose(layer.weight, 3 * weight)
