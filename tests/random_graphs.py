"""Random valid graphs: what `random_networks.py` does for chains, with its choices, neurons and options.

Half of the graphs have cycles. Inputs of all kinds, connections beside each other with shifts, delays and pools, two
sources on a connection, one-neuron populations, populations given in any order, several read-outs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt, prod, sqrt

import numpy as np
from hypothesis import strategies as st
from random_networks import Choices, Options, _Drawn, _neuron, _Scene, _Seeded, _size

from gradrtl.quantize.network import (
    LIMIT,
    Connection,
    Conv,
    Dense,
    Input,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
)
from gradrtl.shapes import OF_SPIKES

SMALL = Options(largest=40, most_steps=7)
CONNECTIVITIES = (1.0, 0.5, 0.5, 0.2, 0.2, 0.05, 0.0)


def graph(seed: int, options: Options = SMALL) -> QuantizedNetwork:
    """The random graph number `seed`."""
    return _graph(_Seeded(seed), options)


def with_gradient(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with counts in place of first spikes, which have no gradient."""
    readouts = (replace(one, kind="count") if one.kind == "first" else one for one in network.readouts)
    return replace(network, readouts=tuple(readouts))


@st.composite
def graphs(draw: Callable, options: Options = SMALL) -> QuantizedNetwork:
    """Hypothesis strategy of random graphs."""
    return _graph(_Drawn(draw), options)


def has_cycle(network: QuantizedNetwork) -> bool:
    """Whether a population hears itself, over whatever way."""
    heard = {
        one.name: {source for connection in one.inputs for source in connection.sources} for one in network.populations
    }
    for _ in heard:
        for name, sources in heard.items():
            heard[name] = sources.union(*(heard.get(source, ()) for source in sources))
    return any(name in sources for name, sources in heard.items())


@dataclass
class _Plan:
    """A source of events: an input, or a population that is being made."""

    name: str
    shape: tuple[int, ...]
    largest: int
    held: bool = False
    spiking: bool = True
    rank: int = -1  # inputs come before all populations


def _graph(choices: Choices, options: Options) -> QuantizedNetwork:
    inputs = [_input(choices, options, f"input{index}") for index in range(choices.integer(1, 3))]
    plans = [_Plan(one.name, one.shape, one.largest, one.kind == "static") for one in inputs]
    steps, cyclic = choices.integer(1, options.most_steps), choices.among((False, True))
    number = choices.integer(1, options.most_layers)
    kinds = {f"p{number - 1}": choices.among(OF_SPIKES if cyclic and number == 1 else options.readouts)}
    made: list[tuple[_Plan, list[Connection]]] = []
    for rank in range(number):
        name = f"p{rank}"
        if 0 < rank < number - 1 and choices.among((False, False, True)):
            kinds[name] = choices.among(options.readouts)
        heard = [plan for plan in plans if plan.spiking]
        plan, first = _population(choices, options, name, rank, heard)
        plan.spiking = kinds.get(name, "count") in OF_SPIKES
        plans.append(plan)
        made.append((plan, [first]))
    for plan, connections in made:
        sources = [other for other in plans if other.spiking and (cyclic or other.rank < plan.rank)]
        connections += [_connection(choices, options, plan, sources) for _ in range(choices.integer(0, 2))]
    if cyclic:  # one population at least hears itself
        plan, connections = made[0]
        connections.append(_connection(choices, options, plan, [plan]))
    read = {source for _, connections in made for connection in connections for source in connection.sources}
    for unread in [plan for plan in plans[: len(inputs)] if plan.name not in read]:
        plan, connections = made[choices.integer(0, number - 1)]
        connections.append(_connection(choices, options, plan, [unread]))
    by_name = {plan.name: plan for plan in plans}
    populations = [_with_neurons(choices, options, *pair, by_name, steps) for pair in made]
    generator = np.random.default_rng(choices.integer(0, 2**32 - 1))
    populations = [populations[index] for index in generator.permutation(number)]
    readouts = tuple(Readout(kind, 1, name) for name, kind in kinds.items())
    plain = QuantizedNetwork(tuple(inputs), tuple(populations), steps, readouts)
    return replace(plain, readouts=tuple(_grouped(choices, plain, index) for index in range(len(readouts))))


def _grouped(choices: Choices, network: QuantizedNetwork, index: int) -> Readout:
    most, outputs = max(map(abs, network.readout_ranges[index])), network.classes_of[index]
    groups = [n for n in range(1, outputs + 1) if outputs % n == 0 and (n == 1 or n * most < 1 << 31)]
    return replace(network.readouts[index], group=choices.among(groups))


def _input(choices: Choices, options: Options, name: str) -> Input:
    shape, kind = _shape(choices, options), choices.among(options.kinds)
    return Input(shape, 1 if kind == "spikes" else choices.integer(1, 8), kind, name=name)


