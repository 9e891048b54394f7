"""Cases of SpikingJelly."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from cases import Case, Framework, Grid
from spikingjelly.activation_based import base, functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn
from torch_parts import HIDDEN, OUTPUTS, SOURCES, convolution, linear, norm


def dense(grid: Grid, first: nn.Module, second: nn.Module, **options: Any) -> nn.Sequential:
    options = {"kind": layer.Linear, **options}
    parts = [linear(grid, HIDDEN, SOURCES, **options), first, linear(grid, OUTPUTS, HIDDEN, **options), second]
    return nn.Sequential(OrderedDict(zip(("fc1", "sn1", "fc2", "sn2"), parts, strict=True)))


def integrate(grid: Grid) -> Case:
    """Membranes often equal the threshold, which is a spike."""
    return Case(dense(grid, neuron.IFNode(1.5), neuron.IFNode(1.25, v_reset=0.25)), (SOURCES,))


def integrate_soft(grid: Grid) -> Case:
    """A soft reset, which the export refuses."""
    neurons = neuron.IFNode(1.5, v_reset=None), neuron.IFNode(1.25, v_reset=None)
    return Case(dense(grid, *neurons), (SOURCES,), exported=False)


def lif(grid: Grid) -> Case:
    neurons = neuron.LIFNode(2.0, True, 0.5), neuron.LIFNode(8.0, True, 0.25, v_reset=-0.125)
    return Case(dense(grid, *neurons), (SOURCES,))


def lif_undivided(grid: Grid) -> Case:
    """`decay_input=False`."""
    neurons = neuron.LIFNode(8.0, False, 1.5), neuron.LIFNode(10.0, False, v_reset=0.25)
    return Case(dense(grid, *neurons, bias=False), (SOURCES,))


def lif_soft(grid: Grid) -> Case:
    neurons = neuron.LIFNode(2.0, True, 0.5, v_reset=None), neuron.LIFNode(8.0, False, 1.0, v_reset=None)
    return Case(dense(grid, *neurons), (SOURCES,), exported=False)


def parametric(grid: Grid) -> Case:
    neurons = neuron.ParametricLIFNode(4.0, True, 0.375), neuron.ParametricLIFNode(8.0, False)
    return Case(dense(grid, *neurons), (SOURCES,))


def current(grid: Grid) -> Case:
    neurons = neuron.CUBALIFNode(0.5, 0.75, 2.0), neuron.CUBALIFNode(0.75, 0.875, 3.99)
    return Case(dense(grid, *neurons), (SOURCES,))


def current_soft(grid: Grid) -> Case:
    neurons = neuron.CUBALIFNode(0.5, 0.75, 2.0, v_reset=None), neuron.CUBALIFNode(0.75, 0.875, 4.0, v_reset=None)
    return Case(dense(grid, *neurons), (SOURCES,), exported=False)


def conv(grid: Grid) -> Case:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, kind=layer.Conv2d, padding=1),
        "sn1": neuron.LIFNode(2.0, True, 0.5),
        "pool1": layer.AvgPool2d(2),
        "conv2": convolution(grid, 3, 4, 3, kind=layer.Conv2d, padding=1, bias=False),
        "sn2": neuron.LIFNode(8.0, False, 1.0),
        "flat": layer.Flatten(),
        "fc": linear(grid, OUTPUTS, 27, kind=layer.Linear),
        "sn3": neuron.IFNode(2.0),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 6, 6))


def conv_dilated(grid: Grid) -> Case:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, kind=layer.Conv2d, stride=2, padding=2, dilation=2),
        "sn1": neuron.IFNode(1.0),
    }
    return Case(nn.Sequential(OrderedDict(parts)), (2, 6, 6))


def pooled(grid: Grid) -> Case:
    """Normalisation, which the export has no node for; multi-step mode."""
    parts = {
        "conv1": convolution(grid, 4, 2, 3, kind=layer.Conv2d, padding=1, bias=False),
        "norm": norm(grid, 4, layer.BatchNorm2d),
        "sn1": neuron.IFNode(1.03, v_reset=None),
        "pool1": layer.AvgPool2d(2),
        "flat": layer.Flatten(),
        "fc": linear(grid, OUTPUTS, 36, kind=layer.Linear),
        "sn2": neuron.LIFNode(2.0, True, 1.0),
    }
    model = nn.Sequential(OrderedDict(parts))
    functional.set_step_mode(model, "m")
    return Case(model, (2, 6, 6), exported=False)


def max_pools(grid: Grid) -> Case:
    parts = {
        "conv1": convolution(grid, 4, 2, 3, kind=layer.Conv2d, padding=1),
        "sn1": neuron.LIFNode(2.0, True, 0.5),
        "pool1": layer.MaxPool2d(2),
        "conv2": convolution(grid, 3, 4, 3, kind=layer.Conv2d, padding=1),
        "sn2": neuron.IFNode(3.03, v_reset=None),
        "pool2": layer.MaxPool2d(3, 2, 1),
        "flat": layer.Flatten(),
        "fc": linear(grid, OUTPUTS, 27, kind=layer.Linear),
        "sn3": neuron.LIFNode(2.0, True, 1.0),
    }
    model = nn.Sequential(OrderedDict(parts))
    functional.set_step_mode(model, "m")
    return Case(model, (2, 12, 12), exported=False)


def recurrent(grid: Grid) -> Case:
    """The container, which the export does not know: a linear layer from inputs and the spikes of the step before."""
    inner = neuron.LIFNode(8.0, False, 1.5)
    loop = layer.LinearRecurrentContainer(inner, in_features=HIDDEN, out_features=HIDDEN, bias=True)
    loop.rc.weight.data = torch.from_numpy(
        np.hstack([np.eye(HIDDEN, dtype=np.float32), grid.weights(HIDDEN, HIDDEN, low=-4, high=4)])
    )
    loop.rc.bias.data = torch.from_numpy(grid.between(-0.125, 0.125, HIDDEN))
    return Case(dense(grid, loop, neuron.LIFNode(8.0, False)), (SOURCES,), exported=False)


def run(model: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each layer of neurons."""
    model.eval()
    functional.reset_net(model)
    found: dict[str, list[np.ndarray]] = {}
    with torch.no_grad():
        given = torch.from_numpy(frames).transpose(0, 1)
        several = any(isinstance(part, base.StepModule) and part.step_mode == "m" for part in model)
        for now in [given] if several else given:
            for name, part in model.named_children():
                now = part(now)
                if isinstance(part, (neuron.BaseNode, layer.LinearRecurrentContainer)):
                    key = f"{name}.lif" if isinstance(part, layer.LinearRecurrentContainer) else name
                    found.setdefault(key, []).extend(now.numpy().copy() if several else [now.numpy().copy()])
    functional.reset_net(model)
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def export(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    return export_to_nir(model, torch.zeros(1, *shape))


FRAMEWORK = Framework(
    "spikingjelly",
    {
        "if": integrate,
        "if-soft": integrate_soft,
        "lif": lif,
        "lif-undivided": lif_undivided,
        "lif-soft": lif_soft,
        "parametric": parametric,
        "cuba": current,
        "cuba-soft": current_soft,
        "conv": conv,
        "conv-dilated": conv_dilated,
        "pooled": pooled,
        "max-pools": max_pools,
        "recurrent": recurrent,
    },
    run,
    export,
)
