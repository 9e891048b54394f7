"""A step of integer neurons with any states, as an operation that torch can learn through.

What it computes is `IntNeuron.update`, on floats that hold integers. Steps are chained by who calls it: so the sum of a
step may depend on spikes of the step before, as it does in recurrent networks. For neurons with a membrane alone in a
chain of layers, `fire.py` does all steps at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..bits import signed_range
from ..model.kernels import in_parts
from . import state_kernels as kernels
from .neuron import EXACT_BITS, IntNeuron, Rounding, State

NEVER = 2.0**60  # a threshold that no potential reaches, for neurons that do not spike


class Parameters(NamedTuple):
    """Those of `neuron.Parameters`, and the real `unit` of a membrane, for the spike's surrogate.

    Tensors of integers, `[1]` or `[channels]`.
    """

    threshold: Tensor
    factor: Tensor
    reset_value: Tensor
    reset_amount: Tensor
    start_value: Tensor
    current_factor: Tensor
    adaptation_factor: Tensor
    adaptation_jump: Tensor
    unit: Tensor


class Stepped(NamedTuple):
    """Spikes, the new state, and `over`: how far potentials are over thresholds (no gradient)."""

    spikes: Tensor
    state: State
    over: Tensor


def rule_of(neuron: IntNeuron) -> kernels.Rule:
    """What neurons such as `neuron` do; its parameters are not looked at."""
    bits = EXACT_BITS if neuron.membrane_bits is None else neuron.membrane_bits
    low, high = signed_range(bits)
    current, adaptation = neuron.current, neuron.adaptation
    return kernels.Rule(
        leak=neuron.leak.code,
        worth=1 / (1 << neuron.shift),
        half=0.5 if neuron.rounding == Rounding.NEAREST else 0.0,
        reset=neuron.reset.code,
        fraction=float(1 << neuron.fraction),
        clips=neuron.membrane_bits is not None,
        low=float(low),
        high=float(high),
        has_current=current is not None,
        enters_new=current is not None and current.enters == "new",
        current_worth=1 / (1 << current.shift) if current else 0.0,
        has_adaptation=adaptation is not None,
        adaptation_worth=1 / (1 << adaptation.shift) if adaptation else 0.0,
        refractory=float(neuron.refractory),
    )


def start(parameters: Parameters, like: Tensor) -> State:
    """The state at the start of a frame, in the shape of the sums `like`."""
    zero = torch.zeros_like(like)
    return State(parameters.start_value.to(like.dtype).expand_as(like), zero, zero, zero)


def rows_of(parameters: Parameters, channels: int, dtype: torch.dtype) -> Tensor:
    """All parameters, one row each, `[PARAMETERS, channels]`: made once for all steps of a frame."""
    return torch.stack([values.to(dtype).expand(channels) for values in parameters])


def step(sums: Tensor, state: State, rows: Tensor, rule: kernels.Rule) -> Stepped:
    """One step of neurons, all of `[batch, ..., channels]`, from the `sums` of their synapses.

    `rows` are those of `rows_of`. Silent neurons (`IntNeuron.spiking` is False) have the threshold `NEVER`.
    """
    spikes, v, i, a, waiting, over = _Step.apply(sums, *state, rows, rule)
    return Stepped(spikes, State(v, i, a, waiting), over)


class _Step(torch.autograd.Function):
    """`kernels.step_forward` and its gradient."""

    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, v: Tensor, i: Tensor, a: Tensor, waiting: Tensor, rows: Tensor, rule: kernels.Rule
    ) -> tuple[Tensor, ...]:
        shape = sums.shape
        given = [_flat(x) for x in (sums, v, i, a, waiting)]
        found = [torch.zeros_like(given[0]) for _ in range(6)]
        spikes, *new, over = (x.numpy() for x in found)
        arrays = [x.numpy() for x in given]
        in_parts(
            kernels.step_forward, len(sums), sums.numel(), arrays[0], tuple(arrays[1:]), rows.numpy(), rule,
            spikes, tuple(new), over,
        )  # fmt: skip
        ctx.save_for_backward(*given, rows, found[-1])
        ctx.rule, ctx.shape = rule, shape
        results = [x.reshape(shape) for x in found]
        ctx.mark_non_differentiable(results[4], results[5])
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        *given, rows, over = ctx.saved_tensors
        zero = torch.zeros_like(over)
        to_new = tuple(zero.numpy() if x is None else _flat(x).numpy() for x in gradients[:4])
        sums, *state = (x.numpy() for x in given)
        made = [torch.empty_like(over) for _ in range(4)]
        to_sums, *to_state = (x.numpy() for x in made)
        to_rows = np.empty((len(over), kernels.PARAMETERS, over.shape[2]))
        in_parts(
            kernels.step_backward, len(over), over.numel(), to_new, sums, tuple(state), rows.numpy(), ctx.rule,
            over.numpy(), to_sums, tuple(to_state), to_rows,
        )  # fmt: skip
        to_parameters = torch.from_numpy(to_rows.sum(axis=0)).to(rows.dtype)
        return *(x.reshape(ctx.shape) for x in made), None, to_parameters, None


def _flat(x: Tensor) -> Tensor:
    """`[batch, positions, channels]`, contiguous."""
    return x.detach().reshape(len(x), -1, x.shape[-1]).contiguous()
