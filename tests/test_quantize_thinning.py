"""A limit on connections."""

from __future__ import annotations

from dataclasses import replace

import float_networks
import numpy as np
import pytest
from test_quantize_graph_ptq import trained

from gradrtl.errors import UserError
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.graph_ptq import quantize_graph, weight_units
from gradrtl.quantize.graph_rounding import GraphFormats, fold_graph
from gradrtl.quantize.ptq import quantize, weight_scales
from gradrtl.quantize.rounding import Formats
from gradrtl.quantize.thinning import thinned, thinned_graph


def network_of(seed: int) -> FloatNetwork:
    return fold(float_networks.checkpoint(float_networks.network(seed), seed))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_those_of_fewest_steps_go(seed: int, per_channel: bool) -> None:
    network, formats = network_of(seed), Formats(4, per_channel=per_channel)
    places = sum(layer.weight.size for layer in network.layers)
    wanted = 0.7 * network.synapses / places
    found = thinned(network, formats, wanted)
    assert found.synapses == int(wanted * places)
    left, gone = [], []
    for before, after, scale in zip(network.layers, found.layers, weight_scales(network, formats), strict=True):
        stays = after.weight != 0
        np.testing.assert_array_equal(after.weight[stays], before.weight[stays])
        steps = np.abs(before.weight) / scale.reshape(-1, *[1] * (before.weight.ndim - 1))
        left.append(steps[stays])
        gone.append(steps[~stays])
    assert np.concatenate(left).min() >= np.concatenate(gone).max()
    kept = quantize(found, formats).notes["synapses"]["kept"]
    assert sum(kept) <= wanted * places


def test_a_limit_that_holds_already_changes_nothing() -> None:
    network = network_of(0)
    assert thinned(network, Formats(4), 1.0) is network


@pytest.mark.parametrize("connectivity", [0.0, 1.5, float("nan")])
def test_limits_that_are_none(connectivity: float) -> None:
    with pytest.raises(UserError, match="connectivity"):
        thinned(network_of(0), Formats(4), connectivity)


def test_no_layer_is_left_empty() -> None:
    network = network_of(0)
    first = network.layers[0]
    one = np.zeros_like(first.weight)
    one.flat[0] = 1.0
    small = np.zeros_like(network.layers[1].weight)
    small.flat[0], small.flat[1:] = 100.0, 1.0  # with one scale a layer, all but one are less than a step
    network = replace(network, layers=(replace(first, weight=one), replace(network.layers[1], weight=small)))
    places = sum(layer.weight.size for layer in network.layers)
    with pytest.raises(UserError, match="at least one synapse"):
        thinned(network, Formats(4), 1.01 / places)


def test_a_graph_keeps_its_largest_weights() -> None:
    folded, formats = fold_graph(trained()), GraphFormats(4)
    assert thinned_graph(folded, formats, 1.0) is folded
    found = thinned_graph(folded, formats, 0.3)
    pairs = [
        (before, after, scale)
        for one, other, unit in zip(folded.populations, found.populations, weight_units(folded, formats), strict=True)
        for before, after, scale in zip(
            one.weights, other.weights, unit.scales(folded.source_values(one, formats)), strict=True
        )
    ]
    places = sum(before.size for before, _, _ in pairs)
    assert sum(int(np.count_nonzero(after)) for _, after, _ in pairs) == int(0.3 * places)
    left = np.concatenate([np.abs(after[after != 0]) / scale for _, after, scale in pairs])
    gone = np.concatenate([np.abs(before[after == 0]) / scale for before, after, scale in pairs])
    assert left.min() >= gone.max()
    assert quantize_graph(found, formats).connectivity <= 0.3
    with pytest.raises(UserError, match=r"population .* synapses is 0, expected 1 or more"):
        thinned_graph(folded, formats, 1.01 / places)
