"""How many processing elements each layer gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..quantize.network import QuantizedNetwork
from .mapping import LARGEST_PES


@dataclass(frozen=True)
class Load:
    """Work of one layer in a mean frame, measured on training data: input events and synaptic operations."""

    events: float
    synaptic: float


def balanced_pes(network: QuantizedNetwork, loads: Sequence[Load], beats: int, first: int | None = None) -> list[int]:
    """The fewest PEs with which no layer is slower than what nothing can speed up: one event a cycle, or the input.

    With `first`, the first layer gets so many, and the others what keeps up with the slower of that and the bound. A
    layer's cycles are estimated as its operations on the PE that holds most neurons, or its scans.
    """
    bound = max(beats, *(load.events for load in loads))
    if first is not None:
        bound = max(bound, _cycles(network, 0, loads[0], first))
    pes = []
    for index, load in enumerate(loads):
        if index == 0 and first is not None:
            pes.append(first)
            continue
        most = min(LARGEST_PES, network.layers[index].neurons)
        enough = (p for p in range(1, most + 1) if _cycles(network, index, load, p) <= bound)
        pes.append(next(enough, most))
    return pes


def _cycles(network: QuantizedNetwork, index: int, load: Load, pes: int) -> float:
    """Cycles of a mean frame in layer `index` on `pes` elements, queues aside."""
    neurons = network.layers[index].neurons
    rows = math.ceil(neurons / pes)
    return max(load.synaptic * rows / neurons, rows * network.steps)
