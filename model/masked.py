"""Weights of which some stay zero."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize


class Masked(nn.Module):
    """The parametrisation `w -> w * mask`: masked weights are zero and get no gradient."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def mask_of(layer: Any) -> Tensor | None:
    """The mask of a layer's weights, if they have one."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = layer.parametrizations.weight[0]
    return first.mask if isinstance(first, Masked) else None
