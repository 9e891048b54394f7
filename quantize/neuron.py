"""`IntNeuron`: how integer neurons integrate, leak, spike, reset and saturate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from ..arrays import frozen
from ..bits import signed_range
from ..checks import choice, flag, whole
from ..errors import UserError, require
from ..shapes import LARGEST_REFRACTORY

LIMIT = 1 << 30  # magnitudes of parameters, biases and sums stay below: every u fits a 32-bit integer
LARGEST_MEMBRANE_BITS = 30  # that saturate; with one more, the lowest membrane is not above -LIMIT
EXACT_BITS = 31  # of membranes that do not saturate
LARGEST_SHIFT = 15


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


class Reset(StrEnum):
    """What a spike does to the membrane: set it to a value, subtract an amount, nothing."""

    HARD = "hard"
    SOFT = "soft"
    NONE = "none"

    @property
    def code(self) -> int:
        """The kind as a number, for compiled code."""
        return tuple(Reset).index(self)


class Rounding(StrEnum):
    """How a decay is rounded: to minus infinity, or to the nearest integer (halves up)."""

    FLOOR = "floor"
    NEAREST = "nearest"

    def half(self, shift: int) -> int:
        """What is added before a right shift by `shift`."""
        return (1 << shift - 1) if self == Rounding.NEAREST else 0


class Parameters(NamedTuple):
    """The parameters that may differ from neuron to neuron: integers, or int64 arrays that broadcast."""

    threshold: Any
    factor: Any
    reset_value: Any
    reset_amount: Any
    start_value: Any
    current_factor: Any
    adaptation_factor: Any
    adaptation_jump: Any


class State(NamedTuple):
    """What a neuron keeps from step to step: integers, or int64 arrays. What a neuron does not have stays 0."""

    membrane: Any
    current: Any
    adaptation: Any
    refractory: Any  # steps that are left


class Updated(NamedTuple):
    """What a step makes of a neuron: its potential before the spike, whether it spiked, and its new state."""

    potential: Any
    spikes: Any
    state: State


@dataclass(frozen=True)
class SynapticCurrent:
    """A second state between the sum and the membrane: `i = ((factor * i) >> shift) + (I << fraction)`.

    factor
        int64 `[1]`, `[channels]` or `[neurons]`, or one integer: 0 to `2**shift`.
    enters
        `new`: the membrane gets the current of this step; `old`: that of the step before.
    """

    factor: np.ndarray
    shift: int
    enters: str = "new"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", whole("neuron.current.shift", self.shift, 1, LARGEST_SHIFT))
        object.__setattr__(self, "factor", _factors("neuron.current.factor", self.factor, self.shift))
        object.__setattr__(self, "enters", choice("neuron.current.enters", self.enters, ("new", "old")))


@dataclass(frozen=True)
class Adaptation:
    """A third state that raises the threshold: `a = ((factor * a) >> shift) + (jump if the neuron spiked else 0)`.

    factor
        int64 `[1]`, `[channels]` or `[neurons]`, or one integer: 0 to `2**shift`.
    jump
        The same kinds of values, 0 or more, in units of the membrane.
    """

    factor: np.ndarray
    shift: int
    jump: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", whole("neuron.adaptation.shift", self.shift, 1, LARGEST_SHIFT))
        object.__setattr__(self, "factor", _factors("neuron.adaptation.factor", self.factor, self.shift))
        jump = parameter("neuron.adaptation.jump", self.jump, 0, LIMIT - 1, f"0 to {LIMIT - 1}")
        object.__setattr__(self, "jump", jump)


@dataclass(frozen=True)
class IntNeuron:
    """How the neurons of a population move, from the sum `I` of each step.

    A step, in this order, where `x` is `I << fraction`, and `>>` rounds as `rounding` says:

    1. Synaptic current, if there is one: `i = ((factor_i * i) >> shift_i) + x`; then `x` is the new or the old `i`.
    2. Potential: leak `none`: `u = v + x`; `shift`: `u = v - (v >> shift) + x`;
       `multiply`: `u = ((factor * v) >> shift) + x`; `decaying_input`: `u = v + ((x - v) >> shift)`.
    3. Spike: `u >= threshold + a`, if the neuron spikes at all and is not refractory; `a` is 0 without adaptation.
    4. Membrane: after a spike `reset_value` (`hard`), `u - reset_amount` (`soft`) or `u` (`none`), else `u`; then
       saturated. A refractory neuron keeps its membrane.
    5. Adaptation, if there is one: `a = ((factor_a * a) >> shift_a)`, plus `jump` after a spike.
    6. Refractory steps: `refractory` after a spike, else one less, down to 0.

    A frame starts with the membrane at `start_value` and everything else at 0.

    The parameters `threshold`, `factor`, `reset_value`, `reset_amount` and `start_value` are int64 arrays: `[1]` for
    all neurons, `[channels]`, or `[neurons]`; or one integer. They are copied, and the copies cannot be written to.

    threshold
        Ignored when `spiking` is False (a membrane read-out).
    reset_value
        Of a hard reset; 0 for the others.
    reset_amount
        Of a soft reset; None for the threshold; 0 for the others.
    start_value
        None for `reset_value`.
    membrane_bits
        Width of the membrane after reset; None: `exact`, a proven width at which nothing saturates.
    """

    leak: LeakKind  # or its value as text
    reset: Reset  # likewise
    threshold: np.ndarray
    shift: int = 1
    factor: np.ndarray | int = 0
    reset_value: np.ndarray | int = 0
    fraction: int = 0
    membrane_bits: int | None = None
    spiking: bool = True
    reset_amount: np.ndarray | int | None = None
    start_value: np.ndarray | int | None = None
    rounding: Rounding = Rounding.FLOOR
    current: SynapticCurrent | None = None
    adaptation: Adaptation | None = None
    refractory: int = 0

    def __post_init__(self) -> None:
        def take(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        take("leak", LeakKind(choice("neuron.leak", self.leak, LeakKind)))
        take("reset", Reset(choice("neuron.reset", self.reset, Reset)))
        take("rounding", Rounding(choice("neuron.rounding", self.rounding, Rounding)))
        take("threshold", parameter("neuron.threshold", self.threshold))
        take("shift", whole("neuron.shift", self.shift, 1, LARGEST_SHIFT))
        take("factor", _factors("neuron.factor", self.factor, self.shift))
        take("fraction", whole("neuron.fraction", self.fraction, 0, 8))
        take("spiking", flag("neuron.spiking", self.spiking))
        value = parameter("neuron.reset_value", self.reset_value)
        is_used = self.reset == Reset.HARD or not value.any()
        require(is_used, "neuron.reset_value", _shown(value), f"0 with the reset {self.reset}")
        take("reset_value", value)
        is_soft = self.reset == Reset.SOFT
        amount = (self.threshold if is_soft else 0) if self.reset_amount is None else self.reset_amount
        value = parameter("neuron.reset_amount", amount)
        require(is_soft or not value.any(), "neuron.reset_amount", _shown(value), f"0 with the reset {self.reset}")
        take("reset_amount", value)
        start = self.reset_value if self.start_value is None else self.start_value
        take("start_value", parameter("neuron.start_value", start))
        for name, kind in (("current", SynapticCurrent), ("adaptation", Adaptation)):
            value = getattr(self, name)
            if not isinstance(value, kind | None):
                raise UserError.of(f"neuron.{name}", type(value).__name__, f"a {kind.__name__}, or None")
        take("refractory", whole("neuron.refractory", self.refractory, 0, LARGEST_REFRACTORY, "0 to 255 steps"))
        fires = self.spiking or (self.adaptation is None and self.refractory == 0)
        require(fires, "neuron.spiking", False, "True with adaptation or refractory steps")
        if self.membrane_bits is not None:
            accepted = f"2 to {LARGEST_MEMBRANE_BITS}, or None for exact"
            bits = whole("neuron.membrane_bits", self.membrane_bits, 2, LARGEST_MEMBRANE_BITS, accepted)
            take("membrane_bits", bits)
            low, high = signed_range(bits)
            for name in ("reset_value", "start_value"):
                values = getattr(self, name)
                fits = low <= values.min() and values.max() <= high
                require(fits, f"neuron.{name}", _shown(values), f"{low} to {high}, the membrane's {bits} bits")

    @property
    def parameters(self) -> Parameters:
        """All parameters as they were given: int64 `[1]`, `[channels]` or `[neurons]`."""
        nothing = np.zeros(1, np.int64)
        return Parameters(
            self.threshold,
            self.factor,
            self.reset_value,
            self.reset_amount,
            self.start_value,
            nothing if self.current is None else self.current.factor,
            nothing if self.adaptation is None else self.adaptation.factor,
            nothing if self.adaptation is None else self.adaptation.jump,
        )

    def with_parameters(self, change: Callable[[np.ndarray], np.ndarray]) -> IntNeuron:
        """The neuron with `change` of each of its parameters (those that it has)."""
        changed = Parameters(*map(change, self.parameters))
        others: dict[str, Any] = {}
        if self.current is not None:
            others["current"] = replace(self.current, factor=changed.current_factor)
        if self.adaptation is not None:
            others["adaptation"] = replace(
                self.adaptation, factor=changed.adaptation_factor, jump=changed.adaptation_jump
            )
        own = ("threshold", "factor", "reset_value", "reset_amount", "start_value")
        return replace(self, **{name: getattr(changed, name) for name in own}, **others)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Smallest and largest membrane after saturation; None for `exact`, which never saturates."""
        return None if self.membrane_bits is None else signed_range(self.membrane_bits)

    @property
    def has_state(self) -> bool:
        """Whether a neuron keeps more than its membrane from step to step."""
        return self.current is not None or self.adaptation is not None or self.refractory > 0

    def clipped(self, v: Any) -> Any:
        """`v` after saturation: plain integers or arrays of them."""
        if self.bounds is None:
            return v
        low, high = self.bounds
        return np.clip(v, low, high) if isinstance(v, np.ndarray) else max(low, min(high, v))

    def decayed(self, value: Any, factor: Any, shift: int) -> Any:
        """`value` times `factor / 2**shift`, rounded."""
        return (factor * value + self.rounding.half(shift)) >> shift

    def potential(self, v: Any, x: Any, factor: Any) -> Any:
        """`u` from the membrane `v` and what enters it, `x`, both in units of the membrane."""
        half = self.rounding.half(self.shift)
        if self.leak == LeakKind.DECAYING_INPUT:
            return v + ((x - v + half) >> self.shift)
        if self.leak == LeakKind.SHIFT:
            return v - ((v + half) >> self.shift) + x
        if self.leak == LeakKind.MULTIPLY:
            return self.decayed(v, factor, self.shift) + x
        return v + x

    def entering(self, i: Any, current: Any, factor: Any) -> tuple[Any, Any]:
        """The synaptic current after a step from `i` and the sum `current`, and what enters the membrane."""
        x = current << self.fraction
        if self.current is None:
            return i, x
        new = self.decayed(i, factor, self.current.shift) + x
        return new, new if self.current.enters == "new" else i

    def start(self, parameters: Parameters) -> State:
        """The state at the start of a frame, in the shape of `start_value`."""
        zero = parameters.start_value * 0
        return State(parameters.start_value, zero, zero, zero)

    def update(self, state: State, current: np.ndarray, parameters: Parameters) -> Updated:
        """A step of neurons, on int64 arrays that broadcast: see the six points above."""
        i, x = self.entering(state.current, current, parameters.current_factor)
        u = self.potential(state.membrane, x, parameters.factor)
        is_free = state.refractory == 0
        spikes = (u >= parameters.threshold + state.adaptation) & is_free & self.spiking
        after = {Reset.HARD: parameters.reset_value, Reset.SOFT: u - parameters.reset_amount, Reset.NONE: u}[self.reset]
        v = np.where(is_free, self.clipped(np.where(spikes, after, u)), state.membrane)
        a = state.adaptation
        if self.adaptation is not None:
            a = self.decayed(a, parameters.adaptation_factor, self.adaptation.shift)
            a = a + np.where(spikes, parameters.adaptation_jump, 0)
        waiting = np.where(spikes, self.refractory, np.maximum(state.refractory - 1, 0))
        return Updated(u, spikes, State(v, i, a, waiting))


def parameter(
    field: str, value: Any, low: int = 1 - LIMIT, high: int = LIMIT - 1, accepted: str = f"less than {LIMIT} from zero"
) -> np.ndarray:
    """`value`, an integer or an int64 vector, as a vector that cannot be written to, its numbers `low..high`."""
    if not isinstance(value, np.ndarray):
        value = np.array([whole(field, value, low, high, accepted)], np.int64)
    values = frozen(field, value, np.int64, (1,))
    require(values.size > 0, f"{field} size", 0, "1, or one for each channel or neuron")
    for extreme in (int(values.min()), int(values.max())):
        require(low <= extreme <= high, field, extreme, accepted)
    return values


def _factors(field: str, value: Any, shift: int) -> np.ndarray:
    return parameter(field, value, 0, 1 << shift, f"0 to 2**shift = {1 << shift}")


def _shown(values: np.ndarray) -> Any:
    return int(values[0]) if values.size == 1 else values.tolist()[:8]
