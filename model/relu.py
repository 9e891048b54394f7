"""A graph as a network of activations in place of spikes: what is trained before a conversion (`conversion.py`).

Each spiking population puts out `threshold * rate`, where `rate`, 0 to 1, is what an integrate-and-fire neuron with a
soft reset comes to fire at. Three activations give the rate of a sum `x`:

    plain        `x / threshold`, unbounded; the threshold is the largest activation seen on training images
    rate-norm    `clip(x / threshold, 0, 1)`, threshold = r * sigmoid(s): r follows the largest activation of a batch, s
                 is learnt (Ding, Yu, Tian, Huang, IJCAI 2021)
    shift        `clip(floor(levels * x / threshold + 1/2) / levels, 0, 1)`, the threshold is learnt: the quantised
                 clip-floor-shift activation (Bu, Fang, Ding, Dai, Yu, Huang, ICLR 2022)

Populations whose outputs are added by one connection share their threshold, as their spikes have to be worth the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UserError, require
from . import fused
from .checkpoint import Checkpoint
from .description import FloatNeuron
from .graph import Graph, weight_name
from .graph_network import NORM_ARRAYS, Population
from .neurons import fire
from .relu_graph import INTEGRATES, METHODS, relu_graph
from .sparse import SparsePart, fits

FOLLOWED = 0.1  # fraction of the new largest activation in the running one
SMALLEST = 1e-6  # threshold
ODDS = 10.0  # logarithm of the odds at which a threshold is the largest activation: the first stage of `rate-norm`
UNIT = FloatNeuron("if", threshold=1.0, reset="soft")
START = 0.5  # of membranes with `shift`, in thresholds
SMOOTHING = 0.1  # of the labels by which outputs are scaled: else, if all are right, no factor is too large
RANDOM_NORM = 3**-0.5  # of the random weights of a channel: they are uniform up to 1 over the root of their number
TRIED = 40  # thresholds, of equal distance, when one is fitted
VARIANTS = 128  # of a compiled function at most: shapes of populations by phases of a training


def _shifted(x: Tensor, threshold: Tensor, levels: int) -> Tensor:
    """`threshold * clip(floor(levels * x / threshold + 1/2) / levels, 0, 1)`; floor has the gradient 1."""
    unit = (threshold / levels).to(x.dtype)
    scaled = x / unit
    level = torch.floor(scaled + 0.5).detach()
    inside = (level >= 0) & (level <= levels)
    return (level.clamp(0, levels) + inside * (scaled - scaled.detach())) * unit


class _Shifted(torch.autograd.Function):
    """`_shifted` with its gradient in fewer operations, for eager code: torch 2.11 compiles it without."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, threshold)
        ctx.levels = levels
        unit = (threshold / levels).to(x.dtype)
        return torch.floor(x / unit + 0.5).clamp_(0, levels).mul_(unit)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, threshold = ctx.saved_tensors
        levels = ctx.levels
        scaled = x / (threshold / levels).to(x.dtype)
        level = torch.floor(scaled + 0.5)
        inside = (level >= 0) & (level <= levels)
        to_x = gradient * inside
        to_threshold = (gradient * level.clamp(0, levels) - to_x * scaled).sum(dtype=torch.float32) / levels
        return to_x, to_threshold.reshape(threshold.shape), None


