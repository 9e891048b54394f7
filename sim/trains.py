"""Spike trains of neurons whose sums are the same at every step, looked up by the sum."""

from __future__ import annotations

import numpy as np

from ..quantize.neuron import IntNeuron, Parameters, State

STEPS = 8  # that a spike train of one byte holds
LARGEST_TABLE = 1 << 20  # bytes


def trains(neuron: IntNeuron, sums: tuple[int, int], steps: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Spike train of every sum within `sums`: where another train begins, int16 or int32, and which, uint8.

    Under static input the sum of a neuron is the same at every step, so its spikes are a function of it, if all
    neurons have the same parameters; whatever states they have besides the membrane. The function has few steps. Bit
    `t` of a train is the spike of step `t`. The first train is that of all sums below the second turn, whatever the
    first turn is: one less than the second, so that all may fit 16 bits. None where no table can be made.
    """
    low, high = sums
    differ = any((values != values[0]).any() for values in neuron.parameters)
    if differ or not neuron.spiking or steps > STEPS or high - low >= LARGEST_TABLE:
        return None
    current = np.arange(low, high + 1, dtype=np.int64)
    parameters = Parameters(*(values[:1] for values in neuron.parameters))
    state = State(*(np.broadcast_to(values, current.shape) for values in neuron.start(parameters)))
    found = np.zeros(current.size, np.uint8)
    for step in range(steps):
        _, spikes, state = neuron.update(state, current, parameters)
        found |= spikes.astype(np.uint8) << np.uint8(step)
    changes = 1 + np.flatnonzero(np.diff(found))
    turn = current[np.concatenate([changes[:1] - 1, changes])] if changes.size else np.zeros(1, np.int64)
    kind = np.int16 if np.abs(turn).max() <= np.iinfo(np.int16).max else np.int32
    return turn.astype(kind), found[np.concatenate([[0], changes])]
