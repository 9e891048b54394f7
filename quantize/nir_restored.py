"""The integers of an exported network, from the graph and from what the export kept beside it.

In the graph weights count in units of the population's sum and all gains are 1, so that nothing is searched or rounded:
numbers that are not whole are those of another network.
"""

from __future__ import annotations

import numpy as np

from ..bits import signed_range
from ..errors import UserError, require
from ..model.importing.graph import ImportedConnection, ImportedGraph, ImportedPopulation
from ..model.importing.neurons import Rule
from .graph_rounding import factors_of
from .imported import thresholds
from .network import Conv, Dense, Input, IntNeuron, LeakKind, QuantizedNetwork
from .neuron import Reset, SynapticCurrent
from .nir_formats import Kept, KeptConnection, KeptPopulation
from .population import Connection, Population, fewest

CLOSE = 1e-6  # relative: numbers of a file may be those of 32-bit floats
RESETS = {"value": Reset.HARD, "subtract": Reset.SOFT, "none": Reset.NONE}


def restored(kept: Kept, graph: ImportedGraph) -> QuantizedNetwork | None:
    """The network that was exported; None if the graph is no longer that one.

    `graph`: imported from `kept.applied`, under `kept.convention`, as it was written. Numbers that neurons do not use,
    such as the threshold of a read-out, are those of an `IntNeuron` by default.
    """
    by_name = {one.name: one for one in graph.populations}
    same = {*graph.inputs} == {*kept.inputs} and {*by_name} == {*kept.populations}
    if not same or {source for source, _, _ in kept.readouts} != {*graph.outputs}:
        return None
    try:
        return QuantizedNetwork(
            tuple(Input(graph.inputs[name], bits, kind, name) for name, (kind, bits) in kept.inputs.items()),
            tuple(_population(kept, by_name[name], one) for name, one in kept.populations.items()),
            kept.steps,
            kept.network_readouts,
            {"import": {**graph.to_json(), "rounding": []}},
        )
    except UserError:
        return None


def _population(kept: Kept, imported: ImportedPopulation, formats: KeptPopulation) -> Population:
    left = list(imported.inputs)
    inputs = tuple(_connection(kept, one, left) for one in formats.connections)
    more = sum(bool(one.weight.any()) for one in left)  # those whose weights are 0 carry a bias
    require(not more, "connections", more, "no more than were exported")
    bias = fewest(_whole(imported.bias), imported.shape[0])
    bias = np.broadcast_to(bias, imported.shape[:1]) if bias.size == 1 else bias
    return Population(imported.name, imported.shape, _neuron(imported, formats), bias, inputs)


def _connection(kept: Kept, formats: KeptConnection, left: list[ImportedConnection]) -> Connection:
    """The connection of those in `left` that lead from its sources; they are taken out of `left`."""
    mine: list[ImportedConnection] = []
    for source in formats.sources:
        number = next((i for i, one in enumerate(left) if one.source == source), None)
        if number is None:
            raise UserError.of("connection", "missing", f"one from {source}")
        mine.append(left.pop(number))
    one = mine[0]
    alike = all(
        (other.stride, other.padding, other.delay, other.pool) == (one.stride, one.padding, one.delay, one.pool)
        and np.array_equal(other.weight, one.weight)
        for other in mine
    )
    require(alike, "connection", "of several", "one for all of its sources")
    kind, bits = kept.inputs.get(one.source, ("spikes", 1))
    pixels = (1 << bits) - 1 if kind == "static" else 1
    integers = _whole(one.weight / (pixels << formats.shift))
    low, high = signed_range(formats.weight_bits)
    require(low <= integers.min() and integers.max() <= high, "weights", "larger", f"of {formats.weight_bits} bits")
    weight = integers.astype(np.int8)
    synapses = (
        Conv(weight, np.zeros(len(weight), np.int64), one.stride, one.padding) if one.convolves else Dense(weight)
    )
    return Connection(formats.sources, synapses, formats.weight_bits, one.delay, formats.shift, one.pool)


def _neuron(imported: ImportedPopulation, formats: KeptPopulation) -> IntNeuron:
    rule, unit = imported.rule, 1 << formats.fraction

    def whole(values: np.ndarray) -> np.ndarray:
        return fewest(_whole(values), imported.shape[0])

    gain = 2.0**-formats.shift if formats.leak == LeakKind.DECAYING_INPUT else 1.0
    gains = [rule.gain / gain] if rule.current_gain is None else [rule.gain / gain, rule.current_gain]
    require(all(bool((np.abs(one - 1) <= CLOSE).all()) for one in gains), "gain", "another", "1")
    current = None
    if rule.current_decay is not None:
        factor = factors_of(rule.current_decay, formats.current_shift)
        current = SynapticCurrent(fewest(factor, imported.shape[0]), formats.current_shift, "new")
    threshold = np.ones(1, np.int64)
    if rule.threshold is not None:
        threshold = fewest(thresholds(rule.threshold, 1 / unit, rule.equal), imported.shape[0])
    return IntNeuron(
        leak=LeakKind(formats.leak),
        reset=RESETS[rule.reset],
        threshold=threshold,
        shift=formats.shift,
        factor=_factor(rule, formats, imported.shape[0]),
        reset_value=whole(rule.reset_value * unit) if rule.reset == "value" else 0,
        fraction=formats.fraction,
        membrane_bits=formats.membrane_bits,
        spiking=rule.threshold is not None,
        reset_amount=fewest(_nearest(rule.reset_amount * unit), imported.shape[0])
        if rule.reset == "subtract"
        else None,
        start_value=whole(rule.start * unit),
        rounding=formats.rounding,  # type: ignore[arg-type]
        current=current,
        refractory=1 if rule.held else 0,
    )


def _factor(rule: Rule, formats: KeptPopulation, channels: int) -> np.ndarray | int:
    """The factors of a membrane; `UserError` unless it decays as `formats` say."""
    if formats.leak == LeakKind.MULTIPLY:
        return fewest(factors_of(rule.decay, formats.shift), channels)
    decay = 1.0 if formats.leak == LeakKind.NONE else 1 - 2.0**-formats.shift
    require(bool((np.abs(rule.decay - decay) <= CLOSE).all()), "decay", "another", str(decay))
    return 0


def _whole(values: np.ndarray) -> np.ndarray:
    """int64; `UserError` unless all are whole."""
    found = _nearest(values)
    require(
        bool((np.abs(values - found) <= CLOSE * np.maximum(1, np.abs(found))).all()), "numbers", "others", "whole ones"
    )
    return found


def _nearest(values: np.ndarray) -> np.ndarray:
    require(float(np.abs(values).max()) < 2.0**62, "numbers", "huge", "whole ones")
    return np.rint(values).astype(np.int64)
