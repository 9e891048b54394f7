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


def mask_of(layer: Any, training: bool) -> Tensor | None:
    """What is zero where a layer's weights are left out: their mask, or outside of `training` the weights themselves.

    None if they have no mask, but other parametrisations or a training to come.
    """
    if not parametrize.is_parametrized(layer, "weight"):
        weight: Tensor = layer.weight
        return None if training else weight
    first = layer.parametrizations.weight[0]
    return first.mask if isinstance(first, Masked) else None
