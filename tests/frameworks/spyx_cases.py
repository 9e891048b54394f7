"""Cases of Spyx, whose maps have their channels last."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from cases import Case, Framework, Grid
from flax import nnx
from spyx import nn
from spyx.nir import to_nir

SOURCES, HIDDEN, OUTPUTS = 12, 16, 6


def random() -> nnx.Rngs:
    return nnx.Rngs(0)


def linear(grid: Grid, outputs: int, inputs: int, use_bias: bool = True) -> nnx.Linear:
    made = nnx.Linear(inputs, outputs, use_bias=use_bias, rngs=random())
    made.kernel[...] = jnp.asarray(grid.weights(inputs, outputs))
    if use_bias:
        made.bias[...] = jnp.asarray(grid.between(-0.125, 0.25, outputs))
    return made


def dense(grid: Grid, first: Any, second: Any, use_bias: bool = True) -> nn.Sequential:
    hidden, outputs = linear(grid, HIDDEN, SOURCES, use_bias), linear(grid, OUTPUTS, HIDDEN, use_bias)
    return nn.Sequential(hidden, first, outputs, second)


def by_neuron(made: Any, **values: np.ndarray) -> Any:
    """`made` with decays of its own for each neuron."""
    for name, array in values.items():
        getattr(made, name)[...] = jnp.asarray(array)
    return made


def integrate(grid: Grid) -> Case:
    return Case(dense(grid, nn.IF((HIDDEN,), 1.0), nn.IF((OUTPUTS,), 1.5)), (SOURCES,))


def lif(grid: Grid) -> Case:
    first = by_neuron(nn.LIF((HIDDEN,), rngs=random()), beta=grid.between(0.5, 0.9375, HIDDEN))
    return Case(dense(grid, first, nn.LIF((OUTPUTS,), 0.875, 1.25, rngs=random())), (SOURCES,))


def current(grid: Grid) -> Case:
    neurons = (
        nn.CuBaLIF((HIDDEN,), 0.5, 0.875, 2.0, rngs=random()),
        nn.CuBaLIF((OUTPUTS,), 0.75, 0.75, 2.0, rngs=random()),
    )
    return Case(dense(grid, *neurons), (SOURCES,))


def parallel(grid: Grid) -> Case:
    """No reset: a leaky integrator and a threshold in the file."""
    neurons = nn.PSU_LIF((HIDDEN,), 0.5, 0.75, rngs=random()), nn.PSU_LIF((OUTPUTS,), 0.875, 3.0, rngs=random())
    return Case(dense(grid, *neurons), (SOURCES,))


def recurrent(grid: Grid, made: Any, low: int = -4, high: int = 4) -> Any:
    made.recurrent_w[...] = jnp.asarray(grid.weights(HIDDEN, HIDDEN, low=low, high=high))
    return made


def recurrent_if(grid: Grid) -> Case:
    return Case(dense(grid, recurrent(grid, nn.RIF((HIDDEN,), 1.5, rngs=random())), nn.IF((OUTPUTS,), 2.0)), (SOURCES,))


def recurrent_lif(grid: Grid) -> Case:
    loop = recurrent(grid, nn.RLIF((HIDDEN,), 0.875, 1.5, rngs=random()))
    return Case(dense(grid, loop, nn.LIF((OUTPUTS,), 0.75, rngs=random())), (SOURCES,))


def recurrent_current(grid: Grid) -> Case:
    loop = recurrent(grid, nn.RCuBaLIF((HIDDEN,), 0.5, 0.875, 2.5, rngs=random()))
    return Case(dense(grid, loop, nn.LIF((OUTPUTS,), 0.75, rngs=random())), (SOURCES,))


def conv(grid: Grid) -> Case:
    made = []
    for inputs, outputs, padding in ((2, 4, "SAME"), (4, 3, "VALID")):
        part = nnx.Conv(inputs, outputs, (3, 3), padding=padding, rngs=random())
        part.kernel[...] = jnp.asarray(grid.weights(3, 3, inputs, outputs))
        part.bias[...] = jnp.asarray(grid.between(-0.125, 0.25, outputs))
        made.append(part)
    model = nn.Sequential(
        made[0],
        nn.LIF((8, 8, 4), 0.5, 1.99, rngs=random()),
        nn.SumPool((2, 2), (2, 2), "VALID", channel_axis=-1),
        made[1],
        nn.IF((2, 2, 3), 4.0),
        nn.Flatten(),
        linear(grid, OUTPUTS, 12),
        nn.LIF((OUTPUTS,), 0.875, 1.25, rngs=random()),
    )
    return Case(model, (2, 8, 8))


def named(i: int, part: Any) -> str:
    """The name of a layer's neurons in the file."""
    if isinstance(part, nn.PSU_LIF):
        return f"layer_{i}_threshold"
    return f"layer_{i}.layer_{i}.lif" if hasattr(part, "recurrent_w") else f"layer_{i}"


def run(model: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each layer of neurons, channels first, under the names that the export gives them."""
    layers = list(model.layers)
    states = {i: part.initial_state(len(frames)) for i, part in enumerate(layers) if hasattr(part, "initial_state")}
    found: dict[str, list[np.ndarray]] = {}
    for step in range(frames.shape[1]):
        now = jnp.asarray(frames[:, step])
        now = jnp.moveaxis(now, 1, -1) if now.ndim == 4 else now
        for i, part in enumerate(layers):
            if i in states:
                now, states[i] = part(now, states[i])
                first = np.moveaxis(np.asarray(now), -1, 1)
                found.setdefault(named(i, part), []).append(first.reshape(len(frames), -1))
            else:
                now = part(now)
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def export(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    return to_nir(model, {"input": np.array(shape)}, {"output": np.array([OUTPUTS])})


FRAMEWORK = Framework(
    "spyx",
    {
        "if": integrate,
        "lif": lif,
        "cuba": current,
        "psu": parallel,
        "rif": recurrent_if,
        "rlif": recurrent_lif,
        "rcuba": recurrent_current,
        "conv": conv,
    },
    run,
    export,
)
