"""Recipes for a sparse network: what is done to the connections after each optimiser step.

A recipe puts its parametrisation on the weights, acts after each step of the *rewiring* phase, and freezes the sparsity
mask at the end of this phase. If there is a target connectivity, `densities` divides it among the layers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..arrays import connectivity
from ..errors import require
from .config import TrainConfig
from .gradr import AlphaControl, Prior, rewire, theta_of
from .graph_network import GraphNetwork
from .masked import Masked
from .networks import SpikingNetwork
from .relu import ReluNetwork

QUOTA_INTERVAL = 150  # steps between two enforcements of a quota
CONTROL_INTERVAL = 20  # steps between two corrections of alpha
CLOSED = -1e30  # theta of a connection that is pruned permanently; finite, as weight decay multiplies it
RAMP = 0.8  # fraction of the rewiring phase after which the target connectivity is reached


def cubic(progress: float, target: float) -> float:
    """Target connectivity at `progress`, 0 to 1, of the rewiring phase (Zhu and Gupta 2017): 1 falling to `target`."""
    return target + (1 - target) * (1 - min(progress / RAMP, 1.0)) ** 3


def densities(sizes: list[int], connectivity: float, spread: float) -> list[float]:
    """Density of each layer for a total `connectivity`: proportional to `size**-spread`, at most 1.

    With `spread` 0 all layers have the same density, with 1 the same number of connections.
    """
    found = [1.0] * len(sizes)
    open_layers = set(range(len(sizes)))
    while open_layers:
        left = connectivity * sum(sizes) - sum(n for i, n in enumerate(sizes) if i not in open_layers)
        factor = left / sum(sizes[i] ** (1 - spread) for i in open_layers)
        full = {i for i in open_layers if factor * sizes[i] ** -spread >= 1}
        if not full:
            for i in open_layers:
                found[i] = factor * sizes[i] ** -spread
            break
        open_layers -= full
    return found


class Recipe:
    """No pruning; the base of the others.

    The order of calls: `Recipe(network, config)`; `attach(optimizer)`; `after_step(step, of)` after each of the `of`
    steps of the rewiring phase; `freeze()`, after which the parameters are new and need a new optimiser. A network that
    was trained further than the freeze is rebuilt by `freeze()` at once, then `load_state_dict`.
    """

    def __init__(self, network: SpikingNetwork | GraphNetwork | ReluNetwork, config: TrainConfig) -> None:
        in_order = isinstance(network, SpikingNetwork) or network.description.is_chain
        require(in_order or config.hidden == 1, "hidden", config.hidden, "1 for a graph that is no chain")
        self.config = config
        self.synapses: list[Any] = [synapses for _, synapses, _ in network.weighted]
        self.to_outputs = [to_outputs for _, _, to_outputs in network.weighted]
        sizes = [layer.weight.numel() for layer in self.synapses]
        self.weights = sum(sizes)
        self.densities = densities(sizes, config.connectivity or 1.0, config.spread)
        self.prepare()

    def prepare(self) -> None:
        """Put the parametrisation on."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the optimiser of the rewiring phase."""

    def after_step(self, step: int, of: int) -> None:
        """Act after optimiser step `step`, from 1, of `of`."""

    @torch.no_grad()
    def freeze(self) -> None:
        """Fix the sparsity mask: from now on only non-zero weights are trained; zeros stay zero."""
        for layer in self.synapses:
            weight = layer.weight.detach().clone()
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            layer.weight = nn.Parameter(weight)
            parametrize.register_parametrization(layer, "weight", Masked((weight != 0).to(weight.dtype)), unsafe=True)

    def pairs(self, tensors: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Each layer's tensor with that of the next layer, where neurons have a quota; else none."""
        return list(pairwise(tensors)) if self.config.hidden < 1 else []

    def state(self) -> dict[str, float]:
        """State that a resumed run needs and that neither the network nor the optimiser has."""
        return {}

    def load_state(self, state: dict[str, float]) -> None:
        """Restore the result of `state()`."""

    @property
    def connectivity(self) -> float:
        """The fraction of all weights that are not zero now."""
        with torch.no_grad():
            return connectivity([int(torch.count_nonzero(layer.weight)) for layer in self.synapses], self.weights)


class GradRAlone(Recipe):
    """Grad R with a constant prior: the paper's rule and nothing else."""

    prior: Prior

    def prepare(self) -> None:
        for layer in self.synapses:
            rewire(layer)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        scales = [self.config.output_alpha if to_outputs else 1.0 for to_outputs in self.to_outputs]
        self.prior = Prior(self.synapses, optimizer, self.config.alpha, self.config.p, scales)

    def after_step(self, step: int, of: int) -> None:
        self.prior.step()


class GradRAlpha(GradRAlone):
    """Grad R whose `alpha` is controlled so that the connectivity follows the cubic schedule."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        super().attach(optimizer)
        self.control = AlphaControl(self.prior)

    def after_step(self, step: int, of: int) -> None:
        super().after_step(step, of)
        if step % CONTROL_INTERVAL == 0:
            assert self.config.connectivity is not None
            self.control.update(self.connectivity, cubic(step / of, self.config.connectivity))

    def state(self) -> dict[str, float]:
        return {"alpha": self.prior.alpha}

    def load_state(self, state: dict[str, float]) -> None:
        self.prior.alpha = state["alpha"]


class GradRQuota(GradRAlone):
    """Grad R plus a quota: at intervals, the smallest positive `theta` are set to `-margin * lr`. They may regrow.

    If they were set to zero, half of them would regrow in the noise of the next steps. Hidden neurons can have a quota
    as well, here and in `Magnitude`: those with the least weight lose all connections permanently, so that the others
    get more.
    """

    def after_step(self, step: int, of: int) -> None:
        super().after_step(step, of)
        if step % QUOTA_INTERVAL == 0 or step == of:
            for inward, outward in self.pairs([theta_of(layer).detach() for layer in self.synapses]):
                closed = weakest(inward.relu(), outward.relu(), cubic(step / of, self.config.hidden))
                close(inward, outward, closed, CLOSED)
            below = self.config.margin * self.config.lr
            for layer, density in zip(self.synapses, self.densities, strict=True):
                theta = theta_of(layer).detach()
                theta.masked_fill_((theta > 0) & (theta < _cutoff(theta, cubic(step / of, density))), -below)


def weakest(inward: Tensor, outward: Tensor, kept: float) -> Tensor:
    """The neurons of a layer with the least weight, all but the fraction `kept`: int64 `[neurons]`.

    `inward` and `outward` are the sizes of the weights of this layer and the next. The weight of a neuron is the sum
    over its inputs times the sum over its outputs. In a convolution, a channel counts as one neuron.
    """
    neurons = len(inward)
    weight = inward.flatten(1).sum(dim=1) * _by_source(outward, neurons).flatten(2).sum(dim=(0, 2))
    return weight.argsort()[: neurons - max(1, round(kept * neurons))]


def close(inward: Tensor, outward: Tensor, neurons: Tensor, value: float) -> None:
    """Write `value` to all connections to and from some `neurons`, in place."""
    inward[neurons] = value
    _by_source(outward, len(inward))[:, neurons] = value


def _by_source(outward: Tensor, neurons: int) -> Tensor:
    """`[outputs, neurons, ...]`, a view: a dense layer hears all positions of a map, one map behind the other."""
    return outward.unflatten(1, (neurons, -1)) if outward.dim() == 2 else outward


class Magnitude(Recipe):
    """Gradual magnitude pruning: on the same schedule, the smallest weights are masked permanently."""

    def prepare(self) -> None:
        for layer in self.synapses:
            parametrize.register_parametrization(layer, "weight", Masked(torch.ones_like(layer.weight)), unsafe=True)

    def after_step(self, step: int, of: int) -> None:
        if step % QUOTA_INTERVAL == 0 or step == of:
            masks = [layer.parametrizations.weight[0].mask for layer in self.synapses]
            sizes = [layer.weight.detach().abs() for layer in self.synapses]
            for (mask, following), (inward, outward) in zip(self.pairs(masks), self.pairs(sizes), strict=True):
                closed = weakest(inward, outward, cubic(step / of, self.config.hidden))
                close(mask, following, closed, 0.0)
                close(inward, outward, closed, 0.0)
            for mask, size, density in zip(masks, sizes, self.densities, strict=True):
                mask.masked_fill_(size < _cutoff(size, cubic(step / of, density)), 0.0)


def _cutoff(values: Tensor, density: float) -> Tensor:
    """The smallest of the largest `density` of all values."""
    keep = max(1, round(density * values.numel()))
    return values.flatten().kthvalue(values.numel() - keep + 1).values


KINDS: dict[str, type[Recipe]] = {
    "gradr": GradRAlone,
    "gradr-alpha": GradRAlpha,
    "gradr-quota": GradRQuota,
    "magnitude": Magnitude,
    "dense": Recipe,
}
