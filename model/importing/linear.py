"""Linear nodes behind each other, composed into one set of weights and a pool: exactly, or as a dense matrix.

An `Operator` is what a source's values go through. It stays a convolution as long as the composition of its parts is
one; where it is not (padding between two of them, factors that differ within a map), it becomes a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...errors import UserError, require
from ...shapes import LARGEST_POOL, Pool
from .geometry import CONVOLUTIONS, DENSE, POOLS, Window, groups, pool_kernel, scale, weight, window
from .records import Record
from .shapes import Shape, settled

LARGEST_EXPANDED = 1 << 24  # weights of a matrix that is made from other nodes


@dataclass(frozen=True)
class Kernel:
    """A convolution: `weight` float64 `[out, in, kh, kw]`; stride and zero padding, vertical and horizontal."""

    weight: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Operator:
    """From the values of a source, of `source_shape`, to `shape`.

    delays
        Of the source's values in steps, int64 `[1]` or `[values]`.
    pool
        What the source is pooled with first; its values are the sums of its windows.
    factors
        float64 `[values after the pool]`, while there is neither `kernel` nor `matrix`.
    kernel, matrix
        What follows: a convolution, or float64 `[out, in]`.
    """

    where: str
    source_shape: Shape
    shape: Shape
    delays: np.ndarray
    poolable: bool
    pool: Pool | None = None
    factors: np.ndarray | None = None
    kernel: Kernel | None = None
    matrix: np.ndarray | None = None

    @staticmethod
    def start(where: str, shape: Shape, poolable: bool) -> Operator:
        """The values of a source as they are; `poolable`: it may be pooled before the weights."""
        return Operator(where, shape, shape, np.zeros(1, np.int64), poolable, None, np.ones(prod(shape)))

    def then(self, name: str, node: Record, shape: Shape, delay: np.ndarray | None = None) -> Operator:
        """With a node behind it whose output is of `shape`; `delay`, that of a Delay in steps."""
        where = f"node {name}"
        if node.type in DENSE:
            return self._multiplied(where, weight(where, node, 2), shape)
        if node.type in CONVOLUTIONS:
            return self._convolved(where, *convolution(where, node), shape)
        if node.type in POOLS:
            return self._pooled(where, node, shape)
        if node.type == "Scale":
            return self._scaled(where, scale(where, node, shape), shape)
        if node.type == "Delay":
            assert delay is not None
            return self._delayed(where, delay, shape)
        return replace(self, shape=shape)  # Flatten, and what stands for an edge

    def weights(self, target: Shape) -> tuple[np.ndarray | Kernel, Pool | None]:
        """The weights into a population of the shape `target`: a kernel or a matrix; and the pool before them."""
        if self.kernel is not None and len(target) == 3 and settled(self.shape) == target:
            return self.kernel, self.pool
        if self.factors is not None and len(self._seen) == 3 and self._seen == target:
            by_map = self.factors.reshape(target[0], -1)
            if bool((by_map == by_map[:, :1]).all()):
                return Kernel(np.diag(by_map[:, 0])[:, :, None, None], (1, 1), (0, 0)), self.pool
        return self._expanded(self.where).matrix, self.pool  # type: ignore[return-value]

    def as_matrix(self) -> np.ndarray:
        """All of it as float64 `[out, in]`, without a pool."""
        require(self.pool is None, self.where, "pooled", "no pool")
        matrix = self._expanded(self.where).matrix
        assert matrix is not None
        return matrix

    def applied(self, values: np.ndarray) -> np.ndarray:
        """What comes of `values`, float64 `[source values]`, without delays. The source is not pooled."""
        if self.factors is not None:
            return self.factors * values
        if self.matrix is not None:
            return self.matrix @ values
        kernel = self.kernel
        assert kernel is not None
        return correlated(values.reshape(1, *self._seen), kernel.weight, kernel.stride, kernel.padding).reshape(-1)

    @property
    def _seen(self) -> Shape:
        """The shape of the source after the pool."""
        shape = settled(self.source_shape)
        return self.pool.output_shape(shape) if self.pool else shape

    def _multiplied(self, where: str, full: np.ndarray, shape: Shape) -> Operator:
        if self.factors is not None:
            return replace(self, shape=shape, factors=None, matrix=full * self.factors)
        expanded = self._expanded(where)
        return replace(expanded, shape=shape, matrix=full @ expanded.matrix)

    def _scaled(self, where: str, factors: np.ndarray, shape: Shape) -> Operator:
        if self.factors is not None:
            return replace(self, shape=shape, factors=self.factors * factors)
        if self.kernel is not None:
            by_map = factors.reshape(len(self.kernel.weight), -1)
            if bool((by_map == by_map[:, :1]).all()):
                kernel = replace(self.kernel, weight=self.kernel.weight * by_map[:, :1, None, None])
                return replace(self, shape=shape, kernel=kernel)
        expanded = self._expanded(where)
        return replace(expanded, shape=shape, matrix=factors[:, None] * expanded.matrix)

    def _delayed(self, where: str, steps: np.ndarray, shape: Shape) -> Operator:
        if self.factors is not None and self.pool is None:
            return replace(self, shape=shape, delays=self.delays + steps)
        same = steps.size == 1 or bool((steps == steps[0]).all())
        require(
            same,
            f"{where} delay",
            f"{steps.min()} to {steps.max()} steps",
            "one delay for all, or the node before the weights",
        )
        return replace(self, shape=shape, delays=self.delays + steps[:1])

    def _pooled(self, where: str, node: Record, shape: Shape) -> Operator:
        size = pool_kernel(where, node)
        frame = window(where, node, size)
        plain = frame.stride == size and frame.before == frame.after == (0, 0) and size[0] == size[1] <= LARGEST_POOL
        if node.type == "MaxPool2d":
            return self._largest(where, size[0], plain, shape)
        worth = 1 / prod(size) if node.type == "AvgPool2d" else 1.0
        fits = self.factors is not None and self.pool is None and self.poolable and len(settled(self.source_shape)) == 3
        if plain and fits and size[0] > 1 and self.delays.size == 1 and self._uniform_factors:
            assert self.factors is not None
            pooled = replace(self, pool=Pool("average", size[0]))
            return replace(pooled, shape=shape, factors=np.full(prod(shape), self.factors[0] * worth))
        channels = shape[0]
        full = np.zeros((channels, channels, *size))
        full[np.arange(channels), np.arange(channels)] = worth
        return self._convolved(where, full, frame, shape)

    def _largest(self, where: str, size: int, plain: bool, shape: Shape) -> Operator:
        """With a max pool behind it: of spikes as they are, or as another max pool leaves them."""
        spikes = self.poolable and self._uniform_factors and self.factors is not None and self.factors[0] > 0
        before = 1 if self.pool is None else self.pool.size
        spikes = spikes and self.delays.size == 1 and (self.pool is None or self.pool.kind == "max")
        require(spikes, where, "a max pool of sums or inputs", "one of spikes: right behind neurons")
        accepted = f"square windows beside each other, of at most {LARGEST_POOL} pixels a side"
        require(plain and before * size <= LARGEST_POOL, f"{where} windows", f"{size} pixels", accepted)
        assert self.factors is not None
        return replace(
            self, shape=shape, pool=Pool("max", before * size), factors=np.full(prod(shape), self.factors[0])
        )

    @property
    def _uniform_factors(self) -> bool:
        return self.factors is not None and bool((self.factors == self.factors[0]).all())

    def _convolved(self, where: str, full: np.ndarray, frame: Window, shape: Shape) -> Operator:
        full, padding = symmetric(full, frame)
        if self.factors is not None and len(self._seen) == 3 and prod(self._seen) == prod(self.shape):
            by_map = self.factors.reshape(self._seen[0], -1)
            if bool((by_map == by_map[:, :1]).all()) and self._seen[0] == full.shape[1]:
                kernel = Kernel(full * by_map[None, :, 0, None, None], frame.stride, padding)
                return replace(self, shape=shape, factors=None, kernel=kernel)
        if self.kernel is not None and self._composes(padding):
            return replace(self, shape=shape, kernel=_composed(self.kernel, full, frame.stride, padding))
        expanded = self._expanded(where)
        matrix = expanded.matrix
        assert matrix is not None
        before = settled(self.shape) if len(self.shape) != 3 else self.shape
        outputs = prod(shape)
        _check_size(where, outputs, matrix.shape[1])
        columns = np.moveaxis(matrix.reshape(*before, -1), -1, 0)
        found = np.empty((outputs, len(columns)))
        for i, column in enumerate(columns):
            found[:, i] = correlated(column[None], full, frame.stride, padding)[0].reshape(-1)
        return replace(expanded, shape=shape, matrix=found)

    def _composes(self, padding: tuple[int, int]) -> bool:
        """Whether a convolution with this padding may follow: zeros around its input are zeros of this one's too."""
        assert self.kernel is not None
        points = (
            self.kernel.weight.shape[2:] == (1, 1) and self.kernel.padding == (0, 0) and self.kernel.stride == (1, 1)
        )
        return padding == (0, 0) or points

    def _expanded(self, where: str) -> Operator:
        """The same as a matrix."""
        if self.matrix is not None:
            return self
        if self.factors is not None:
            _check_size(where, self.factors.size, self.factors.size)
            return replace(self, factors=None, matrix=np.diag(self.factors))
        kernel = self.kernel
        assert kernel is not None
        sources = prod(self._seen)
        _check_size(where, prod(self.shape), sources)
        found = np.empty((prod(self.shape), sources))
        for source in range(sources):
            point = np.zeros(sources)
            point[source] = 1
            image = point.reshape(1, *self._seen)
            found[:, source] = correlated(image, kernel.weight, kernel.stride, kernel.padding).reshape(-1)
        return replace(self, kernel=None, matrix=found)


