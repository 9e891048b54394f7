"""Placement of a convolution, by output channel."""

from __future__ import annotations

import numpy as np

from ..quantize.network import Layer
from .assignment import assign
from .convolution import Kernel
from .layer_mapping import LayerMapping
from .scan import Scan
from .slots import Slots, groups_needed


def place_convolution(
    layer: Layer, kept: np.ndarray, addresses: np.ndarray, rates: np.ndarray, pes: int, before: LayerMapping | None
) -> Slots:
    """Place the output channels with `kept` neurons of a convolution on `pes` PEs.

    A group is a channel, and each input channel has a list of synapses for each phase of the strides. `before`: the
    layer whose scan gives the input addresses; None for the input's pixels. The rest is as in `place_dense`.
    """
    _, height, width = layer.shape
    placed = np.unique(kept // (height * width))
    events = rates.reshape(layer.input_shape).sum(axis=(1, 2))
    members = [placed[m] for m in assign((layer.synapses.weight[placed] != 0).sum(axis=(2, 3)) @ events, pes)]
    scan = Scan.of(layer, groups_needed(layer, members))
    kernel = Kernel.of(layer, scan, before.scan, before.lane_bits) if before else Kernel.of(layer, scan)

    live = np.flatnonzero(addresses >= 0)
    channel, y, x = np.unravel_index(addresses[live], layer.input_shape)
    keys = channel
    if before is not None:
        lanes = (1 << before.lane_bits) - 1
        keys = live >> before.scan.y_bits + before.scan.x_bits & ~lanes | live & lanes
    lists = np.zeros(len(addresses), dtype=np.int64)
    lists[live] = kernel.lists(keys, y, x)
    key_of = np.full(layer.input_shape[0], -1, dtype=np.int64)
    key_of[channel] = keys
    weight = np.where((key_of >= 0)[:, None, None], layer.synapses.weight, 0)  # without channels that are not built

    rows, columns = scan.positions
    slots = np.full((scan.groups, scan.group_rows, pes), -1, dtype=np.int64)
    counts = np.zeros((pes, (int(keys.max()) + 1) << kernel.phase_bits), dtype=np.int64)
    targets, weights = [], []
    for pe, channels in enumerate(members):
        slots[: len(channels), :, pe] = (channels[:, None] * height + rows) * width + columns
        source, target, values = kernel.synapses(weight[channels], key_of)
        counts[pe] = np.bincount(source, minlength=counts.shape[1])
        targets.append(target)
        weights.append(values)
    flat = slots.reshape(scan.rows, pes)
    return Slots(scan, flat, lists, counts, tuple(targets), tuple(weights), kernel)
