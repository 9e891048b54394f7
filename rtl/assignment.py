"""Which processing element gets which neuron."""

from __future__ import annotations

import heapq

import numpy as np


def assign(loads: np.ndarray, pes: int) -> list[np.ndarray]:
    """Spread neurons over `pes` so that the sums of their `loads` are nearly equal.

    Longest processing time first: the heaviest neuron left goes to the least loaded PE that is not full. Each PE gets
    at most `ceil(len(loads) / pes)` neurons, so that no scan is longer than it must be. Deterministic.

    Returns
    -------
    One ascending array of indices into `loads` for each PE.
    """
    most = -(-len(loads) // pes)
    members: list[list[int]] = [[] for _ in range(pes)]
    heap = [(0.0, pe) for pe in range(pes)]
    for neuron in np.argsort(-loads, kind="stable"):
        total, pe = heapq.heappop(heap)
        members[pe].append(int(neuron))
        if len(members[pe]) < most:
            heapq.heappush(heap, (total + float(loads[neuron]), pe))
    return [np.array(sorted(indices), dtype=np.int64) for indices in members]