def convolution(where: str, node: Record) -> tuple[np.ndarray, Window]:
    """Weights `[out, in, kh, kw]` of a convolution, with zeros for groups and dilation; its window without dilation."""
    full = weight(where, node, 3 if node.type == "Conv1d" else 4)
    if node.type == "Conv1d":
        full = full[:, :, None]
    parts = groups(where, node, full)
    frame = window(where, node, (full.shape[2], full.shape[3]))
    out, inner = full.shape[:2]
    reach = frame.reach
    _check_kernel(where, out * inner * parts, reach)
    spread = np.zeros((out, inner * parts, *reach))
    rows = out // parts
    for part in range(parts):
        mine = slice(part * rows, (part + 1) * rows), slice(part * inner, (part + 1) * inner)
        spread[(*mine, slice(None, None, frame.dilation[0]), slice(None, None, frame.dilation[1]))] = full[mine[0]]
    return spread, replace(frame, kernel=reach, dilation=(1, 1))


def symmetric(full: np.ndarray, frame: Window) -> tuple[np.ndarray, tuple[int, int]]:
    """Weights and padding as hardware has them: the same on both sides, and less than the kernel.

    Zeros are added to the weights for the rest. The output is as large as with the padding of `frame`.
    """
    sides = []
    for size, before, after in zip(full.shape[2:], frame.before, frame.after, strict=True):
        wide = max(before, after)
        first, last = wide - before, wide - after
        more = max(0, wide - (size + first + last) + 1)
        sides.append((first + more, last + more, wide + more))
    size = full.shape[2] + sides[0][0] + sides[0][1], full.shape[3] + sides[1][0] + sides[1][1]
    _check_kernel("kernel with its padding", full.shape[0] * full.shape[1], size)
    grown = np.pad(full, ((0, 0), (0, 0), *((first, last) for first, last, _ in sides)))
    return grown, (sides[0][2], sides[1][2])


