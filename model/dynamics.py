"""One step of the neurons of a graph, in torch: the definition. `recurrent.py` is the same over all steps, faster.

It is `quantize.neuron.IntNeuron.update` before any rounding, in its order. Backwards, a spike's derivative is that of a
surrogate (`surrogates.py`), and a reset carries no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .graph import NeuronSpec
from .surrogates import ATAN, Firing


class Parameters(NamedTuple):
    """What decides a step, each a float or a tensor that broadcasts with the neurons (`[neurons]` at the end)."""

    decay: Tensor
    current_decay: Tensor
    adaptation_decay: Tensor


class State(NamedTuple):
    """Membrane, synaptic current, adaptation, and refractory steps that are left: tensors `[..., neurons]`."""

    membrane: Tensor
    current: Tensor
    adaptation: Tensor
    refractory: Tensor


def reset_amount(neuron: NeuronSpec) -> float:
    """What a soft reset subtracts."""
    return neuron.threshold if neuron.reset_amount is None else neuron.reset_amount


def start_value(neuron: NeuronSpec) -> float:
    """Where the membrane is at the start of a frame."""
    return neuron.reset_value if neuron.start_value is None else neuron.start_value


def start(neuron: NeuronSpec, like: Tensor) -> State:
    """The state at the start of a frame, in shape and type of `like`."""
    nothing = torch.zeros_like(like)
    return State(torch.full_like(like, start_value(neuron)), nothing, nothing, nothing)


def drive(u: Tensor, adaptation: Tensor, free: Tensor) -> Tensor:
    """How near neurons are to a spike, without gradient: where it is the threshold or more they fire."""
    return torch.where(free, u.detach() - adaptation.detach(), -torch.inf)


def step(
    current: Tensor, state: State, neuron: NeuronSpec, parameters: Parameters, firing: Firing | None = None
) -> tuple[Tensor, Tensor, State]:
    """`(sum of a step, state) -> (potential u, spikes, state)`; neurons that do not spike have none.

    `firing` makes spikes, the same in all steps of a frame. None: with the surrogate `atan`.
    """
    firing = firing or Firing(ATAN, neuron.threshold)
    i, x = state.current, current
    if neuron.current is not None:
        i = parameters.current_decay * i + current
        x = i if neuron.current.enters == "new" else state.current
    kept = parameters.decay * state.membrane
    u = (kept if firing.surrogate.carries or not neuron.spiking else kept.detach()) + x
    free = (state.refractory == 0).to(u.dtype)
    spikes = firing(u - neuron.threshold - state.adaptation, free) if neuron.spiking else torch.zeros_like(u)
    down = spikes.detach()
    if neuron.reset == "hard":
        after = u * (1 - down) + down * neuron.reset_value
    elif neuron.reset == "soft":
        after = u - down * reset_amount(neuron)
    else:
        after = u
    v = free * after + (1 - free) * state.membrane
    a = state.adaptation
    if neuron.adaptation is not None:
        a = parameters.adaptation_decay * a + neuron.adaptation.jump * spikes
    waiting = torch.where(down > 0, float(neuron.refractory), (state.refractory - 1).clamp(min=0))
    return u, spikes, State(v, i, a, waiting)
