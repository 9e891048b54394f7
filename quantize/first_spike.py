"""Networks that answer with their first spike, made of networks whose outputs are membranes.

Outputs that do not spike are trained, for they have a gradient: the right class should soon have the highest membrane.
Then each output gets a threshold, and the first to reach it decides. A low threshold decides early, a high one well.
A ramp, a bias added to all outputs alike in each step, lifts membranes that would stay below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import require
from .network import QuantizedNetwork
from .neuron import Reset


@dataclass(frozen=True)
class Trade:
    """What a `threshold`, in units of the membrane, costs and gives on some labelled frames.

    `accuracy`: fraction of right answers. `step`: mean number of steps until the answer. `silent`: fraction of frames
    in which no output spikes.
    """

    threshold: int
    accuracy: float
    step: float
    silent: float


def first_spike(network: QuantizedNetwork, threshold: int, ramp: int = 0) -> QuantizedNetwork:
    """`network`, whose one read-out is of membranes, with outputs that spike at `threshold`, and the read-out `first`.

    `ramp` is added to the biases of the outputs, in units of the sum. Outputs keep their membranes when they spike, as
    only the first spike counts. Raises `UserError` for another read-out, and for what does not fit the formats.
    """
    lifted = ramped(network, ramp)
    (read,) = lifted.readouts
    output = lifted.population(read.source)
    require(not output.neuron.spiking, f"population {output.name} spiking", True, "False: membranes are made to spike")
    neuron = replace(output.neuron, spiking=True, threshold=np.array([threshold]), reset=Reset.NONE)
    spiking = replace(output, neuron=neuron)
    populations = tuple(spiking if one is output else one for one in lifted.populations)
    return replace(lifted, populations=populations, readouts=(replace(read, kind="first"),))


def ramped(network: QuantizedNetwork, ramp: int) -> QuantizedNetwork:
    """`network`, whose one read-out is of outputs to whose biases `ramp` is added, in units of the sum."""
    require(len(network.readouts) == 1, "readouts", len(network.readouts), "1")
    output = network.population(network.readouts[0].source)
    lifted = replace(output, bias=output.bias + ramp)
    return replace(network, populations=tuple(lifted if one is output else one for one in network.populations))


def trades(membranes: np.ndarray, labels: np.ndarray, thresholds: Sequence[int]) -> list[Trade]:
    """What each threshold does, from the membranes `[n, steps, classes]` of the outputs of a network without one.

    Outputs in groups are not looked at: each neuron is a class.
    """
    found, every = [], np.arange(len(membranes))
    for threshold in thresholds:
        fired = np.asarray(membranes >= threshold)
        some = np.asarray(fired.any(axis=2))
        step = np.where(some.any(axis=1), some.argmax(axis=1), membranes.shape[1] - 1)
        right = fired[every, step].argmax(axis=1) == labels
        silent = ~some.any(axis=1)
        found.append(Trade(int(threshold), float(right.mean()), float(step.mean()) + 1, float(silent.mean())))
    return found
