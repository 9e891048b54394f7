"""Random trained-looking float networks, for the tests that quantise."""

from __future__ import annotations

import numpy as np

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool

NEURONS = (
    FloatNeuron(),
    FloatNeuron(tau=4.0),
    FloatNeuron(tau=2.0, decay_input=False),
    FloatNeuron(tau=3.0),
    FloatNeuron(tau=1.5, decay_input=False),
    FloatNeuron("if"),
    FloatNeuron(reset="soft"),
    FloatNeuron("if", reset="soft"),
    FloatNeuron(tau=8.0, decay_input=False, reset="soft"),
    FloatNeuron(v_reset=-0.3),
    FloatNeuron("if", v_reset=0.2),
)


def checkpoint(network: Network, seed: int, connectivity: float = 0.5) -> Checkpoint:
    """Weights, biases and batch statistics at random, scaled so that neurons neither rest nor rage."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for index, (layer, shape) in enumerate(zip(network.layers, network.weight_shapes, strict=True)):
        weight = rng.normal(0.1, 1.0, shape) * (rng.random(shape) < connectivity)
        weight.flat[0] = 0.5  # never without a synapse
        arrays[f"layer{index}.weight"] = weight * 2 / np.sqrt(connectivity * np.prod(shape[1:]))
        if layer.synapses.bias:
            arrays[f"layer{index}.bias"] = rng.normal(0.1, 0.2, shape[0])
        if layer.batch_norm:
            arrays[f"layer{index}.norm.gain"] = rng.normal(0.5, 1.0, shape[0])
            arrays[f"layer{index}.norm.shift"] = rng.normal(0.3, 0.3, shape[0])
            arrays[f"layer{index}.norm.mean"] = rng.normal(0.0, 0.3, shape[0])
            arrays[f"layer{index}.norm.variance"] = rng.random(shape[0]) + 0.2
    return Checkpoint(network, {name: array.astype(np.float32) for name, array in arrays.items()})


def network(seed: int) -> Network:
    """A random small network: dense or convolutional, any neurons, pools, batch normalisation, voting."""
    rng = np.random.default_rng(seed)

    def neuron() -> FloatNeuron:
        known = [n for n in NEURONS if n.v_reset == 0]  # other reset values do not go with scales per channel
        return known[rng.integers(len(known))]

    shape = (int(rng.integers(1, 3)), int(rng.integers(5, 8)), int(rng.integers(5, 8)))
    layers = []
    for _ in range(rng.integers(0, 3)):
        kernel, stride = (3, int(rng.integers(2, 4))), (1, int(rng.integers(1, 3)))
        synapses = ConvSpec(int(rng.integers(1, 5)), kernel, stride, (1, 1), rng.random() < 0.5)
        pool = (None, Pool("max", 2), Pool("average", 2))[rng.integers(3)] if not layers else None
        layers.append(LayerSpec(synapses, neuron(), rng.random() < 0.5, pool=pool))
    if rng.random() < 0.7:
        layers.append(LayerSpec(DenseSpec(int(rng.integers(1, 25)), rng.random() < 0.5), neuron(), rng.random() < 0.3))
    vote = int(rng.integers(1, 3))
    layers.append(LayerSpec(DenseSpec(vote * int(rng.integers(1, 5)), rng.random() < 0.5), neuron()))
    return Network("random", shape, tuple(layers), int(rng.integers(1, 7)), vote)
