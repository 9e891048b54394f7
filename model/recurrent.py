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
from .surrogates import ATAN, Surrogate

SURROGATES = {"atan": kernels.ATAN, "fast-sigmoid": kernels.FAST_SIGMOID, "membrane": kernels.MEMBRANE}
RESETS = {"hard": kernels.HARD, "soft": kernels.SOFT, "none": kernels.NONE}


def run(
    current: Tensor,
    neuron: NeuronSpec,
    steps: int,
    decays: Tensor,
    loops: Sequence[tuple[Tensor, int]] = (),
    surrogate: Surrogate = ATAN,
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
    short = torch.is_autocast_enabled("cpu")  # which is off inside of the operation
    delays = tuple(delay for _, delay in loops)
    return _Run.apply(current, decays, neuron, steps, delays, surrogate, short, *weights)


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
        surrogate: Surrogate,
        short: bool,
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
        loops = tuple(_factor(weight, short) for weight in loops)
        turned = [weight.t().contiguous() for weight in loops]
        heard = spikes.new_empty(spikes.shape, dtype=torch.bfloat16) if loops and short else spikes
        for t in range(steps):
            total = current[0 if len(current) == 1 else t]
            for weight, delay in zip(turned, delays, strict=True):
                if t >= delay:
                    total = _plus(total, heard[t - delay], weight)
            in_parts(kernels.forward, images, u[0].numel(), t, total.numpy(), *fixed, *arrays, waiting, free.numpy())
            if heard is not spikes:
                heard[t] = spikes[t]
        ctx.save_for_backward(decays, start, u, v, spikes, i, a, free, *loops)
        near = u
        if neuron.adaptation is not None or neuron.refractory:
            nothing = u.new_zeros(())
            near = dynamics.drive(
                u, nothing if neuron.adaptation is None else a, free if neuron.refractory else nothing == 0
            )
        ctx.mark_non_differentiable(near)
        ctx.surrogate, ctx.short = surrogate, short
        ctx.neuron, ctx.delays, ctx.static = neuron, delays, len(current) == 1
        ctx.set_materialize_grads(False)
        return (spikes if neuron.spiking else v), near

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        decays, start, u, v, spikes, i, a, free, *loops = ctx.saved_tensors
        steps, images, neurons = u.shape
        if gradient is None:
            return (None,) * (7 + len(loops))
        gradient = gradient.clone(memory_format=torch.contiguous_format) if loops else gradient.contiguous()
        to_current = torch.empty_like(u)
        adjoints, sums = (u.new_zeros((3, images, neurons)) for _ in range(2))
        by_frame = ctx.surrogate.kind == "membrane"
        fired = spikes.any(dim=0) if by_frame else spikes.new_empty((0, neurons), dtype=torch.bool)
        arrays = [x.numpy() for x in (u, v, spikes, i, a, free, fired)]
        slope = start.numpy().dtype.type(ctx.surrogate.slope)
        fixed = *_fixed(ctx.neuron, decays, start), (SURROGATES[ctx.surrogate.kind], slope)
        for t in reversed(range(steps)):
            filled = adjoints.numpy(), sums.numpy(), to_current[t].numpy()
            in_parts(kernels.backward, images, u[0].numel(), t, gradient[t].numpy(), *fixed, *arrays, *filled)
            for weight, delay in zip(loops, ctx.delays, strict=True):
                if t >= delay:
                    gradient[t - delay] = _plus(gradient[t - delay], _factor(to_current[t], ctx.short), weight)
        by_time, heard = _factor(to_current, ctx.short), _factor(spikes, ctx.short)
        to_weights = [
            (by_time[delay:].flatten(0, 1).t() @ heard[: max(0, steps - delay)].flatten(0, 1)).to(u.dtype)
            for delay in ctx.delays
        ]
        to_input = to_current.sum(dim=0, keepdim=True) if ctx.static else to_current
        return to_input, sums.sum(dim=1), None, None, None, None, None, *to_weights


def _factor(x: Tensor, short: bool) -> Tensor:
    """A factor of a matrix product: in bfloat16 under autocast. Spikes lose nothing by it, and sums remain floats."""
    return x.bfloat16() if short else x


def _plus(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """`total + x @ weight`, the product in the type of its factors."""
    return torch.addmm(total, x, weight) if x.dtype == total.dtype else total + torch.mm(x, weight)


def _fixed(neuron: NeuronSpec, decays: Tensor, start: Tensor) -> tuple[Any, ...]:
    """What every step's kernel is given beside the arrays: decays, numbers, rule, start."""
    kind = start.numpy().dtype.type
    value = dynamics.reset_amount(neuron) if neuron.reset == "soft" else neuron.reset_value
    jump = 0.0 if neuron.adaptation is None else neuron.adaptation.jump
    enters = 0 if neuron.current is None else 1 if neuron.current.enters == "new" else 2
    rule = RESETS[neuron.reset], neuron.spiking, enters, neuron.adaptation is not None, neuron.refractory
    return decays.detach().numpy(), (kind(neuron.threshold), kind(value), kind(jump)), rule, start.numpy()
