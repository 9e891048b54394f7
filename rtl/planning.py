"""How many processing elements each layer gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..model.errors import UserError
from ..quantize.network import QuantizedNetwork
from .devices import DEVICES, Device
from .mapping import LARGEST_PES, Mapping, map_network

LUT_WORDS = 128  # accumulators and membranes of at most so many words are built of LUTs


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


def block_rams(mapping: Mapping, device: Device) -> int:
    """Block RAMs that the memories of all layers take: pointers and synapses, and what has over `LUT_WORDS` words."""
    return sum(
        memories.number * device.rams_for(memories.words, memories.bits)
        for layer in mapping.layers
        for kind, memories in layer.memories.items()
        if kind in ("pointers", "synapses") or memories.words > LUT_WORDS
    )


def budget(mapping: Mapping) -> list[str]:
    """One line a device: the block RAMs that `mapping` takes of it, and whether they are there."""
    lines = []
    for device in DEVICES.values():
        taken = block_rams(mapping, device)
        verdict = "fits" if taken <= device.block_rams else "does not fit"
        lines.append(f"{device.name}: {taken} of {device.block_rams} block RAMs, {verdict}")
    return lines


def device_pes(network: QuantizedNetwork, loads: Sequence[Load], beats: int, device: Device) -> list[int]:
    """The fastest balanced plan whose block RAMs and multipliers `device` has.

    The first layer's PEs are tried from the number that keeps up with the bound downwards; the others follow it. Logic
    cells are not estimated here: `gradrtl synth` counts them.

    Raises `UserError` if not even one PE a layer fits.
    """
    static = network.input.kind == "static"
    for first in range(balanced_pes(network, loads, beats)[0], 0, -1):
        pes = balanced_pes(network, loads, beats, first)
        multipliers = first if static and network.input.bits > 1 else 0
        if multipliers <= device.multipliers and block_rams(map_network(network, pes), device) <= device.block_rams:
            return pes
    raise UserError(
        f"device is {device.name}: its {device.block_rams} block RAMs do not hold the network even on one element; "
        "lower the connectivity or the weight bits, or take a larger device"
    )


def _cycles(network: QuantizedNetwork, index: int, load: Load, pes: int) -> float:
    """Cycles of a mean frame in layer `index` on `pes` elements, queues aside."""
    neurons = network.layers[index].neurons
    rows = math.ceil(neurons / pes)
    return max(load.synaptic * rows / neurons, rows * network.steps)
