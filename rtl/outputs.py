"""All read-outs of a network as the one packet in which their results leave.

It needs NumPy alone to run: packages for boards have a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..quantize.network import QuantizedNetwork

NUMBER_BITS = 32  # of a step's number, a word, which wraps


@dataclass(frozen=True)
class Outputs:
    """The words of a result packet: of each read-out, in the order of the network, its class, then its sums.

    `classes`: of each read-out, the number of its sums. `numbered`: in front of them is the number of the step, in a
    stream, from 0 on, modulo `2**NUMBER_BITS`.
    """

    classes: tuple[int, ...]
    numbered: bool = False

    @staticmethod
    def of(network: QuantizedNetwork) -> Outputs:
        return Outputs(network.classes_of, network.stream)

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first word of each read-out, its class, and the number of all words."""
        return tuple(np.cumsum([int(self.numbered), *(classes + 1 for classes in self.classes)]).tolist())

    @property
    def words(self) -> int:
        return self.firsts[-1]

    def packets(self, decided: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Packets `[n, words]` of the classes `[n, readouts]` and the sums of all read-outs; of a stream its first."""
        numbers = [self.numbers(0, len(sums))[:, None]] if self.numbered else []
        parts = zip(decided.T, self.parts(sums), strict=True)
        return np.concatenate([*numbers, *(np.column_stack(part) for part in parts)], axis=1)

    @staticmethod
    def numbers(first: int, count: int) -> np.ndarray:
        """The words that number `count` steps of a stream from `first` on: int64, signed words."""
        return np.arange(first, first + count).astype(f"i{NUMBER_BITS // 8}").astype(np.int64)

    def decided(self, packets: np.ndarray) -> np.ndarray:
        """Of packets `[n, words]`, the class of each read-out `[n, readouts]`."""
        return packets[:, list(self.firsts[:-1])]

    def sums(self, packets: np.ndarray) -> np.ndarray:
        """Of packets `[n, words]`, the sums of all read-outs, one after another."""
        return np.delete(packets, [*range(self.numbered), *self.firsts[:-1]], axis=1)

    @staticmethod
    def table(network: QuantizedNetwork) -> list[dict[str, Any]]:
        """Each read-out of `network` in plain values: what it reads, and the number of its first word, the class."""
        outputs = Outputs.of(network)
        return [
            {"source": one.source, "kind": one.kind, "group": one.group, "classes": classes, "first_word": first}
            for one, classes, first in zip(network.readouts, outputs.classes, outputs.firsts[:-1], strict=True)
        ]

    def parts(self, sums: np.ndarray | Sequence[int]) -> list[np.ndarray]:
        """Of the sums of all read-outs `[..., sums]`, those of each."""
        return np.split(np.asarray(sums), np.cumsum(self.classes)[:-1], axis=-1)
