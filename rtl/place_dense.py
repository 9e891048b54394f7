"""The synapses of a fully connected port, list by list."""

from __future__ import annotations

import numpy as np

from ..quantize.network import Edge
from .convolution import Kernel
from .lists import Lists
from .slots import Slots


def dense_lists(edge: Edge, addresses: np.ndarray, placed: Slots, kernel: Kernel | None) -> Lists:
    """Each input address has a list of synapses of its own.

    `addresses`: the source behind each, -1 for none. `kernel`: of the core; None where synapses hold their row.
    """
    weight = edge.synapses.weight
    live = addresses >= 0
    pes = placed.neurons.shape[1]
    counts = np.zeros((pes, len(addresses)), dtype=np.int64)
    targets, weights = [], []
    for pe in range(pes):
        rows = np.flatnonzero(placed.neurons[:, pe] >= 0)
        columns = np.zeros((len(addresses), len(rows)), dtype=np.int64)
        columns[live] = weight[placed.neurons[rows, pe]][:, addresses[live]].T
        source, target = np.nonzero(columns)
        counts[pe] = np.bincount(source, minlength=len(addresses))
        targets.append(_target(rows[target], placed, kernel))
        weights.append(columns[source, target])
    return Lists(np.arange(len(addresses)), counts, tuple(targets), tuple(weights))


def _target(rows: np.ndarray, placed: Slots, kernel: Kernel | None) -> dict[str, np.ndarray]:
    """Fields of synapses to `rows`, int64 each."""
    if kernel is None:
        return {"row": rows}
    group, within = np.divmod(rows, placed.scan.group_rows)
    y, x = placed.scan.positions
    return {"group": group, "x": x[within], "y": y[within]}
