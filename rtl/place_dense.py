"""Placement of a fully connected layer, by neuron."""

from __future__ import annotations

import numpy as np

from ..quantize.network import Layer
from .assignment import assign
from .scan import Scan
from .slots import Slots, groups_needed


def place_dense(layer: Layer, kept: np.ndarray, addresses: np.ndarray, rates: np.ndarray, pes: int) -> Slots:
    """Place the `kept` neurons (ascending indices) of a dense layer on `pes` PEs.

    A group is a neuron, and each input address has a list of synapses of its own. `addresses`: the source behind each,
    -1 for none. `rates`: events of each source, which weigh its synapses.
    """
    weight = layer.synapses.weight
    members = [kept[m] for m in assign((weight[kept] != 0) @ rates, pes)]
    scan = Scan.of(layer, groups_needed(layer, members))
    slots = np.full((scan.rows, pes), -1, dtype=np.int64)
    live = addresses >= 0
    counts = np.zeros((pes, len(addresses)), dtype=np.int64)
    targets, weights = [], []
    for pe, neurons in enumerate(members):
        slots[: len(neurons), pe] = neurons
        columns = np.zeros((len(addresses), len(neurons)), dtype=np.int64)
        columns[live] = weight[neurons][:, addresses[live]].T
        source, target = np.nonzero(columns)
        counts[pe] = np.bincount(source, minlength=len(addresses))
        targets.append({"row": target})
        weights.append(columns[source, target])
    return Slots(scan, slots, np.arange(len(addresses)), counts, tuple(targets), tuple(weights))
