"""Random valid networks and frames, for every test that drives several machines with the same network.

One recipe, two sources of choices: `network(seed)` is plain and seeded; `networks()` is a Hypothesis strategy whose
failures shrink towards one small layer. Weights come from a seed in both: only the structure shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt, prod, sqrt
from typing import Protocol, TypeVar

import numpy as np
from hypothesis import strategies as st
from limit_networks import at_limit

from gradrtl.bits import signed_bits
from gradrtl.quantize.network import (
    LIMIT,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Pool,
    QuantizedNetwork,
    Readout,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Bounds of a random network. `largest` bounds the sources and the neurons of every layer.

    With `limits`, seeded networks have one number at its limit (`limit_networks.py`).
    """

    dense_only: bool = False
    largest: int = 300
    most_layers: int = 4
    most_steps: int = 6
    kinds: tuple[str, ...] = ("static", "spikes")
    limits: bool = False


class Choices(Protocol):
    """Where a recipe's choices come from. The first of `items`, and `low`, are the simplest."""

    def among(self, items: Sequence[T]) -> T: ...
    def integer(self, low: int, high: int) -> int: ...


class _Seeded:
    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def among(self, items: Sequence[T]) -> T:
        return items[int(self.generator.integers(len(items)))]

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))


class _Drawn:
    def __init__(self, draw: Callable) -> None:
        self.draw = draw

    def among(self, items: Sequence[T]) -> T:
        return self.draw(st.sampled_from(items))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))


def network(seed: int, options: Options = Options()) -> QuantizedNetwork:
    """The random network number `seed`."""
    found = _network(_Seeded(seed), options)
    return at_limit(found, seed)[1] if options.limits else found


@st.composite
def networks(draw: Callable, options: Options = Options()) -> QuantizedNetwork:
    """Hypothesis strategy of random networks."""
    return _network(_Drawn(draw), options)


def frames(network: QuantizedNetwork, count: int, seed: int = 0) -> np.ndarray:
    """`count` random frames of `network`: sparse to full, an all-zero and an all-largest one among the first three."""
    generator = np.random.default_rng(seed)
    sources = prod(network.input.shape)
    static = network.input.kind == "static"
    shape = (count, sources) if static else (count, network.steps, sources)
    values = generator.integers(0, 256 if static else 2, shape, dtype=np.uint8)
    rates = generator.random((count,) + (1,) * (len(shape) - 1))
    values[generator.random(shape) > rates] = 0
    values[1:2] = 0
    values[2:3] = 255 if static else 1
    return values


def _network(choices: Choices, options: Options) -> QuantizedNetwork:
    is_map = not options.dense_only and choices.among((False, True))
    shape: tuple[int, ...] = _map(choices, options) if is_map else (_size(choices, options),)
    kind = choices.among(options.kinds)
    given = Input(shape, choices.integer(1, 8), kind) if kind == "static" else Input(shape, kind=kind)
    steps = choices.integer(1, options.most_steps)
    kind = choices.among(("count", "membrane"))
    layers: list[Layer] = []
    largest = given.largest
    depth = choices.integer(1, options.most_layers)
    for index in range(depth):
        is_last = index == depth - 1
        layer = _layer(choices, options, f"layer{index}", shape, largest, steps, is_last, kind == "count")
        layers.append(layer)
        shape = layer.output_shape
        largest = layer.pool.largest if layer.pool else 1
    outputs = layers[-1].neurons
    group = choices.among([n for n in range(1, outputs + 1) if outputs % n == 0])
    return QuantizedNetwork(given, tuple(layers), steps, Readout(kind, group))


def _size(choices: Choices, options: Options) -> int:
    """Small sizes as often as large ones."""
    return choices.integer(1, choices.among((4, 17, options.largest)))


