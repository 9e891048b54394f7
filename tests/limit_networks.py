"""Random networks with one number driven to its limit: as large as the network is still accepted with.

`docs/limits.md` lists the limits. What a network of integers may hold is bounded when it is made; these networks show
that every machine is right up to there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from gradrtl.errors import UserError
from gradrtl.quantize.network import LIMIT, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.shapes import LARGEST_REFRACTORY

TOPS = tuple((1 << bits) - 1 for bits in range(31, 0, -1))


def at_limit(network: QuantizedNetwork, seed: int) -> tuple[str, QuantizedNetwork]:
    """The name of limit number `seed`, in turn, and `network` driven to it; as it was where that cannot be."""
    name = tuple(CHANGES)[seed % len(CHANGES)]
    generator = np.random.default_rng([seed, 2])
    index = int(generator.integers(len(network.layers)))
    signs = generator.choice([-1, 1], network.layers[index].channels)
    for top in TOPS:
        with suppress(UserError):  # too large: the next smaller one
            return name, CHANGES[name](network, index, top, signs)
    return "none", network


def _with(network: QuantizedNetwork, index: int, layer: Layer, **others: Any) -> QuantizedNetwork:
    return network.changed(layers=(*network.layers[:index], layer, *network.layers[index + 1 :]), **others)


def _neuron(network: QuantizedNetwork, index: int, **given: Any) -> QuantizedNetwork:
    layer = network.layers[index]
    return _with(network, index, replace(layer, neuron=replace(layer.neuron, **given)))


def _by_neuron(network: QuantizedNetwork, index: int, signs: np.ndarray) -> np.ndarray:
    """Signs, one for each channel, as one for each neuron: the first of a channel the other way round."""
    layer = network.layers[index]
    spread = np.repeat(signs.astype(np.int64), layer.neurons // layer.channels)
    spread[:: layer.neurons // layer.channels] *= -1
    return spread


def biases(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """Sums as large as they may get."""
    layer = network.layers[index]
    return _with(network, index, replace(layer, synapses=replace(layer.synapses, bias=signs.astype(np.int64) * top)))


def thresholds(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """Out of reach above and below: whatever spikes under a soft reset goes far up."""
    return _neuron(network, index, threshold=signs.astype(np.int64) * min(top, LIMIT - 1), reset_amount=None)


def reset_values(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """Of each neuron, where frames start as well."""
    values = _by_neuron(network, index, signs) * top
    given = {"membrane_bits": None, "reset_value": values, "reset_amount": None, "start_value": None}
    return _neuron(network, index, reset="hard", **given)


def reset_amounts(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    return _neuron(network, index, reset="soft", reset_value=0, reset_amount=_by_neuron(network, index, signs) * top)


def start_values(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    return _neuron(network, index, membrane_bits=None, start_value=_by_neuron(network, index, signs) * top)


def wide_membranes(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """31 bits where membranes can get there, fewer else."""
    return _neuron(network, index, reset_value=0, start_value=None, membrane_bits=top.bit_length())


def narrow_membranes(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    return _neuron(network, index, reset_value=0, start_value=None, membrane_bits=2)


def currents(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """Synaptic currents that never decay, of sums as large as they may get."""
    layer = network.layers[index]
    synapses = replace(layer.synapses, bias=signs.astype(np.int64) * top)
    neuron = replace(layer.neuron, current=SynapticCurrent(1 << 15, 15))
    return _with(network, index, replace(layer, synapses=synapses, neuron=neuron))


def adaptations(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """Thresholds that a spike lifts as far as they may be."""
    factor = (1 << 15) - (_by_neuron(network, index, signs) > 0)
    return _neuron(network, index, adaptation=Adaptation(factor, 15, min(top, LIMIT - 1)))


def refractory_steps(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    return _neuron(network, index, refractory=min(top, LARGEST_REFRACTORY))


def leaks(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """The largest shift, and factors that leave nothing out, or hardly anything."""
    return _neuron(network, index, leak="multiply", shift=15, factor=(1 << 15) - (signs > 0).astype(np.int64))


def fractions(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    layer = network.layers[index]
    return _neuron(network, index, fraction=8, threshold=layer.neuron.threshold << 8 - layer.neuron.fraction)


def group_sums(network: QuantizedNetwork, index: int, top: int, signs: np.ndarray) -> QuantizedNetwork:
    """A membrane read-out of all outputs in one class, its membranes as large as 32 bits of their sum allow."""
    last = len(network.layers) - 1
    layer = network.layers[last]
    bias = np.full(layer.channels, top if signs[0] > 0 else -top, np.int64)
    neuron = IntNeuron("none", "hard", layer.neuron.threshold, fraction=layer.neuron.fraction, spiking=False)
    layer = replace(layer, synapses=replace(layer.synapses, bias=bias), neuron=neuron)
    readout = replace(network.readout, kind="membrane", group=layer.neurons)
    return _with(network, last, layer, readout=readout)


CHANGES: dict[str, Callable[[QuantizedNetwork, int, int, np.ndarray], QuantizedNetwork]] = {
    change.__name__: change
    for change in (
        biases,
        thresholds,
        reset_values,
        reset_amounts,
        start_values,
        wide_membranes,
        narrow_membranes,
        leaks,
        currents,
        adaptations,
        refractory_steps,
        fractions,
        group_sums,
    )
}
