"""One step of integer neurons with any states, compiled, and its gradient: what `states.py` does.

Integers are floats wide enough to hold them. Arrays are `[n, positions, channels]`, parameters `[PARAMETERS, channels]`
in the order of `neuron.Parameters` and then `unit`, the real value of a membrane of 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compiled import kernel
from .neuron import LeakKind, Reset

SHIFT, MULTIPLY, DECAYING_INPUT = (kind.code for kind in (LeakKind.SHIFT, LeakKind.MULTIPLY, LeakKind.DECAYING_INPUT))
HARD, SOFT = Reset.HARD.code, Reset.SOFT.code
(
    THRESHOLD, FACTOR, RESET_VALUE, RESET_AMOUNT, START_VALUE,
    CURRENT_FACTOR, ADAPTATION_FACTOR, ADAPTATION_JUMP, UNIT,
) = range(9)  # fmt: skip
PARAMETERS = 9


class Rule(NamedTuple):
    """What neurons do, but for their parameters; a worth is what a unit is worth after its shift."""

    leak: int
    worth: float
    half: float  # added to a quotient before its floor: 0, or 0.5 to the nearest
    reset: int
    fraction: float  # units of the membrane in one of the sum
    clips: bool
    low: float
    high: float
    has_current: bool
    enters_new: bool
    current_worth: float
    has_adaptation: bool
    adaptation_worth: float
    refractory: float


@kernel(error_model="numpy")
def step_forward(first, last, sums, state, neurons, rule, spikes, new, over):
    """One step from `state`, the four arrays of `neuron.State`; fills `spikes`, `new` and `over`.

    `over` is how far the potential is over the threshold, minus infinity for a refractory neuron.
    """
    v, i, a, waiting = state
    new_v, new_i, new_a, new_waiting = new
    none = over.dtype.type(0)
    for n in range(first, last):
        for y in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                entering = sums[n, y, c] * rule.fraction
                if rule.has_current:
                    kept = np.floor(i[n, y, c] * neurons[CURRENT_FACTOR, c] * rule.current_worth + rule.half) + entering
                    entering = kept if rule.enters_new else i[n, y, c]
                    new_i[n, y, c] = kept
                before = v[n, y, c]
                u = _potential(before, entering, neurons[FACTOR, c], rule)
                far = u - neurons[THRESHOLD, c]
                if rule.has_adaptation:
                    far -= a[n, y, c]
                is_free = waiting[n, y, c] == 0
                fired = is_free and far >= 0
                if fired:
                    if rule.reset == HARD:
                        u = neurons[RESET_VALUE, c]
                    elif rule.reset == SOFT:
                        u -= neurons[RESET_AMOUNT, c]
                if rule.clips:
                    u = min(max(u, rule.low), rule.high)
                new_v[n, y, c] = u if is_free else before
                if rule.has_adaptation:
                    kept = np.floor(a[n, y, c] * neurons[ADAPTATION_FACTOR, c] * rule.adaptation_worth + rule.half)
                    new_a[n, y, c] = kept + neurons[ADAPTATION_JUMP, c] if fired else kept
                left = waiting[n, y, c] - 1
                new_waiting[n, y, c] = rule.refractory if fired else max(left, none)
                spikes[n, y, c] = 1 if fired else 0
                over[n, y, c] = far if is_free else -np.inf


@kernel(error_model="numpy")
def _potential(v, entering, factor, rule):
    """`u`, as `IntNeuron.potential`."""
    if rule.leak == DECAYING_INPUT:
        return v + np.floor((entering - v) * rule.worth + rule.half)
    if rule.leak == MULTIPLY:
        return np.floor(v * factor * rule.worth + rule.half) + entering
    if rule.leak == SHIFT:
        return v - np.floor(v * rule.worth + rule.half) + entering
    return v + entering


@kernel(error_model="numpy")
def step_backward(first, last, given, sums, state, neurons, rule, over, to_sums, to_state, to_neurons):
    """The gradient of `step_forward`; `given` are those of spikes and of the new membranes, currents, adaptations.

    Floors pass gradients straight through; a reset carries none but to what it subtracts or sets; a spike has its
    surrogate at `unit * over`. `to_state` are the gradients of the three states, `to_neurons` float64 `[n, PARAMETERS,
    channels]` those of the parameters, summed over positions.
    """
    to_spikes, to_new_v, to_new_i, to_new_a = given
    v, i, a, _ = state
    to_v, to_i, to_a = to_state
    none = over.dtype.type(0)
    to_neurons[first:last] = 0
    for n in range(first, last):
        own = to_neurons[n]
        for y in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                far = over[n, y, c]
                is_free, fired = far > -np.inf, far >= 0
                to_spike, back_a = to_spikes[n, y, c], none
                if rule.has_adaptation:
                    carried = to_new_a[n, y, c]
                    back_a = carried * neurons[ADAPTATION_FACTOR, c] * rule.adaptation_worth
                    own[ADAPTATION_FACTOR, c] += carried * a[n, y, c] * rule.adaptation_worth
                    to_spike += carried * neurons[ADAPTATION_JUMP, c]
                    if fired:
                        own[ADAPTATION_JUMP, c] += carried
                back_v, to_entering = to_new_v[n, y, c], none
                if is_free:
                    old_i = i[n, y, c]
                    entering = sums[n, y, c] * rule.fraction
                    if rule.has_current and rule.enters_new:
                        entering += np.floor(old_i * neurons[CURRENT_FACTOR, c] * rule.current_worth + rule.half)
                    elif rule.has_current:
                        entering = old_i
                    back_v, to_entering, at_threshold = _back(
                        back_v, to_spike, v[n, y, c], entering, far, fired, neurons[:, c], rule, own[:, c]
                    )
                    back_a -= at_threshold
                back_i = to_entering
                if rule.has_current:
                    total = to_new_i[n, y, c]
                    if rule.enters_new:
                        total += to_entering
                    own[CURRENT_FACTOR, c] += total * i[n, y, c] * rule.current_worth
                    back_i = total * neurons[CURRENT_FACTOR, c] * rule.current_worth
                    if not rule.enters_new:
                        back_i += to_entering
                    to_entering = total
                to_sums[n, y, c] = to_entering * rule.fraction
                to_v[n, y, c], to_i[n, y, c], to_a[n, y, c] = back_v, back_i, back_a


@kernel(error_model="numpy")
def _back(carried, to_spike, v, entering, far, fired, neuron, rule, own):
    """Gradients by the membrane before and by what enters it; and that by the potential which the spike passes on."""
    u = _potential(v, entering, neuron[FACTOR], rule)
    after = u
    if fired and rule.reset == HARD:
        after = neuron[RESET_VALUE]
    elif fired and rule.reset == SOFT:
        after = u - neuron[RESET_AMOUNT]
    if rule.clips and (after < rule.low or after > rule.high):
        carried = carried * 0
    steep = math.pi * neuron[UNIT] * far
    to_x = to_spike / (1 + steep * steep)
    own[UNIT] += to_x * far
    at_threshold = to_x * neuron[UNIT]
    own[THRESHOLD] -= at_threshold
    to_u = at_threshold
    if fired and rule.reset == HARD:
        own[RESET_VALUE] += carried
    else:
        to_u += carried
        if fired and rule.reset == SOFT:
            own[RESET_AMOUNT] -= carried
    if rule.leak == DECAYING_INPUT:
        return to_u * (1 - rule.worth), to_u * rule.worth, at_threshold
    if rule.leak == MULTIPLY:
        own[FACTOR] += to_u * v * rule.worth
        return to_u * neuron[FACTOR] * rule.worth, to_u, at_threshold
    if rule.leak == SHIFT:
        return to_u * (1 - rule.worth), to_u, at_threshold
    return to_u, to_u, at_threshold
