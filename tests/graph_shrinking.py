"""From a failing graph to a small one: what `shrinking.py` does for chains, one change at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from random_cases import Case
from shrinking import halves, plainer, smaller_placements, valid

from gradrtl.quantize.network import Connection, Population, Readout


def simpler(one: Case) -> Iterator[Case]:
    """Cases that are smaller than `one` by one change, the largest changes first."""
    yield from valid(_changes(one))


def _changes(one: Case) -> Iterator[Callable[[], Case]]:
    net = one.network
    for name in [part.name for part in (*net.populations, *net.inputs)]:
        yield lambda name=name: _without(one, name)
    for part in halves(one.count):
        yield lambda part=part: _framed(one, [values[part] for values in _frames(one)])
    for index in range(len(net.readouts)) if len(net.readouts) > 1 else ():
        yield lambda index=index: replace(one, network=replace(net, readouts=_less(net.readouts, index)))
    if net.steps > 1:
        yield lambda: _with_steps(one, net.steps // 2)
    for population in net.populations:
        for inputs in _simpler_inputs(population.inputs):
            yield lambda population=population, inputs=inputs: _with(one, replace(population, inputs=inputs()))
    for given in (*net.populations, *net.inputs):
        for part in halves(given.shape[0]):
            yield lambda given=given, part=part: _keep_channels(one, given.name, part)
    yield from smaller_placements(one)
    for population in net.populations:
        if population.bias.any():
            yield lambda population=population: _with(one, replace(population, bias=0))
        for neuron in plainer(population.neuron):
            yield lambda population=population, neuron=neuron: _with(one, replace(population, neuron=neuron()))


def _simpler_inputs(inputs: tuple[Connection, ...]) -> Iterator[Callable[[], tuple[Connection, ...]]]:
    """The connections of a population: one less, or one of them with less to it."""
    for index in range(len(inputs)) if len(inputs) > 1 else ():
        yield lambda index=index: _less(inputs, index)
    for index, given in enumerate(inputs):
        changes = [{"sources": _less(given.sources, at)} for at in range(len(given.sources)) if len(given.sources) > 1]
        changes += [{"delay": delay} for delay in (0, 1) if delay < given.delay]
        changes += [{"shift": 0}] if given.shift else []
        for change in changes:
            yield lambda index=index, given=given, change=change: (
                *inputs[:index],
                replace(given, **change),
                *inputs[index + 1 :],
            )


def _less(items: tuple, index: int) -> tuple:
    return (*items[:index], *items[index + 1 :])


def _frames(one: Case) -> tuple[np.ndarray, ...]:
    """By input."""
    return (one.frames,) if isinstance(one.frames, np.ndarray) else one.frames


def _framed(one: Case, frames: list[np.ndarray]) -> Case:
    return replace(one, frames=frames[0] if len(frames) == 1 else tuple(frames))


def _with(one: Case, population: Population) -> Case:
    found = tuple(population if other.name == population.name else other for other in one.network.populations)
    return replace(one, network=replace(one.network, populations=found))


def _with_steps(one: Case, steps: int) -> Case:
    kinds = [given.kind for given in one.network.inputs]
    cut = [values if kind == "static" else values[:, :steps] for kind, values in zip(kinds, _frames(one), strict=True)]
    return _framed(replace(one, network=replace(one.network, steps=steps)), cut)


def _without(one: Case, name: str) -> Case:
    """Without an input or population, and without what read only that; the last population is read if no other is."""
    net = one.network

    def kept(given: Connection) -> Connection | None:
        left = tuple(source for source in given.sources if source != name)
        return replace(given, sources=left) if left else None

    populations = tuple(
        replace(other, inputs=tuple(filter(None, map(kept, other.inputs))))
        for other in net.populations
        if other.name != name
    )
    inputs = tuple(given for given in net.inputs if given.name != name)
    readouts = tuple(readout for readout in net.readouts if readout.source != name) or (Readout(),)
    smaller = replace(net, inputs=inputs, populations=populations, readouts=readouts)
    pes = tuple(number for other, number in zip(net.populations, one.pes, strict=True) if other.name != name)
    frames = [values for given, values in zip(net.inputs, _frames(one), strict=True) if given.name != name]
    return _framed(replace(one, network=smaller, pes=pes), frames)


def _keep_channels(one: Case, name: str, part: slice) -> Case:
    """Those channels (neurons or sources, where they are no maps) that `part` names: of an input or population, and of
    all that are added to what it puts out.
    """
    net, names = one.network, {name}
    for _ in net.populations:
        for edge in net.edges:
            if names & set(edge.connection.sources):
                names |= set(edge.connection.sources)
    channels = {given.name: given.shape[0] for given in (*net.inputs, *net.populations)}
    kept = {given: len(range(channels[given])[part]) for given in names}

    def cut(values: np.ndarray) -> np.ndarray:
        return values if values.size == 1 else values.reshape(channels[name], -1)[part].ravel()

    def heard(given: Connection, target: str) -> Connection:
        weight = given.synapses.weight
        if target in names:
            weight = weight.reshape(channels[target], -1, *weight.shape[1:])[part].reshape(-1, *weight.shape[1:])
        if names & set(given.sources):
            columns = weight.reshape(len(weight), channels[given.sources[0]], *(weight.shape[2:] or (-1,)))
            weight = columns[:, part].reshape(len(weight), -1, *weight.shape[2:])
        return replace(given, synapses=replace(given.synapses, weight=weight.copy(), bias=None))

    populations = []
    for other in net.populations:
        inputs = tuple(heard(given, other.name) for given in other.inputs)
        if other.name in names:
            shape = (kept[other.name], *other.shape[1:])
            other = replace(other, shape=shape, neuron=other.neuron.with_parameters(cut), bias=cut(other.bias))
        populations.append(replace(other, inputs=inputs))
    inputs = tuple(
        replace(given, shape=(kept[given.name], *given.shape[1:])) if given.name in names else given
        for given in net.inputs
    )
    readouts = tuple(replace(readout, group=1) if readout.source in names else readout for readout in net.readouts)
    frames = [
        values.reshape(*values.shape[:-1], given.shape[0], -1)[..., part, :].reshape(*values.shape[:-1], -1)
        if given.name in names
        else values
        for given, values in zip(net.inputs, _frames(one), strict=True)
    ]
    smaller = replace(net, inputs=inputs, populations=tuple(populations), readouts=readouts)
    return _framed(replace(one, network=smaller), frames)
