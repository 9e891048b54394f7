"""Input and output of a network: `Input` and `Readout`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import choice, whole
from ..shapes import LARGEST_SHAPE, shape_of

PIXEL_BITS = 8
SUM_BITS = 32  # signed width of a word of the result packet: the class, or the sum of a class
LARGEST_STEPS = 255  # of a frame


@dataclass(frozen=True)
class Input:
    """The input of a frame: `static` pixels of `bits` bits, the same at all steps, or `spikes` for each step.

    A static frame is uint8 `[prod(shape)]`; pixel `x` counts as `seen(x)`. A spike frame is uint8 0/1
    `[steps, prod(shape)]`.
    """

    shape: tuple[int, ...]
    bits: int = PIXEL_BITS
    kind: str = "static"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", choice("input.kind", self.kind, ("static", "spikes")))
        object.__setattr__(self, "shape", shape_of("input.shape", self.shape))
        object.__setattr__(self, "bits", whole("input.bits", self.bits, 1, PIXEL_BITS))

    @property
    def largest(self) -> int:
        """Largest value of one source."""
        return (1 << self.bits) - 1 if self.kind == "static" else 1

    @property
    def dropped(self) -> int:
        """Number of low bits of a source's value that the network ignores."""
        return PIXEL_BITS - self.bits if self.kind == "static" else 0

    def seen(self, x: Any) -> Any:
        """The used bits of `x`, the values of sources: an integer, or an array or tensor of them."""
        return x >> self.dropped


@dataclass(frozen=True)
class Readout:
    """How a frame is classified: by spike `count`s or final `membrane`s of the last layer.

    Outputs are summed in groups of `group` neighbours (the voting layer). The class is the index of the largest sum, of
    equal sums the lowest index.
    """

    kind: str = "count"
    group: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", choice("readout.kind", self.kind, ("count", "membrane")))
        object.__setattr__(self, "group", whole("readout.group", self.group, 1, LARGEST_SHAPE))
