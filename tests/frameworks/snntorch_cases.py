"""Cases of snnTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import snntorch as snn
import torch
from cases import Case, Framework, Grid
from nirtorch import extract_nir_graph
from snntorch.export_nir import _extract_snntorch_module, export_to_nir
from torch import nn
from torch_parts import HIDDEN, OUTPUTS, SOURCES, convolution, linear, norm


def dense(grid: Grid, first: nn.Module, second: nn.Module, **options: Any) -> nn.Sequential:
    parts = [linear(grid, HIDDEN, SOURCES, **options), first, linear(grid, OUTPUTS, HIDDEN, **options), second]
    return nn.Sequential(OrderedDict(zip(("fc1", "lif1", "fc2", "lif2"), parts, strict=True)))


def full(value: Any, shape: Any) -> torch.Tensor:
    """One value for each neuron: the export takes no others since NIR checks shapes."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return torch.full(shape if isinstance(shape, tuple) else (shape,), value)


def leaky(shape: Any, beta: Any = 0.875, threshold: Any = 1.0, reset: str = "subtract", **options: Any) -> snn.Leaky:
    beta, threshold = full(beta, shape), full(threshold, shape)
    return snn.Leaky(beta, threshold=threshold, reset_mechanism=reset, init_hidden=True, **options)


def leaky_subtract(grid: Grid) -> Case:
    """The default: a soft reset that comes a step later; learnt decays and thresholds by neuron."""
    first = leaky(HIDDEN, grid.between(0.5, 0.9375, HIDDEN), grid.between(0.75, 1.5, HIDDEN), learn_threshold=True)
    second = leaky(OUTPUTS, 0.9, grid.between(0.75, 1.5, OUTPUTS, unit=0.01), learn_beta=True, learn_threshold=True)
    return Case(dense(grid, first, second), (SOURCES,))


def leaky_scalar(grid: Grid) -> Case:
    """One decay and one threshold for a layer, as in the tutorials."""
    neurons = [snn.Leaky(beta, learn_threshold=True, init_hidden=True) for beta in (0.9, 0.75)]
    return Case(dense(grid, *neurons), (SOURCES,))


def leaky_at_once(grid: Grid) -> Case:
    """`reset_delay=False`. Above twice the threshold snnTorch subtracts it a second time: thresholds are large here."""
    neurons = leaky(HIDDEN, 0.9, 3.0, reset_delay=False), leaky(OUTPUTS, 0.75, 1.25, reset_delay=False)
    return Case(dense(grid, *neurons), (SOURCES,), {"reset": "subtract"})


def leaky_zero(grid: Grid) -> Case:
    neurons = leaky(HIDDEN, 0.9, reset="zero"), leaky(OUTPUTS, reset="zero")
    return Case(dense(grid, *neurons, bias=False), (SOURCES,), {"reset": "value"})


def leaky_none(grid: Grid) -> Case:
    """No reset, which NIR cannot say."""
    neurons = leaky(HIDDEN, 0.5, 0.75, reset="none"), leaky(OUTPUTS, 0.9, 2.0, reset="none")
    return Case(dense(grid, *neurons), (SOURCES,), exported=False)


def integrate(grid: Grid) -> Case:
    """A decay of 1: membranes often equal the threshold, which is no spike."""
    return Case(dense(grid, leaky(HIDDEN, 1.0), leaky(OUTPUTS, 1.0)), (SOURCES,))


def integrate_zero(grid: Grid) -> Case:
    neurons = leaky(HIDDEN, 1.0, reset="zero"), leaky(OUTPUTS, 1.0, reset="zero")
    return Case(dense(grid, *neurons), (SOURCES,), {"reset": "value"})


def convolutional(grid: Grid, **options: Any) -> nn.Sequential:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1),
        "lif1": leaky((4, 6, 6), 0.9, **options),
        "pool1": nn.AvgPool2d(2),
        "conv2": convolution(grid, 3, 4, (2, 3), stride=(1, 2), padding=(0, 1), bias=False),
        "lif2": leaky((3, 2, 2), 0.8, **options),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 12),
        "lif3": leaky(OUTPUTS, 0.75, **options),
    }
    return nn.Sequential(OrderedDict(parts))


def conv(grid: Grid) -> Case:
    return Case(convolutional(grid), (2, 6, 6))


def conv_zero(grid: Grid) -> Case:
    return Case(convolutional(grid, reset="zero"), (2, 6, 6), {"reset": "value"})


def synaptic(shape: int, alpha: float, beta: float, reset: str, threshold: float = 2.0) -> snn.Synaptic:
    states = full(alpha, shape), full(beta, shape)
    return snn.Synaptic(*states, threshold=full(threshold, shape), reset_mechanism=reset, init_hidden=True)


def synaptic_subtract(grid: Grid) -> Case:
    neurons = synaptic(HIDDEN, 0.5, 0.9, "subtract"), synaptic(OUTPUTS, 0.75, 0.8, "subtract")
    return Case(dense(grid, *neurons), (SOURCES,))


def synaptic_zero(grid: Grid) -> Case:
    neurons = synaptic(HIDDEN, 0.5, 0.9, "zero"), synaptic(OUTPUTS, 0.75, 0.8, "zero")
    return Case(dense(grid, *neurons), (SOURCES,), {"reset": "value-held"})


