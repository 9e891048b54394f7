"""The real numbers behind the integers of an imported network: where its fine-tuning starts.

They are those of the import (`Scaled`); with a unit for each row, at the size of the weights in the file. A few would
be rounded otherwise than the import has rounded them: ties, and thresholds that are whole but for the noise of 32-bit
floats. Each of these is replaced by the number that its integer stands for: fine-tuning starts from the integers of
the import.
"""

from __future__ import annotations

import numpy as np

from ..bits import signed_range
from ..model.importing.graph import ImportedGraph
from .graph_rounding import CLOSE, GraphFormats
from .imported import Asked, Scaled, scaled_population, source_values
from .network import QuantizedNetwork
from .population import Population
from .reals import NEURON, Reals, neuron_integers


def reals_of_imported(
    graph: ImportedGraph, asked: Asked, formats: GraphFormats, network: QuantizedNetwork
) -> tuple[Reals, ...]:
    """One a population of `network`, the integers that `quantize_imported` has made of the other arguments."""
    scaled = {one.name: scaled_population(one, asked) for one in graph.populations}
    found = []
    for population in network.populations:
        one = scaled[population.name]
        worths = source_values(graph, one, asked, formats)
        found.append(_reals(population, one, network.notes["units"][population.name], worths))
    return tuple(found)


def _reals(population: Population, one: Scaled, unit: float, worths: list[float]) -> Reals:
    rows = one.rows if one.rows.size in (1, population.channels) else np.ones(1)
    weights = []
    for weight, worth, connection in zip(one.weights, worths, population.inputs, strict=True):
        by_row = rows.reshape(-1, *[1] * (weight.ndim - 1))
        scale = unit * by_row * 2**connection.shift / worth
        weights.append(
            _agreed(weight * by_row, scale, connection.synapses.weight, signed_range(connection.weight_bits))
        )
    wide = population.per_neuron(rows)
    bias = _agreed(one.bias * wide, unit * wide, population.per_neuron(population.bias))
    return Reals(
        unit * rows,
        tuple(worths),
        tuple(weights),
        _few(population, bias, population.bias.size),
        strict=_strict(one),
        worth=float(one.worth[0]) if one.threshold is None else 1.0,
        **_neurons(population, one, wide, unit),
    )


def _neurons(population: Population, one: Scaled, wide: np.ndarray, unit: float) -> dict[str, np.ndarray]:
    """What is rounded of the neurons, in as many numbers as there are integers or units; `wide`: of rows, by neuron."""
    given = neuron_integers(population.neuron)
    integers = {name: population.per_neuron(values).astype(np.float64) for name, values in given.items()}
    fine = unit * wide / (1 << population.neuron.fraction)
    exact = {name: getattr(one, name) for name in ("reset_value", "reset_amount")} | {"start_value": one.start}
    found = {name: _agreed(exact.get(name, 0.0) * wide, fine, integers[name]) for name in NEURON}
    lowest = integers["threshold"] - _strict(one)
    if one.threshold is None:
        found["threshold"] = lowest * fine
    else:
        exactly = np.broadcast_to(one.threshold * wide, wide.shape)
        above = exactly / fine - np.rint(exactly / fine) > (-CLOSE if _strict(one) else CLOSE)
        same = np.rint(exactly / fine) + above == integers["threshold"]
        found["threshold"] = np.where(same, exactly, lowest * fine)
    met = (found["threshold"] > found["reset_value"]) & (integers["threshold"] <= integers["reset_value"])
    found["threshold"] = np.where(met, lowest * fine, found["threshold"])  # rounding has closed the gap between them
    found["reset_value"] = np.where(met, integers["reset_value"] * fine, found["reset_value"])
    units = 1 if bool((wide == wide[0]).all()) else population.channels
    return {name: _few(population, values, max(given[name].size, units)) for name, values in found.items()}


def _strict(one: Scaled) -> bool:
    return one.threshold is not None and not one.imported.rule.equal


def _agreed(
    values: np.ndarray, unit: np.ndarray, integers: np.ndarray, limits: tuple[float, float] = (-np.inf, np.inf)
) -> np.ndarray:
    """`values`, but where they are not rounded to `integers`, within `limits`, what those stand for."""
    return np.where(np.clip(np.rint(values / unit), *limits) == integers, values, integers * unit)


def _few(population: Population, values: np.ndarray, size: int) -> np.ndarray:
    """`values`, one for each neuron, as `size` of them: 1, one a channel or one a neuron."""
    if size == population.neurons:
        return values
    return values.reshape(population.channels, -1)[:, 0] if size > 1 else values[:1]