def _shape(choices: Choices, options: Options) -> tuple[int, ...]:
    if options.dense_only or choices.among((False, True)):
        return (_size(choices, options),)
    side = min(6, isqrt(options.largest))
    height, width = choices.integer(1, side), choices.integer(1, side)
    return choices.integer(1, max(1, min(4, options.largest // (height * width)))), height, width


def _weights(choices: Choices, bits: int, *size: int) -> np.ndarray:
    generator = np.random.default_rng(choices.integer(0, 2**32 - 1))
    values = generator.integers(-(1 << bits - 1), 1 << bits - 1, size)
    return np.where(generator.random(size) < choices.among(CONNECTIVITIES), values, 0).astype(np.int8)


def _population(
    choices: Choices, options: Options, name: str, rank: int, heard: list[_Plan]
) -> tuple[_Plan, Connection]:
    """A population with the connection through which it is reached: from an input, or one of those before it."""
    source = choices.among(heard)
    if len(source.shape) == 3 and choices.among((True, False)):
        bits, pool = choices.integer(2, 8), _pool(choices, source)
        seen = pool.output_shape(source.shape) if pool else source.shape
        sizes = [choices.integer(1, min(4, n)) for n in seen[1:]]
        padding = tuple(choices.integer(0, n - 1) for n in sizes)
        stride = (choices.integer(1, 2), choices.integer(1, 2))
        weight = _weights(choices, bits, choices.integer(1, 4), seen[0], *sizes)
        synapses = Conv(weight, np.zeros(len(weight), np.int64), stride, padding)
        plan = _Plan(name, synapses.output_shape(seen), 1, rank=rank)
        delay = 0 if source.held else choices.among((0, 0, 0, 1, 2, 3))
        return plan, Connection(source.name, synapses, bits, delay, choices.among((0, 0, 2, 5)), pool)
    alike = [other.shape for other in heard if other.rank >= 0 and len(other.shape) == 3]
    shape = choices.among(alike) if alike and choices.among((True, False)) else _shape(choices, options)
    plan = _Plan(name, shape, 1, rank=rank)
    return plan, _connection(choices, options, plan, [source])


def _pool(choices: Choices, source: _Plan) -> Pool | None:
    kind = choices.among((None, "max", "average"))
    if kind is None or source.rank < 0 or len(source.shape) != 3:
        return None
    return Pool(kind, choices.integer(1, min(3, *source.shape[1:])))


def _connection(choices: Choices, options: Options, target: _Plan, sources: list[_Plan]) -> Connection:
    """A connection from one of `sources`, now and then from two of them, into a population."""
    source = choices.among(sources)
    alike = [other for other in sources if other.shape == source.shape and other.held == source.held]
    others = [other for other in alike if other is not source]
    together = [source, choices.among(others)] if others and choices.among((True, False)) else [source]
    pool = _pool(choices, source) if all(one.rank >= 0 for one in together) else None
    seen = pool.output_shape(source.shape) if pool else source.shape
    bits, shift = choices.integer(2, 8), choices.among((0, 0, 0, 1, 4, 6))
    back = any(one.rank >= target.rank for one in together)
    delay = 0 if source.held else choices.integer(1, 3) if back else choices.among((0, 0, 0, 1, 2, 3))
    alike_maps = len(seen) == len(target.shape) == 3 and seen[1:] == target.shape[1:]
    synapses: Dense | Conv
    if alike_maps and choices.among((True, False)):
        size = choices.among((1, 3))
        weight = _weights(choices, bits, target.shape[0], seen[0], size, size)
        synapses = Conv(weight, np.zeros(len(weight), np.int64), (1, 1), (size // 2, size // 2))
    else:
        synapses = Dense(_weights(choices, bits, prod(target.shape), prod(seen)))
    return Connection(tuple(one.name for one in together), synapses, bits, delay, shift, pool)


def _with_neurons(
    choices: Choices,
    options: Options,
    plan: _Plan,
    connections: list[Connection],
    sources: dict[str, _Plan],
    steps: int,
) -> Population:
    """The population, with neurons whose thresholds lie where the sums do."""
    generator = np.random.default_rng(choices.integer(0, 2**32 - 1))

    def scene(connections: list[Connection], bias: np.ndarray) -> _Scene:
        bound, spread = int(np.abs(bias).max()) + 1, 1.0
        for one in connections:
            rows = np.abs(one.synapses.weight.astype(np.int64).reshape(len(one.synapses.weight), -1))
            largest = sum(sources[source].largest for source in one.sources)
            largest *= one.pool.size**2 if one.pool and one.pool.kind == "average" else 1
            bound += int(rows.sum(1).max()) * largest << one.shift
            spread += float((rows**2).sum()) / len(rows) * (largest << one.shift) ** 2 / 4
        return _Scene(plan.shape[0], prod(plan.shape), bound, sqrt(spread), steps)

    size = choices.among((plan.shape[0], prod(plan.shape)))
    most = choices.among((0, 0, 1 << 6, 1 << 12))
    bias = generator.integers(-most, most + 1, size, dtype=np.int64)
    found = scene(connections, bias)
    if 16 * steps * steps * found.bound >= LIMIT:  # all machines refuse sums that large
        connections = [replace(one, shift=0) for one in connections]
        found = scene(connections, bias)
    neuron = _neuron(choices, options, generator, found, spiking=plan.spiking)
    return Population(plan.name, plan.shape, neuron, bias, tuple(connections))
