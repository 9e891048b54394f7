"""Weights of cases for the frameworks that are built on torch."""

from __future__ import annotations

from typing import Any

import torch
from cases import Grid
from torch import nn

SOURCES, HIDDEN, OUTPUTS = 12, 16, 6


def on_grid(grid: Grid, made: Any) -> Any:
    """`made` with weights and biases on the grid."""
    made.weight.data = torch.from_numpy(grid.weights(*made.weight.shape))
    if made.bias is not None:
        made.bias.data = torch.from_numpy(grid.between(-0.125, 0.25, *made.bias.shape))
    return made


def linear(grid: Grid, outputs: int, inputs: int, bias: bool = True, kind: Any = nn.Linear) -> Any:
    return on_grid(grid, kind(inputs, outputs, bias=bias))


def convolution(grid: Grid, outputs: int, inputs: int, size: Any, kind: Any = nn.Conv2d, **options: Any) -> Any:
    return on_grid(grid, kind(inputs, outputs, size, **options))


def norm(grid: Grid, channels: int, kind: Any = nn.BatchNorm2d) -> Any:
    """Batch normalisation whose factors are 1, 1/2 and the like."""
    made = kind(channels)
    made.running_mean = torch.from_numpy(grid.between(-0.5, 0.5, channels))
    made.running_var = torch.from_numpy(4.0 ** grid.between(0, 1, channels, unit=1.0)) - made.eps
    made.weight.data = torch.from_numpy(grid.between(1, 2, channels, unit=1.0))
    made.bias.data = torch.from_numpy(grid.between(-0.125, 0.25, channels))
    return made.eval()
