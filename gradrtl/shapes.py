"""Shapes of layers and limits of networks, the same for float and integer networks."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .checks import choice, whole, wholes
from .errors import require

LARGEST_SIZE = 1 << 16  # of a dimension
LARGEST_SHAPE = 1 << 22  # sources or neurons of a layer
LARGEST_PADDED = 1 << 24  # sources of a convolution with the zeros around them
LARGEST_POOL = 16
LARGEST_LAYERS = 64  # of a network: inputs, populations and read-outs, each
LARGEST_FAN = 16  # connections into one population, or sources of one connection
LARGEST_DELAY = 255  # of a connection, in steps
LARGEST_REFRACTORY = 255  # steps
LARGEST_STEPS = 65_535  # of a frame
OF_SPIKES = ("count", "first")  # kinds of read-outs, of spikes;
OF_MEMBRANES = ("membrane", "largest", "sum")  # and of neurons that do not spike
READOUTS = OF_SPIKES + OF_MEMBRANES
TRAINED_READOUTS = ("count", *OF_MEMBRANES)  # that have a gradient


def shape_of(field: str, value: object, dimensions: tuple[int, ...] = (1, 3)) -> tuple[int, ...]:
    """`value` as the shape of sources, `(sources,)` or `(channels, height, width)`."""
    shape = wholes(field, value, 1, LARGEST_SIZE)
    accepted = [text for n, text in ((1, "(sources,)"), (3, "(channels, height, width)")) if n in dimensions]
    require(len(shape) in dimensions, field, shape, " or ".join(accepted))
    require(prod(shape) <= LARGEST_SHAPE, field, shape, f"at most {LARGEST_SHAPE} sources")
    return shape


@dataclass(frozen=True)
class Conv2dGeometry:
    """Kernel, stride and zero padding of a two-dimensional convolution, each `(vertical, horizontal)`."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name, low in (("kernel", 1), ("stride", 1), ("padding", 0)):
            object.__setattr__(self, name, wholes(f"conv.{name}", getattr(self, name), low, LARGEST_SIZE, 2))
        fits = all(p < k for p, k in zip(self.padding, self.kernel, strict=True))
        require(fits, "conv.padding", self.padding, f"0 to one less than the kernel {self.kernel}")

    def output_shape(self, channels: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of the `channels` output maps for an input `shape`."""
        require(len(shape) == 3, "conv input shape", shape, "(channels, height, width)")
        padded = shape[0], *(n + 2 * p for n, p in zip(shape[1:], self.padding, strict=True))
        require(prod(padded) <= LARGEST_PADDED, "conv padded input", padded, f"at most {LARGEST_PADDED} sources")
        sizes = zip(shape[1:], self.padding, self.kernel, self.stride, strict=True)
        height, width = ((n + 2 * p - k) // s + 1 for n, p, k, s in sizes)
        require(min(height, width) >= 1, "conv output size", (height, width), "at least 1: a kernel within the input")
        found = channels, height, width
        require(prod(found) <= LARGEST_SHAPE, "conv output shape", found, f"at most {LARGEST_SHAPE} neurons")
        return found


@dataclass(frozen=True)
class Pool:
    """Pooling of spikes over `size` x `size` windows with stride `size`. Borders that do not fill a window are dropped.

    `max` is the OR of the window; `average` is its number of spikes (the division by `size**2` is folded into the
    weights of the next layer).
    """

    kind: str = "max"
    size: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", choice("pool.kind", self.kind, ("max", "average")))
        object.__setattr__(self, "size", whole("pool.size", self.size, 1, LARGEST_POOL))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape after pooling maps of `shape`."""
        require(len(shape) == 3, "pool input shape", shape, "(channels, height, width)")
        require(min(shape[1:]) >= self.size, "pool.size", self.size, f"at most the map size {shape[1:]}")
        return (shape[0], shape[1] // self.size, shape[2] // self.size)

    @property
    def largest(self) -> int:
        """Largest value of one pooled source at a step."""
        return 1 if self.kind == "max" else self.size**2
