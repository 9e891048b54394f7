"""The plain event-driven loop for comparison, as one would first write it with Numba.

One image at a time: events are scattered over their synapses, neurons are updated one by one. It runs dense networks
of the paper's kind (static input, decaying input or shift leak, hard reset, exact membranes, spike counts) on all
threads. The first layer's sums are computed once per image.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gradrtl.compiled import kernel
from gradrtl.errors import require
from gradrtl.quantize.network import Dense, Layer, QuantizedNetwork


def prepare(network: QuantizedNetwork, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from frames, uint8 `[n, sources]`, to counts int64 `[n, classes]`."""
    require(len(network.layers) == 2, "yardstick layers", len(network.layers), "2")
    require(network.input.kind == "static", "yardstick input", network.input.kind, "static")
    require(network.readout.group == 1, "yardstick voting group", network.readout.group, "1")
    for layer in network.layers:
        neuron = layer.neuron
        plain = isinstance(layer.synapses, Dense) and neuron.reset == "hard" and neuron.membrane_bits is None
        plain &= neuron.fraction == 0 and neuron.leak in ("decaying_input", "shift") and neuron.spiking
        require(plain, f"yardstick layer {layer.name}", neuron.leak, "the paper's kind")
    arguments = [value for layer in network.layers for value in _by_source(layer)]
    drop = network.input.dropped

    def run(frames: np.ndarray) -> np.ndarray:
        counts = np.zeros((len(frames), network.classes), np.int64)
        ends = np.linspace(0, len(frames), 4 * threads + 1).astype(int)

        def work(begin: int, end: int) -> None:
            _run(frames[begin:end], drop, network.steps, *arguments, counts[begin:end])  # type: ignore[call-arg]

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, ends[:-1], ends[1:]))
        return counts

    return run


def _by_source(layer: Layer) -> tuple:
    """First synapse of each source, targets, weights, and the parameters of the neurons."""
    source, target = layer.synapses.weight.T.nonzero()
    first = np.concatenate([[0], np.bincount(source, minlength=layer.sources).cumsum()])
    weight = layer.synapses.weight.T[source, target].astype(np.int32)
    neuron = layer.neuron
    threshold = layer.per_neuron(neuron.threshold).astype(np.int32)
    bias = layer.synapses.bias.astype(np.int32)
    decaying = neuron.leak == "decaying_input"
    return first, target.astype(np.int32), weight, bias, threshold, decaying, neuron.shift, int(neuron.reset_value[0])


@kernel
def _scatter(event, value, first, target, weight, current):
    for synapse in range(first[event], first[event + 1]):
        current[target[synapse]] += weight[synapse] * value


@kernel
def _update(v, current, threshold, decaying, shift, reset):
    """One neuron: its membrane after the step, and whether it fired."""
    u = v + ((current - v) >> shift) if decaying else v - (v >> shift) + current
    return (reset, True) if u >= threshold else (u, False)


@kernel
def _run(
    frames, drop, steps,
    first0, target0, weight0, bias0, threshold0, decaying0, shift0, reset0,
    first1, target1, weight1, bias1, threshold1, decaying1, shift1, reset1,
    counts,
):  # fmt: skip
    v0, v1 = np.empty(bias0.size, np.int32), np.empty(bias1.size, np.int32)
    current0, current1 = np.empty(bias0.size, np.int32), np.empty(bias1.size, np.int32)
    for frame in range(frames.shape[0]):
        v0[:], v1[:] = reset0, reset1
        current0[:] = bias0
        for pixel in range(frames.shape[1]):
            value = frames[frame, pixel] >> drop
            if value:
                _scatter(pixel, value, first0, target0, weight0, current0)
        for _ in range(steps):
            current1[:] = bias1
            for neuron in range(v0.size):
                v0[neuron], fired = _update(v0[neuron], current0[neuron], threshold0[neuron], decaying0, shift0, reset0)
                if fired:
                    _scatter(neuron, 1, first1, target1, weight1, current1)
            for neuron in range(v1.size):
                v1[neuron], fired = _update(v1[neuron], current1[neuron], threshold1[neuron], decaying1, shift1, reset1)
                if fired:
                    counts[frame, neuron] += 1
