"""The real numbers behind an integer network: where fine-tuning starts, and what it trains.

A population has one `unit`, or one for each channel: the real value of an integer 1 in its sum. All of its integers are
these numbers in units that follow from it:

    weights of a connection   unit * 2**shift / worth
    biases                    unit
    all of the neurons        unit / 2**fraction

Whoever makes a `QuantizedNetwork` from floats makes these beside it. `of_integers` makes them from integers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError, require
from .network import QuantizedNetwork
from .neuron import IntNeuron
from .population import Population

NEURON = ("threshold", "reset_value", "reset_amount", "start_value", "jump")


@dataclass(frozen=True)
class Reals:
    """Of one population, all float64.

    unit
        `[1]` or `[channels]`: the real value of an integer 1 in its sum.
    worths
        For each connection, the real value of an integer 1 of what its synapses see: 1 of spikes, `1 / (2**bits - 1)`
        of pixels whose largest is 1, and less by the window's area behind an average pool.
    weights
        For each connection, in the shape of its integers. What is 0 is no synapse, and stays so.
    bias
        `[channels]` or `[neurons]`.
    threshold, reset_value, reset_amount, start_value, jump
        Of the neurons, `[1]`, `[channels]` or `[neurons]`; `jump` of the adaptation. What a neuron does not have is 0.
    strict
        Whether a spike needs a potential above the threshold; else the threshold is enough.
    worth
        What a membrane of 1 is worth to the loss, if membranes are read out.
    """

    unit: np.ndarray
    worths: tuple[float, ...]
    weights: tuple[np.ndarray, ...]
    bias: np.ndarray
    threshold: np.ndarray
    reset_value: np.ndarray
    reset_amount: np.ndarray
    start_value: np.ndarray
    jump: np.ndarray
    strict: bool = False
    worth: float = 1.0

    def check(self, population: Population) -> None:
        """`UserError` unless the numbers are finite and fit the integers of `population`."""
        where = f"reals of population {population.name}"
        sizes = {1, population.channels, population.neurons}
        connections = population.inputs
        for field, values in (("weights", self.weights), ("worths", self.worths)):
            require(
                len(values) == len(connections), f"{where} {field}", len(values), f"{len(connections)}, its connections"
            )
        for weight, connection in zip(self.weights, connections, strict=True):
            _array(f"{where} weights, {connection.label},", weight, {connection.synapses.weight.shape})
        _array(f"{where} bias", self.bias, {population.bias.shape})
        _array(f"{where} unit", self.unit, {(1,), (population.channels,)})
        for name in NEURON:
            _array(f"{where} {name}", getattr(self, name), {(size,) for size in sizes})
        positive = bool((self.unit > 0).all()) and min(*self.worths, self.worth) > 0
        require(positive, f"{where} unit or worths", "0 or below", "above 0")


def _array(field: str, values: Any, shapes: set[tuple[int, ...]]) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        raise UserError.of(field, getattr(values, "dtype", type(values).__name__), "an array of float64")
    require(values.shape in shapes, f"{field} shape", values.shape, " or ".join(map(str, sorted(shapes))))
    require(bool(np.isfinite(values).all()), field, "not finite", "finite numbers")


def of_integers(
    network: QuantizedNetwork, units: Sequence[float], worths: Sequence[Sequence[float]]
) -> tuple[Reals, ...]:
    """The real values of the integers of `network`, one a population.

    `units` are those of the populations, `worths` those of their connections; see `Reals`. Fine-tuning then starts
    from the integers themselves. With floats beside them, `dataclasses.replace` puts in what is known better.
    """
    return tuple(
        _of_population(population, unit, tuple(worth))
        for population, unit, worth in zip(network.populations, units, worths, strict=True)
    )


def _of_population(population: Population, unit: float, worths: tuple[float, ...]) -> Reals:
    fine = unit / (1 << population.neuron.fraction)
    weights = [
        connection.synapses.weight * (unit * 2**connection.shift / worth)
        for connection, worth in zip(population.inputs, worths, strict=True)
    ]
    values = {name: integers * fine for name, integers in neuron_integers(population.neuron).items()}
    return Reals(np.array([unit], np.float64), worths, tuple(weights), population.bias * unit, **values)  # type: ignore[arg-type]


def neuron_integers(neuron: IntNeuron) -> dict[str, np.ndarray]:
    """The integers of a neuron that are rounded from those of `Reals`, by their names there."""
    own = neuron.parameters
    return dict(zip(NEURON, (*(getattr(own, name) for name in NEURON[:4]), own.adaptation_jump), strict=True))
