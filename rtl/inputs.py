"""All inputs of a network as the one stream on which their frames come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..bits import unsigned_bits
from ..errors import require
from ..quantize.network import Input, QuantizedNetwork
from .frame_words import COUNT_BIT, MARK_BIT


def largest_sent(given: Input) -> int:
    """The largest value that a source of `given` may send: of a pixel with the bits that the network does not see."""
    return (given.largest + 1 << given.dropped) - 1


@dataclass(frozen=True)
class Inputs:
    """The inputs of a network share an address space: static ones first, then the others, in the order of the network.

    A frame of static inputs is pixels, one of other inputs a *segment* of events for each step. If there are both
    (`is_mixed`), the pixels are a segment of their own, before those of the steps.

    Raises `UserError` for more sources than have addresses.
    """

    inputs: tuple[Input, ...]

    def __post_init__(self) -> None:
        most = 1 << (COUNT_BIT if self.kind == "graded" else MARK_BIT)
        require(self.sources <= most, "sources of all inputs", self.sources, f"at most {most} in hardware")

    @staticmethod
    def of(network: QuantizedNetwork) -> Inputs:
        return Inputs(network.inputs)

    @property
    def kind(self) -> str:
        """`static`; else `spikes`, or `graded` if events have values: counts, or the pixels of a static input."""
        kinds = {given.kind for given in self.inputs}
        return kinds.pop() if len(kinds) == 1 else "graded"

    @property
    def is_mixed(self) -> bool:
        """Some inputs are static, and some are not."""
        return 0 < self.held_sources < self.sources

    @cached_property
    def ranges(self) -> tuple[range, ...]:
        """The addresses of each input, in the order of the network."""
        found, end = {}, 0
        for number in sorted(range(len(self.inputs)), key=lambda number: self.inputs[number].kind != "static"):
            first, end = end, end + prod(self.inputs[number].shape)
            found[number] = range(first, end)
        return tuple(found[number] for number in range(len(self.inputs)))

    @property
    def by_address(self) -> list[tuple[Input, range]]:
        """Each input with its addresses, in the order of these."""
        return sorted(zip(self.inputs, self.ranges, strict=True), key=lambda pair: pair[1].start)

    @property
    def sources(self) -> int:
        return sum(map(len, self.ranges))

    @property
    def held_sources(self) -> int:
        """Sources of the static inputs; they have the first addresses."""
        return sum(len(own) for given, own in self.by_address if given.kind == "static")

    @cached_property
    def dropped(self) -> np.ndarray:
        """The low bits of each source's value that the network does not see: uint8 `[sources]`, by address."""
        parts = [np.full(len(own), given.dropped, np.uint8) for given, own in self.by_address]
        return np.concatenate(parts)

    @property
    def largest(self) -> int:
        """Largest value of any source."""
        return max(given.largest for given in self.inputs)

    @property
    def bits(self) -> int:
        """Width of a value of any source."""
        return unsigned_bits(self.largest)

    def segments(self, steps: int) -> int:
        """Parts of a frame of `steps` steps: each ends with a token."""
        return 1 if self.held_sources == self.sources else steps + self.is_mixed

    def values(self, steps: int) -> int:
        """Values of a frame of `steps` steps: pixels once, others in each step."""
        return self.held_sources + steps * (self.sources - self.held_sources)

    def stacked(self, frames: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Frames of each input side by side: uint8 `[frames, ..., sources]`. Those of one are returned as they are.

        Of static inputs beside others `[frames, segments, sources]`, with zeros for what a segment does not have.
        """
        if isinstance(frames, np.ndarray):
            return frames
        if len(frames) == 1:
            return frames[0]
        if not self.is_mixed:
            return np.concatenate(frames, axis=-1)
        count, steps = next(values.shape[:2] for values in frames if values.ndim == 3)
        found = np.zeros((count, self.segments(steps), self.sources), np.uint8)
        for values, own in zip(frames, self.ranges, strict=True):
            if values.ndim == 2:
                found[:, 0, own.start : own.stop] = values
            else:
                found[:, 1:, own.start : own.stop] = values
        return found

    def packed(self, stacked: np.ndarray) -> np.ndarray:
        """All values of stacked frames in the order in which they come: uint8 `[frames, values]`."""
        if not self.is_mixed:
            return stacked.reshape(len(stacked), -1)
        held = self.held_sources
        return np.concatenate([stacked[:, 0, :held], stacked[:, 1:, held:].reshape(len(stacked), -1)], axis=1)

    def seen(self, stacked: np.ndarray) -> np.ndarray:
        """The used bits of stacked frames."""
        return stacked >> self.dropped
