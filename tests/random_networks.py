"""Random valid networks and frames, for every test that drives several machines with the same network.

One recipe, two sources of choices: `network(seed)` is plain and seeded; `networks()` is a Hypothesis strategy whose
failures shrink towards one small layer. Weights come from a seed in both: only the structure shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod, sqrt
from typing import Any, Protocol, TypeVar

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
from gradrtl.quantize.neuron import Adaptation, Reset, SynapticCurrent
from gradrtl.shapes import OF_SPIKES

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Bounds of a random network. `largest` bounds the sources and the neurons of every layer.

    With `limits`, seeded networks have one number at its limit (`limit_networks.py`). With `plain`, neurons have a
    membrane and nothing else, and no parameter but the threshold differs from one to the next.
    """

    dense_only: bool = False
    largest: int = 300
    most_layers: int = 4
    most_steps: int = 6
    kinds: tuple[str, ...] = ("static", "spikes", "graded")
    readouts: tuple[str, ...] = ("count", "first", "membrane", "largest", "sum")
    limits: bool = False
    plain: bool = False


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


def frames(network: QuantizedNetwork, count: int, seed: int = 0) -> np.ndarray | tuple[np.ndarray, ...]:
    """`count` random frames of `network`: sparse to full, an all-zero and an all-largest one among the first three.

    A tuple of arrays, one for each input, if there are several.
    """
    found = [
        _frames(given, network.steps, count, np.random.default_rng(seed if index == 0 else (seed, index)))
        for index, given in enumerate(network.inputs)
    ]
    return found[0] if len(found) == 1 else tuple(found)


def _frames(given: Input, steps: int, count: int, generator: np.random.Generator) -> np.ndarray:
    sources = prod(given.shape)
    static = given.kind == "static"
    shape = (count, sources) if static else (count, steps, sources)
    most = 255 if static else given.largest
    values = generator.integers(0, most + 1, shape, dtype=np.uint8)
    rates = generator.random((count,) + (1,) * (len(shape) - 1))
    values[generator.random(shape) > rates] = 0
    values[1:2] = 0
    values[2:3] = most
    return values


def _network(choices: Choices, options: Options) -> QuantizedNetwork:
    is_map = not options.dense_only and choices.among((False, True))
    shape: tuple[int, ...] = _map(choices, options) if is_map else (_size(choices, options),)
    kind = choices.among(options.kinds)
    given = Input(shape, kind=kind) if kind == "spikes" else Input(shape, choices.integer(1, 8), kind)
    steps = choices.integer(1, options.most_steps)
    kind = choices.among(options.readouts)
    layers: list[Layer] = []
    largest = given.largest
    depth = choices.integer(1, options.most_layers)
    for index in range(depth):
        is_last = index == depth - 1
        layer = _layer(choices, options, f"layer{index}", shape, largest, steps, is_last, kind in OF_SPIKES)
        layers.append(layer)
        shape = layer.output_shape
        largest = layer.pool.largest if layer.pool else 1
    plain = QuantizedNetwork.chain(given, tuple(layers), steps, Readout(kind))
    return plain.changed(readout=Readout(kind, choices.among(_groups(plain))))


def _groups(network: QuantizedNetwork) -> list[int]:
    """Numbers of neighbouring outputs that may make a class: those that divide them, and whose sums fit 32 bits."""
    most = max(map(abs, network.readout_ranges[0]))
    outputs = network.classes
    return [n for n in range(1, outputs + 1) if outputs % n == 0 and (n == 1 or n * most < 1 << 31)]


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
    scene = _Scene.of(synapses, prod(synapses.output_shape(shape)), largest, steps)
    neuron = _neuron(choices, options, generator, scene, spiking=spiking_end or not is_last)
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


