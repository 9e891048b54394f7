"""The slots of a layer's neurons, for any kind of layer: rows by processing elements (PEs)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bits import lane_bits
from ..quantize.network import Layer
from .convolution import Kernel
from .latency import fire_stages
from .scan import Scan


@dataclass(frozen=True)
class Slots:
    """The slot of each neuron, and the synapses of each PE: the part of `LayerMapping` that depends on the kind of
    layer.
    """

    scan: Scan
    slots: np.ndarray
    lists: np.ndarray
    counts: np.ndarray
    targets: tuple[dict[str, np.ndarray], ...]
    weights: tuple[np.ndarray, ...]
    kernel: Kernel | None = None


def has_current_stage(layer: Layer) -> bool:
    """Whether the fire unit has a stage for a synaptic current that enters the membrane in the same step."""
    return layer.neuron.current is not None and layer.neuron.current.enters == "new"


def groups_needed(layer: Layer, members: list[np.ndarray]) -> int:
    """Groups of the fullest PE, and as many as it takes that no row is scanned again while it is in the fire unit."""
    rows = Scan.of(layer, 1).rows
    return max(-(-fire_stages(has_current_stage(layer)) // rows), *(len(m) for m in members))


def outputs(layer: Layer, placed: Slots) -> np.ndarray:
    """The source of the next layer for each outgoing address, -1 if there is none."""
    scan, slots = placed.scan, placed.slots
    lanes = 1 << lane_bits(slots.shape[1])
    sources = np.full((1 << scan.y_bits + scan.x_bits) * scan.groups * lanes, -1, dtype=np.int64).reshape(-1, lanes)
    first = slots[:: scan.window**2]  # of each window
    windows = scan.height * scan.width
    window = np.arange(len(first))[:, None] % windows
    pooled = first // (layer.neurons // layer.channels) * windows + window
    sources[scan.outputs[:: scan.window**2], : slots.shape[1]] = np.where(first >= 0, pooled, -1)
    return sources.ravel()
