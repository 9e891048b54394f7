"""Targets of the synapses of a convolution: address arithmetic without products and divisions.

A source at row `y` of its map reaches, through kernel row `i`, the target row `(y + padding - i) / stride`, if that is
an integer. So `y + padding` is split into a base `q = (y + padding) // stride` and a phase `(y + padding) % stride`:
only kernel rows of this phase count, and they reach row `q - i // stride`. A synapse holds the tap `taps - 1 - i //
stride`; a table, indexed by base plus tap, has the offset of the target row in the accumulator address, or says that
there is no such row. The same holds for columns. The synapses of a channel and its phases make one list, for every
position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Conv, Layer
from .scan import Scan


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, of a convolution's sources, kernel and targets.

    `size`: of the source map; `targets`: of the scanned part of the target map; `offsets` int64 `[targets]`: the offset
    of a target's row, or column, in the accumulator address.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    targets: int
    offsets: np.ndarray

    @property
    def taps(self) -> int:
        """Largest number of targets of one source."""
        return -(-self.kernel // self.stride)

    @property
    def tap_bits(self) -> int:
        return unsigned_bits(self.taps - 1)

    @property
    def phase_bits(self) -> int:
        return (self.stride - 1).bit_length()

    @cached_property
    def bases(self) -> np.ndarray:
        """`q` of each source row: int64 `[size]`."""
        return (np.arange(self.size) + self.padding) // self.stride

    @cached_property
    def phases(self) -> np.ndarray:
        """Phase of each source row: int64 `[size]`."""
        return (np.arange(self.size) + self.padding) % self.stride

    @property
    def base_bits(self) -> int:
        return unsigned_bits(int(self.bases[-1]))

    @cached_property
    def reached(self) -> np.ndarray:
        """Accumulator offset at each `q + tap`, -1 where there is no target: int64 `[bases[-1] + taps]`."""
        table = np.full(int(self.bases[-1]) + self.taps, -1, dtype=np.int64)
        target = np.arange(len(table)) - (self.taps - 1)
        exists = (target >= 0) & (target < self.targets)
        table[exists] = self.offsets[target[exists]]
        return table


@dataclass(frozen=True)
class Kernel:
    """A convolution as the PEs compute it.

    `source`: the scan of the layer before. Input addresses consist of its group, row and column, with a lane of
    `lane_bits` below them. None for the first layer: its addresses count the sources in network order.
    """

    rows: Axis
    columns: Axis
    source: Scan | None = None
    lane_bits: int = 0

    @staticmethod
    def of(layer: Layer, scan: Scan, source: Scan | None = None, lane_bits: int = 0) -> Kernel:
        """The convolution of `layer`, with targets in the scan order `scan`."""
        synapses = layer.synapses
        assert isinstance(synapses, Conv)
        y, x = scan.positions
        order = np.arange(scan.group_rows)
        offsets = order[x == 0], order[y == 0]  # a row's first neuron, and the columns of the first row
        sizes, kernels = layer.input_shape[1:], synapses.weight.shape[2:]
        axes = [
            Axis(sizes[a], kernels[a], synapses.stride[a], synapses.padding[a], len(offsets[a]), offsets[a])
            for a in range(2)
        ]
        return Kernel(axes[0], axes[1], source, lane_bits)

    @property
    def phase_bits(self) -> int:
        return self.rows.phase_bits + self.columns.phase_bits

    def lists(self, keys: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Lists of the sources at row `y`, column `x` of the channels called `keys`: the phases are the low bits."""
        rows, columns = self.rows, self.columns
        return (keys << rows.phase_bits | rows.phases[y]) << columns.phase_bits | columns.phases[x]

    def synapses(self, weight: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """List, target (group, and taps `x` and `y`) and weight of every synapse of one PE, ordered by list: int64.

        `weight` is `[groups, channels, kh, kw]`, `keys` int64 `[channels]`.
        """
        group, channel, i, j = np.nonzero(weight)
        rows, columns = self.rows, self.columns
        phases = (i % rows.stride) << columns.phase_bits | j % columns.stride
        lists = keys[channel] << self.phase_bits | phases
        target = {
            "group": group,
            "x": columns.taps - 1 - j // columns.stride,
            "y": rows.taps - 1 - i // rows.stride,
        }
        order = np.argsort(lists, kind="stable")
        values = weight[group, channel, i, j].astype(np.int64)
        return lists[order], {name: value[order] for name, value in target.items()}, values[order]