@dataclass(frozen=True)
class _Scene:
    """Where neurons stand: how many there are, how large their sums may get, and how large they are usually."""

    channels: int
    neurons: int
    bound: int
    spread: float
    steps: int

    @staticmethod
    def of(synapses: Dense | Conv, neurons: int, largest: int, steps: int) -> _Scene:
        weight = synapses.weight.astype(np.int64)
        channels = weight.shape[0]
        bound = int(np.abs(weight.reshape(channels, -1)).sum(1).max()) * largest + int(np.abs(synapses.bias).max()) + 1
        spread = sqrt(float((weight**2).sum()) / channels) * largest / 2 + 1
        return _Scene(channels, neurons, bound, spread, steps)

    def sizes(self, plain: bool) -> tuple[int, ...]:
        """How many values a parameter may have, the fewest first."""
        return (1, self.channels) if plain else (1, self.channels, self.neurons)


def _neuron(
    choices: Choices, options: Options, generator: np.random.Generator, scene: _Scene, spiking: bool
) -> IntNeuron:
    """Neurons whose thresholds lie where the sums do; silent and ever-firing layers now and then."""
    is_plain = options.plain or choices.among((True, False))
    has_current = not is_plain and choices.among((False, True))
    fraction = choices.integer(0, 8)
    updates = scene.steps * (scene.steps if has_current else 1)
    while (16 * updates * scene.bound) << fraction >= LIMIT and fraction > 0:  # all machines refuse sums that large
        fraction -= 1
    level = choices.among(("typical",) * 10 + ("firing", "silent"))
    size = choices.among(scene.sizes(is_plain))
    if level == "typical":
        most = int(scene.spread * choices.among((0.25, 1.0, 2.0))) + 1
        threshold = generator.integers(0, most, size) << fraction
    else:
        threshold = np.full(size, (scene.bound << fraction) * (1 if level == "silent" else -1))
    shift = choices.integer(1, 6)
    bits = None
    if choices.among((False, True)):
        bits = min(31, max(2, signed_bits(0, scene.bound << fraction) - choices.integer(0, 6)))
    resets = (Reset.HARD, Reset.SOFT) if is_plain else tuple(Reset)
    reset, reset_value = choices.among(resets), np.zeros(1, np.int64)
    low, high = (-LIMIT, LIMIT) if bits is None else (-(1 << bits - 1), (1 << bits - 1) - 1)
    spread = int(scene.spread)
    if reset == Reset.HARD and choices.among((False, True)):
        size = 1 if is_plain else choices.among(scene.sizes(False))
        reset_value = generator.integers(-spread, spread + 1, size).clip(low, high)
    plain = IntNeuron(
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
    return plain if is_plain else _extended(choices, generator, scene, plain, has_current, (low, high))


def _extended(
    choices: Choices,
    generator: np.random.Generator,
    scene: _Scene,
    plain: IntNeuron,
    has_current: bool,
    bounds: tuple[int, int],
) -> IntNeuron:
    """`plain` with more states, and with parameters that differ; some of all that, seldom everything."""
    spread = int(scene.spread) << plain.fraction

    def drawn(low: int, high: int) -> np.ndarray:
        return generator.integers(low, high + 1, choices.among(scene.sizes(False)))

    def decay() -> tuple[np.ndarray, int]:
        shift = choices.integer(1, 12)
        return drawn(choices.among((0, 1 << shift - 1)), 1 << shift), shift

    more: dict[str, Any] = {"rounding": choices.among(("floor", "nearest"))}
    if choices.among((False, True)):
        more["factor"], more["shift"] = decay()
    if choices.among((False, True)):
        more["start_value"] = drawn(-spread, spread).clip(*bounds)
    if plain.reset == Reset.SOFT and choices.among((False, True)):
        more["reset_amount"] = drawn(-(spread // 4), spread)
    if has_current:
        more["current"] = SynapticCurrent(*decay(), choices.among(("new", "old")))
    if plain.spiking and choices.among((False, True)):
        more["adaptation"] = Adaptation(*decay(), drawn(0, choices.among((3, spread // 4, spread))))
    if plain.spiking:
        more["refractory"] = choices.among((0, 0, 1, 2, 3))
    return replace(plain, **more)
