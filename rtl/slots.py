"""The slots of a population's neurons: rows by processing elements (PEs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bits import lane_bits
from ..quantize.network import Conv, Edge, IntNeuron, Pool, Population
from .assignment import assign
from .latency import fire_stages
from .scan import Outgoing, Scan


@dataclass(frozen=True)
class Slots:
    """The slot of each neuron.

    scan
        The order of the rows.
    neurons
        int64 `[rows, pes]`: the neuron (network order) at each row of each PE, -1 for an unused slot.
    members
        For each PE the groups that it holds, ascending: channels of maps, or neurons.
    """

    scan: Scan
    neurons: np.ndarray
    members: tuple[np.ndarray, ...]


def has_current_stage(neuron: IntNeuron) -> bool:
    """Whether the fire unit has a stage for a synaptic current that enters the membrane in the same step."""
    return neuron.current is not None and neuron.current.enters == "new"


def place(
    population: Population,
    edges: Sequence[Edge],
    rates: Sequence[np.ndarray],
    kept: np.ndarray,
    pes: int,
    maps: bool,
    pool: Pool | None,
) -> Slots:
    """Place the `kept` neurons (ascending indices) of a population on `pes` PEs, or with `maps` their channels.

    `edges`: what it hears. `rates`: events of each source of each of them, which weigh its synapses. `pool`: that of
    all readers, which orders the scan.
    """
    shape = population.shape if maps else None
    rows = population.neurons // population.channels if maps else 1  # neurons of a group
    placed = np.unique(kept // rows)
    events = [_by_column(edge, values) for edge, values in zip(edges, rates, strict=True)]
    synapses = [_synapses(edge, placed, rows) for edge in edges]
    loads = synapses[0] @ events[0] if len(edges) == 1 else np.concatenate(synapses, 1) @ np.concatenate(events)
    members = tuple(placed[m] for m in assign(loads, pes))
    # As many groups as it takes that no row is scanned again while it is in the fire unit.
    least = -(-fire_stages(has_current_stage(population.neuron)) // Scan.of(shape, pool, 1).rows)
    scan = Scan.of(shape, pool, max(least, *(len(m) for m in members)))
    slots = np.full((scan.groups, scan.group_rows, pes), -1, dtype=np.int64)
    for pe, groups in enumerate(members):
        within: np.ndarray | int = 0
        if shape is not None:
            y, x = scan.positions
            within = y * shape[2] + x
        slots[: len(groups), :, pe] = groups[:, None] * rows + within
    return Slots(scan, slots.reshape(scan.rows, pes), members)


def _by_column(edge: Edge, rates: np.ndarray) -> np.ndarray:
    """Events of each column of `_synapses`: of each source, or in a convolution of each of its channels."""
    return rates.reshape(edge.input_shape).sum(axis=(1, 2)) if isinstance(edge.synapses, Conv) else rates


def _synapses(edge: Edge, placed: np.ndarray, rows: int) -> np.ndarray:
    """Synapses of each group of `placed` and source, or channel of a convolution: `[groups, columns]`."""
    weight = edge.synapses.weight
    if isinstance(edge.synapses, Conv):
        return (weight[placed] != 0).sum(axis=(2, 3))
    if rows == 1:
        return weight[placed] != 0
    return (weight.reshape(-1, rows, weight.shape[1])[placed] != 0).sum(axis=1)


def sources_of(shape: tuple[int, ...], placed: Slots, outgoing: Outgoing) -> np.ndarray:
    """The source, in the order of what hears it, behind each outgoing address; -1 if there is none: int64.

    `shape`: of the population.
    """
    lanes = 1 << lane_bits(placed.neurons.shape[1])
    size = (1 << outgoing.y_bits + outgoing.x_bits) * placed.scan.groups
    sources: np.ndarray = np.full((size, lanes), -1, dtype=np.int64)
    neurons, pooled = placed.neurons, placed.neurons
    if placed.scan.group_rows > 1 or outgoing.size > 1:
        area = shape[1] * shape[2]
        y, x = (np.tile(index, placed.scan.groups)[:, None] for index in outgoing.windows)
        pooled = (neurons // area * outgoing.height + y) * outgoing.width + x
    sends = outgoing.outputs >= 0
    sources[outgoing.outputs[sends], : neurons.shape[1]] = np.where(neurons >= 0, pooled, -1)[sends]
    return sources.ravel()
