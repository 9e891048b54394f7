"""From a failing case to a small one: one change at a time, kept if the case still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from random_cases import Case

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, IntNeuron, Layer, QuantizedNetwork, Readout


def simpler(one: Case) -> Iterator[Case]:
    """Chains that are smaller than `one` by one change, the largest changes first."""
    yield from valid(_changes(one))


def valid(changes: Iterator[Callable[[], Case]]) -> Iterator[Case]:
    """What the changes give, but for those that make no valid network."""
    for change in changes:
        try:
            yield change()
        except UserError:
            continue


def shrink(
    one: Case,
    fails: Callable[[Case], bool],
    budget: int = 100,
    simpler: Callable[[Case], Iterator[Case]] = simpler,
) -> Case:
    """The smallest case found that `fails`, after at most `budget` calls of it. Kernels and pools stay as they are.

    `simpler`: the cases that are smaller than one by a change; default: of a chain.
    """
    while budget > 0:
        for smaller in simpler(one):
            budget -= 1
            if fails(smaller):
                one = smaller
                break
            if budget <= 0:
                break
        else:
            return one
    return one


def _changes(one: Case) -> Iterator[Callable[[], Case]]:
    net, frames = one.network, one.frames
    for part in halves(len(frames)):
        yield lambda part=part: replace(one, frames=frames[part])
    if len(net.layers) > 1 and net.layers[-2].neuron.spiking:
        shorter = (*net.layers[:-2], replace(net.layers[-2], pool=None))
        yield lambda: replace(
            one, network=net.changed(layers=shorter, readout=Readout()), pes=one.pes[:-1], cancel=False
        )
    for index, layer in enumerate(net.layers):
        for part in halves(layer.channels):
            yield lambda index=index, part=part: replace(one, network=_keep_channels(net, index, part))
    for part in halves(net.input.shape[0]):
        yield lambda part=part: _keep_sources(one, part)
    if net.steps > 1:
        fewer = frames if net.input.kind == "static" else frames[:, : net.steps // 2]
        yield lambda: replace(one, network=replace(net, steps=net.steps // 2), frames=fewer)
    yield from smaller_placements(one)
    for index, layer in enumerate(net.layers):
        if layer.synapses.bias.any():
            yield lambda index=index, layer=layer: replace(one, network=_with(net, index, _without_bias(layer)))
        for neuron in plainer(layer.neuron):
            yield lambda index=index, layer=layer, neuron=neuron: replace(
                one, network=_with(net, index, replace(layer, neuron=neuron()))
            )


def smaller_placements(one: Case) -> Iterator[Callable[[], Case]]:
    """Fewer PEs, and then queues and beats as they are by default."""
    for index, pes in enumerate(one.pes):
        if pes > 1:
            yield lambda index=index, pes=pes: replace(one, pes=(*one.pes[:index], pes // 2, *one.pes[index + 1 :]))
    if one.cancel:
        yield lambda: replace(one, cancel=False)
    if (one.pixels_a_beat, one.queue_depth, one.row_queue_depth) != (4, 16, 8):
        yield lambda: replace(one, pixels_a_beat=4, queue_depth=16, row_queue_depth=8)


def halves(size: int) -> list[slice]:
    """Two halves of more than one item; for a few items, all but one of them too."""
    if size < 2:
        return []
    middle = size // 2
    return [slice(0, middle), slice(middle, size), *([slice(1, size), slice(0, size - 1)] if 2 < size <= 6 else [])]


def _with(net: QuantizedNetwork, index: int, layer: Layer) -> QuantizedNetwork:
    return net.changed(layers=(*net.layers[:index], layer, *net.layers[index + 1 :]))


def _without_bias(layer: Layer) -> Layer:
    return replace(layer, synapses=replace(layer.synapses, bias=np.zeros_like(layer.synapses.bias)))


def plainer(neuron: IntNeuron) -> Iterator[Callable[[], IntNeuron]]:
    """The neuron with a state less, with one value of a parameter for all, or with the plainer of two rules."""
    simple: dict[str, object] = {
        "current": None, "adaptation": None, "refractory": 0, "rounding": "floor", "membrane_bits": None, "fraction": 0,
    }  # fmt: skip
    for field, value in simple.items():
        if getattr(neuron, field) != value:
            yield lambda field=field, value=value: replace(neuron, **{field: value})
    if any(values.size > 1 for values in neuron.parameters):
        yield lambda: neuron.with_parameters(lambda values: values[:1].copy())
    if neuron.start_value.any():
        yield lambda: replace(neuron, start_value=0)
    if neuron.reset == "hard" and neuron.reset_value.any():
        yield lambda: replace(neuron, reset_value=0)
    if neuron.reset == "soft" and not np.array_equal(neuron.reset_amount, neuron.threshold):
        yield lambda: replace(neuron, reset_amount=None)
    if neuron.reset != "hard":
        yield lambda: replace(neuron, reset="hard", reset_amount=None)
    if neuron.leak != "none":
        yield lambda: replace(neuron, leak="none")


def _keep_channels(net: QuantizedNetwork, index: int, part: slice) -> QuantizedNetwork:
    """Those channels (neurons of a dense layer) of layer `index` that `part` names."""
    layer = net.layers[index]
    weight, bias = layer.synapses.weight, layer.synapses.bias

    def cut(values: np.ndarray) -> np.ndarray:
        return values if values.size == 1 else values.reshape(layer.channels, -1)[part].ravel()

    kept = replace(
        layer,
        synapses=replace(layer.synapses, weight=weight[part].copy(), bias=bias[part].copy()),
        neuron=layer.neuron.with_parameters(cut),
    )
    layers = [*net.layers[:index], kept, *net.layers[index + 1 :]]
    readout = net.readout
    if index + 1 < len(layers):
        layers[index + 1] = _reading(layers[index + 1], part)
    else:
        readout = replace(readout, group=1)
    return net.changed(layers=tuple(layers), readout=readout)


def _keep_sources(one: Case, part: slice) -> Case:
    """Those channels (sources, if they are no maps) of the input that `part` names."""
    net, frames = one.network, one.frames
    first = _reading(net.layers[0], part)
    smaller = net.changed(input=replace(net.input, shape=first.input_shape), layers=(first, *net.layers[1:]))
    by_channel = frames.reshape(*frames.shape[:-1], net.input.shape[0], -1)
    return replace(one, network=smaller, frames=by_channel[..., part, :].reshape(*frames.shape[:-1], -1))


def _reading(layer: Layer, part: slice) -> Layer:
    """The layer with those channels of its input that `part` names."""
    weight = layer.synapses.weight
    if isinstance(layer.synapses, Dense):
        kept = weight.reshape(len(weight), layer.input_shape[0], -1)[:, part].reshape(len(weight), -1)
    else:
        kept = weight[:, part]
    channels = len(range(layer.input_shape[0])[part])
    synapses = replace(layer.synapses, weight=kept.copy())
    return replace(layer, input_shape=(channels, *layer.input_shape[1:]), synapses=synapses)
