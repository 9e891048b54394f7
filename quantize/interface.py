"""Input and output of a network: `Input` and `Readout`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import choice, name, whole
from ..shapes import LARGEST_SHAPE, READOUTS, shape_of

PIXEL_BITS = 8
SUM_BITS = 32  # of a word of the result packet, signed: the class, or a class's sum


@dataclass(frozen=True)
class Input:
    """What a frame is: `static` pixels of `bits` bits, held for all steps, or `spikes` or `graded` anew at each step.

    A static frame is uint8 `[prod(shape)]`; pixel `x` counts as `seen(x)`. A spike frame is uint8 0/1
    `[steps, prod(shape)]`. A graded frame has the same shape: how many events a source sends in a step, below
    `2**bits`.
    """

    shape: tuple[int, ...]
    bits: int = PIXEL_BITS
    kind: str = "static"
    name: str = "input"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("input.name", self.name))
        object.__setattr__(self, "kind", choice("input.kind", self.kind, ("static", "spikes", "graded")))
        object.__setattr__(self, "shape", shape_of("input.shape", self.shape))
        object.__setattr__(self, "bits", whole("input.bits", self.bits, 1, PIXEL_BITS))

    @property
    def largest(self) -> int:
        """Largest value of one source."""
        return 1 if self.kind == "spikes" else (1 << self.bits) - 1

    @property
    def dropped(self) -> int:
        """Number of low bits of a source's value that the network ignores."""
        return PIXEL_BITS - self.bits if self.kind == "static" else 0

    def seen(self, x: Any) -> Any:
        """The used bits of `x`, the values of sources: an integer, or an array or tensor of them."""
        return x >> self.dropped


@dataclass(frozen=True)
class Readout:
    """What a frame's answer is made of: spikes or membranes of the population `source`, "" for the last.

    `count`: how often a neuron spiked. `first`: who spikes first. The first step in which a neuron of `source` spikes
    decides, and a neuron that spikes in it is worth the steps from it to the frame's end, both included; all others are
    worth 0, as all are where none spikes. Of neurons that do not spike: `membrane`, at the end of the frame; `largest`
    membrane of all steps; `sum` of the membranes over all steps.

    Outputs are summed in groups of `group` neighbours (the voting layer). The class is the index of the largest sum, of
    equal sums the lowest index.
    """

    kind: str = "count"
    group: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", choice("readout.kind", self.kind, READOUTS))
        object.__setattr__(self, "source", name("readout.source", self.source, least=0))
        object.__setattr__(self, "group", whole("readout.group", self.group, 1, LARGEST_SHAPE))
