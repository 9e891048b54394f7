"""Cases of Norse."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Case, Framework, Grid
from norse.torch import (
    IAFCell,
    IAFParameters,
    LIBoxCell,
    LIBoxParameters,
    LIFBoxCell,
    LIFBoxParameters,
    LIFCell,
    LIFParameters,
    SequentialState,
)
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.snn import SNNCell
from norse.torch.utils.export_nir import to_nir
from torch import nn
from torch_parts import HIDDEN, OUTPUTS, SOURCES, convolution, linear, norm

DT = 0.001  # of the cells, and of the export, which then writes time constants times dt


def tensor(value: Any) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


def full(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value)


def box(decay: Any, threshold: Any = 0.5, **options: Any) -> LIFBoxCell:
    """A cell whose membrane keeps `decay` in a step; its input counts `1 - decay`."""
    given = {name: tensor(value) if not callable(value) else value for name, value in options.items()}
    rate = (1 - tensor(decay)) / DT
    return LIFBoxCell(LIFBoxParameters(tau_mem_inv=rate, v_th=tensor(threshold), **given), dt=DT)


def current(decay: float, synapse: float, threshold: float = 0.5) -> LIFCell:
    rates = [(1 - tensor(value)) / DT for value in (synapse, decay)]
    return LIFCell(LIFParameters(tau_syn_inv=rates[0], tau_mem_inv=rates[1], v_th=tensor(threshold)), dt=DT)


def dense(grid: Grid, first: nn.Module, second: nn.Module, **options: Any) -> SequentialState:
    return SequentialState(
        linear(grid, HIDDEN, SOURCES, **options), first, linear(grid, OUTPUTS, HIDDEN, **options), second
    )


def lif_box(grid: Grid) -> Case:
    first = box(grid.between(0.5, 0.9375, HIDDEN), grid.between(0.25, 0.5, HIDDEN), v_leak=np.zeros(HIDDEN))
    return Case(dense(grid, first, box(0.8, 0.3)), (SOURCES,))


def lif_box_leak(grid: Grid) -> Case:
    """A membrane that rests, and begins, elsewhere than at 0, where a spike puts it."""
    return Case(dense(grid, box(0.875, 0.3, v_leak=0.125), box(0.75, 0.2, v_leak=-0.0625)), (SOURCES,))


def lif_box_reset(grid: Grid) -> Case:
    """A reset to another value, which the export leaves out."""
    return Case(dense(grid, box(0.875, 0.25, v_reset=-0.25), box(0.75, 0.2, v_reset=0.125)), (SOURCES,), exported=False)


def lif_box_subtract(grid: Grid) -> Case:
    """A soft reset, which the export leaves out: the file says nothing, and the convention can."""
    neurons = box(0.875, 0.25, reset_method=reset_subtract), box(0.75, 0.25, reset_method=reset_subtract)
    return Case(dense(grid, *neurons), (SOURCES,), {"reset": "subtract"})


def iaf(grid: Grid) -> Case:
    """Without leak membranes often equal the threshold."""
    first = IAFCell(IAFParameters(v_th=tensor(1.5)), dt=DT)
    second = IAFCell(IAFParameters(v_th=tensor(grid.between(1, 2, OUTPUTS))), dt=DT)
    return Case(dense(grid, first, second), (SOURCES,))


def lif(grid: Grid) -> Case:
    return Case(dense(grid, current(0.875, 0.5, 0.375), current(0.75, 0.75)), (SOURCES,))


def conv(grid: Grid) -> Case:
    """The export writes neither pools nor Flatten, and no convolution without bias."""
    model = SequentialState(
        convolution(grid, 4, 2, 3, stride=2, padding=1),
        box(full(0.875, 4, 3, 3), full(0.2, 4, 3, 3), v_leak=full(0, 4, 3, 3)),
        convolution(grid, 3, 4, 2, padding=1),
        box(full(0.75, 3, 4, 4), full(0.4, 3, 4, 4), v_leak=full(0, 3, 4, 4)),
    )
    return Case(model, (2, 6, 6))


def li_box(grid: Grid) -> Case:
    """The output is a membrane."""
    rate = (1 - tensor(0.875)) / DT
    return Case(dense(grid, box(0.75, 0.25), LIBoxCell(LIBoxParameters(tau_mem_inv=rate), dt=DT)), (SOURCES,))


def pooled(grid: Grid) -> Case:
    """What the export leaves out: normalisation, pools, a convolution without bias."""
    model = SequentialState(
        convolution(grid, 4, 2, 3, padding=1, bias=False),
        norm(grid, 4),
        box(0.875, 0.1),
        nn.AvgPool2d(2),
        convolution(grid, 3, 4, 2, bias=False),
        box(0.75, 0.2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        linear(grid, OUTPUTS, 3),
        box(0.75, 0.1),
    )
    return Case(model, (2, 6, 6), exported=False)


def max_pools(grid: Grid) -> Case:
    model = SequentialState(
        convolution(grid, 4, 2, 3, padding=1),
        box(0.875, 0.2),
        nn.MaxPool2d(2),
        nn.MaxPool2d(2),
        convolution(grid, 3, 4, 2, padding=1),
        box(0.75, 0.3),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        linear(grid, OUTPUTS, 27),
        box(0.75, 0.2),
    )
    return Case(model, (2, 12, 12), exported=False)


def run(model: SequentialState, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each layer of neurons."""
    found: dict[str, list[np.ndarray]] = {}
    states: dict[str, Any] = {}
    with torch.no_grad():
        for now in torch.from_numpy(frames).transpose(0, 1):
            for name, part in model.named_children():
                if isinstance(part, SNNCell):
                    now, states[name] = part(now, states.get(name))
                    found.setdefault(name, []).append(now.numpy().copy())
                else:
                    now = part(now)
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def export(model: SequentialState, shape: tuple[int, ...]) -> Any:
    graph = to_nir(model, torch.zeros(shape))
    if len(shape) == 3:
        graph.infer_types()  # a convolution without the shape of its input cannot be written
    return graph


FRAMEWORK = Framework(
    "norse",
    {
        "lif-box": lif_box,
        "lif-box-leak": lif_box_leak,
        "lif-box-reset": lif_box_reset,
        "lif-box-subtract": lif_box_subtract,
        "iaf": iaf,
        "lif": lif,
        "li-box": li_box,
        "conv": conv,
        "pooled": pooled,
        "max-pools": max_pools,
    },
    run,
    export,
)