def correlated(images: np.ndarray, full: np.ndarray, stride: tuple[int, int], padding: tuple[int, int]) -> np.ndarray:
    """Cross-correlation of float64 `images` `[n, in, h, w]` with `[out, in, kh, kw]`, zeros around them."""
    (py, px), (sy, sx) = padding, stride
    padded = np.pad(images, ((0, 0), (0, 0), (py, py), (px, px)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, full.shape[2:], axis=(2, 3))[:, :, ::sy, ::sx]
    return np.moveaxis(np.tensordot(windows, full, axes=([1, 4, 5], [1, 2, 3])), -1, 1)


def _composed(first: Kernel, second: np.ndarray, stride: tuple[int, int], padding: tuple[int, int]) -> Kernel:
    """Two convolutions as one, where the second has no padding, or the first is one of single points."""
    (sy, sx), (h2, w2) = first.stride, second.shape[2:]
    h1, w1 = first.weight.shape[2:]
    found = np.zeros((len(second), first.weight.shape[1], (h2 - 1) * sy + h1, (w2 - 1) * sx + w1))
    for y in range(h2):
        for x in range(w2):
            part = np.tensordot(second[:, :, y, x], first.weight, axes=1)
            found[:, :, y * sy : y * sy + h1, x * sx : x * sx + w1] += part
    steps = first.stride[0] * stride[0], first.stride[1] * stride[1]
    around = first.padding[0] + padding[0], first.padding[1] + padding[1]
    return Kernel(found, steps, around)


def _check_kernel(where: str, kernels: int, size: tuple[int, int]) -> None:
    """`UserError` for a kernel that dilation or padding make too large."""
    accepted = f"at most {LARGEST_EXPANDED} weights, with the zeros of dilation and padding"
    require(
        kernels * prod(size) <= LARGEST_EXPANDED, f"{where} kernel", f"{kernels} of {size[0]} x {size[1]}", accepted
    )


def _check_size(where: str, outputs: int, sources: int) -> None:
    size = outputs * sources
    accepted = f"at most {LARGEST_EXPANDED}: what leads through it is no convolution"
    require(size <= LARGEST_EXPANDED, f"{where} weights as a matrix", f"{outputs} x {sources}", accepted)
    if outputs < 1 or sources < 1:
        raise UserError.of(f"{where} weights", f"{outputs} x {sources}", "no empty dimension")
