"""The synapses of a port through which a convolution is heard, list by list."""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..quantize.network import Edge
from .convolution import Sources
from .lists import Lists
from .slots import Slots

MOST_LISTS = 1 << 22  # each takes a word of a memory


def convolution_lists(edge: Edge, addresses: np.ndarray, placed: Slots, sources: Sources) -> Lists:
    """Each input channel has a list of synapses for each phase of the strides.

    `addresses`: the source behind each, -1 for none.
    """
    live = np.flatnonzero(addresses >= 0)
    channel, y, x = np.unravel_index(addresses[live], edge.input_shape)
    keys = sources.keys(live, channel)
    lists = np.zeros(len(addresses), dtype=np.int64)
    lists[live] = sources.lists(keys, y, x)
    key_of = np.full(edge.input_shape[0], -1, dtype=np.int64)
    key_of[channel] = keys
    weight = np.where((key_of >= 0)[:, None, None], edge.synapses.weight, 0)  # without channels that are not built
    number = (int(keys.max()) + 1) << sources.phase_bits
    what = f"lists of synapses from {', '.join(edge.connection.sources)}"
    require(number <= MOST_LISTS, what, number, f"at most {MOST_LISTS}: smaller strides, or less padding")
    counts = np.zeros((len(placed.members), number), dtype=np.int64)
    targets, weights = [], []
    for pe, channels in enumerate(placed.members):
        source, target, values = sources.synapses(weight[channels], key_of)
        counts[pe] = np.bincount(source, minlength=counts.shape[1])
        targets.append(target)
        weights.append(values)
    return Lists(lists, counts, tuple(targets), tuple(weights))
