"""Training of sparse convolutions on a CPU, by the connections that they have instead of by all that they could have.

What a population does is one operation here: convolution, batch normalisation, the activation `shift`, and the average
pool behind it. Its meaning is `ReluNetwork.forward`; sums are added in another order, in float32. Images stand side by
side (`sparse_kernels.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import sparse_kernels as kernels
from .description import ConvSpec
from .fused import followed
from .graph import Graph
from .kernels import in_parts
from .masked import mask_of

DENSEST = 0.2  # fraction of the operations of the full weights up to which this pays
LANES = (16, 8)  # images side by side


@dataclass(frozen=True)
class Plan:
    """The geometry of a population: `lanes` images side by side, `border` zeros around what it sees, then `size` x
    `size` pools, and `outer` zeros around what the next sees."""

    height: int
    width: int
    lanes: int
    border: int
    size: int
    outer: int
    levels: int

    @property
    def places(self) -> int:
        return self.height * self.width * self.lanes

    @property
    def seen(self) -> int:
        """Numbers of a channel with its border."""
        return (self.height + 2 * self.border) * (self.width + 2 * self.border) * self.lanes

    def scratch(self, blocks: int) -> np.ndarray:
        return np.empty((blocks, kernels.scratched(self.height, self.width, self.lanes, self.border)), np.float32)

    @property
    def pooled(self) -> tuple[int, int]:
        return self.height // self.size, self.width // self.size

    @property
    def left(self) -> int:
        """Numbers of a channel of the output, with its border."""
        down, across = self.pooled
        return (down + 2 * self.outer) * (across + 2 * self.outer) * self.lanes


class Places:
    """Where the weights of a mask, `[out, in, rows, columns]`, are: in the full weights, and in a block of maps.

    The weights in the order of their outputs start at `starts`; `by_source` is their order by inputs, for gradients.
    """

    def __init__(self, mask: Tensor, plan: Plan) -> None:
        self.plan = plan
        shape, border = mask.shape, plan.border
        self.flat = mask.flatten().nonzero()[:, 0]
        out, source, down, across = np.unravel_index(self.flat.numpy(), tuple(shape))
        row = (plan.width + 2 * border) * plan.lanes
        self.starts = np.searchsorted(out, np.arange(shape[0] + 1)).astype(np.int64)
        self.offsets = (source * plan.seen + down * row + across * plan.lanes).astype(np.int64)
        order = np.argsort(source, kind="stable")
        back = out * plan.seen + (2 * border - down) * row + (2 * border - across) * plan.lanes
        self.by_source = torch.from_numpy(order)
        self.back_starts = np.searchsorted(source[order], np.arange(shape[1] + 1)).astype(np.int64)
        self.back_offsets = back[order].astype(np.int64)


class SparsePart:
    """The populations before the read-out, in a network that `fits`: with the masks of a training, or trained.

    network
        A `ReluNetwork`.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._known: _Known | None = None

    def __call__(self, images: Tensor) -> Tensor | None:
        """What the read-out sees of uint8 `images`, `[batch, channels, height, width]`.

        None if the masks are too dense for it to pay, or if a training batch is no multiple of one of `LANES`.
        """
        populations = self.network.all[:-1]
        count = len(images)
        lanes = next((n for n in LANES if count % n == 0), None)
        if lanes is None and not self.network.training:
            images, lanes = functional.pad(images, (0, 0) * 3 + (0, -count % LANES[0])), LANES[0]
        if lanes is None or images.is_cuda:
            return None
        places = self._places(lanes)
        if places is None:
            return None
        plans = [one.plan for one in places]
        x = _side_by_side(images.float() / 255, lanes, plans[0].border)
        for population, where in zip(populations, places, strict=True):
            gain, shift = population.synapses[0].weight.new_ones(()), population.bias
            if population.norm is not None:
                gain = population.norm.weight
                shift = population.norm.bias if shift is None else population.norm.bias + shift
            gain = gain.expand(len(shift))
            of = self.network.activation_of(population.spec.name)
            weight = population.synapses[0].weight
            x = _Population.apply(x, weight, gain, shift, of.threshold, where, population.norm)
        down, across = plans[-1].pooled
        return x.reshape(len(x), -1, down, across, lanes).permute(0, 4, 1, 2, 3).flatten(0, 1)[:count]

    def _places(self, lanes: int) -> list[Places] | None:
        """Of all populations, found anew after a mask has changed; None if they are too dense."""
        network = self.network
        masks = [mask_of(population.synapses[0], network.training) for population in network.all[:-1]]
        known, now = self._known, [None if mask is None else mask._version for mask in masks]
        same = known is not None and known.lanes == lanes and known.versions == now
        if known is None or not same or any(a is not b for a, b in zip(known.masks, masks, strict=True)):
            self._known = known = _Known(masks, now, lanes, _found(masks, _plans(network, lanes)))
        return known.places


@dataclass(frozen=True)
class _Known:
    """What `places` were found from."""

    masks: list[Tensor | None]
    versions: list[int | None]
    lanes: int
    places: list[Places] | None


def _found(masks: list[Tensor | None], plans: list[Plan]) -> list[Places] | None:
    done, full, given = 0, 0, []
    for mask, plan in zip(masks, plans, strict=True):
        if mask is None:
            return None
        given.append((mask, plan))
        done += plan.height * plan.width * int(torch.count_nonzero(mask))
        full += plan.height * plan.width * mask.numel()
    return [Places(mask, plan) for mask, plan in given] if done <= DENSEST * full else None


