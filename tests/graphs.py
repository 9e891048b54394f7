"""Small graphs for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradrtl.quantize.network import (
    Connection,
    Dense,
    Input,
    IntNeuron,
    Population,
    QuantizedNetwork,
    Readout,
)


def weights(neurons: int, sources: int, seed: int = 0, density: float = 0.6) -> Dense:
    """Dense synapses of 4 bits with no bias, some of them missing."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-7, 8, (neurons, sources), dtype=np.int8)
    return Dense(np.where(generator.random(values.shape) < density, values, 0).astype(np.int8))


def population(name: str, neurons: int, *inputs: Connection, bias: int = 0, **neuron: Any) -> Population:
    """`neurons` leaky neurons with the threshold 6."""
    fields = {"leak": "shift", "reset": "soft", "threshold": 6, "shift": 2, **neuron}
    return Population(name, (neurons,), IntNeuron(**fields), bias, inputs)


def recurrent(steps: int = 8) -> QuantizedNetwork:
    """Six graded inputs, five neurons that hear themselves a step later, and three of which spikes are counted."""
    return QuantizedNetwork(
        (Input((6,), bits=2, kind="graded"),),
        (
            population(
                "hidden",
                5,
                Connection("input", weights(5, 6, 1), 4),
                Connection("hidden", weights(5, 5, 2), 4, delay=1),
            ),
            population("output", 3, Connection("hidden", weights(3, 5, 3), 4)),
        ),
        steps,
        (Readout(),),
    )
