"""`IntNeuron`: how integer membranes leak, spike, reset and saturate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ..arrays import frozen
from ..bits import signed_range
from ..checks import choice, flag, whole
from ..errors import require

LIMIT = 1 << 30  # magnitudes of thresholds, biases and sums are smaller, so every u fits a 32-bit integer
LARGEST_MEMBRANE_BITS = 31


class LeakKind(StrEnum):
    """How a membrane decays in a step; `IntNeuron` gives the formulas."""

    NONE = "none"
    SHIFT = "shift"
    MULTIPLY = "multiply"
    DECAYING_INPUT = "decaying_input"

    @property
    def code(self) -> int:
        """The kind as a number, for compiled code."""
        return tuple(LeakKind).index(self)


@dataclass(frozen=True)
class IntNeuron:
    """The neuron of a layer: `u` from `v` and the sum `I`, then spike, reset, saturation.

    leak
        `none`: `u = v + (I << fraction)`; `shift`: `u = v - (v >> shift) + (I << fraction)`;
        `multiply`: `u = ((factor * v) >> shift) + (I << fraction)`;
        `decaying_input`: `u = v + (((I << fraction) - v) >> shift)`.
    threshold
        int64 `[channels]`, one per output channel (per neuron of a `Dense` layer), or `[1]` for all. It is copied,
        and the copy is read-only. Ignored when `spiking` is False (a membrane read-out).
    reset
        `hard`: `v = reset_value` after a spike and at the start of a frame; `soft`: `v = u - threshold`, 0 at the
        start.
    membrane_bits
        Width of the membrane after reset; None: `exact`, a proven width at which nothing saturates.
    """

    leak: LeakKind  # or its value as text
    reset: str
    threshold: np.ndarray
    shift: int = 1
    factor: int = 0
    reset_value: int = 0
    fraction: int = 0
    membrane_bits: int | None = None
    spiking: bool = True

    def __post_init__(self) -> None:
        def take(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        take("leak", LeakKind(choice("neuron.leak", self.leak, LeakKind)))
        take("reset", choice("neuron.reset", self.reset, ("hard", "soft")))
        take("threshold", frozen("neuron.threshold", self.threshold, np.int64, (1,)))
        require(self.threshold.size > 0, "neuron.threshold size", 0, "1, or one per output channel")
        extreme = max(abs(int(self.threshold.min())), abs(int(self.threshold.max())))
        require(extreme < LIMIT, "neuron.threshold", extreme, f"less than {LIMIT} from zero")
        take("shift", whole("neuron.shift", self.shift, 1, 15))
        most = 1 << self.shift
        take("factor", whole("neuron.factor", self.factor, 0, most, f"0 to 2**shift = {most}"))
        take("fraction", whole("neuron.fraction", self.fraction, 0, 8))
        take("spiking", flag("neuron.spiking", self.spiking))
        near = f"less than {LIMIT} from zero"
        take("reset_value", whole("neuron.reset_value", self.reset_value, 1 - LIMIT, LIMIT - 1, near))
        require(self.reset == "hard" or self.reset_value == 0, "neuron.reset_value", self.reset_value, "0 if soft")
        if self.membrane_bits is not None:
            accepted = f"2 to {LARGEST_MEMBRANE_BITS}, or None for exact"
            bits = whole("neuron.membrane_bits", self.membrane_bits, 2, LARGEST_MEMBRANE_BITS, accepted)
            take("membrane_bits", bits)
            low, high = signed_range(bits)
            require(low <= self.reset_value <= high, "neuron.reset_value", self.reset_value, f"{low} to {high}")

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Smallest and largest membrane after saturation; None for `exact`, which never saturates."""
        return None if self.membrane_bits is None else signed_range(self.membrane_bits)

    def clipped(self, v: Any) -> Any:
        """`v` after saturation: plain integers or arrays of them."""
        if self.bounds is None:
            return v
        low, high = self.bounds
        return np.clip(v, low, high) if isinstance(v, np.ndarray) else max(low, min(high, v))

    def step(self, v: Any, current: Any) -> Any:
        """`u` of one update, on plain integers of any size or arrays of int64."""
        scaled = current << self.fraction
        if self.leak == LeakKind.DECAYING_INPUT:
            return v + ((scaled - v) >> self.shift)
        if self.leak == LeakKind.SHIFT:
            return v - (v >> self.shift) + scaled
        if self.leak == LeakKind.MULTIPLY:
            return ((self.factor * v) >> self.shift) + scaled
        return v + scaled

    def after_reset(self, u: Any, threshold: Any, spikes: Any) -> Any:
        """The membranes, arrays of int64, that follow the potentials `u`: reset where `spikes`, then saturated."""
        fallen = self.reset_value if self.reset == "hard" else u - threshold
        return self.clipped(np.where(spikes, fallen, u))