def fits(graph: Graph, method: str) -> bool:
    """Whether all populations but the read-out are convolutions in a chain, of stride 1 onto maps of the same size."""
    hidden = graph.populations[:-1]
    if method != "shift" or not graph.is_chain or not hidden or hidden[0].inputs[0].pool is not None:
        return False
    found = [spec.inputs[0].synapses for spec in hidden]
    return all(
        isinstance(one, ConvSpec)
        and one.stride == (1, 1)
        and one.kernel[0] == one.kernel[1] == 2 * one.padding[0] + 1
        and one.padding[0] == one.padding[1]
        for one in found
    )


def _plans(network: Any, lanes: int) -> list[Plan]:
    graph, plans = network.description, []
    for spec, following in pairwise(graph.populations):
        _, height, width = graph.shapes[spec.name]
        pool, then = following.inputs[0].pool, following.inputs[0].synapses
        outer = then.padding[0] if isinstance(then, ConvSpec) and following is not graph.populations[-1] else 0
        levels = network.activation_of(spec.name).levels
        border = spec.inputs[0].synapses.padding[0]
        plans.append(Plan(height, width, lanes, border, 1 if pool is None else pool.size, outer, levels))
    return plans


def _side_by_side(images: Tensor, lanes: int, border: int) -> Tensor:
    """`[batch, channels, height, width]` as `[batch // lanes, channels, plane]`, with a border of zeros."""
    padded = functional.pad(images, (border,) * 4)
    return padded.unflatten(0, (-1, lanes)).permute(0, 2, 3, 4, 1).flatten(2).contiguous()


class _Population(torch.autograd.Function):
    """The kernels of one population, and its gradient. `norm`, in training, takes its statistics from the batch."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gain: Tensor,
        shift: Tensor,
        threshold: Tensor,
        places: Places,
        norm: nn.BatchNorm2d | None,
    ) -> Tensor:
        plan = places.plan
        blocks, channels = len(x), len(weight)
        values = weight.flatten()[places.flat]
        y = x.new_empty((blocks, channels, plan.places))
        maps = plan.height, plan.width, plan.lanes
        seen = places.starts, places.offsets, values.numpy()
        scratch = plan.scratch(blocks)
        given = x.flatten(1).numpy(), y.numpy(), scratch
        in_parts(kernels.convolve, blocks, y.numel(), *given, *seen, *maps, plan.border, 0)
        mean, inverse = torch.zeros_like(shift), torch.ones_like(shift)
        if norm is not None:
            mean, variance = _statistics(y, norm)
            inverse = (variance + norm.eps).rsqrt()
        unit = threshold / plan.levels
        scale = gain * inverse
        slope, start = scale / unit, (shift - mean * scale) / unit + 0.5
        out = x.new_empty((blocks, channels, plan.left))
        rule = slope.numpy(), start.numpy(), plan.levels
        made = y.numpy(), out.numpy(), scratch
        in_parts(kernels.activate, blocks, y.numel(), *made, *rule, float(unit), *maps, plan.size, plan.outer)
        ctx.save_for_backward(x, y, weight, values, mean, inverse, scale, slope, start)
        ctx.places, ctx.by_batch = places, norm is not None and norm.training
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, y, weight, values, mean, inverse, scale, slope, start = ctx.saved_tensors
        places, plan = ctx.places, ctx.places.plan
        blocks, channels = len(x), len(weight)
        maps = plan.height, plan.width, plan.lanes
        d = gradient.contiguous().numpy()
        rule = slope.numpy(), start.numpy(), plan.levels
        pools = *maps, plan.size, plan.outer
        scratch = plan.scratch(blocks)
        sums = np.empty((blocks, channels, 3))
        in_parts(kernels.activation_sums, blocks, y.numel(), y.numpy(), d, scratch, *rule, *pools, sums)
        total, products, to_threshold = torch.from_numpy(sums.sum(axis=0)).T
        to_gain = inverse * (products - mean * total)
        factors = torch.zeros((channels, 3), dtype=torch.float64)
        factors[:, 0] = scale
        if ctx.by_batch:
            share = scale / (blocks * plan.places)
            factors[:, 1] = -share * inverse * to_gain
            factors[:, 2] = -share * total - factors[:, 1] * mean
        to_y = x.new_empty((blocks, channels, plan.seen))
        in_parts(
            kernels.activation_gradient, blocks, y.numel(), y.numpy(), d, to_y.numpy(), scratch, *rule,
            factors.float().numpy(), *pools, plan.border,
        )  # fmt: skip
        found = np.empty((blocks, len(values)), np.float32)
        seen = places.starts, places.offsets
        given = x.flatten(1).numpy(), to_y.numpy()
        in_parts(kernels.weight_gradients, blocks, y.numel(), *given, *seen, found, *maps, plan.border)
        to_weight = torch.zeros(weight.numel())
        to_weight[places.flat] = torch.from_numpy(found).sum(dim=0)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = torch.empty_like(x)
            back = places.back_starts, places.back_offsets, values[places.by_source].numpy()
            turned = to_y.flatten(1).numpy(), to_x.numpy(), scratch
            in_parts(kernels.convolve, blocks, x.numel(), *turned, *back, *maps, plan.border, plan.border)
        of_threshold = (to_threshold.sum() / plan.levels).float()
        return to_x, to_weight.reshape(weight.shape), to_gain.float(), total.float(), of_threshold, None, None


def _statistics(y: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, over the batch in training, when the running ones follow them."""
    if not norm.training:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return norm.running_mean, norm.running_var
    base = y[0, :, 0].contiguous()
    sums = np.empty((len(y), y.shape[1], 2))
    in_parts(kernels.moments, len(y), y.numel(), y.numpy(), base.numpy(), sums)
    count = len(y) * y.shape[2]
    return followed(norm, base, torch.from_numpy(sums.sum(axis=0)).T / count, count)
