"""Post-training quantisation of graphs: choose the unit of each population and the shifts of its connections.

The unit follows from the weights: of all units within an octave and shifts of the connections, those of least squared
rounding error over all synapses. Or by a search from there: multiples of the unit are tried for one population after
another, and the one with the best score of the integer network is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ..bits import signed_range
from ..errors import UserError, require
from .graph_rounding import FoldedGraph, GraphFormats, Unit, at_units
from .network import QuantizedNetwork
from .population import LARGEST_CONNECTION_SHIFT
from .ptq import FACTORS, Score
from .rounding import round_weight

BIAS_UNITS = 64  # the largest bias of a population is at least so many units, or every bias is a whole number of them
FINEST = 6  # halvings of a unit for the sake of its biases
OCTAVE = 32  # units tried between one and its double
CHANNEL_FACTORS = (1.0, *(2 ** (octaves / 32) for octaves in range(-64, 65) if octaves))  # of a unit
NEAR, MOST_TRIED = 2, 4  # shifts tried for weights that were rounded before, up to so many connections into a sum
ROUNDED = 1e-4  # error in units of a weight that was rounded before, in float32
EXACT = 1e-9  # relative error of a weight, or a bias in units, that is no rounding but that of floating point


def quantize_graph(
    folded: FoldedGraph,
    formats: GraphFormats = GraphFormats(),  # noqa: B008 (frozen)
    score: Score | None = None,
    *,
    factors: Sequence[float] = FACTORS,
    rounds: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork:
    """Quantise a folded graph.

    Without `score` the units are those of `weight_units`. With it, `rounds` passes over the populations, last first,
    try `factors` of each unit and keep the best score (the smallest change where scores tie). `progress` is called with
    the number of networks scored so far and in all.

    Raises
    ------
    UserError
        A number does not fit; the message names the population.
    """
    units = weight_units(folded, formats)
    found = at_units(folded, formats, units)
    if score is None:
        return found
    return searched(units, lambda trial: at_units(folded, formats, trial), score, factors, rounds, progress) or found


def searched(
    units: tuple[Unit, ...],
    made: Callable[[tuple[Unit, ...]], QuantizedNetwork],
    score: Score,
    factors: Sequence[float] = FACTORS,
    rounds: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork | None:
    """The network of the best score among those that `made` gives from multiples of `units`; None if none fits.

    The other arguments are those of `quantize_graph`.
    """
    best, found, total, done = -np.inf, None, rounds * len(units) * len(factors), 0
    order = sorted(factors, key=lambda factor: abs(np.log(factor)))
    for _ in range(rounds):
        for index in reversed(range(len(units))):
            start = units
            for factor in order:
                other = replace(start[index], value=start[index].value * factor)
                trial = (*start[:index], other, *start[index + 1 :])
                rounded = _fitting(made, trial)
                if rounded is not None and (reached := score(rounded)) > best:
                    best, units, found = reached, trial, rounded
                done += 1
                if progress:
                    progress(done, total)
    return found


def _fitting(made: Callable[[tuple[Unit, ...]], QuantizedNetwork], trial: tuple[Unit, ...]) -> QuantizedNetwork | None:
    try:
        return made(trial)
    except UserError:
        return None


def weight_units(folded: FoldedGraph, formats: GraphFormats) -> tuple[Unit, ...]:
    """For each population, the unit and the shifts of least squared rounding error over its synapses.

    The unit is made finer, and the shifts larger, until its biases fit: `BIAS_UNITS`.
    """
    found = []
    for population in folded.populations:
        where, values = f"population {population.name}", folded.source_values(population, formats)
        sources = [" + ".join(connection.sources) for connection in population.trained.spec.inputs]
        unit = unit_of(where, sources, population.weights, values, formats.weight_bits)
        if formats.per_channel and population.neuron.spiking:
            unit = of_channels(unit, population.weights, values, formats.weight_bits)
        found.append(refined(unit, population.bias))
    return tuple(found)


def best_scale(weight: np.ndarray, bits: int) -> float:
    """The scale of least squared rounding error of weights that are not all 0; of those without error the coarsest."""
    weight, limit = weight[weight != 0], signed_range(bits)[1]
    largest = float(np.abs(weight).max())
    whole, clipped = largest / np.arange(1, limit + 2), largest / limit * np.linspace(0.98, 0.2, 40)
    scales = np.concatenate([whole, clipped])
    errors = np.array([_error(weight, scale, bits) for scale in scales])
    return float(scales[int(np.argmax(errors <= errors.min() + EXACT**2 * np.square(weight).sum()))])


def _error(weight: np.ndarray, scale: float, bits: int) -> float:
    low, high = signed_range(bits)
    return float(np.square(np.clip(np.rint(weight / scale), low, high) * scale - weight).sum())


def unit_of(
    where: str, sources: Sequence[str], every: Sequence[np.ndarray], values: Sequence[float], bits: int
) -> Unit:
    """The unit at which one connection at least has no shift.

    `every`: the weights of each connection, from `sources`; `values`: the real value of a source of 1.
    """
    weights = [weight[weight != 0] for weight in every]
    steps = [best_scale(w, bits) * value if w.size else 0.0 for w, value in zip(weights, values, strict=True)]
    base = min(step for step in steps if step)
    tried = sorted(np.arange(-OCTAVE // 2, OCTAVE // 2) / OCTAVE, key=abs)
    best, found = np.inf, Unit(base, ())
    for octaves in tried:
        unit, shifts, total = float(base * 2**octaves), [], 0.0
        for weight, value, step in zip(weights, values, steps, strict=True):
            nearest = float(np.log2(step / unit)) if step else 0.0
            around = {max(0, int(np.floor(nearest))), max(0, int(np.ceil(nearest)))}
            error, shift = min((_error(weight, unit * 2**shift / value, bits), shift) for shift in around)
            shifts.append(shift)
            total += error
        if total < best * (1 - EXACT):
            best, low = total, min(shift for shift, w in zip(shifts, weights, strict=True) if w.size)
            found = Unit(unit * 2**low, tuple(max(0, shift - low) for shift in shifts))
    for source, shift in zip(sources, found.shifts, strict=True):
        accepted = f"at most {LARGEST_CONNECTION_SHIFT}: its weights are too large beside those of another connection"
        require(shift <= LARGEST_CONNECTION_SHIFT, f"{where} connection from {source} shift", shift, accepted)
    return found


def of_channels(unit: Unit, weights: Sequence[np.ndarray], values: tuple[float, ...], bits: int) -> Unit:
    """`unit` with the factor for each channel of least squared rounding error over its synapses.

    Weights that training has rounded are kept: if those of every channel are whole multiples of some scale, that scale
    is the channel's. A channel without synapses keeps the factor 1.
    """
    for shifts in shifts_near(unit.shifts):
        exact = on_grids(replace(unit, shifts=shifts), weights, values, bits)
        if exact is not None:
            return replace(unit, shifts=shifts, factors=exact)
    errors = []
    for factor in CHANNEL_FACTORS:
        total = np.zeros(len(weights[0]))
        for weight, scale in zip(weights, replace(unit, value=unit.value * factor).scales(values), strict=True):
            rounded = round_weight(weight, scale, bits) * scale
            total += np.square(rounded - weight).reshape(len(weight), -1).sum(axis=1)
        errors.append(total)
    return replace(unit, factors=np.array(CHANNEL_FACTORS)[np.argmin(errors, axis=0)])


def shifts_near(shifts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """`shifts`, of the connections into a sum, and others with the same least one, the nearest first."""
    if len(shifts) > MOST_TRIED:
        return [shifts]
    found = set()
    for moves in product(range(-NEAR, NEAR + 1), repeat=len(shifts)):
        moved = [shift + move for shift, move in zip(shifts, moves, strict=True)]
        one = tuple(shift - min(moved) + min(shifts) for shift in moved)
        if max(one) <= LARGEST_CONNECTION_SHIFT:
            found.add(one)
    return sorted(found, key=lambda one: (sum(abs(a - b) for a, b in zip(one, shifts, strict=True)), one))


def on_grids(unit: Unit, weights: Sequence[np.ndarray], values: tuple[float, ...], bits: int) -> np.ndarray | None:
    """For each channel the factor of `unit` at which no weight is rounded, the least of them; None if one has none."""
    limit, single = signed_range(bits)[1], unit.scales(values)
    factors = np.ones(len(weights[0]))
    for channel in range(len(factors)):
        all_units = np.concatenate(
            [weight[channel].ravel() / scale[0] for weight, scale in zip(weights, single, strict=True)]
        )
        units = np.abs(all_units[all_units != 0])
        if not units.size:
            continue
        tried = units.max() / np.arange(limit, 0, -1)
        errors = np.abs(units / tried[:, None] - np.rint(units / tried[:, None])).max(axis=1)
        if not (errors < ROUNDED).any():
            return None
        factors[channel] = tried[int(np.argmax(errors < ROUNDED))]
    return factors


def refined(unit: Unit, bias: np.ndarray) -> Unit:
    """`unit`, halved until every bias is a whole number of it, or else the largest is `BIAS_UNITS`."""
    most = min(FINEST, LARGEST_CONNECTION_SHIFT - max(unit.shifts))
    halved = [Unit(unit.value / 2**by, tuple(s + by for s in unit.shifts), unit.factors) for by in range(most + 1)]
    whole = next((one for one in halved if _is_whole(bias / one.values)), None)
    large = next((one for one in halved if (np.abs(bias) >= BIAS_UNITS * one.values).any()), halved[-1])
    return whole or large


def _is_whole(values: np.ndarray) -> bool:
    return bool(np.allclose(values, np.rint(values), rtol=EXACT, atol=EXACT))
