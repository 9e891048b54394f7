"""A `QuantizedNetwork` flattened into arrays for the compiled kernels.

Dense and convolutional layers become one form: output channel `c` has a list of `(offset, weight)`, the neuron at
position `p` of that channel reads source `offset + origin[p]`, and the buffer of sources includes the zero padding. A
dense layer has one position with origin 0. The target of a neuron's spike, through pool, padding or voting group, is
one precomputed index, `place`, in the next buffer.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ..quantize.network import Layer, LeakKind, QuantizedNetwork, Ranges
from . import geometry
from .vectors import record

ASSIGN, OR, ADD, VOTE = range(4)  # how a spike is written to its place: no pool, max, average, read-out
TRAIN = 8  # steps of a spike train in one byte
LARGEST_TABLE = 1 << 20  # bytes
PROGRAMS = 8  # programs that are kept


def layer_type(kind: type) -> np.dtype:
    """The record of a layer; membranes have the integer type `kind`."""
    return record(
        [
            ("leak", np.int64),  # LeakKind.code
            ("shift", np.int64),
            ("factor", np.int64),
            ("soft", np.bool_),  # reset by subtraction
            ("reset", kind),  # membrane after a hard reset, and at the start of a frame
            ("low", kind),  # saturation, inclusive
            ("high", kind),
            ("entry", np.int64),  # ASSIGN, OR, ADD or VOTE
            ("channels", np.int64),
            ("positions", np.int64),  # neurons of one channel
            ("channel", np.int64),  # start of this layer's part: in first, bias, threshold
            ("origin", np.int64),  # in origin
            ("neuron", np.int64),  # in place, and in all state by neuron
            ("source", np.int64),  # in the buffer of sources
            ("sources", np.int64),  # length of that part, padding included
        ]
    )


class Program(NamedTuple):
    """Flat arrays; `kind` is int16 or int32, wide enough for every number that can occur.

    A first layer with a table of spike trains has no membranes, and its sums have 32 bits for any `kind`.
    """

    layers: np.ndarray  # layer_type(kind) [layers]
    first: np.ndarray  # int64 [channels + 1]: start of each channel's synapses
    offset: np.ndarray  # int32 [synapses]
    weight: np.ndarray  # kind [synapses], shifted left by the membrane fraction of a layer without a table
    bias: np.ndarray  # int32 [channels], shifted in the same way
    threshold: np.ndarray  # kind [channels]; never reached in a layer that does not spike
    origin: np.ndarray  # int32 [positions of all layers]
    place: np.ndarray  # int32 [neurons]: in the next layer's part of the buffer, or in the sums read out
    cell: np.ndarray  # empty: its type is that of a source, uint8, or uint16 for the counts of large pools
    turn: np.ndarray  # int16 or int32 [trains]: currents from which a first-layer neuron has another spike train
    train: np.ndarray  # uint8 [trains]: the spike train, bit t for step t; both arrays are empty without a table
    stretch: int  # synapses of a first layer with a table whose sum fits `kind`
    pixel: np.ndarray  # int32 [input sources]: place of each input source
    drop: int  # low bits of a static pixel that the network ignores
    held: bool  # static input: the first layer's sums are computed once per frame
    steps: int
    classes: int
    group: int
    counting: bool  # read-out of spike counts, else of final membranes


_programs: dict[tuple[str, bool], Program] = {}  # by digest of the network and `membranes`, the oldest first


def compile_network(network: QuantizedNetwork, membranes: bool = False) -> Program:
    """Flatten `network`, or return the kept program.

    `membranes`: with membranes of the first layer, so without a table.
    """
    key = network.digest, membranes
    program = _programs.pop(key, None) or _flatten(network, membranes)
    _programs[key] = program
    if len(_programs) > PROGRAMS:
        del _programs[next(iter(_programs))]
    return program


def _flatten(network: QuantizedNetwork, membranes: bool) -> Program:
    turn, train = _trains(network, membranes)
    by_table = turn.size > 0
    kind = np.int16 if _fits(network, np.iinfo(np.int16), by_table) else np.int32
    records = np.zeros(len(network.layers), layer_type(kind))
    lists: dict[str, list[np.ndarray]] = {
        name: [] for name in ("fan_in", "offset", "weight", "bias", "threshold", "origin", "place")
    }
    places = [geometry.places(layer) for layer in network.layers]
    group = network.readout.group
    places.append(np.arange(network.layers[-1].neurons, dtype=np.int32) // group)
    channel = origin = neuron = source = 0
    for index, layer in enumerate(network.layers):
        offsets, weights, fan_in = geometry.synapses(layer)
        origins = geometry.origins(layer)
        tabled = by_table and index == 0
        fraction = 0 if tabled else layer.neuron.fraction
        lists["fan_in"].append(fan_in)
        lists["offset"].append(offsets)
        lists["weight"].append(weights.astype(np.int64) << fraction)
        lists["bias"].append(layer.synapses.bias << fraction)
        never = np.full(layer.channels, np.iinfo(kind).max)
        lists["threshold"].append(
            np.broadcast_to(layer.neuron.threshold, (layer.channels,)) if layer.neuron.spiking and not tabled else never
        )
        lists["origin"].append(origins)
        lists["place"].append(_destinations(layer, places[index + 1]))
        sources = prod(geometry.padded(layer))
        records[index] = (
            layer.neuron.leak.code,
            layer.neuron.shift,
            layer.neuron.factor,
            layer.neuron.reset == "soft",
            0 if tabled else layer.neuron.reset_value,
            *_saturation(layer, kind),
            _entry(layer, index == len(network.layers) - 1),
            layer.channels,
            origins.size,
            channel,
            origin,
            neuron,
            source,
            sources,
        )
        channel += layer.channels
        origin += origins.size
        neuron += layer.neurons
        source += sources
    is_large = any(layer.pool is not None and layer.pool.largest > 255 for layer in network.layers)
    flat = {name: np.concatenate(parts) for name, parts in lists.items()}
    return Program(
        layers=records,
        first=np.concatenate([[0], flat["fan_in"].cumsum()]).astype(np.int64),
        offset=flat["offset"],
        weight=flat["weight"].astype(kind),
        bias=flat["bias"].astype(np.int32),
        threshold=flat["threshold"].astype(kind),
        origin=flat["origin"],
        place=flat["place"],
        cell=np.empty(0, np.uint16 if is_large else np.uint8),
        turn=turn,
        train=train,
        stretch=_stretch(network, np.iinfo(kind)),
        pixel=places[0],
        drop=network.input.dropped,
        held=network.input.kind == "static",
        steps=network.steps,
        classes=network.classes,
        group=group,
        counting=network.readout.kind == "count",
    )


def _trains(network: QuantizedNetwork, membranes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Spike train of every possible current of the first layer, as the `turn` and `train` of `Program`.

    Under static input a neuron's current is the same at every step, so its spikes are a function of the current, if all
    neurons of the layer have one threshold. The function has few steps. The first train is that of all currents below
    the second turn, whatever the first turn is: one less than the second, so that all may fit 16 bits.
    """
    nothing = np.empty(0, np.int32), np.empty(0, np.uint8)
    layer = network.layers[0]
    one_threshold = np.unique(layer.neuron.threshold).size == 1
    if membranes or network.input.kind != "static" or network.steps > TRAIN:
        return nothing
    low, high = network.ranges[0].current
    if len(network.layers) == 1 or not one_threshold or high - low >= LARGEST_TABLE:
        return nothing
    neuron, threshold = layer.neuron, int(layer.neuron.threshold[0])
    current = np.arange(low, high + 1, dtype=np.int64)
    v = np.full(current.size, neuron.reset_value, np.int64)
    trains = np.zeros(current.size, np.uint8)
    for step in range(network.steps):
        u = neuron.step(v, current)
        spikes = (u >= threshold) & neuron.spiking
        v = neuron.after_reset(u, threshold, spikes)
        trains |= spikes.astype(np.uint8) << np.uint8(step)
    changes = 1 + np.flatnonzero(np.diff(trains))
    turn = current[np.concatenate([changes[:1] - 1, changes])] if changes.size else np.zeros(1, np.int64)
    kind = np.int16 if np.abs(turn).max() <= np.iinfo(np.int16).max else np.int32
    return turn.astype(kind), trains[np.concatenate([[0], changes])]


