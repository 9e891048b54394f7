"""An imported network as a description and arrays that training starts from.

The sum of a population enters its membrane as it is: gains go into weights and biases, membranes count from their leak
value. Thresholds that differ between neurons become 1, and the weights of each neuron are divided by its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...errors import require
from ..description import ConvSpec, DenseSpec
from ..graph import (
    FASTEST,
    SLOWEST,
    ConnectionSpec,
    CurrentSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
    weight_name,
)
from .graph import ImportedGraph, ImportedPopulation

RESETS = {"value": "hard", "subtract": "soft", "none": "none"}
MEMBRANES = ("membrane", "largest", "sum")
Arrays = dict[str, np.ndarray]


def trainable(
    graph: ImportedGraph, shape: Sequence[int], steps: int, readout: str | None = None
) -> tuple[Graph, Arrays]:
    """The description of an imported network, and its numbers as a checkpoint has them (`checkpoint.array_shapes`).

    Decays that differ between the neurons of a population are learnt, one a neuron (or a map); others stay fixed.

    Parameters
    ----------
    shape
        Of the images to train on, `(channels, height, width)`. The Input sees all of an image at every step, or as
        many of its rows as are its share of `steps`.
    steps
        Of a frame.
    readout
        Of neurons that do not spike: `membrane`, `largest` or `sum`; None for `membrane`.

    Raises
    ------
    UserError
        Training does not know something of the network; the message names the node and the remedy.
    """
    require(len(graph.inputs) == 1, "Inputs", ", ".join(graph.inputs), "one, which sees the images")
    require(len(graph.outputs) == 1, "Outputs", ", ".join(graph.outputs), "one to train")
    (name, seen), (output,) = next(iter(graph.inputs.items())), graph.outputs
    held = prod(seen) == prod(shape)
    rows = f"{prod(shape)} pixels of {tuple(shape)} images, or their {steps}th part"
    require(held or prod(seen) * steps == prod(shape), f"node {name} shape", seen, rows)
    made: list[PopulationSpec] = []
    arrays: Arrays = {}
    for number, one in enumerate(graph.populations):
        for connection in one.inputs:
            late = held and connection.source == name and connection.delay > 0
            accepted = "0 from an Input that shows an image at every step"
            require(not late, f"node {one.name} delay", connection.delay, accepted)
        spec, own = _population(one, number)
        made.append(spec)
        arrays |= own
    spiking = next(one for one in graph.populations if one.name == output).rule.spiking
    kind = "count" if spiking else readout or "membrane"
    kinds = ("count",) if spiking else MEMBRANES
    require(readout in (None, *kinds), "readout", readout, f"{', '.join(kinds)}: what {output} has")
    given = InputSpec(name, tuple(shape), held)
    return Graph("imported", (given,), tuple(made), ReadoutSpec(output, kind), steps), arrays


def _population(one: ImportedPopulation, number: int) -> tuple[PopulationSpec, Arrays]:
    rule, where = one.rule, f"node {one.name}"
    require(not rule.several, f"{where} spikes in a step", "perhaps several", "one: --spikes single")
    require(not rule.late, f"{where} spikes", "a step late", "in the step itself: training has no such neurons")
    convolves = any(connection.convolves for connection in one.inputs)
    dense = any(not connection.convolves for connection in one.inputs)
    require(len(one.shape) == 1 or not dense, f"{where} shape", one.shape, "(neurons,) behind a dense connection")
    gain = rule.gain if rule.current_gain is None else rule.gain * rule.current_gain
    leak, bias = rule.leak, one.bias * gain
    if rule.threshold is None and rule.current_decay is None:  # a constant sum holds the membrane at its leak value
        bias, leak = bias + (1 - rule.decay) * leak, np.zeros(1)
    threshold = np.ones(1) if rule.threshold is None else rule.threshold - leak
    unit = np.ones(1)
    if not _same(threshold):
        low = float(threshold.min())
        require(low > 0, f"{where} v_threshold", low, "above v_leak, if thresholds differ between neurons")
        unit, threshold = threshold, np.ones(1)
    neuron = NeuronSpec(
        decay=_decay(where, "decay", rule.decay),
        threshold=float(threshold[0]),
        reset=RESETS[rule.reset],
        reset_value=_one(where, "v_reset", (rule.reset_value - leak) / unit) if rule.reset == "value" else 0.0,
        reset_amount=_amount(where, rule.reset_amount / unit) if rule.reset == "subtract" else None,
        start_value=_one(where, "start", (rule.start - leak) / unit),
        spiking=rule.threshold is not None,
        current=None if rule.current_decay is None else CurrentSpec(_decay(where, "decay", rule.current_decay)),
        refractory=1 if rule.held else 0,
        learnt=_learnt(one),
    )
    arrays, connections = {}, []
    for index, connection in enumerate(one.inputs):
        weight = connection.weight
        by_row = _rows(where, gain / unit, one, len(weight)).reshape(-1, *[1] * (weight.ndim - 1))
        worth = connection.pool.largest if connection.pool else 1  # here a pool is the mean of its windows
        arrays[weight_name(number, index)] = (weight * by_row * worth).astype(np.float32)
        synapses: DenseSpec | ConvSpec = DenseSpec(len(weight))
        if connection.convolves:
            kernel = weight.shape[2], weight.shape[3]
            synapses = ConvSpec(len(weight), kernel, connection.stride, connection.padding)
        connections.append(ConnectionSpec((connection.source,), synapses, connection.delay, connection.pool))
    every = np.broadcast_to(bias / unit, one.bias.shape)
    if every.any():
        size = one.shape[0] if convolves else one.bias.size
        arrays[f"population{number}.bias"] = _rows(where, every, one, size).astype(np.float32)
    if neuron.learnt != "fixed":
        size = one.shape[0] if neuron.learnt == "channel" else one.bias.size
        for name, decays in (("decay", rule.decay), ("current.decay", rule.current_decay)):
            if decays is not None:
                full = np.broadcast_to(decays, one.bias.shape).reshape(size, -1)[:, 0]
                arrays[f"population{number}.{name}"] = full.astype(np.float32)
    return PopulationSpec(one.name, tuple(connections), neuron, bool(every.any())), arrays


def _same(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _one(where: str, field: str, values: np.ndarray) -> float:
    """Values that must be one for all neurons, up to the noise of 32-bit floats."""
    low, high = float(values.min()), float(values.max())
    same = np.isclose(low, high, rtol=1e-6, atol=1e-9)
    require(
        bool(same), f"{where} {field}", f"{low:g} to {high:g}", "one for all its neurons, in units of the threshold"
    )
    return float(values[0])


def _amount(where: str, amount: np.ndarray) -> float:
    """What a soft reset subtracts; a step later it has decayed, so that it depends on the decay."""
    low, high = float(amount.min()), float(amount.max())
    same = bool(np.isclose(low, high, rtol=1e-6))
    accepted = "one for all its neurons: --reset subtract, or one decay"
    require(same, f"{where} reset, in thresholds,", f"{low:g} to {high:g}", accepted)
    return float(amount[0])


def _decay(where: str, field: str, decays: np.ndarray) -> float:
    """One decay for all neurons, or that of the first: the others stand in the arrays."""
    if not _same(decays):
        low, high = float(decays.min()), float(decays.max())
        fits = low > FASTEST and high < SLOWEST
        require(
            fits, f"{where} {field}", f"{low:g} to {high:g}", f"between {FASTEST:g} and {SLOWEST:g}, or one for all"
        )
    return float(decays[0])


def _learnt(one: ImportedPopulation) -> str:
    """Whether decays are fixed, or learnt because they differ: by map or by neuron."""
    decays = [one.rule.decay] + ([one.rule.current_decay] if one.rule.current_decay is not None else [])
    if all(map(_same, decays)):
        return "fixed"
    maps = [np.broadcast_to(values, one.bias.shape).reshape(one.shape[0], -1) for values in decays]
    return "channel" if all(bool((values == values[:, :1]).all()) for values in maps) else "neuron"


def _rows(where: str, values: np.ndarray, one: ImportedPopulation, rows: int) -> np.ndarray:
    """`values`, `[1]` or `[neurons]`, for each row of the weights."""
    by_row = np.broadcast_to(values, one.bias.shape).reshape(rows, -1)
    same = bool((by_row == by_row[:, :1]).all())
    spread = f"{by_row.min():g} to {by_row.max():g} within a map"
    require(same, f"{where} gain, threshold or bias", spread, "one for each map")
    return by_row[:, 0]
