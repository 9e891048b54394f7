"""Post-training quantisation of graphs: choose the unit of each population and the shifts of its connections.

The unit follows from the weights: of all units within an octave and shifts of the connections, those of least squared
rounding error over all synapses. Or by a search from there: multiples of the unit are tried for one population after
another, and the one with the best score of the integer network is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

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
MOST_TRIED = 1000  # choices of shifts for weights that were rounded before
ALIKE = 1e-3  # of an octave, between two scales that are equal but for their rounding
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
        elif len(values) > 1:
            as_one = [weight.reshape(1, -1) for weight in population.weights]
            exact = on_exact_grids(unit, as_one, values, formats.weight_bits)
            unit = unit if exact is None else Unit(float(exact.values[0]), exact.shifts)
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
    exact = on_exact_grids(unit, weights, values, bits)
    if exact is not None:
        return exact
    errors = []
    for factor in CHANNEL_FACTORS:
        total = np.zeros(len(weights[0]))
        for weight, scale in zip(weights, replace(unit, value=unit.value * factor).scales(values), strict=True):
            rounded = round_weight(weight, scale, bits) * scale
            total += np.square(rounded - weight).reshape(len(weight), -1).sum(axis=1)
        errors.append(total)
    return replace(unit, factors=np.array(CHANNEL_FACTORS)[np.argmin(errors, axis=0)])


def on_exact_grids(unit: Unit, weights: Sequence[np.ndarray], values: tuple[float, ...], bits: int) -> Unit | None:
    """`unit` with the shifts, and the factor of each channel, at which no weight is rounded, if there are such."""
    for shifts in shifts_on_grids(unit, weights, values, bits):
        factors = on_grids(replace(unit, shifts=shifts), weights, values, bits)
        if factors is not None:
            return replace(unit, shifts=shifts, factors=factors)
    return None


def shifts_on_grids(
    unit: Unit, weights: Sequence[np.ndarray], values: tuple[float, ...], bits: int
) -> Iterator[tuple[int, ...]]:
    """Shifts with which the weights of all connections may be whole multiples of one scale in each channel; those of
    `unit` first.

    Where two connections are in a channel, the scales at which each of them is whole tell by which powers of two their
    shifts may differ. Connections that share no channel with the one of the most synapses keep their shift.
    """
    yield unit.shifts
    limit, most = signed_range(bits)[1], int(np.argmax([np.count_nonzero(weight) for weight in weights]))
    apart: list[set[int] | None] = [None] * len(weights)
    for channel in range(len(weights[0]) if len(weights) > 1 else 0):
        steps = [whole_steps(weight[channel] * value, limit) for weight, value in zip(weights, values, strict=True)]
        for index, own in enumerate(steps):
            if own is None or steps[most] is None:
                continue
            octaves = np.log2(own[:, None] / steps[most])
            whole = octaves[np.abs(octaves - np.rint(octaves)) < ALIKE]
            found = {int(by) for by in np.rint(whole)}
            apart[index] = found if (before := apart[index]) is None else before & found
            if not apart[index]:
                return
    given = [{shift - unit.shifts[most]} for shift in unit.shifts]
    for moved in islice(product(*(sorted(one or keep) for one, keep in zip(apart, given, strict=True))), MOST_TRIED):
        shifts = tuple(by - min(moved) + min(unit.shifts) for by in moved)
        if shifts != unit.shifts and max(shifts) <= LARGEST_CONNECTION_SHIFT:
            yield shifts


def whole_steps(weights: np.ndarray, limit: int) -> np.ndarray | None:
    """The numbers of which all weights are whole multiples, up to `limit`, the smallest first; None without weights."""
    sizes = np.abs(weights[weights != 0])
    if not sizes.size:
        return None
    tried = sizes.max() / np.arange(limit, 0, -1)
    errors = np.abs(sizes / tried[:, None] - np.rint(sizes / tried[:, None])).max(axis=1)
    return np.asarray(tried[errors < ROUNDED])


def on_grids(unit: Unit, weights: Sequence[np.ndarray], values: tuple[float, ...], bits: int) -> np.ndarray | None:
    """For each channel the factor of `unit` at which no weight is rounded, the least of them; None if one has none."""
    limit, single = signed_range(bits)[1], unit.scales(values)
    factors = np.ones(len(weights[0]))
    for channel in range(len(factors)):
        parts = [weight[channel].ravel() / scale[0] for weight, scale in zip(weights, single, strict=True)]
        found = whole_steps(np.concatenate(parts), limit)
        if found is None:
            continue
        if not found.size:
            return None
        factors[channel] = found[0]
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
