"""A population over all steps of a frame as one operation, its connections to itself included.

What it does is defined by `dynamics.step`, step after step; here backpropagation through time is written out: the
neurons are compiled loops, the connections to itself one matrix product a step, their gradient one for all steps.
On an accelerator `dynamics.step` is called instead (`graph_network.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import dynamics
from . import recurrent_kernels as kernels
from .graph import NeuronSpec
from .kernels import in_parts

RESETS = {"hard": kernels.HARD, "soft": kernels.SOFT, "none": kernels.NONE}


def run(
    current: Tensor, neuron: NeuronSpec, steps: int, decays: Tensor, loops: Sequence[tuple[Tensor, int]] = ()
) -> tuple[Tensor, Tensor]:
    """What a population puts out, and its `dynamics.drive`, both `[steps, images, neurons]`.

    Put out are spikes, or membranes where the neuron does not spike.

    Parameters
    ----------
    current
        Float32 or float64 `[steps, images, neurons]`, or `[1, images, neurons]` where it is the same at every step.
    decays
        `[3, neurons]`: of membrane, synaptic current, adaptation. What the neuron does not have is not looked at.
    loops
        Connections of the population to itself: weight `[neurons, neurons]` and delay, 1 step or more.
    """
    weights = [weight for weight, _ in loops]
    return _Run.apply(current, decays, neuron, steps, tuple(delay for _, delay in loops), *weights)


class _Run(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        current: Tensor,
        decays: Tensor,
        neuron: NeuronSpec,
        steps: int,
        delays: tuple[int, ...],
        *loops: Tensor,
    ) -> tuple[Tensor, Tensor]:
        current, decays = current.contiguous(), decays.contiguous()
        images, neurons = shape = current.shape[1:]
        u, v, spikes = (current.new_empty((steps, *shape)) for _ in range(3))
        nothing = current.new_empty((0, *shape))
        i = torch.empty_like(u) if neuron.current is not None else nothing
        a = torch.empty_like(u) if neuron.adaptation is not None else nothing
        waiting = np.zeros(shape if neuron.refractory else (0, neurons), np.int32)
        free = torch.ones_like(u, dtype=torch.bool) if neuron.refractory else nothing.bool()
        start = torch.zeros((2, neurons), dtype=current.dtype)
        start[0] = dynamics.start_value(neuron)
        arrays = [x.numpy() for x in (u, v, spikes, i, a)]
        fixed = _fixed(neuron, decays, start)
        for t in range(steps):
            total = current[0 if len(current) == 1 else t]
            for weight, delay in zip(loops, delays, strict=True):
                if t >= delay:
                    total = torch.addmm(total, spikes[t - delay], weight.t())
            in_parts(kernels.forward, images, u[0].numel(), t, total.numpy(), *fixed, *arrays, waiting, free.numpy())
        ctx.save_for_backward(decays, start, u, v, spikes, i, a, free, *loops)
        near = u
        if neuron.adaptation is not None or neuron.refractory:
            nothing = u.new_zeros(())
            near = dynamics.drive(
                u, nothing if neuron.adaptation is None else a, free if neuron.refractory else nothing == 0
            )
        ctx.mark_non_differentiable(near)
        ctx.neuron, ctx.delays, ctx.static = neuron, delays, len(current) == 1
        ctx.set_materialize_grads(False)
        return (spikes if neuron.spiking else v), near

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        decays, start, u, v, spikes, i, a, free, *loops = ctx.saved_tensors
        steps, images, neurons = u.shape
        if gradient is None:
            return (None,) * (5 + len(loops))
        gradient = gradient.clone(memory_format=torch.contiguous_format) if loops else gradient.contiguous()
        to_current = torch.empty_like(u)
        adjoints, sums = (u.new_zeros((3, images, neurons)) for _ in range(2))
        arrays = [x.numpy() for x in (u, v, spikes, i, a, free)]
        fixed = _fixed(ctx.neuron, decays, start)
        for t in reversed(range(steps)):
            filled = adjoints.numpy(), sums.numpy(), to_current[t].numpy()
            in_parts(kernels.backward, images, u[0].numel(), t, gradient[t].numpy(), *fixed, *arrays, *filled)
            for weight, delay in zip(loops, ctx.delays, strict=True):
                if t >= delay:
                    gradient[t - delay].addmm_(to_current[t], weight)
        to_weights = [
            to_current[delay:].flatten(0, 1).t() @ spikes[: max(0, steps - delay)].flatten(0, 1) for delay in ctx.delays
        ]
        to_input = to_current.sum(dim=0, keepdim=True) if ctx.static else to_current
        return to_input, sums.sum(dim=1), None, None, None, *to_weights


def _fixed(neuron: NeuronSpec, decays: Tensor, start: Tensor) -> tuple[Any, ...]:
    """What every step's kernel is given beside the arrays: decays, numbers, rule, start."""
    kind = start.numpy().dtype.type
    value = dynamics.reset_amount(neuron) if neuron.reset == "soft" else neuron.reset_value
    jump = 0.0 if neuron.adaptation is None else neuron.adaptation.jump
    enters = 0 if neuron.current is None else 1 if neuron.current.enters == "new" else 2
    rule = RESETS[neuron.reset], neuron.spiking, enters, neuron.adaptation is not None, neuron.refractory
    return decays.detach().numpy(), (kind(neuron.threshold), kind(value), kind(jump)), rule, start.numpy()
