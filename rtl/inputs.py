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


@dataclass(frozen=True)
class Inputs:
    """The sources of each input follow those of the input before it, in the order of the network.

    Raises `UserError` where some are static and others are not.
    """

    inputs: tuple[Input, ...]

    @staticmethod
    def of(network: QuantizedNetwork) -> Inputs:
        return Inputs(network.inputs)

    def __post_init__(self) -> None:
        kinds = [given.kind for given in self.inputs]
        alike = len({kind == "static" for kind in kinds}) == 1
        require(alike, "inputs", kinds, "all static or none, in hardware")

    @property
    def kind(self) -> str:
        """`static`, `spikes`, or `graded` if one of several is."""
        kinds = [given.kind for given in self.inputs]
        return "graded" if "graded" in kinds else kinds[0]

    @cached_property
    def firsts(self) -> tuple[int, ...]:
        """The first source of each input, and the number of all."""
        return tuple(np.cumsum([0, *(prod(given.shape) for given in self.inputs)]).tolist())

    @property
    def sources(self) -> int:
        return self.firsts[-1]

    @property
    def largest(self) -> int:
        """Largest value of any source."""
        return max(given.largest for given in self.inputs)

    @property
    def bits(self) -> int:
        """Width of a value of any source."""
        return unsigned_bits(self.largest)

    def stacked(self, frames: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Frames of each input side by side: uint8 `[frames, ..., sources]`. Those of one are returned as they are."""
        if isinstance(frames, np.ndarray):
            return frames
        return frames[0] if len(frames) == 1 else np.concatenate(frames, axis=-1)

    def seen(self, stacked: np.ndarray) -> np.ndarray:
        """The used bits of stacked frames."""
        parts = np.split(stacked, self.firsts[1:-1], axis=-1)
        return np.concatenate([given.seen(part) for given, part in zip(self.inputs, parts, strict=True)], axis=-1)