class Activation(nn.Module):
    """Sums to `threshold * rate`. `largest` follows the largest activation in training, or is measured: `observe`."""

    largest: Tensor

    def __init__(self, method: str, levels: int, start: float) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("largest", torch.zeros(()))
        self.log_odds = nn.Parameter(torch.tensor(ODDS)) if method == "rate-norm" else None
        self.learnt = nn.Parameter(torch.tensor(float(start))) if method == "shift" else None

    @property
    def threshold(self) -> Tensor:
        """What an output of 1 spike a step is worth; 0-dimensional."""
        if self.learnt is not None:
            return self.learnt.clamp(min=SMALLEST)
        if self.log_odds is not None:
            return self.largest.clone() * torch.sigmoid(self.log_odds) + SMALLEST  # it changes before the gradient
        return self.largest.clamp(min=SMALLEST)

    def forward(self, x: Tensor) -> Tensor:
        if self.learnt is not None:
            run = _shifted if torch.compiler.is_compiling() else _Shifted.apply
            found: Tensor = run(x, self.threshold, self.levels)
            return found
        if self.training:
            self.observe(x)
        if self.log_odds is not None:
            return torch.minimum(torch.relu(x), self.threshold.to(x.dtype))
        return torch.relu(x)

    @torch.no_grad()
    def observe(self, x: Tensor, exact: bool = False) -> None:
        """Take the largest of `x` into the running largest activation, or as the largest so far if `exact`."""
        now = x.detach().max().float().clamp(min=SMALLEST)
        first = self.largest == 0
        followed = torch.maximum(self.largest, now) if exact else self.largest.lerp(now, FOLLOWED)
        self.largest.copy_(torch.where(first, now, followed))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """`shift`: take the threshold, of `TRIED` up to the largest of `x`, with the least squared error of a ReLU."""
        assert self.learnt is not None
        largest = x.max().float().clamp(min=SMALLEST)
        tried = largest * torch.arange(1, TRIED + 1, device=x.device) / TRIED
        wanted = torch.relu(x)
        errors = [(_Shifted.apply(x, threshold, self.levels) - wanted).square().mean() for threshold in tried]
        self.learnt.copy_(tried[torch.stack(errors).argmin()])


Through = Callable[[Activation, Tensor], Tensor]


