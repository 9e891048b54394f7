"""A `Graph` as a torch module.

Populations that hear each other over a cycle run step by step together; all others, and those whose only cycles are
dense connections to themselves, run over all steps at once: maps of plain neurons with their normalisation and max pool
(`fused.py`), others in `recurrent.py`. Tensors over time are `[steps, batch, ...]`, or `[1, batch, ...]` where they are
the same at every step.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import require
from . import dynamics, fused, recurrent
from .description import DenseSpec, FloatNeuron
from .graph import FASTEST, SLOWEST, ConnectionSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, weight_name
from .neurons import fire, max_pool
from .recordings import clipped
from .sequences import latencies, strips
from .surrogates import ATAN, Firing, Surrogate

NORM_ARRAYS = {"gain": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
Outputs = dict[tuple[str, int], Tensor]  # of an input or population, after a max pool of so many; 1: without
DECAYS = ("decay", "current.decay", "adaptation.decay")  # the rows of `Decays.forward`


class Decays(nn.Module):
    """The decays of a population, `[3, neurons]`; what is learnt is a sigmoid between `FASTEST` and `SLOWEST`."""

    fixed: Tensor

    def __init__(self, neuron: NeuronSpec, size: int, neurons: int) -> None:
        super().__init__()
        self.neuron, self.neurons = neuron, neurons
        self.register_buffer("fixed", torch.tensor([neuron.decays.get(name, 0.0) for name in DECAYS]), persistent=False)
        self.raw = nn.ParameterDict()
        if neuron.learnt != "fixed":
            for name, value in neuron.decays.items():
                self.raw[name.replace(".", "_")] = nn.Parameter(_raw(torch.full((size,), value)))

    def values(self) -> dict[str, Tensor]:
        """The learnt decays by name, each `[size]`."""
        return {name: _bounded(self.raw[key]) for name in DECAYS if (key := name.replace(".", "_")) in self.raw}

    def load(self, name: str, values: Tensor) -> None:
        with torch.no_grad():
            self.raw[name.replace(".", "_")].copy_(_raw(values))

    def forward(self) -> Tensor:
        learnt = self.values()
        rows = [learnt.get(name, fixed.reshape(1)) for name, fixed in zip(DECAYS, self.fixed, strict=True)]
        return torch.stack([values.repeat_interleave(self.neurons // len(values)) for values in rows])


def _bounded(raw: Tensor) -> Tensor:
    return FASTEST + (SLOWEST - FASTEST) * torch.sigmoid(raw)


def _raw(values: Tensor) -> Tensor:
    return torch.logit((values - FASTEST) / (SLOWEST - FASTEST), eps=1e-6)


class Population(nn.Module):
    """The parameters of a population: `synapses`, one module a connection; `bias`; `norm`; `decays`."""

    def __init__(self, graph: Graph, population: PopulationSpec) -> None:
        super().__init__()
        self.spec = population
        self.shape = graph.shapes[population.name]
        channels, neurons = graph.channels(population.name), prod(self.shape)
        self.synapses = nn.ModuleList()
        for connection in population.inputs:
            seen = connection.source_shape(graph.shapes)
            if isinstance(connection.synapses, DenseSpec):
                self.synapses.append(nn.Linear(prod(seen), connection.synapses.outputs, bias=False))
            else:
                conv = connection.synapses
                maps = nn.Conv2d(seen[0], conv.channels, conv.kernel, conv.stride, conv.padding, bias=False)
                self.synapses.append(maps.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.bias = nn.Parameter(torch.zeros(channels)) if population.bias else None
        self.norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None
        if population.batch_norm:
            self.norm = (nn.BatchNorm2d if len(self.shape) == 3 else nn.BatchNorm1d)(channels)
        self.decays = Decays(population.neuron, graph.decay_size(population), neurons)

    def synapse(self, index: int, x: Tensor) -> Tensor:
        """The current of a connection, `[n, *shape]`, from what its synapses see, `[n, ...]`."""
        is_dense = isinstance(self.spec.inputs[index].synapses, DenseSpec)
        found: Tensor = self.synapses[index](x.flatten(1) if is_dense else x)
        return found

    def over_time(self, total: Tensor) -> Tensor:
        """`finish` of sums over time, `[steps or 1, batch, *shape]`."""
        return self.finish(total.flatten(0, 1)).unflatten(0, total.shape[:2])

    def finish(self, total: Tensor) -> Tensor:
        """The sum of a population, `[n, *shape]`, from that of its connections: normalised, and with its bias."""
        if self.norm is not None:
            total = self.norm(total)
        if self.bias is not None:
            total = total + self.bias.reshape(-1, *[1] * (len(self.shape) - 1))
        return total


class GraphNetwork(nn.Module):
    """uint8 images `[batch, channels, height, width]` or recordings `[batch, steps, channels, height, width]`
    -> outputs `[batch, classes]`: the class is the largest.

    Outputs are firing rates, 0 to 1, for the read-out `count`; else membranes: the last, the largest, or for `sum`
    their mean over the steps. With `every_step=True` they are `[steps, batch, classes]`: after each step, what a frame
    that ended there would have; rates and means as a part of all steps.
    With `layer_rates=True` also the firing rates of each population, `[batch, *shape]`, in
    the order of the description but the read-out's last; of one that does not spike, `[batch, 0]`.
    """

    def __init__(self, description: Graph, surrogate: Surrogate = ATAN) -> None:
        super().__init__()
        self.description, self.surrogate = description, surrogate
        for spec in description.populations if not surrogate.carries else ():
            above = spec.neuron.threshold > 0 or not spec.neuron.spiking
            require(above, f"threshold of {spec.name}", spec.neuron.threshold, "above 0 with the surrogate membrane")
        self.populations = nn.ModuleList(Population(description, spec) for spec in description.populations)
        self.index = {spec.name: index for index, spec in enumerate(description.populations)}
        self.pools = {spec.name: _pool_of(description, spec) for spec in description.populations}

    @property
    def weighted(self) -> list[tuple[str, Any, bool]]:
        """For each connection, in the order of the description: the name of its weights, the module that holds them,
        and whether it leads to the population that is read out."""
        source = self.description.readout.source
        return [
            (weight_name(number, index), synapses, population.spec.name == source)
            for number, population in enumerate(self._all)
            for index, synapses in enumerate(population.synapses)
        ]

    @property
    def _all(self) -> list[Population]:
        return [population for population in self.populations if isinstance(population, Population)]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by name; learnt decays as they are used."""
        found = {}
        for number, population in enumerate(self._all):
            where = f"population{number}"
            for index, synapses in enumerate(population.synapses):
                weight = synapses.weight
                assert isinstance(weight, Tensor)
                found[weight_name(number, index)] = weight
            if population.bias is not None:
                found[f"{where}.bias"] = population.bias
            if population.norm is not None:
                for name, attribute in NORM_ARRAYS.items():
                    found[f"{where}.norm.{name}"] = getattr(population.norm, attribute)
            for name, values in population.decays.values().items():
                found[f"{where}.{name}"] = values
        return found

    def load(self, name: str, values: Tensor) -> None:
        """Put one of `tensors()` back."""
        where, _, what = name.partition(".")
        population = self._all[int(where.removeprefix("population"))]
        if what in DECAYS:
            population.decays.load(what, values)
            return
        with torch.no_grad():
            self.tensors()[name].copy_(values)

    def forward(
        self, images: Tensor, layer_rates: bool = False, every_step: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        graph = self.description
        outputs: Outputs = {}
        potentials: dict[str, Tensor] = {}
        rates: dict[str, Tensor] = {}
        for part in graph.inputs:
            outputs[part.name, 1] = self._given(part, images)
        for group in graph.components:
            members = [self._all[self.index[name]] for name in group]
            on_cpu, known = _compiles(images), self.surrogate.steepness is not None  # which the next two have
            if known and on_cpu and len(members) == 1 and self.pools[group[0]]:
                self._maps(members[0], outputs, potentials, rates if layer_rates else None)
            elif known and not on_cpu and len(members) == 1 and _is_plain(graph, members[0].spec):
                self._plain(members[0], outputs, potentials)
            elif on_cpu and len(members) == 1 and self._runs_at_once(members[0]):
                self._at_once(members[0], outputs, potentials)
            else:
                self._step_by_step(members, outputs, potentials)
        found = self._read(outputs[graph.readout.source, 1], every_step)
        if not layer_rates:
            return found
        order = sorted(graph.populations, key=lambda spec: spec.name == graph.readout.source)
        for spec in order:
            if not spec.neuron.spiking:
                rates[spec.name] = found.new_zeros((found.shape[-2], 0))
            elif spec.name not in rates:
                rates[spec.name] = outputs[spec.name, 1].mean(dim=0)
        return found, [rates[spec.name] for spec in order]

    def _given(self, part: InputSpec, images: Tensor) -> Tensor:
        """What an input puts out, `[steps or 1, batch, *shape]`."""
        if part.counts:
            return clipped(images, part.counts).transpose(0, 1).float()
        if part.latency:
            return latencies(images, self.description.steps).transpose(0, 1).float()
        pixels = images.float() / 255  # no offset: a black pixel is no event
        return pixels[None] if part.held else strips(pixels, self.description.steps).transpose(0, 1)

    def _read(self, x: Tensor, every_step: bool) -> Tensor:
        """Outputs from spikes or membranes `[steps, batch, ...]` of the population that is read out."""
        readout = self.description.readout
        if readout.kind == "membrane":
            found = x if every_step else x[-1]
        elif readout.kind == "largest":
            found = x.cummax(dim=0).values if every_step else x.amax(dim=0)
        else:
            found = x.cumsum(dim=0) / len(x) if every_step else x.mean(dim=0)
        outputs = found.float().flatten(2 if every_step else 1)
        return outputs.unflatten(-1, (-1, readout.group)).mean(dim=-1)

    def _plain(self, population: Population, outputs: Outputs, potentials: dict[str, Tensor]) -> None:
        """Run plain neurons in torch's operations, over all steps: what an accelerator is good at."""
        spec, steps = population.spec, self.description.steps
        total = self._sum(population, list(range(len(spec.inputs))), outputs, potentials)
        current = population.over_time(total).float()
        slope = self.surrogate.steepness or 0.0
        outputs[spec.name, 1], potentials[spec.name] = fire(current, plain(spec.neuron), steps, slope)

    @staticmethod
    def _runs_at_once(population: Population) -> bool:
        """Whether all that a population hears from itself are dense connections of their own."""
        name = population.spec.name
        own = [connection for connection in population.spec.inputs if name in connection.sources]
        return all(isinstance(c.synapses, DenseSpec) and c.sources == (name,) and c.pool is None for c in own)

    def _maps(
        self,
        population: Population,
        outputs: Outputs,
        potentials: dict[str, Tensor],
        rates: dict[str, Tensor] | None,
    ) -> None:
        """Run maps of plain neurons: with their normalisation, and the max pool that all hear them through."""
        spec, size = population.spec, self.pools[population.spec.name]
        total = self._sum(population, list(range(len(spec.inputs))), outputs, potentials)
        x, steps = total.permute(0, 1, 3, 4, 2), self.description.steps
        neuron, slope = plain(spec.neuron), self.surrogate.steepness or 0.0
        spikes, found = fused.fire(x, population.norm, neuron, steps, size, rates is not None, slope)
        outputs[spec.name, size] = spikes.permute(0, 1, 4, 2, 3)
        if rates is not None and found is not None:
            rates[spec.name] = found.permute(0, 3, 1, 2)

    def _at_once(self, population: Population, outputs: Outputs, potentials: dict[str, Tensor]) -> None:
        spec, graph = population.spec, self.description
        others = [index for index, c in enumerate(spec.inputs) if spec.name not in c.sources]
        total = population.over_time(self._sum(population, others, outputs, potentials))
        modules: list[Any] = list(population.synapses)
        loops = [
            (synapses.weight, connection.delay)
            for synapses, connection in zip(modules, spec.inputs, strict=True)
            if spec.name in connection.sources
        ]
        current = total.flatten(2).float()
        decays = population.decays().to(current.dtype)
        found, near = recurrent.run(current, spec.neuron, graph.steps, decays, loops, self.surrogate)
        outputs[spec.name, 1] = found.unflatten(2, population.shape)
        potentials[spec.name] = near.unflatten(2, population.shape)

    def _sum(
        self, population: Population, indices: list[int], outputs: Outputs, potentials: dict[str, Tensor]
    ) -> Tensor:
        """The sum of some connections of a population over all steps, `[steps or 1, batch, *shape]`."""
        total = None
        for index in indices:
            x = self._seen(population.spec.inputs[index], outputs, potentials)
            current = population.synapse(index, x.flatten(0, 1)).unflatten(0, x.shape[:2])
            total = current if total is None else total + current
        if total is None:  # heard from itself alone
            some = next(iter(outputs.values()))
            total = torch.zeros((1, some.shape[1], *population.shape), device=some.device)
        return total

    @staticmethod
    def _seen(connection: ConnectionSpec, outputs: Outputs, potentials: dict[str, Tensor]) -> Tensor:
        """What the synapses of a connection see over all steps, `[steps or 1, batch, ...]`."""
        total = None
        for source in connection.sources:
            pool = connection.pool
            if pool is None:
                x = outputs[source, 1]
            elif pool.kind == "average":
                x = outputs[source, 1]
                x = functional.avg_pool2d(x.flatten(0, 1), pool.size).unflatten(0, x.shape[:2])
            else:
                if (source, pool.size) not in outputs:
                    x = outputs[source, 1]
                    outputs[source, pool.size] = max_pool(x, potentials.get(source, x), pool.size)
                x = outputs[source, pool.size]
            total = x if total is None else total + x
        assert total is not None
        if connection.delay:
            silent = torch.zeros_like(total[:1]).expand(min(connection.delay, len(total)), *total.shape[1:])
            total = torch.cat([silent, total[: len(total) - len(silent)]])
        return total

    def _step_by_step(self, members: list[Population], outputs: Outputs, potentials: dict[str, Tensor]) -> None:
        """Run populations of one component, each step by its definition."""
        names = [population.spec.name for population in members]
        outer: list[Tensor] = []
        inner: list[list[int]] = []
        for population in members:
            within = [i for i, c in enumerate(population.spec.inputs) if set(c.sources) & set(names)]
            others = [i for i in range(len(population.spec.inputs)) if i not in within]
            outer.append(population.over_time(self._sum(population, others, outputs, potentials)))
            inner.append(within)
        states = [dynamics.start(p.spec.neuron, o[0].flatten(1).float()) for p, o in zip(members, outer, strict=True)]
        decays = [dynamics.Parameters(*population.decays()) for population in members]
        firings = [Firing(self.surrogate, population.spec.neuron.threshold) for population in members]
        made: dict[str, list[Tensor]] = {name: [] for name in names}
        reached: dict[str, list[Tensor]] = {name: [] for name in names}
        for t in range(self.description.steps):
            for number, population in enumerate(members):
                total = outer[number][0 if len(outer[number]) == 1 else t]
                for index in inner[number]:
                    connection = population.spec.inputs[index]
                    if t >= connection.delay:
                        seen = self._seen_at(connection, t - connection.delay, made, reached, outputs, potentials)
                        total = total + population.synapse(index, seen)
                spec = population.spec
                before = states[number]
                given = total.flatten(1).float(), before, spec.neuron, decays[number], firings[number]
                u, spikes, states[number] = dynamics.step(*given)
                near = dynamics.drive(u, before.adaptation, before.refractory == 0)
                found = spikes if spec.neuron.spiking else states[number].membrane
                made[spec.name].append(found.unflatten(1, population.shape))
                reached[spec.name].append(near.unflatten(1, population.shape))
        for name in names:
            outputs[name, 1], potentials[name] = torch.stack(made[name]), torch.stack(reached[name])

    def _seen_at(
        self,
        connection: ConnectionSpec,
        t: int,
        made: dict[str, list[Tensor]],
        reached: dict[str, list[Tensor]],
        outputs: Outputs,
        potentials: dict[str, Tensor],
    ) -> Tensor:
        """What the synapses of a connection see of step `t`, `[batch, ...]`; `made` and `reached` are known so far."""
        now: Outputs = {(source, 1): values[t][None] for source, values in made.items() if len(values) > t}
        for (source, size), x in outputs.items():
            now[source, size] = x if len(x) == 1 else x[t : t + 1]
        reach = {source: values[t][None] for source, values in reached.items() if len(values) > t}
        reach |= {source: u[t : t + 1] for source, u in potentials.items()}
        return self._seen(replace(connection, delay=0), now, reach)[0]


def _compiles(x: Tensor) -> bool:
    """Whether compiled loops run where `x` is; elsewhere torch's operations do."""
    return x.device.type == "cpu"


def plain(neuron: NeuronSpec) -> FloatNeuron:
    """A neuron without further states, as `fused.py` knows it."""
    kind, tau = ("if", 2.0) if neuron.decay == 1 else ("lif", 1 / (1 - neuron.decay))
    return FloatNeuron(kind, tau, False, neuron.threshold, neuron.reset, neuron.reset_value)


def _is_plain(graph: Graph, spec: PopulationSpec) -> bool:
    """Whether a population hears no cycle, and its neurons have a membrane, a reset and nothing else."""
    neuron = spec.neuron
    more = neuron.current or neuron.adaptation or neuron.refractory or neuron.learnt != "fixed" or not neuron.spiking
    known = neuron.reset != "none" and neuron.decay > 0 and neuron.threshold > neuron.reset_value
    start = neuron.start_value in (None, neuron.reset_value) and neuron.reset_amount in (None, neuron.threshold)
    return not more and known and start and not graph.is_recurrent(spec.name)


def _pool_of(graph: Graph, spec: PopulationSpec) -> int:
    """Size of the max pool that all hear maps of plain neurons through, 1 for none; 0 for what is more than those."""
    if not _is_plain(graph, spec) or len(graph.shapes[spec.name]) != 3 or spec.bias:
        return 0
    heard = [c.pool for p in graph.populations for c in p.inputs if spec.name in c.sources]
    sizes = {pool.size if pool is not None and pool.kind == "max" else 1 for pool in heard}
    if spec.name == graph.readout.source:
        sizes.add(1)
    return sizes.pop() if len(sizes) == 1 else 0
