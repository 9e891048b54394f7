"""The order in which a layer's neurons are scanned, and the addresses of outgoing events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Conv, Layer


@dataclass(frozen=True)
class Scan:
    """Rows of a layer, one neuron of each PE at a time: group by group, and in a group window by window.

    A group holds one output channel of each PE: the neurons of a map of `height` x `width` pooling windows, of
    `window` x `window` neurons each, which are scanned one after another. A dense layer has a neuron in each group.
    Outgoing events are addressed by group and window. With `joined` (max pooling), a window sends one row, its OR.
    """

    groups: int
    height: int = 1
    width: int = 1
    window: int = 1
    joined: bool = False

    @staticmethod
    def of(layer: Layer, groups: int) -> Scan:
        """The scan of `layer` on PEs with `groups` channels each. Neurons in no pooling window are left out."""
        if not isinstance(layer.synapses, Conv):
            return Scan(groups)
        _, height, width = layer.output_shape
        if layer.pool is None:
            return Scan(groups, height, width)
        return Scan(groups, height, width, layer.pool.size, joined=layer.pool.kind == "max")

    @property
    def group_rows(self) -> int:
        """Rows of a group."""
        return self.height * self.width * self.window**2

    @property
    def rows(self) -> int:
        return self.groups * self.group_rows

    @property
    def group_bits(self) -> int:
        return unsigned_bits(self.groups - 1)

    @property
    def x_bits(self) -> int:
        return (self.width - 1).bit_length()

    @property
    def y_bits(self) -> int:
        return (self.height - 1).bit_length()

    @property
    def output_bits(self) -> int:
        """Width of the row part of an outgoing address: group, then y, then x of the window."""
        return self.group_bits + self.y_bits + self.x_bits

    @cached_property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, in the map, of each neuron of a group, in scan order: int64 `[group_rows]` twice."""
        y, x, i, j = np.indices((self.height, self.width, self.window, self.window)).reshape(4, -1)
        return y * self.window + i, x * self.window + j

    @cached_property
    def outputs(self) -> np.ndarray:
        """Row part of the address under which each row leaves: int64 `[rows]`."""
        group, y, x, _ = np.indices((self.groups, self.height, self.width, self.window**2)).reshape(4, -1)
        return (group << self.y_bits | y) << self.x_bits | x

    @cached_property
    def sends(self) -> np.ndarray:
        """Bool `[rows]`: the rows that send events; in a joined window, only the last."""
        last = np.arange(self.rows) % self.window**2 == self.window**2 - 1
        return last if self.joined else np.ones(self.rows, dtype=bool)
