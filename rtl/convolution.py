"""Targets of the synapses of a convolution: address arithmetic without products and divisions.

A source at row `y` of its map reaches, through kernel row `i`, the target row `(y + padding - i) / stride`, if that is
an integer. So `y + padding` is split into a base `q = (y + padding) // stride` and a phase `(y + padding) % stride`:
only kernel rows of this phase count, and they reach row `q - i // stride`. A synapse holds the tap `taps - 1 - i //
stride`; a table, indexed by base plus tap, has the offset of the target row in the accumulator address, or says that
there is no such row. The same holds for columns. The synapses of a channel and its phases make one list, for every
position.

Where a core hears several convolutions they share the tables, and those with fewer taps have larger bases. A synapse
that is no part of a convolution has its target as a tap, and all its sources have the same base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Conv, Edge
from .scan import Outgoing, Scan


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, of the sources and the kernel of a convolution.

    `size`: of the source map. `moved`: added to the bases.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    moved: int = 0

    @property
    def taps(self) -> int:
        """Largest number of targets of one source."""
        return -(-self.kernel // self.stride)

    @property
    def phase_bits(self) -> int:
        return (self.stride - 1).bit_length()

    @cached_property
    def bases(self) -> np.ndarray:
        """`q` of each source row: int64 `[size]`."""
        return (np.arange(self.size) + self.padding) // self.stride + self.moved

    @cached_property
    def phases(self) -> np.ndarray:
        """Phase of each source row: int64 `[size]`."""
        return (np.arange(self.size) + self.padding) % self.stride


@dataclass(frozen=True)
class Targets:
    """Rows, or columns, of the maps that a core scans, as all that it hears reaches them.

    `number`: of the scanned part of a map. `offsets` int64 `[number]`: of a row, or column, in the accumulator address.
    `taps`: the most of a convolution. `bases`, `largest_tap`: the largest of each. `last`: the largest sum of both.
    """

    number: int
    offsets: np.ndarray
    taps: int
    bases: int
    largest_tap: int
    last: int

    @property
    def first_base(self) -> int:
        """The base at which a tap is a target."""
        return self.taps - 1

    @property
    def base_bits(self) -> int:
        return unsigned_bits(self.bases)

    @property
    def tap_bits(self) -> int:
        return unsigned_bits(self.largest_tap)

    @cached_property
    def reached(self) -> np.ndarray:
        """Accumulator offset at each base plus tap, -1 where there is no target: int64 `[last + 1]`."""
        table = np.full(self.last + 1, -1, dtype=np.int64)
        target = np.arange(len(table)) - self.first_base
        exists = (target >= 0) & (target < self.number)
        table[exists] = self.offsets[target[exists]]
        return table


@dataclass(frozen=True)
class Kernel:
    """Where synapses find their targets in a core that hears a convolution, or several."""

    rows: Targets
    columns: Targets

    @staticmethod
    def of(edges: Sequence[Edge], scan: Scan) -> Kernel | None:
        """The tables of a core in the order `scan` that hears `edges`; None without a convolution."""
        heard = [_axes(edge) for edge in edges if isinstance(edge.synapses, Conv)]
        if not heard:
            return None
        y, x = scan.positions
        order = np.arange(scan.group_rows)
        offsets = order[x == 0], order[y == 0]  # a row's first neuron, and the columns of the first row
        others = len(heard) < len(edges)
        return Kernel(*(_targets([axes[a] for axes in heard], offsets[a], others) for a in range(2)))


def _targets(heard: Sequence[Axis], offsets: np.ndarray, others: bool) -> Targets:
    """`others`: there are synapses of no convolution, too."""
    number, taps = len(offsets), max(axis.taps for axis in heard)
    bases = [int(axis.bases[-1]) + taps - axis.taps for axis in heard]
    last = [base + axis.taps - 1 for base, axis in zip(bases, heard, strict=True)]
    if others:  # whose targets a convolution reaches as well: its padding is less than its kernel
        bases = [*bases, taps - 1]
    return Targets(number, offsets, taps, max(bases), max(taps - 1, number - 1 if others else 0), max(last))


def _axes(edge: Edge) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution."""
    synapses = edge.synapses
    assert isinstance(synapses, Conv)
    sizes, kernels = edge.input_shape[1:], synapses.weight.shape[2:]
    rows, columns = (_axis(sizes[a], kernels[a], synapses.stride[a], synapses.padding[a]) for a in range(2))
    return rows, columns


def _axis(size: int, kernel: int, stride: int, padding: int) -> Axis:
    """Rows, or columns; a stride that only reaches padding is shortened to one that also does: it has fewer phases."""
    return Axis(size, kernel, min(stride, max(size + padding, kernel)), padding)


@dataclass(frozen=True)
class Sources:
    """The sources of a convolution, as a port of a core hears them.

    `outgoing`: how they leave the core that sends them. Their addresses consist of its group, row and column, with a
    lane of `lane_bits` below them. None for an input: its addresses count the sources in network order.
    """

    rows: Axis
    columns: Axis
    outgoing: Outgoing | None = None
    lane_bits: int = 0

    @staticmethod
    def of(edge: Edge, kernel: Kernel, outgoing: Outgoing | None = None, lane_bits: int = 0) -> Sources:
        """The sources of `edge`, a convolution, into a core with the tables `kernel`."""
        rows, columns = (
            replace(axis, moved=targets.taps - axis.taps)
            for axis, targets in zip(_axes(edge), (kernel.rows, kernel.columns), strict=True)
        )
        return Sources(rows, columns, outgoing, lane_bits)

    @property
    def phase_bits(self) -> int:
        return self.rows.phase_bits + self.columns.phase_bits

    def keys(self, addresses: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """What the hardware calls the channel behind each of `addresses`; of an input, its number in `channels`."""
        if self.outgoing is None:
            return channels
        lanes = (1 << self.lane_bits) - 1
        return addresses >> self.outgoing.y_bits + self.outgoing.x_bits & ~lanes | addresses & lanes

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
