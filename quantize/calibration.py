"""Start values with which integrate-and-fire neurons fire as often as the activations that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .network import QuantizedNetwork
from .population import Population, fewest

NOTE = "calibration"  # in the notes of a network: `{"images": ..., "start": ...}`
ROUNDS = 2  # for each population: a start value changes the rates of its own neurons not quite as expected


def start_before(network: QuantizedNetwork) -> float | None:
    """Of a calibrated network: where its membranes started before, in thresholds: 0 or 0.5. Else None."""
    told = network.notes.get(NOTE)
    start = told.get("start") if isinstance(told, dict) else None
    return float(start) if start in (0, 0.5) and not isinstance(start, bool) else None


def calibrated(
    network: QuantizedNetwork,
    activations: Mapping[str, np.ndarray],
    rates: Callable[[QuantizedNetwork, str], np.ndarray],
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork:
    """`network` with start values that are corrected by what its mean rates lack, a population after the other.

    A neuron with soft reset that lacks `n` spikes in a frame has missed `n` thresholds. So many are added to its start
    value: the mean over the neurons of a map, as rates differ from image to image far more than from place to place.
    This is the correction of biases by Li et al. ("A Free Lunch From ANN", ICML 2021), but it comes before the first
    step, and so also corrects that the first spikes of a population are late.

    Parameters
    ----------
    activations
        Of some images: by population the mean of each activation over its threshold, float `[neurons]`. Others stay.
    rates
        Of the same images: the mean spikes a step of the neurons of a population, float `[neurons]`, after those of all
        populations before it.
    progress
        Called with the number of each run of `rates` and their total.
    """
    names = [network.populations[index].name for index in network.order]
    names = [name for name in names if name in activations]
    for number, name in enumerate(np.repeat(names, ROUNDS).tolist()):
        found = rates(network, name)
        made = [
            _corrected(one, activations[name] - found, network.steps) if one.name == name else one
            for one in network.populations
        ]
        network = replace(network, populations=tuple(made))
        if progress is not None:
            progress(number + 1, len(names) * ROUNDS)
    return network


def _corrected(population: Population, lacking: np.ndarray, steps: int) -> Population:
    own, channels = population.parameters, population.channels
    spikes = steps * lacking.reshape(channels, -1).mean(axis=1)
    amount = np.rint(own.reset_amount * population.per_neuron(spikes)).astype(np.int64)
    start = population.neuron.clipped(own.start_value + amount)
    return replace(population, neuron=replace(population.neuron, start_value=fewest(start, channels)))
