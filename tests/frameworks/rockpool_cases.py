"""Cases of Rockpool. Its neurons spike several times in a step unless `max_spikes_per_dt` is 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Case, Framework, Grid
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir
from torch_parts import HIDDEN, OUTPUTS, SOURCES

DT = 1e-3
ONCE = {"spikes": "single"}


def linear(grid: Grid, outputs: int, inputs: int, has_bias: bool = True) -> LinearTorch:
    made = LinearTorch((inputs, outputs), weight=torch.from_numpy(grid.weights(inputs, outputs)), has_bias=has_bias)
    if has_bias:
        made.bias.data = torch.from_numpy(grid.between(-0.125, 0.25, outputs))
    return made


def lif(neurons: int, tau: float, threshold: float = 1.0, once: bool = True) -> LIFNeuronTorch:
    return LIFNeuronTorch(
        neurons,
        tau_mem=torch.full((neurons,), tau * DT),
        threshold=torch.full((neurons,), threshold),
        dt=DT,
        **({"max_spikes_per_dt": 1} if once else {}),
    )


def current(neurons: int, tau: float, synapse: float, threshold: float, once: bool = True, **options: Any) -> LIFTorch:
    return LIFTorch(
        neurons,
        tau_mem=torch.full((neurons,), tau * DT),
        tau_syn=torch.full((neurons, 1), synapse * DT),
        threshold=torch.full((neurons,), threshold),
        dt=DT,
        **({"max_spikes_per_dt": 1} if once else {}),
        **options,
    )


def dense(grid: Grid, first: Any, second: Any, has_bias: bool = True) -> Any:
    hidden, outputs = linear(grid, HIDDEN, SOURCES, has_bias), linear(grid, OUTPUTS, HIDDEN, has_bias)
    return Sequential(hidden, first, outputs, second)


def lif_single(grid: Grid) -> Case:
    return Case(dense(grid, lif(HIDDEN, 8.0), lif(OUTPUTS, 4.0)), (SOURCES,), ONCE)


def lif_multi(grid: Grid) -> Case:
    return Case(dense(grid, lif(HIDDEN, 8.0, 0.75, False), lif(OUTPUTS, 4.0, once=False)), (SOURCES,))


def current_single(grid: Grid) -> Case:
    neurons = current(HIDDEN, 8.0, 2.0, 1.5), current(OUTPUTS, 4.0, 4.0, 3.0)
    return Case(dense(grid, *neurons), (SOURCES,), ONCE)


def current_multi(grid: Grid) -> Case:
    neurons = current(HIDDEN, 8.0, 2.0, 1.0, False), current(OUTPUTS, 4.0, 4.0, 2.0, False)
    return Case(dense(grid, *neurons), (SOURCES,))


def synapse(grid: Grid) -> Case:
    """The output is a synaptic current."""
    out = ExpSynTorch(OUTPUTS, tau=torch.full((OUTPUTS,), 8.0 * DT), dt=DT)
    out.tau.requires_grad_(False)  # the export of one that is learnt cannot be written
    return Case(dense(grid, lif(HIDDEN, 8.0), out), (SOURCES,), ONCE)


def recurrent(grid: Grid) -> Case:
    """Recurrent weights, which the export leaves out without a word."""
    weights = torch.from_numpy(grid.weights(HIDDEN, HIDDEN, low=-4, high=4))
    loop = current(HIDDEN, 8.0, 2.0, 1.5, has_rec=True, w_rec=weights)
    return Case(dense(grid, loop, lif(OUTPUTS, 4.0)), (SOURCES,), ONCE, exported=False)


def run(model: Any, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each layer of neurons, under the names that the export gives them."""
    now = torch.from_numpy(frames)
    found = {}
    with torch.no_grad():
        for name, part in model.modules().items():
            part.reset_state()
            now, _, _ = part(now)
            if not isinstance(part, LinearTorch):
                found[name] = now.numpy()
    return found


def export(model: Any, shape: tuple[int, ...]) -> Any:
    return to_nir(model, torch.zeros(1, *shape))


FRAMEWORK = Framework(
    "rockpool",
    {
        "lif": lif_single,
        "lif-multi": lif_multi,
        "cuba": current_single,
        "cuba-multi": current_multi,
        "exp-syn": synapse,
        "recurrent": recurrent,
    },
    run,
    export,
)
