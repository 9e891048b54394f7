"""Parameters of neurons in hardware: constants, or words of a memory that is read by group or by row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ..bits import signed_bits
from ..quantize.network import Population
from ..quantize.neuron import LeakKind, Reset

CONSTANT_BITS = 32  # of a constant reset value, which costs nothing


class Scope(StrEnum):
    """What shares a value of a parameter in one PE: all its neurons, those of a group of rows, those of a row."""

    LAYER = "layer"
    GROUP = "group"
    ROW = "row"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a layer's neurons.

    `values`: int64 `[groups or rows, pes]`, for a `Scope.LAYER` one equal value for all. `bits`: width, signed.
    """

    name: str
    scope: Scope
    values: np.ndarray
    bits: int

    @property
    def constant(self) -> int:
        """The value of all neurons, of a `Scope.LAYER`."""
        return int(self.values[0, 0])


def parameters_of(population: Population, slots: np.ndarray, group_rows: int) -> dict[str, Parameter]:
    """The parameters that the neurons of `population` read, by name; `bias` is one of them.

    `slots` is that of `LayerMapping`; unused ones take the values of a neighbour. A `reset_amount` that is the
    threshold and a `start_value` that is the reset value have no entry of their own, constants aside.
    """
    holder = np.where(slots >= 0, slots, slots[slots >= 0].min())
    found = {}
    for name, values in _read(population).items():
        by_row = values[holder]
        by_group = by_row[::group_rows]
        if (by_row == by_row[0, 0]).all():
            scope, kept = Scope.LAYER, by_row[:1, :1]
        elif (by_row == np.repeat(by_group, group_rows, axis=0)).all():
            scope, kept = Scope.GROUP, by_group
        else:
            scope, kept = Scope.ROW, by_row
        bits = signed_bits(int(kept.min()), int(kept.max()))
        if scope == Scope.LAYER:
            bits = {"factor": population.neuron.shift + 2, "reset_value": CONSTANT_BITS}.get(name, bits)
        found[name] = Parameter(name, scope, kept, bits)
    return found


def _read(population: Population) -> dict[str, np.ndarray]:
    """What the neurons of `population` read, each int64 `[neurons]`."""
    neuron, given = population.neuron, population.parameters
    found = {"bias": population.per_neuron(population.bias), "threshold": given.threshold}
    if neuron.leak == LeakKind.MULTIPLY:
        found["factor"] = given.factor
    if neuron.reset == Reset.HARD:
        found["reset_value"] = given.reset_value
    if neuron.reset == Reset.SOFT and (given.reset_amount != given.threshold).any():
        found["reset_amount"] = given.reset_amount
    if neuron.reset != Reset.HARD or (given.start_value != given.reset_value).any() or np.ptp(given.start_value) == 0:
        found["start_value"] = given.start_value
    if neuron.current is not None:
        found["current_factor"] = given.current_factor
    if neuron.adaptation is not None:
        found |= {"adaptation_factor": given.adaptation_factor, "adaptation_jump": given.adaptation_jump}
    return found