class ReluNetwork(nn.Module):
    """uint8 images `[batch, channels, height, width]` -> outputs `[batch, classes]`: the class is the largest.

    With `layer_rates=True` also the rates of each spiking population, `[batch, *shape]`, by name. `through` takes the
    place of the activations.
    """

    def __init__(self, description: Graph, method: str, levels: int = 4, start: float = 2.0) -> None:
        super().__init__()
        require(method in METHODS, "method", method, ", ".join(METHODS))
        self.description, self.method = description, method
        self.populations = nn.ModuleList(Population(description, spec) for spec in description.populations)
        self.index = {spec.name: index for index, spec in enumerate(description.populations)}
        self.group = _groups(description)
        made = sorted(set(self.group.values()))
        self.activations = nn.ModuleDict({str(number): Activation(method, levels, start) for number in made})
        self.sparse_part = SparsePart(self) if fits(description, method) else None

    def activation_of(self, name: str) -> Activation:
        """The activation of a spiking population; those that are added share one."""
        found = self.activations[str(self.group[name])]
        assert isinstance(found, Activation)
        return found

    @property
    def all(self) -> list[Population]:
        return [population for population in self.populations if isinstance(population, Population)]

    @property
    def weighted(self) -> list[tuple[str, Any, bool]]:
        """As `GraphNetwork.weighted`: name, module, and whether it leads to what is read out."""
        source = self.description.readout.source
        return [
            (weight_name(number, index), synapses, population.spec.name == source)
            for number, population in enumerate(self.all)
            for index, synapses in enumerate(population.synapses)
        ]

    def forward(self, images: Tensor, layer_rates: bool = False, through: Through | None = None) -> Any:
        graph = self.description
        if self.sparse_part is not None and not layer_rates and through is None:
            seen = self.sparse_part(images)
            if seen is not None:
                last = self.all[-1]
                return self._read(last.finish(last.synapse(0, seen)))
        outputs, rates = self._pixels(images), dict[str, Tensor]()
        for (name,) in graph.components:
            population = self.all[self.index[name]]
            total = summed(population, outputs)
            if name == graph.readout.source:
                outputs[name] = population.finish(total)
                continue
            of = self.activation_of(name)
            if through is not None:
                outputs[name] = through(of, population.finish(total))
            else:
                run = _compiled(_activated) if _compiles(total) else _activated
                outputs[name] = run(population, of, total)
            if layer_rates:
                rates[name] = outputs[name] / of.threshold
        found = self._read(outputs[graph.readout.source])
        return (found, rates) if layer_rates else found

    def spiking(self, images: Tensor, steps: int) -> Tensor:
        """The outputs, with integrate-and-fire neurons that start at half a threshold in place of the activations.

        Normalisation is in evaluation: it has its running statistics. Sums over time are `[steps, batch, ...]`, or
        `[1, batch, ...]` where they are the same at every step. The gradient of a spike is the surrogate of
        `neurons.py`, in units of the threshold.
        """
        graph = self.description
        outputs = self._pixels(images)
        for (name,) in graph.components:
            population = self.all[self.index[name]]
            total = summed(population, outputs).unflatten(0, (-1, len(images)))
            if name == graph.readout.source:
                outputs[name] = population.finish(total.float().mean(dim=0))
                continue
            scale, shift = _affine(population)
            threshold = self.activation_of(name).threshold
            x = _last(total)  # contiguous where maps are channels_last
            spikes = fired(x, scale / threshold, shift / threshold, steps)
            outputs[name] = (_first(spikes) * threshold).flatten(0, 1)
        return self._read(outputs[graph.readout.source])

    def _pixels(self, images: Tensor) -> dict[str, Tensor]:
        pixels = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        return {part.name: pixels for part in self.description.inputs}

    def _read(self, found: Tensor) -> Tensor:
        found = found.float().flatten(1)
        return found.unflatten(1, (-1, self.description.readout.group)).mean(dim=2)

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Take the weights and thresholds of a spiking network that `conversion.py` has made of such a network.

        `UserError` if it has other populations or connections, or other neurons.
        """
        own, other, what = self.description, checkpoint.network, "network to start from"
        fits = isinstance(other, Graph) and _wiring(own) == _wiring(other)
        require(
            fits,
            what,
            checkpoint.network.name,
            f"one with the populations, normalisation and connections of {own.name}",
        )
        assert isinstance(other, Graph)
        for name in self.group:
            neuron = other[name].neuron
            same = replace(neuron, threshold=INTEGRATES.threshold, start_value=None) == INTEGRATES
            told = "that it integrates and fires with a soft reset, above a threshold above 0"
            require(same and neuron.threshold > 0, f"{what}, population {name} neuron", neuron, told)
        thresholds = {name: other[name].neuron.threshold for name in self.group}
        arrays = {name: torch.from_numpy(array) for name, array in checkpoint.arrays.items()}
        for number, population in enumerate(self.all):
            where = f"population{number}"
            for index, connection in enumerate(population.spec.inputs):
                weight: Any = population.synapses[index].weight
                weight.copy_(arrays[weight_name(number, index)] / thresholds.get(connection.sources[0], 1.0))
            if population.bias is not None:
                population.bias.copy_(arrays[f"{where}.bias"])
            if population.norm is not None:
                for name, attribute in NORM_ARRAYS.items():
                    getattr(population.norm, attribute).copy_(arrays[f"{where}.norm.{name}"])
        for name, threshold in thresholds.items():
            of = self.activation_of(name)
            of.largest.fill_(threshold)
            if of.learnt is not None:
                of.learnt.fill_(threshold)

    @torch.no_grad()
    def measure(self, batches: list[Tensor]) -> None:
        """Take the largest activations on `batches` of images as thresholds; nothing is cut off meanwhile."""
        for of in self.activations.values():
            assert isinstance(of, Activation)
            of.largest.zero_()
        was_training = self.training
        self.eval()
        for images in batches:
            self(images, through=_observed)
        for of in self.activations.values():
            if isinstance(of, Activation) and of.learnt is not None:
                of.learnt.copy_(of.largest)
        self.train(was_training)

    @torch.no_grad()
    def fit_thresholds(self, images: Tensor) -> None:
        """Choose for each activation of `shift` the threshold at which it differs least from a ReLU on `images`.

        The error is squared. Populations see what those before them put out; of those that share a threshold, the first
        decides. This is where a network starts that was trained with ReLUs.
        """
        done = set[Activation]()

        def fit(of: Activation, total: Tensor) -> Tensor:
            if of not in done:
                of.fit(total)
                done.add(of)
            return of(total)

        was_training = self.training
        self.eval()
        self(images, through=fit)
        self.train(was_training)

    @torch.no_grad()
    def normalise(self, images: Tensor, labels: Tensor) -> None:
        """Give batch normalisation the statistics of `images`, and its weights the norms of random ones.

        Gains and shifts change with them, so that answers in evaluation stay as they are. Outputs, which have another
        unit in every network of integers, get the factor with the least cross-entropy to smoothed `labels`, int64.
        """

        def follow(norm: nn.Module, given: tuple[Tensor]) -> None:
            assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            x = given[0].transpose(0, 1).flatten(1)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift = norm.bias - scale * norm.running_mean
            mean, variance = x.mean(dim=1), x.var(dim=1, correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.bias.copy_(shift + scale * mean)

        was_training = self.training
        self.eval()
        hooks = []
        for population in self.all[:-1]:
            if population.norm is not None:
                _equalise(population)
                hooks.append(population.norm.register_forward_pre_hook(follow))
        outputs = self(images, through=lambda of, total: of(total))  # not by connections, where no norm is called
        for hook in hooks:
            hook.remove()
        factors = 2 ** torch.arange(-8, 8, 0.25, device=outputs.device) / outputs.std().clamp(min=SMALLEST)
        losses = [functional.cross_entropy(outputs * factor, labels, label_smoothing=SMOOTHING) for factor in factors]
        last = self.all[-1]
        scaled = last.synapses if last.norm is None else last.norm
        for parameter in [*scaled.parameters(), *([] if last.bias is None else [last.bias])]:
            parameter.mul_(factors[torch.stack(losses).argmin()])
        self.train(was_training)


def _equalise(population: Population) -> None:
    """Make the weights of each channel as large as random ones are at the start; its normalisation scales back."""
    norm = population.norm
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weights = [synapses.weight for synapses in population.synapses]
    size = torch.cat([weight.flatten(1) for weight in weights], dim=1).norm(dim=1)  # type: ignore[operator]
    by = RANDOM_NORM / size.clamp(min=SMALLEST)
    for weight in weights:
        weight.mul_(by.reshape(-1, *[1] * (weight.dim() - 1)))  # type: ignore[operator]
    norm.running_mean.mul_(by)
    norm.running_var.copy_(((norm.running_var + norm.eps) * by.square() - norm.eps).clamp(min=0))


def _observed(of: Activation, total: Tensor) -> Tensor:
    """A ReLU whose largest activation is taken into that of `of`."""
    of.observe(total, exact=True)
    return torch.relu(total)


def _activated(population: Population, of: Activation, total: Tensor) -> Tensor:
    """What a population puts out for the sum of its connections."""
    found: Tensor = of(population.finish(total))
    return found


def _pooled(x: Tensor, size: int) -> Tensor:
    """`functional.avg_pool2d`, by operations that a compiler makes one of."""
    rows, columns = (side // size for side in x.shape[2:])
    x = x.permute(0, 2, 3, 1)[:, : rows * size, : columns * size]  # so that channels are last in the result as well
    return x.unflatten(1, (rows, size)).unflatten(3, (columns, size)).mean(dim=(2, 4)).permute(0, 3, 1, 2)


def _compiles(x: Tensor) -> bool:
    """Whether compiled functions pay: in training on an accelerator, where there is the compiler, Triton.

    There, each number of a population passes through memory a dozen times otherwise, and torch's average pools of maps
    with channels last are slow.
    """
    return x.is_cuda and torch.is_grad_enabled() and _has_compiler()


@cache
def _has_compiler() -> bool:
    return find_spec("triton") is not None


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` and its gradient, each in a few operations; a variant for each shape."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
    return torch.compile(function, dynamic=False)


def _affine(population: Population) -> tuple[Tensor, Tensor]:
    """`Population.finish` with running statistics, as a factor and what is added, both `[channels]`."""
    some = population.synapses[0].weight
    assert isinstance(some, Tensor)
    scale, shift = some.new_ones(population.shape[0]), some.new_zeros(population.shape[0])
    norm = population.norm
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
    return scale, shift if population.bias is None else shift + population.bias


def fired(x: Tensor, scale: Tensor, shift: Tensor, steps: int) -> Tensor:
    """Spikes `[steps, batch, ..., channels]` for the currents `scale * x + shift`, in units of the threshold.

    `x` is `[steps or 1, batch, ..., channels]`. On a CPU this is one operation, and spikes have the type of `x`.
    """
    if x.is_cuda:
        return fired_stepwise(x, scale, shift, steps)
    flat = x if x.dim() == 5 else x[:, :, None, None]
    return fused.fire_from(START, flat, scale, shift, UNIT, steps).reshape(steps, *x.shape[1:])


def fired_stepwise(x: Tensor, scale: Tensor, shift: Tensor, steps: int) -> Tensor:
    """`fired` in torch's operations, in float32."""
    current = x.float() * scale + shift
    current = current.expand(steps, *current.shape[1:])
    return fire(torch.cat([current[:1] + START, current[1:]]), UNIT, steps)[0]


