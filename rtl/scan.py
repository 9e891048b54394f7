"""The order in which a population's neurons are scanned, and the addresses under which rows leave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Pool


@dataclass(frozen=True)
class Scan:
    """Rows of a population, one neuron of each PE at a time: group by group, and in a group window by window.

    A group holds one channel of each PE: the neurons of a map of `height` x `width` pooling windows, of `window` x
    `window` neurons each, which are scanned one after another. A population that is no map has a neuron in each group.
    With `joined` (max pooling), a window sends one row, its OR.
    """

    groups: int
    height: int = 1
    width: int = 1
    window: int = 1
    joined: bool = False

    @staticmethod
    def of(shape: tuple[int, ...] | None, pool: Pool | None, groups: int) -> Scan:
        """The scan of maps of `shape`, None for neurons one by one, on PEs with `groups` channels each.

        With `pool`, of all that read the maps, neurons in no pooling window are left out.
        """
        if shape is None:
            return Scan(groups)
        if pool is None:
            return Scan(groups, shape[1], shape[2])
        _, height, width = pool.output_shape(shape)
        return Scan(groups, height, width, pool.size, joined=pool.kind == "max")

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

    @cached_property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, in the map, of each neuron of a group, in scan order: int64 `[group_rows]` twice."""
        y, x, i, j = np.indices((self.height, self.width, self.window, self.window)).reshape(4, -1)
        return y * self.window + i, x * self.window + j


@dataclass(frozen=True)
class Outgoing:
    """How the rows of a scan leave: by its own windows, or through a `pool` that not all readers of the maps have.

    With such a pool the scan has no windows of its own. Outgoing events are addressed by group and window; neurons in
    no window send nothing.
    """

    scan: Scan
    pool: Pool | None = None

    @property
    def size(self) -> int:
        """Rows and columns of a window."""
        return self.pool.size if self.pool else self.scan.window

    @property
    def joined(self) -> bool:
        """A window sends one row, its OR."""
        return self.pool.kind == "max" if self.pool else self.scan.joined

    @property
    def height(self) -> int:
        """Rows of windows."""
        return self.scan.height * self.scan.window // self.size

    @property
    def width(self) -> int:
        """Columns of windows."""
        return self.scan.width * self.scan.window // self.size

    @property
    def x_bits(self) -> int:
        return (self.width - 1).bit_length()

    @property
    def y_bits(self) -> int:
        return (self.height - 1).bit_length()

    @property
    def output_bits(self) -> int:
        """Width of the row part of an outgoing address: group, then y, then x of the window."""
        return self.scan.group_bits + self.y_bits + self.x_bits

    @cached_property
    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the window of each neuron of a group, in scan order: int64 `[group_rows]` twice."""
        y, x = self.scan.positions
        return y // self.size, x // self.size

    @cached_property
    def outputs(self) -> np.ndarray:
        """Row part of the address under which each row leaves, -1 of neurons in no window: int64 `[rows]`."""
        y, x = self.windows
        group = np.arange(self.scan.groups)[:, None]
        inside = (y < self.height) & (x < self.width)
        return np.where(inside, (group << self.y_bits | y) << self.x_bits | x, -1).ravel()

    @cached_property
    def sends(self) -> np.ndarray:
        """Bool `[rows]`: the rows that send events; in a joined window, only the last."""
        ends = np.ones(self.scan.group_rows, bool)
        if self.joined:
            y, x = self.scan.positions
            ends = (y % self.size == self.size - 1) & (x % self.size == self.size - 1)
        return np.tile(ends, self.scan.groups) & (self.outputs >= 0)
