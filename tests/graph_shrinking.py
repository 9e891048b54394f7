"""From a failing graph to a small one: one population, connection, read-out, step or neuron rule less at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from shrinking import plainer

from gradrtl.errors import UserError
from gradrtl.quantize.network import Connection, Population, QuantizedNetwork


def shrink(network: QuantizedNetwork, fails: Callable[[QuantizedNetwork], bool], budget: int = 200) -> QuantizedNetwork:
    """The smallest graph found that `fails`, after at most `budget` calls of it."""
    while budget > 0:
        for change in _changes(network):
            try:
                smaller = change()
            except UserError:  # the change makes no valid network
                continue
            budget -= 1
            if fails(smaller):
                network = smaller
                break
            if budget <= 0:
                break
        else:
            return network
    return network


def _changes(net: QuantizedNetwork) -> Iterator[Callable[[], QuantizedNetwork]]:
    for name in [one.name for one in (*net.populations, *net.inputs)]:
        yield lambda name=name: _without(net, name)
    for index in range(len(net.readouts)) if len(net.readouts) > 1 else ():
        yield lambda index=index: replace(net, readouts=net.readouts[:index] + net.readouts[index + 1 :])
    if net.steps > 1:
        yield lambda: replace(net, steps=net.steps // 2)
    for one in net.populations:
        for index in range(len(one.inputs)) if len(one.inputs) > 1 else ():
            kept = one.inputs[:index] + one.inputs[index + 1 :]
            yield lambda one=one, kept=kept: _with(net, replace(one, inputs=kept))
        for index, given in enumerate(one.inputs):
            if given.shift:
                plain = (*one.inputs[:index], replace(given, shift=0), *one.inputs[index + 1 :])
                yield lambda one=one, plain=plain: _with(net, replace(one, inputs=plain))
        if one.bias.any():
            yield lambda one=one: _with(net, replace(one, bias=0))
        for neuron in plainer(one.neuron):
            yield lambda one=one, neuron=neuron: _with(net, replace(one, neuron=neuron()))


def _with(net: QuantizedNetwork, population: Population) -> QuantizedNetwork:
    found = tuple(population if one.name == population.name else one for one in net.populations)
    return replace(net, populations=found)


def _without(net: QuantizedNetwork, name: str) -> QuantizedNetwork:
    """The graph without an input or population, and without what read only that."""

    def kept(given: Connection) -> Connection | None:
        left = tuple(source for source in given.sources if source != name)
        return replace(given, sources=left) if left else None

    populations = tuple(
        replace(one, inputs=tuple(filter(None, map(kept, one.inputs)))) for one in net.populations if one.name != name
    )
    inputs = tuple(one for one in net.inputs if one.name != name)
    readouts = tuple(one for one in net.readouts if one.source != name)
    return replace(net, inputs=inputs, populations=populations, readouts=readouts)
