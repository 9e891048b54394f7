"""Cases of Sinabs. Its neurons spike several times in a step by default; two cases hold it to once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import sinabs.activation as sa
import sinabs.layers as sl
import torch
from cases import FRAMES, STEPS, Case, Framework, Grid
from sinabs.nir import to_nir
from torch import nn
from torch_parts import HIDDEN, OUTPUTS, SOURCES, convolution, linear, norm


def threshold(value: float) -> torch.Tensor:
    return torch.tensor(value)


def lif(tau: float, value: float = 1.0, **options: Any) -> sl.LIFSqueeze:
    """Of frames and steps on one axis."""
    return sl.LIFSqueeze(tau_mem=torch.tensor(tau), spike_threshold=threshold(value), batch_size=FRAMES, **options)


def iaf(value: float = 1.0, **options: Any) -> sl.IAFSqueeze:
    return sl.IAFSqueeze(spike_threshold=threshold(value), batch_size=FRAMES, **options)


def dense(grid: Grid, first: nn.Module, second: nn.Module, **options: Any) -> nn.Sequential:
    parts = [linear(grid, HIDDEN, SOURCES, **options), first, linear(grid, OUTPUTS, HIDDEN, **options), second]
    return nn.Sequential(OrderedDict(zip(("fc1", "spk1", "fc2", "spk2"), parts, strict=True)))


def lif_multi(grid: Grid) -> Case:
    return Case(dense(grid, lif(8.0, 0.125), lif(4.0, 0.25)), (SOURCES,))


def lif_single(grid: Grid) -> Case:
    """`SingleSpike` with its soft reset."""
    neurons = lif(8.0, 0.25, spike_fn=sa.SingleSpike), lif(4.0, 0.25, spike_fn=sa.SingleSpike)
    return Case(dense(grid, *neurons), (SOURCES,), {"spikes": "single"})


def lif_reset(grid: Grid) -> Case:
    """A hard reset."""
    options = {"spike_fn": sa.SingleSpike, "reset_fn": sa.MembraneReset()}
    neurons = lif(8.0, 0.25, **options), lif(4.0, 0.25, **options)
    return Case(dense(grid, *neurons), (SOURCES,), {"spikes": "single", "reset": "value"})


def lif_undivided(grid: Grid) -> Case:
    """`norm_input=False`, which the export leaves out."""
    neurons = lif(8.0, 2.0, norm_input=False), lif(4.0, 2.0, norm_input=False)
    return Case(dense(grid, *neurons), (SOURCES,), exported=False)


def iaf_multi(grid: Grid) -> Case:
    """Membranes often equal the threshold, which is a spike."""
    return Case(dense(grid, iaf(0.75), iaf(2.0)), (SOURCES,))


def iaf_single(grid: Grid) -> Case:
    neurons = iaf(1.5, spike_fn=sa.SingleSpike), iaf(1.25, spike_fn=sa.SingleSpike)
    return Case(dense(grid, *neurons), (SOURCES,), {"spikes": "single"})


def leaky(grid: Grid) -> Case:
    """The output is a membrane, of a layer that adds its input undivided; the export does not say so."""
    model = dense(grid, lif(8.0, 0.25, spike_fn=sa.SingleSpike), sl.ExpLeakSqueeze(tau_mem=8.0, batch_size=FRAMES))
    return Case(model, (SOURCES,), {"spikes": "single"}, exported=False)


def leaky_divided(grid: Grid) -> Case:
    out = sl.ExpLeakSqueeze(tau_mem=8.0, batch_size=FRAMES, norm_input=True)
    model = dense(grid, lif(8.0, 0.25, spike_fn=sa.SingleSpike), out)
    return Case(model, (SOURCES,), {"spikes": "single"})


def convolutional(grid: Grid, bias: bool = True, **options: Any) -> nn.Sequential:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1, bias=bias),
        "spk1": iaf(1.0, **options),
        "pool1": sl.SumPool2d(2),
        "conv2": convolution(grid, 3, 4, 2, padding=1, bias=False),
        "spk2": lif(8.0, 1.0, **options),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 48),
        "spk3": iaf(2.0, **options),
    }
    return nn.Sequential(OrderedDict(parts))


def conv(grid: Grid) -> Case:
    return Case(convolutional(grid, spike_fn=sa.SingleSpike), (2, 6, 6), {"spikes": "single"})


def conv_multi(grid: Grid) -> Case:
    return Case(convolutional(grid), (2, 6, 6))


def recurrent(grid: Grid) -> Case:
    """`LIFRecurrent`, which the export refuses."""
    weights = nn.Sequential(nn.Flatten(), linear(grid, HIDDEN, HIDDEN, bias=False))
    loop = sl.LIFRecurrent(
        torch.tensor(8.0), rec_connect=weights, spike_threshold=threshold(0.25), spike_fn=sa.SingleSpike
    )
    parts = [linear(grid, HIDDEN, SOURCES), loop, linear(grid, OUTPUTS, HIDDEN)]
    parts.append(sl.LIF(torch.tensor(4.0), spike_threshold=threshold(0.25), spike_fn=sa.SingleSpike))
    model = nn.Sequential(OrderedDict(zip(("fc1", "spk1", "fc2", "spk2"), parts, strict=True)))
    return Case(model, (SOURCES,), exported=False)


def pooled(grid: Grid) -> Case:
    """Normalisation and average pools, which the export refuses."""
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1),
        "norm": norm(grid, 4),
        "spk1": iaf(1.03, spike_fn=sa.SingleSpike),
        "pool1": nn.AvgPool2d(2),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 36),
        "spk2": iaf(2.0, spike_fn=sa.SingleSpike),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 6, 6), exported=False)


def max_pools(grid: Grid) -> Case:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1),
        "spk1": iaf(1.0, spike_fn=sa.SingleSpike),
        "pool1": nn.MaxPool2d(2),
        "conv2": convolution(grid, 3, 4, 3, padding=1),
        "spk2": lif(8.0, 0.7, spike_fn=sa.SingleSpike),
        "pool2": nn.MaxPool2d(3, stride=2, padding=1),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 27),
        "spk3": iaf(2.0, spike_fn=sa.SingleSpike),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 12, 12), exported=False)


def run(model: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each layer of neurons."""
    squeezed = any(isinstance(part, sl.SqueezeMixin) for part in model)
    now = torch.from_numpy(frames)
    now = now.flatten(0, 1) if squeezed else now
    found = {}
    with torch.no_grad():
        for name, part in model.named_children():
            if isinstance(part, sl.StatefulLayer):
                part.reset_states()
            now = part(now)
            if isinstance(part, sl.StatefulLayer):
                key = f"{name}.lif" if isinstance(part, sl.LIFRecurrent) else name
                found[key] = now.numpy().reshape(FRAMES, STEPS, -1)
    return found


def export(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    for part in model:
        if isinstance(part, sl.StatefulLayer):
            part.batch_size = 1
            part.reset_states()
    graph = to_nir(model, torch.zeros(1, *shape))
    if len(shape) == 3:
        graph.infer_types()  # a convolution without the shape of its input cannot be written
    return graph


FRAMEWORK = Framework(
    "sinabs",
    {
        "lif-multi": lif_multi,
        "lif": lif_single,
        "lif-reset": lif_reset,
        "lif-undivided": lif_undivided,
        "iaf-multi": iaf_multi,
        "iaf": iaf_single,
        "exp-leak": leaky,
        "exp-leak-divided": leaky_divided,
        "conv": conv,
        "conv-multi": conv_multi,
        "recurrent": recurrent,
        "pooled": pooled,
        "max-pools": max_pools,
    },
    run,
    export,
)