def _map(choices: Choices, options: Options) -> tuple[int, int, int]:
    side = min(11, isqrt(options.largest))
    height, width = choices.integer(1, side), choices.integer(1, side)
    return choices.integer(1, max(1, min(6, options.largest // (height * width)))), height, width


def _layer(
    choices: Choices,
    options: Options,
    name: str,
    shape: tuple[int, ...],
    largest: int,
    steps: int,
    is_last: bool,
    spiking_end: bool,
) -> Layer:
    """One layer that reads `shape` sources of at most `largest`."""
    generator = np.random.default_rng(choices.integer(0, 2**32 - 1))
    bits = choices.integer(2, 8)
    connectivity = choices.among((1.0, 0.5, 0.5, 0.2, 0.2, 0.2, 0.05, 0.05, 0.01, 0.0))
    has_bias = choices.among((False, True))
    is_conv = len(shape) == 3 and choices.among((True, True, False))

    def weights(*size: int) -> np.ndarray:
        values = generator.integers(-(1 << bits - 1), 1 << bits - 1, size)
        return np.where(generator.random(size) < connectivity, values, 0).astype(np.int8)

    def biases(channels: int) -> np.ndarray:
        bound = (largest << bits) if has_bias else 0
        return generator.integers(-bound, bound + 1, channels, dtype=np.int64)

    synapses: Dense | Conv
    pool = None
    if is_conv:
        synapses = _conv(choices, options, shape, weights, biases)
        out = synapses.output_shape(shape)
        if not is_last:
            kind = choices.among((None, "max", "average"))
            pool = Pool(kind, choices.integer(1, min(4, *out[1:]))) if kind else None
    else:
        outputs = _size(choices, options)
        synapses = Dense(weights(outputs, prod(shape)), biases(outputs))
    neuron = _neuron(choices, generator, synapses, largest, steps, spiking=spiking_end or not is_last)
    return Layer(name, shape, synapses, neuron, bits, pool)


def _conv(choices: Choices, options: Options, shape: tuple[int, ...], weights: Callable, biases: Callable) -> Conv:
    kernel, stride, padding, out = [], [], [], []
    for n in shape[1:]:
        k = choices.integer(1, 5)
        p = choices.integer(max(0, (k - n + 1) // 2), k - 1)
        kernel.append(k)
        padding.append(p)
        stride.append(choices.integer(1, 3))
        out.append((n + 2 * p - k) // stride[-1] + 1)
    channels = choices.integer(1, max(1, min(8, options.largest // prod(out))))
    return Conv(
        weights(channels, shape[0], *kernel), biases(channels), (stride[0], stride[1]), (padding[0], padding[1])
    )


def _neuron(
    choices: Choices,
    generator: np.random.Generator,
    synapses: Dense | Conv,
    largest: int,
    steps: int,
    spiking: bool,
) -> IntNeuron:
    """Neurons whose thresholds lie where the sums do; silent and ever-firing layers now and then."""
    weight = synapses.weight.astype(np.int64)
    channels = weight.shape[0]
    bound = int(np.abs(weight.reshape(channels, -1)).sum(1).max()) * largest + int(np.abs(synapses.bias).max()) + 1
    spread = sqrt(float((weight**2).sum()) / channels) * largest / 2 + 1
    fraction = choices.integer(0, 8)
    while (8 * steps * bound) << fraction >= LIMIT:  # every machine refuses sums that large
        fraction -= 1
    level = choices.among(("typical",) * 10 + ("firing", "silent"))
    size = choices.among((1, channels))
    if level == "typical":
        threshold = generator.integers(0, int(spread * choices.among((0.25, 1.0, 2.0))) + 1, size) << fraction
    else:
        threshold = np.full(size, (bound << fraction) * (1 if level == "silent" else -1))
    shift = choices.integer(1, 6)
    bits = None
    if choices.among((False, True)):
        bits = min(31, max(2, signed_bits(0, bound << fraction) - choices.integer(0, 6)))
    reset, reset_value = choices.among(("hard", "soft")), 0
    if reset == "hard" and choices.among((False, True)):
        reset_value = choices.integer(-int(spread), int(spread))
        if bits is not None:
            reset_value = max(-(1 << bits - 1), min((1 << bits - 1) - 1, reset_value))
    return IntNeuron(
        leak=choices.among(("none", "shift", "multiply", "decaying_input")),
        reset=reset,
        threshold=threshold.astype(np.int64),
        shift=shift,
        factor=choices.integer(0, 1 << shift),
        reset_value=reset_value,
        fraction=fraction,
        membrane_bits=bits,
        spiking=spiking,
    )