def _fits(network: QuantizedNetwork, limits: np.iinfo, by_table: bool) -> bool:
    """Whether all intermediate results of the kernels are within `limits`."""
    if network.steps * network.readout.group > limits.max:
        return False
    stepped = list(zip(network.layers, network.ranges, strict=True))[by_table:]
    return all(_extreme(*pair) < limits.max for pair in stepped)


def _stretch(network: QuantizedNetwork, limits: np.iinfo) -> int:
    """The number of first-layer synapses whose sum is within `limits` for all values of their sources."""
    weight = int(np.abs(network.layers[0].synapses.weight.astype(np.int64)).max())
    return limits.max // max(1, weight * network.input.largest)


def _extreme(layer: Layer, ranges: Ranges) -> int:
    """Bound on the magnitude of every number in an update of `layer`."""
    neuron = layer.neuron
    current = max(map(abs, ranges.current)) << neuron.fraction
    membrane = max(map(abs, ranges.membrane))
    potential = max(map(abs, ranges.potential))
    threshold = int(np.abs(neuron.threshold).max()) if neuron.spiking else 0
    difference = current + membrane if neuron.leak == LeakKind.DECAYING_INPUT else 0
    subtracted = potential + threshold if neuron.reset == "soft" else 0
    weight = int(np.abs(layer.synapses.weight.astype(np.int64)).max()) << neuron.fraction
    return max(current, membrane, potential, threshold, difference, subtracted, weight)


def _saturation(layer: Layer, kind: type) -> tuple[int, int]:
    limits = np.iinfo(kind)
    low, high = layer.neuron.bounds or (limits.min, limits.max)
    return max(limits.min, low), min(limits.max, high)


def _entry(layer: Layer, is_last: bool) -> int:
    if is_last:
        return VOTE
    if layer.pool is None:
        return ASSIGN
    return OR if layer.pool.kind == "max" else ADD


def _destinations(layer: Layer, places: np.ndarray) -> np.ndarray:
    """Place of each neuron's spike in the next buffer, whose sources have the indices `places`."""
    if layer.pool is None:
        return places
    target = geometry.pooled(layer.pool, layer.shape)
    return np.where(target == geometry.NOWHERE, geometry.NOWHERE, places[target])
