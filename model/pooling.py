"""Max pooling of spikes, channels last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from . import kernels


def max_pool(spikes: Tensor, size: int) -> Tensor:
    """Spikes `[n, height, width, channels]` -> `[n, height // size, width // size, channels]`.

    What an incomplete window holds is dropped. The gradient goes to the first of the largest, as in torch.
    """
    if spikes.device.type != "cpu":
        return functional.max_pool2d(spikes.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    return _MaxPool.apply(spikes.contiguous(), size)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, size: int) -> Tensor:
        n, height, width, channels = spikes.shape
        pooled = spikes.new_empty((n, height // size, width // size, channels))
        _run(kernels.pool_forward, spikes, size, pooled)
        ctx.save_for_backward(spikes, pooled)
        ctx.size = size
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        spikes, pooled = ctx.saved_tensors
        whole = spikes.shape[1] % ctx.size == spikes.shape[2] % ctx.size == 0
        to_spikes = torch.empty_like(spikes) if whole else torch.zeros_like(spikes)
        _run(kernels.pool_backward, gradient.contiguous(), spikes, pooled, ctx.size, to_spikes)
        return to_spikes, None


def _run(kernel: Any, *arguments: Any) -> None:
    arrays = [a.detach().numpy() if isinstance(a, Tensor) else a for a in arguments]
    kernels.in_parts(kernel, len(arrays[0]), *arrays)
