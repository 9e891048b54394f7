"""A trainable torch module whose forward pass is the integer arithmetic of any `QuantizedNetwork`.

What `integer_module.py` is for chains of neurons with a membrane alone, this is for graphs: all populations step after
step, in the order of `QuantizedNetwork.order`, each neuron step one compiled operation (`states.py`). Tensors hold
integers, as floats wide enough for them. Parameters are the real weights and biases (`reals.py`) and, for each unit,
the logarithm of what it has become of the one at the start. Rounding them gives weights, biases, thresholds, reset
values and amounts, start values and jumps. Decays, shifts, delays and formats stay as they are.

Long frames are computed in segments of time. Backwards each is computed once more, so that memory grows with the
square root of the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..bits import signed_range
from ..errors import UserError, require, within
from ..model.neurons import max_pool
from ..shapes import TRAINED_READOUTS, Pool
from . import states
from .graph import Edge
from .graph_rounding import CLOSE
from .images import codes_latency, frames_of_images, frames_of_recordings
from .integer_module import EXACT_FLOAT32, MARGIN, exact, largest_integer, nearest
from .network import Conv, QuantizedNetwork
from .neuron import State
from .population import Population
from .reals import NEURON, Reals, neuron_integers

SHORT = 64  # steps that are not cut into segments

Key = tuple[str, Pool | None]  # an output, pooled
Seen = dict[Key, Tensor]  # outputs of one step


class Integers(NamedTuple):
    """Integer weights by connection, biases and neuron parameters, by their names in `Reals`; the sum's real unit."""

    weights: list[Tensor]
    bias: Tensor
    neuron: dict[str, Tensor]
    unit: Tensor


class Prepared(NamedTuple):
    """What all steps of a batch share: `weights` with their shifts, `bias` and `rows` in the layout of the neurons."""

    weights: list[Tensor]
    bias: Tensor
    rows: Tensor
    start: State
    held: Tensor  # the sum of biases and of what is the same at every step


