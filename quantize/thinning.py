"""A limit on the connectivity before quantisation: the weights smallest in units of their scale are removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import require
from .fold import FloatNetwork
from .graph_ptq import weight_units
from .graph_rounding import FoldedGraph, GraphFormats
from .ptq import weight_scales
from .rounding import Formats


def thinned(network: FloatNetwork, formats: Formats, connectivity: float) -> FloatNetwork:
    """`network` with at most the fraction `connectivity` of its weights: those largest in units of their scale.

    Raises
    ------
    UserError
        A layer would lose all its synapses.
    """
    steps = [
        np.abs(layer.weight) / scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        for layer, scale in zip(network.layers, weight_scales(network, formats), strict=True)
    ]
    kept = _largest(steps, connectivity)
    if kept is None:
        return network
    layers = tuple(
        replace(layer, weight=np.where(part, layer.weight, 0.0))
        for layer, part in zip(network.layers, kept, strict=True)
    )
    return replace(network, layers=layers)


def thinned_graph(folded: FoldedGraph, formats: GraphFormats, connectivity: float) -> FoldedGraph:
    """`thinned` of a graph: all connections together.

    Raises
    ------
    UserError
        A population would lose all its synapses.
    """
    steps = []
    for population, unit in zip(folded.populations, weight_units(folded, formats), strict=True):
        for weight, scale in zip(
            population.weights, unit.scales(folded.source_values(population, formats)), strict=True
        ):
            steps.append(np.abs(weight) / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    kept = _largest(steps, connectivity)
    if kept is None:
        return folded
    masks, populations = iter(kept), []
    for population in folded.populations:
        weights = tuple(np.where(next(masks), weight, 0.0) for weight in population.weights)
        left = any(weight.any() for weight in weights)
        require(left, f"population {population.name} synapses", 0, "1 or more: take a larger connectivity")
        populations.append(replace(population, weights=weights))
    return replace(folded, populations=tuple(populations))


def _largest(steps: Sequence[np.ndarray], connectivity: float) -> list[np.ndarray] | None:
    """Masks of the weights that stay, the largest of `steps`; None if all do."""
    require(0 < connectivity <= 1, "connectivity", connectivity, "above 0, at most 1")
    every = np.concatenate([values.ravel() for values in steps])
    allowed = int(connectivity * every.size)
    if np.count_nonzero(every) <= allowed:
        return None
    chosen = np.zeros(every.size, dtype=bool)
    chosen[np.argsort(-every, kind="stable")[:allowed]] = True
    parts = np.split(chosen, np.cumsum([values.size for values in steps])[:-1])
    return [part.reshape(values.shape) for part, values in zip(parts, steps, strict=True)]
