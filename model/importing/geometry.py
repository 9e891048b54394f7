"""Fields of NIR's linear nodes: kernels, strides, padding, dilation, groups; checked, in the units of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import reals
from ...errors import UserError, require
from ...shapes import LARGEST_SIZE
from .records import Record

CONVOLUTIONS = ("Conv1d", "Conv2d")
POOLS = ("SumPool2d", "AvgPool2d", "MaxPool2d")  # NIR has no MaxPool2d: it comes from modules
DENSE = ("Linear", "Affine")
BIASED = ("Affine", *CONVOLUTIONS)
LINEAR = (*DENSE, *CONVOLUTIONS, *POOLS, "Scale", "Flatten", "Delay", "Input", "Output")


@dataclass(frozen=True)
class Window:
    """A sliding window over maps: all pairs `(vertical, horizontal)`. `after` pads below and to the right."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels from the first to the last of a window."""
        return _pair(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def size(self, where: str, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for maps of `shape`."""
        parts = zip(shape, self.before, self.after, self.reach, self.stride, strict=True)
        found = _pair((n + a + b - r) // s + 1 for n, a, b, r, s in parts)
        require(min(found) >= 1, f"{where} output size", found, f"at least 1: a kernel within the maps of {shape}")
        return found


def weight(where: str, record: Record, dimensions: int) -> np.ndarray:
    """The weights of a node, float64 of so many dimensions; leading axes of 1 are dropped."""
    given = record.fields.get("weight")
    if given is None:
        raise UserError.of(f"{where} weight", "missing", f"an array of {dimensions} dimensions")
    array = np.asarray(given)
    while array.ndim > dimensions and array.shape[0] == 1:
        array = array[0]
    found = reals(f"{where} weight", array, (dimensions,))
    require(found.size > 0, f"{where} weight shape", found.shape, "no empty dimension")
    return found


def bias(where: str, record: Record, channels: int) -> np.ndarray:
    """The bias of a node, float64 `[channels]`; zeros if it has none."""
    given = record.fields.get("bias")
    if given is None:
        return np.zeros(channels)
    found = reals(f"{where} bias", np.asarray(given).reshape(-1), (1,))
    require(found.size in (1, channels), f"{where} bias size", found.size, f"1 or {channels}")
    return np.broadcast_to(found, (channels,))


def scale(where: str, record: Record, shape: tuple[int, ...]) -> np.ndarray:
    """The factors of a Scale, float64 `[neurons]`."""
    given = record.fields.get("scale")
    if given is None:
        raise UserError.of(f"{where} scale", "missing", "numbers")
    found = reals(f"{where} scale", np.asarray(given).reshape(-1), (1,))
    neurons = int(np.prod(shape))
    require(found.size in (1, shape[0], neurons), f"{where} scale size", found.size, f"1, {shape[0]} or {neurons}")
    if found.size == 1:
        return np.full(neurons, found[0])
    return found if found.size == neurons else np.repeat(found, neurons // shape[0])


def groups(where: str, record: Record, full: np.ndarray) -> int:
    """The groups of a convolution of weights `[out, in / groups, ...]`."""
    found = _wholes(where, record, "groups", 1, 1, 1)[0]
    require(len(full) % found == 0, f"{where} groups", found, f"a divisor of {len(full)}, its output channels")
    return found


def window(where: str, record: Record, kernel: tuple[int, int]) -> Window:
    """The window of a convolution or pool; that of a Conv1d is of height 1."""
    flat = record.type == "Conv1d"
    count = 1 if flat else 2
    stride = _wholes(where, record, "stride", count, 1, None if record.type in POOLS else 1)
    dilation = _wholes(where, record, "dilation", count, 1, 1)
    padding = record.fields.get("padding", 0)
    if isinstance(padding, str):
        require(padding in ("same", "valid"), f"{where} padding", padding, "same, valid or numbers")
        if padding == "same":
            remedy = "1 with the padding same; numbers for the padding say what is meant"
            require(set(stride) == {1}, f"{where} stride", stride, remedy)
    if flat:
        stride, dilation = (1, *stride), (1, *dilation)
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
        before = _pair(t // 2 for t in total)
        after = _pair(t - t // 2 for t in total)
    else:
        sides = _wholes(where, record, "padding", count, 0, 0)
        before = after = _pair((0, *sides) if flat else sides)
    return Window(kernel, _pair(stride), before, after, _pair(dilation))


def pool_kernel(where: str, record: Record) -> tuple[int, int]:
    """Height and width of a pool's window."""
    return _pair(_wholes(where, record, "kernel_size", 2, 1, None))


def _wholes(where: str, record: Record, field: str, count: int, low: int, default: int | None) -> tuple[int, ...]:
    """`count` whole numbers, or one for all of them."""
    given = record.fields.get(field, default)
    accepted = f"whole numbers of at least {low}, 1 or {count} of them"
    if given is None:
        raise UserError.of(f"{where} {field}", "missing", accepted)
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        raise UserError.of(f"{where} {field}", given, accepted)
    flat = array.astype(np.float64).reshape(-1)
    is_whole = bool(np.isfinite(flat).all() and (flat == np.rint(flat)).all() and (flat >= low).all())
    fits = flat.size in (1, count) and is_whole and (flat <= LARGEST_SIZE).all()
    require(bool(fits), f"{where} {field}", flat.tolist()[:4], accepted)
    return tuple(int(n) for n in (flat if flat.size == count else np.repeat(flat, count)))


def _pair(numbers: Any) -> tuple[int, int]:
    a, b = numbers
    return int(a), int(b)