def _last(x: Tensor) -> Tensor:
    """Maps `[steps, batch, channels, height, width]` with their channels last; others as they are."""
    return x.permute(0, 1, 3, 4, 2) if x.dim() == 5 else x


def _first(x: Tensor) -> Tensor:
    """Inverse of `_last`."""
    return x.permute(0, 1, 4, 2, 3) if x.dim() == 5 else x


def summed(population: Population, outputs: dict[str, Tensor]) -> Tensor:
    """The sum of a population's connections, `[batch, *shape]`, from the outputs of all sources at one step."""
    total = None
    for index, connection in enumerate(population.spec.inputs):
        seen = None
        for source in connection.sources:
            x = outputs[source]
            if connection.pool is not None:
                pool = _compiled(_pooled) if _compiles(x) else functional.avg_pool2d
                x = pool(x, connection.pool.size)
            seen = x if seen is None else seen + x
        assert seen is not None
        current = population.synapse(index, seen)
        total = current if total is None else _added(total, current)
    assert total is not None
    return total


def _added(one: Tensor, other: Tensor) -> Tensor:
    """The sum of currents over steps and batch, of which one may be that of a single step, the same at all."""
    steps = max(len(one), len(other))
    return _at_all(one, steps) + _at_all(other, steps)


def _at_all(current: Tensor, count: int) -> Tensor:
    return current if len(current) == count else current.repeat(count // len(current), *[1] * (current.dim() - 1))


def network_from(checkpoint: Checkpoint, method: str, levels: int) -> ReluNetwork:
    """The network of activations that `checkpoint` was converted from."""
    if not isinstance(checkpoint.network, Graph):
        raise UserError.of("network to start from", checkpoint.network.name, "one that gradrtl convert has written")
    found = ReluNetwork(relu_graph(checkpoint.network), method, levels)
    found.load(checkpoint)
    return found


def _wiring(graph: Graph) -> Any:
    """What hears what, by name and in order, and where there are normalisation and biases."""
    populations = [(spec.name, spec.inputs, spec.batch_norm, spec.bias) for spec in graph.populations]
    return graph.inputs, graph.readout.source, populations


def _groups(graph: Graph) -> dict[str, int]:
    """For each spiking population a number, the same for all that some connection adds."""
    group = {p.name: number for number, p in enumerate(graph.populations) if p.name != graph.readout.source}
    for population in graph.populations:
        for connection in population.inputs:
            added = [source for source in connection.sources if source in group]
            for source in added[1:]:
                old, new = group[source], group[added[0]]
                group = {name: new if number == old else number for name, number in group.items()}
    return group