def recurrent(grid: Grid, made: Any) -> Any:
    """`made` with weights on the grid."""
    if made.all_to_all:
        made.recurrent.weight.data = torch.from_numpy(grid.weights(HIDDEN, HIDDEN, low=-4, high=4))
        made.recurrent.bias.data = torch.from_numpy(grid.between(-0.125, 0.125, HIDDEN))
    else:
        made.recurrent.V.data = torch.from_numpy(grid.between(-0.5, 0.5, HIDDEN))
    return made


def rleaky(grid: Grid) -> Case:
    made = snn.RLeaky(0.875, linear_features=HIDDEN, threshold=1.5, init_hidden=True)
    return Case(dense(grid, recurrent(grid, made), leaky(OUTPUTS, 0.9)), (SOURCES,))


def rleaky_zero(grid: Grid) -> Case:
    made = snn.RLeaky(0.875, linear_features=HIDDEN, threshold=1.5, init_hidden=True, reset_mechanism="zero")
    return Case(
        dense(grid, recurrent(grid, made), synaptic(OUTPUTS, 0.5, 0.75, "zero")), (SOURCES,), {"reset": "value-held"}
    )


def rleaky_one_to_one(grid: Grid) -> Case:
    made = snn.RLeaky(0.875, V=torch.zeros(HIDDEN), all_to_all=False, threshold=1.5, init_hidden=True)
    return Case(dense(grid, recurrent(grid, made), leaky(OUTPUTS, 0.9)), (SOURCES,))


def rsynaptic(grid: Grid) -> Case:
    made = snn.RSynaptic(0.5, 0.875, linear_features=HIDDEN, threshold=2.5, init_hidden=True)
    return Case(dense(grid, recurrent(grid, made), leaky(OUTPUTS, 0.9)), (SOURCES,))


def rsynaptic_zero(grid: Grid) -> Case:
    made = snn.RSynaptic(0.5, 0.875, linear_features=HIDDEN, threshold=2.5, init_hidden=True, reset_mechanism="zero")
    return Case(
        dense(grid, recurrent(grid, made), synaptic(OUTPUTS, 0.5, 0.75, "zero")), (SOURCES,), {"reset": "value-held"}
    )


def read_out(grid: Grid) -> Case:
    """Batch normalisation and a read-out of membranes, which the export has no node for."""
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1),
        "norm": norm(grid, 4),
        "lif1": leaky((4, 6, 6), 0.75, 1.03),
        "pool1": nn.AvgPool2d(2),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 36),
        "out": leaky(OUTPUTS, 0.9, reset="none", output=True),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 6, 6), exported=False)


def max_pools(grid: Grid) -> Case:
    """Max pools, which the export has no node for: windows beside each other, one behind another, and overlapping."""
    parts = {
        "conv1": convolution(grid, 4, 2, 3, padding=1),
        "norm": norm(grid, 4),
        "lif1": leaky((4, 12, 12), 0.75, 1.53),
        "pool1": nn.MaxPool2d(2),
        "conv2": convolution(grid, 3, 4, 3, padding=1),
        "lif2": leaky((3, 6, 6), 0.9, 3.03, reset="zero"),
        "pool2": nn.MaxPool2d(3, stride=2, padding=1),
        "pool3": nn.MaxPool2d((3, 1)),
        "flat": nn.Flatten(),
        "fc": linear(grid, OUTPUTS, 9),
        "lif3": leaky(OUTPUTS, 0.75, 1.03),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 12, 12), exported=False)


def run(model: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of each layer of neurons, named as in the file; the membranes of one that puts them out."""
    model.eval()
    found: dict[str, list[np.ndarray]] = {}
    for part in model:
        if isinstance(part, snn.SpikingNeuron):
            for state in ("mem", "syn", "spk"):
                if hasattr(part, state):
                    setattr(part, state, torch.zeros(0))
    with torch.no_grad():
        for now in torch.from_numpy(frames).transpose(0, 1):
            for name, part in model.named_children():
                now = part(now)
                if isinstance(part, snn.SpikingNeuron):
                    now = now[-1] if part.output else now
                    loop = isinstance(part, (snn.RLeaky, snn.RSynaptic))
                    found.setdefault(f"{name}.lif" if loop else name, []).append(now.numpy().copy())
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def export(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    try:
        return export_to_nir(model, torch.zeros(1, *shape), ignore_dims=[0])
    except ValueError:  # of scalars, which the check of shapes refuses that has been added behind the extraction
        return extract_nir_graph(
            model, _extract_snntorch_module, torch.zeros(1, *shape), ignore_submodules_of=[snn.RLeaky, snn.RSynaptic]
        )


FRAMEWORK = Framework(
    "snntorch",
    {
        "leaky": leaky_subtract,
        "leaky-scalar": leaky_scalar,
        "leaky-at-once": leaky_at_once,
        "leaky-zero": leaky_zero,
        "leaky-none": leaky_none,
        "if": integrate,
        "if-zero": integrate_zero,
        "conv": conv,
        "conv-zero": conv_zero,
        "synaptic": synaptic_subtract,
        "synaptic-zero": synaptic_zero,
        "rleaky": rleaky,
        "rleaky-zero": rleaky_zero,
        "rleaky-one-to-one": rleaky_one_to_one,
        "rsynaptic": rsynaptic,
        "rsynaptic-zero": rsynaptic_zero,
        "read-out": read_out,
        "max-pools": max_pools,
    },
    run,
    export,
)
