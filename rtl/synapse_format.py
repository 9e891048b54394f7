"""The format of synapses in the memories of the PEs. This is its only definition.

The synapses of a list are a run of consecutive words in the synapse memory. The list's word in the pointer memory has
their number and, unless the runs have equal distances, the start of the run. Memory contents,
widths, Amaranth layouts and the tests all come from a `SynapseFormat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bits import signed_bits, signed_range, unsigned_bits
from ..errors import require
from .convolution import Kernel
from .scan import Scan

WIDEST_WORD = 63  # bits: words are handled as int64


@dataclass(frozen=True)
class Field:
    """A field of a word: `bits` wide, 1 at least, in two's complement if `signed`."""

    name: str
    bits: int
    signed: bool = False

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        return signed_range(self.bits) if self.signed else (0, (1 << self.bits) - 1)


@dataclass(frozen=True)
class Word:
    """The layout of a memory's words: `fields` from the lowest bit up, without gaps, at most 63 bits in all."""

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        for field in self.fields:
            require(field.bits >= 1, f"field {field.name}", f"{field.bits} bits", "at least 1 bit")
        require(self.bits <= WIDEST_WORD, "memory word", f"{self.bits} bits", f"at most {WIDEST_WORD} bits")

    @property
    def bits(self) -> int:
        return sum(field.bits for field in self.fields)

    def pack(self, **values: np.ndarray) -> np.ndarray:
        """Words, int64 `[n]`, from the values of every field, int64 `[n]` each.

        Raises `UserError` for a value that does not fit its field.
        """
        packed: np.ndarray = np.zeros((), np.int64)
        offset = 0
        for field in self.fields:
            given, (low, high) = np.asarray(values[field.name], np.int64), field.range
            if given.size:
                least, most = int(given.min()), int(given.max())
                fits = low <= least and most <= high
                require(fits, f"field {field.name}", f"{least} to {most}", f"{low} to {high}")
            packed = packed | (given & (1 << field.bits) - 1) << offset
            offset += field.bits
        return packed

    def unpack(self, words: np.ndarray) -> dict[str, np.ndarray]:
        """Inverse of `pack`: the values of every field by name, int64 `[n]` each."""
        values, rest = {}, np.asarray(words, np.int64)
        for field in self.fields:
            value = rest & (1 << field.bits) - 1
            values[field.name] = value - (value >> field.bits - 1 << field.bits if field.signed else 0)
            rest = rest >> field.bits
        return values


@dataclass(frozen=True)
class SynapseFormat:
    """Words of the synapse and pointer memories of one layer.

    Attributes
    ----------
    synapse : Word
        `row`, the target's row in its PE; in a convolution `group`, and `x` and `y`, the taps of `rtl/convolution.py`.
        Above them `weight`, signed, as narrow as the weights allow.
    pointer : Word
        `count`, synapses of a list; above it `start`, where its run begins, unless there is a stride.
    stride_bits : int or None
        If given, the run of list `a` begins at `a << stride_bits`, and there are gaps between the runs.
    """

    synapse: Word
    pointer: Word
    stride_bits: int | None = None

    @staticmethod
    def of(
        scan: Scan,
        kernel: Kernel | None,
        weights: Sequence[np.ndarray],
        counts: np.ndarray,
        starts: np.ndarray,
        stride_bits: int | None,
    ) -> SynapseFormat:
        """The narrowest format for the `weights` of all PEs and the `counts` and `starts` of all runs."""
        target = [Field("row", unsigned_bits(scan.rows - 1))]
        if kernel is not None:
            taps = {"x": kernel.columns.tap_bits, "y": kernel.rows.tap_bits}
            target = [Field(name, bits) for name, bits in ({"group": scan.group_bits} | taps).items()]
        weight = max(signed_bits(int(w.min()), int(w.max())) if w.size else 1 for w in weights)
        count = Field("count", unsigned_bits(int(counts.max())))
        start = () if stride_bits is not None else (Field("start", unsigned_bits(int(starts.max()))),)
        return SynapseFormat(Word((*target, Field("weight", weight, signed=True))), Word((count, *start)), stride_bits)

    @property
    def weight_bits(self) -> int:
        return self.synapse.fields[-1].bits

    @property
    def count_bits(self) -> int:
        return self.pointer.fields[0].bits


def stride_for(counts: np.ndarray) -> int:
    """The smallest `stride_bits` at which no runs overlap. `counts`: synapses of each list, int64 `[pes, lists]`."""
    return max(0, int(counts.max()) - 1).bit_length()


def run_starts(counts: np.ndarray, stride_bits: int | None) -> np.ndarray:
    """The start of each list's run in its PE's synapse memory, int64 `[pes, lists]`.

    Without a stride, a run begins where the one before it ends; empty runs have start 0.
    """
    if stride_bits is not None:
        return np.tile(np.arange(counts.shape[1]) << stride_bits, (len(counts), 1))
    ends = np.cumsum(counts, axis=1)
    return np.where(counts > 0, ends - counts, 0)