class IntegerPopulation(nn.Module):
    """The parameters of one population, and its steps.

    Maps of neurons are computed channels last, `[batch, positions, channels]`, unless a number differs within a map;
    then, as neurons that are no maps, they are `[batch, 1, neurons]`.
    """

    unit: Tensor

    def __init__(self, population: Population, edges: Sequence[Edge], reals: Reals) -> None:
        super().__init__()
        reals.check(population)
        self.population, self.edges, self.reals = population, edges, reals
        self.rule = states.rule_of(population.neuron)
        sizes = {values.size for values in (*population.neuron.parameters, population.bias)}
        self.is_map = len(population.shape) == 3 and sizes <= {1, population.channels}
        self.width = population.channels if self.is_map else population.neurons
        self.log_scale = nn.Parameter(torch.zeros(reals.unit.size, dtype=torch.float64))
        self.weights = nn.ParameterList()
        for index, weight in enumerate(reals.weights):
            place = np.flatnonzero(weight)
            self.weights.append(nn.Parameter(torch.from_numpy(weight.ravel()[place])))
            rows = place * len(weight) // weight.size
            self.register_buffer(f"place{index}", torch.from_numpy(place), persistent=False)
            self.register_buffer(f"rows{index}", torch.from_numpy(rows), persistent=False)
        self.bias = nn.Parameter(torch.from_numpy(reals.bias.copy()), requires_grad=bool(reals.bias.any()))
        self.register_buffer("unit", torch.from_numpy(reals.unit.copy()), persistent=False)

    def integers(self) -> Integers:
        """What the parameters are rounded to, now; gradients pass straight through the rounding."""
        population, reals = self.population, self.reals
        unit = self.unit * self.log_scale.exp()
        weights = []
        for index, (weight, connection) in enumerate(zip(self.weights, population.inputs, strict=True)):
            scale = unit * 2**connection.shift / reals.worths[index]
            shape = reals.weights[index].shape
            rows: Tensor = getattr(self, f"rows{index}")
            steps = weight / (scale if scale.numel() == 1 else self._spread(scale, shape[0])[rows])
            living = nearest(steps.clamp(*signed_range(connection.weight_bits)))
            place: Tensor = getattr(self, f"place{index}")
            weights.append(living.new_zeros(math.prod(shape)).scatter(0, place, living).reshape(shape))
        fine = unit / (1 << population.neuron.fraction)
        found = {name: nearest(self._over(getattr(reals, name), fine)) for name in NEURON if name != "threshold"}
        found["threshold"] = self._threshold(self._over(reals.threshold, fine), found["reset_value"])
        return Integers(weights, nearest(self._over(self.bias, unit)), found, unit)

    def _threshold(self, exact: Tensor, reset: Tensor) -> Tensor:
        """The smallest integer that a potential needs: states are integers, so that a spike is as that of the reals.

        It stays above the reset value if the real one does.
        """
        if not self.population.neuron.spiking:
            return reset + 1
        whole = exact.detach().round()
        distance = exact.detach() - whole
        beyond = distance > CLOSE if not self.reals.strict else distance > -CLOSE
        rounded = exact + (whole + beyond - exact).detach()
        real = [torch.from_numpy(values) for values in (self.reals.threshold, self.reals.reset_value)]
        size = max(values.numel() for values in (rounded, reset, *real))
        rounded, reset, *real = (self._spread(values, size) for values in (rounded, reset, *real))
        return torch.where(real[0] > real[1], torch.maximum(rounded, reset + 1), rounded)

    def _over(self, values: Tensor | np.ndarray, unit: Tensor) -> Tensor:
        """`values / unit`, each `[1]`, `[channels]` or `[neurons]`."""
        given = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        return given / (unit if unit.numel() in (1, given.numel()) else self._spread(unit, given.numel()))

    def _spread(self, values: Tensor, size: int) -> Tensor:
        """`[1]`, `[channels]` or `[neurons]` values as `size`; those that are more stay as they are."""
        if values.numel() >= size or size == 1:
            return values
        return values.expand(size) if values.numel() == 1 else values.repeat_interleave(size // values.numel())

    def prepare(self, dtype: torch.dtype) -> Prepared:
        """The integers of a batch; `held` is that of the biases alone."""
        weights, bias, found, unit = self.integers()
        own = self.population.neuron.parameters
        fixed = {name: torch.from_numpy(getattr(own, name).astype(np.float64)) for name in own._fields}
        never = torch.full((1,), states.NEVER, dtype=torch.float64)
        threshold = found["threshold"] if self.population.neuron.spiking else never
        parameters = states.Parameters(
            threshold, fixed["factor"], found["reset_value"], found["reset_amount"], found["start_value"],
            fixed["current_factor"], fixed["adaptation_factor"], found["jump"],
            unit / (1 << self.population.neuron.fraction),
        )  # fmt: skip
        wide = states.Parameters(*(self._spread(values, self.width) for values in parameters))
        rows = states.rows_of(wide, self.width, dtype)
        bias = self._spread(bias, self.width).to(dtype)
        shifted = [
            (weight * 2**connection.shift).to(dtype)
            for weight, connection in zip(weights, self.population.inputs, strict=True)
        ]
        zero = torch.zeros((1, 1, self.width), dtype=dtype)
        state = State(rows[4].reshape(1, 1, -1), zero, zero, zero)
        return Prepared(shifted, bias, rows, state, bias.reshape(1, 1, -1))

    def current(self, index: int, weight: Tensor, x: Tensor) -> Tensor:
        """What connection `index` adds to the sums, in the layout of the neurons, from `x`, `[n, *input_shape]`."""
        synapses = self.edges[index].synapses
        if isinstance(synapses, Conv):
            x = x.contiguous(memory_format=torch.channels_last)
            found = functional.conv2d(x, weight, None, synapses.stride, synapses.padding)
        else:
            found = functional.linear(x.flatten(1), weight)
        return self.arranged(found)

    def arranged(self, x: Tensor) -> Tensor:
        """`[n, ...]` in the order of the network, in the layout of the neurons."""
        if not self.is_map:
            return x.reshape(len(x), 1, -1)
        return x.reshape(len(x), *self.population.shape).permute(0, 2, 3, 1).flatten(1, 2)

    def restored(self, x: Tensor) -> Tensor:
        """Inverse of `arranged`: `[n, *shape]`."""
        if not self.is_map:
            return x.reshape(len(x), *self.population.shape)
        return x.unflatten(1, self.population.shape[1:]).permute(0, 3, 1, 2)

    def exported(self) -> Population:
        """The population of the integers that the parameters are rounded to now."""
        given = self.population
        tensors = self.integers()
        where = f"population {given.name}"
        exact(f"{where} unit", tensors.unit)
        weights = [exact(f"{where} weights", values) for values in tensors.weights]
        bias = exact(f"{where} bias", tensors.bias)
        found = {name: exact(f"{where} {name}", values) for name, values in tensors.neuron.items()}
        inputs = tuple(
            replace(connection, synapses=replace(connection.synapses, weight=weight.astype(np.int8)))
            for connection, weight in zip(given.inputs, weights, strict=True)
        )
        before = neuron_integers(given.neuron)
        values = {name: _as_given(integers, before[name]) for name, integers in found.items()}
        if not given.neuron.spiking:
            values["threshold"] = before["threshold"]  # without a meaning
        jump = values.pop("jump")
        adaptation = given.neuron.adaptation
        with within(where):
            neuron = replace(
                given.neuron,
                adaptation=adaptation and replace(adaptation, jump=jump),
                **values,  # type: ignore[arg-type]
            )
        return replace(given, neuron=neuron, bias=bias.astype(np.int64), inputs=inputs)


def _as_given(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """int64 `values`; as one if they are equal and were given as one."""
    same = given.size == 1 and bool((values == values[0]).all())
    return (values[:1] if same else values).astype(np.int64)


class Carried(NamedTuple):
    """What goes from step to step: states, outputs of the last steps, and what has been read so far.

    states
        Of each population, in the order of the network.
    outputs
        Of the last steps, the newest last: as many as the longest delay, and the current step.
    read
        Sum of spikes or membranes, largest or last membrane of the population that is read, in its layout.
    answers
        What had been read after each step; empty unless asked for.
    spikes
        Sum of the spikes of each population, `[batch, positions, channels]`; empty unless asked for.
    """

    states: list[State]
    outputs: list[Seen]
    read: Tensor | None
    answers: list[Tensor] | None
    spikes: list[Tensor]


class IntegerGraph(nn.Module):
    """Images, or frames of all inputs -> outputs `[batch, classes]` of the network that `export` returns.

    Images are uint8 `[batch, channels, height, width]`, recordings `[batch, steps, channels, height, width]`.
    Frames are uint8 `[batch, values]`: those of all inputs side by side, each as the simulators take it, flattened.
    Outputs are those of the first read-out: firing rates, or real membranes (for `sum` their mean over the steps),
    each the mean of its group. With `layer_rates=True` also the firing rates of each population, `[batch, *shape]`,
    that which is read last; of one that does not spike, `[batch, 0]`. With `every_step=True` the outputs are
    `[steps, batch, classes]`, as of `model.graph_network.GraphNetwork`.
    For CPUs only.

    Raises
    ------
    UserError
        `reals` do not fit `network`, or are not rounded to its integers: the population is named.
    """

    def __init__(self, network: QuantizedNetwork, reals: Sequence[Reals]) -> None:
        super().__init__()
        require(
            len(reals) == len(network.populations), "reals", len(reals), f"{len(network.populations)}, one a population"
        )
        self.network = network
        self.populations = nn.ModuleList(
            IntegerPopulation(population, network.graph.into(number), own)
            for number, (population, own) in enumerate(zip(network.populations, reals, strict=True))
        )
        self.readout = network.readouts[0]
        self.read_from = network.graph.index[self.readout.source]
        require(self.readout.kind in TRAINED_READOUTS, "readout", self.readout.kind, f"{', '.join(TRAINED_READOUTS)}")
        is_one = self.readout.kind == "count" or reals[self.read_from].unit.size == 1
        require(is_one, f"population {self.readout.source} units", reals[self.read_from].unit.size,
                "1: membranes are compared")  # fmt: skip
        self.static = {given.name for given in network.inputs if given.kind == "static"}
        pools: dict[str, set[Pool | None]] = {}
        for edge in network.edges:
            for source in edge.connection.sources:
                pools.setdefault(source, set()).add(edge.pool)
        self.pools = {name: sorted(found, key=repr) for name, found in pools.items()}
        self.longest = max(edge.connection.delay for edge in network.edges)
        exported = self.export()
        for ours, given in zip(exported.populations, network.populations, strict=True):
            _same(ours, given)
        self.dtype = torch.float32 if largest_integer(exported) * MARGIN < EXACT_FLOAT32 else torch.float64

    @property
    def _all(self) -> list[IntegerPopulation]:
        return [one for one in self.populations if isinstance(one, IntegerPopulation)]

    def encode(self, frames: Tensor) -> dict[str, Tensor]:
        """By input, what it puts out: `[batch, 1 or steps, *shape]`."""
        found, start, steps = {}, 0, self.network.steps
        for given in self.network.inputs:
            times = 1 if given.kind == "static" else steps
            if frames.dim() == 4:
                own = frames_of_images(given, steps, frames, codes_latency(self.network, given))
            elif frames.dim() == 5:
                own = frames_of_recordings(given, steps, frames)
            else:
                size = times * math.prod(given.shape)
                own, start = frames[:, start : start + size], start + size
            found[given.name] = given.seen(own).reshape(len(frames), times, *given.shape).to(self.dtype)
        return found

    def forward(
        self, frames: Tensor, layer_rates: bool = False, every_step: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        given, steps = self.encode(frames), self.network.steps
        prepared = self._prepared(given)
        carried = self._start(prepared, len(frames), layer_rates, every_step)
        segment = steps if steps <= SHORT or not torch.is_grad_enabled() else math.isqrt(steps - 1) + 1
        for first in range(0, steps, segment):
            last = min(first + segment, steps)
            arguments = first, last, given, prepared, carried
            if segment == steps:
                carried = self._run(*arguments)
            else:
                carried = checkpoint(self._run, *arguments, use_reentrant=False, preserve_rng_state=False)
        outputs = self._outputs(carried)
        if not layer_rates:
            return outputs
        rates = [
            population.restored(total / steps)
            if population.population.neuron.spiking
            else total.new_zeros((len(total), 0))
            for population, total in zip(self._all, carried.spikes, strict=True)
        ]
        return outputs, [*rates[: self.read_from], *rates[self.read_from + 1 :], rates[self.read_from]]

    def _prepared(self, given: dict[str, Tensor]) -> list[Prepared]:
        """The integers of all populations, and the sums of what is the same at every step."""
        found = []
        for one in self._all:
            prepared = one.prepare(self.dtype)
            held = prepared.held
            for index, edge in enumerate(one.edges):
                if edge.held:
                    x = sum((given[source][:, 0] for source in edge.connection.sources), torch.zeros(()))
                    held = held + one.current(index, prepared.weights[index], x.to(self.dtype))
            found.append(prepared._replace(held=held))
        return found

    def _start(self, prepared: list[Prepared], count: int, with_spikes: bool, with_answers: bool = False) -> Carried:
        starts, sums = [], []
        for one, own in zip(self._all, prepared, strict=True):
            shape = count, math.prod(one.population.shape) // one.width, one.width
            starts.append(State(*(values.expand(shape) for values in own.start)))
            sums.append(own.rows.new_zeros(shape if with_spikes else 0))
        return Carried(starts, [], None, [] if with_answers else None, sums)

    def _run(
        self, first: int, last: int, given: dict[str, Tensor], prepared: list[Prepared], carried: Carried
    ) -> Carried:
        """Steps `first` to `last`, the last one excluded."""
        for t in range(first, last):
            carried, _ = self._step(t, given, prepared, carried)
        return carried

    def _step(
        self, t: int, given: dict[str, Tensor], prepared: list[Prepared], carried: Carried
    ) -> tuple[Carried, list[states.Stepped]]:
        now: Seen = {(name, None): x[:, t] for name, x in given.items() if name not in self.static}
        outputs = [*carried.outputs[-self.longest :], now] if self.longest else [now]
        found: dict[int, states.Stepped] = {}
        for number in self.network.order:
            one, own = self._all[number], prepared[number]
            total = own.held
            for index, edge in enumerate(one.edges):
                delay = edge.connection.delay
                if edge.held or t < delay:
                    continue
                then = outputs[-1 - delay]
                seen = [then[source, edge.pool] for source in edge.connection.sources]
                x = seen[0] if len(seen) == 1 else torch.stack(seen).sum(dim=0)
                total = total + one.current(index, own.weights[index], x)
            before = carried.states[number]
            found[number] = stepped = states.step(total.expand(before.membrane.shape), before, own.rows, one.rule)
            for pool in self.pools.get(one.population.name, ()):
                now[one.population.name, pool] = _pooled(one, stepped, pool)
        made = [found[number] for number in range(len(found))]
        read = self._read(carried.read, made[self.read_from])
        spikes = carried.spikes
        if spikes[0].dim() > 1:
            spikes = [total + stepped.spikes for total, stepped in zip(spikes, made, strict=True)]
        answers = None if carried.answers is None else [*carried.answers, read]
        return Carried([stepped.state for stepped in made], outputs, read, answers, spikes), made

    def _read(self, before: Tensor | None, stepped: states.Stepped) -> Tensor:
        """What is read after a step, in double precision: sums over many steps are exact."""
        kind = self.readout.kind
        value = (stepped.spikes if kind == "count" else stepped.state.membrane).double()
        if before is None or kind == "membrane":
            return value
        return torch.maximum(before, value) if kind == "largest" else before + value

    def sums(self, carried: Carried) -> Tensor:
        """The sums of the classes as they are read, `[batch, classes]`, integers."""
        assert carried.read is not None
        return self._summed(carried.read)

    def _summed(self, read: Tensor) -> Tensor:
        """The sums of the classes, of what has been `read` of their neurons."""
        outputs = self._all[self.read_from].restored(read).flatten(1)
        return outputs.unflatten(1, (-1, self.readout.group)).sum(dim=2)

    def _outputs(self, carried: Carried) -> Tensor:
        times = self.network.steps if self.readout.kind in ("count", "sum") else 1
        every = carried.answers
        sums = self.sums(carried) if every is None else torch.stack([self._summed(read) for read in every])
        outputs = sums / (self.readout.group * times)
        if self.readout.kind == "count":
            return outputs
        one = self._all[self.read_from]
        unit = one.unit * one.log_scale.exp()
        return outputs * (one.reals.worth * unit / (1 << one.population.neuron.fraction))

    @torch.no_grad()
    def trace(self, frames: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Spikes and membranes of each population, `[batch, steps, neurons]`, and the sums of the classes."""
        given = self.encode(frames)
        prepared = self._prepared(given)
        carried = self._start(prepared, len(frames), False)
        spikes: list[list[Tensor]] = [[] for _ in self._all]
        membranes: list[list[Tensor]] = [[] for _ in self._all]
        for t in range(self.network.steps):
            carried, made = self._step(t, given, prepared, carried)
            for number, (one, stepped) in enumerate(zip(self._all, made, strict=True)):
                spikes[number].append(one.restored(stepped.spikes).flatten(1))
                membranes[number].append(one.restored(stepped.state.membrane).flatten(1))
        stacked = [[torch.stack(values, dim=1) for values in every] for every in (spikes, membranes)]
        return stacked[0], stacked[1], self.sums(carried)

    @torch.no_grad()
    def export(self, notes: dict[str, Any] | None = None) -> QuantizedNetwork:
        """The integer network that this module computes now. It has no event rates and no placement."""
        populations = tuple(one.exported() for one in self._all)
        kept = [int(np.count_nonzero(c.synapses.weight)) for one in populations for c in one.inputs]
        given = self.network.notes
        units = {one.population.name: _number(one.unit * one.log_scale.exp()) for one in self._all}
        own = {"synapses": {**given.get("synapses", {}), "kept": kept}, "units": units}
        return replace(
            self.network, populations=populations, notes={**given, **own, **(notes or {})}, rates=None, placement=None
        )

    def check(self) -> None:
        """`UserError` if some sum of the current network could exceed the integers that its floats hold exactly."""
        if self.dtype == torch.float32:
            found = largest_integer(self.export())
            require(found < EXACT_FLOAT32, "largest sum", found, f"below {EXACT_FLOAT32}")


def _number(values: Tensor) -> Any:
    return values.item() if values.numel() == 1 else values.tolist()


def _pooled(one: IntegerPopulation, stepped: states.Stepped, pool: Pool | None) -> Tensor:
    spikes = one.restored(stepped.spikes)
    if pool is None:
        return spikes
    if pool.kind == "average":
        return functional.avg_pool2d(spikes, pool.size, divisor_override=1)
    return max_pool(spikes[None], one.restored(stepped.over)[None], pool.size)[0]


def _same(ours: Population, given: Population) -> None:
    """`UserError` unless two populations have the same integers."""
    where = f"reals of population {given.name}"
    for connection, wanted in zip(ours.inputs, given.inputs, strict=True):
        differ = int((connection.synapses.weight != wanted.synapses.weight).sum())
        if differ:
            raise UserError.of(
                f"{where} weights, {wanted.label},", f"{differ} that are rounded to others", "its integers"
            )
    found, wanted_values = neuron_integers(ours.neuron), neuron_integers(given.neuron)
    pairs = {"bias": (ours.bias, given.bias)} | {name: (found[name], wanted_values[name]) for name in NEURON}
    for name, (values, wanted_integers) in pairs.items():
        same = bool((ours.per_neuron(values) == given.per_neuron(wanted_integers)).all())
        require(same, f"{where} {name}", "rounded to another integer", "its integers")
