"""Networks with random weights of a given shape and connectivity, for measurements without a trained network."""

from __future__ import annotations

import numpy as np

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork, Readout

CIFAR10_CONNECTIVITY = 0.01


def random_mlp(connectivity: float = 0.05, seed: int = 0, pixel_bits: int = 8) -> QuantizedNetwork:
    """784-800-10 with 4-bit weights, T = 8, thresholds at which about a tenth of the hidden neurons fire per step."""
    generator = np.random.default_rng(seed)
    hidden = _dense("hidden", generator, (784,), 800, connectivity, ((1 << pixel_bits) - 1) * 6)
    output = _dense("output", generator, (800,), 10, min(1.0, 2 * connectivity), 4)
    return QuantizedNetwork.chain(Input((1, 28, 28), pixel_bits), (hidden, output), steps=8)


def random_cifar10_paper(connectivity: float = CIFAR10_CONNECTIVITY, seed: int = 0) -> QuantizedNetwork:
    """The paper's CIFAR-10 shape: 6 convolutions of 256 channels, two max pools, 2048, 100, voting by ten, T = 8."""
    generator = np.random.default_rng(seed)
    layers: list[Layer] = []
    shape: tuple[int, ...] = (3, 32, 32)
    for index in range(6):
        kept = (generator.random((256, shape[0], 3, 3)) < connectivity) | (index == 0)
        weight = np.where(kept, generator.integers(-6, 8, kept.shape), 0).astype(np.int8)
        synapses = Conv(weight, np.zeros(256, np.int64), padding=(1, 1))
        threshold = np.array([255 * 12 if index == 0 else 4])
        pool = Pool("max", 2) if index in (2, 5) else None
        layers.append(Layer(f"conv{index}", shape, synapses, _neuron(threshold), 4, pool))
        shape = layers[-1].output_shape
    layers.append(_dense("hidden", generator, shape, 2048, connectivity, 6))
    layers.append(_dense("votes", generator, (2048,), 100, connectivity, 2))
    return QuantizedNetwork.chain(Input((3, 32, 32)), tuple(layers), 8, Readout("count", 10))


def _dense(
    name: str, generator: np.random.Generator, shape: tuple[int, ...], outputs: int, connectivity: float, threshold: int
) -> Layer:
    size = (outputs, int(np.prod(shape)))
    weight = np.where(generator.random(size) < connectivity, generator.integers(-6, 8, size), 0).astype(np.int8)
    return Layer(name, shape, Dense(weight, np.zeros(outputs, np.int64)), _neuron(np.array([threshold])), 4)


def _neuron(threshold: np.ndarray) -> IntNeuron:
    return IntNeuron("decaying_input", "hard", threshold)
