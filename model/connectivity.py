"""Counting connections: how many weights are not zero, and which of them can change an output. Plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import connectivity


@dataclass(frozen=True)
class Census:
    """Connections of a network. `useful` leaves out those of dead neurons, which can change no output."""

    total: int
    living: tuple[int, ...]  # non-zero weights, one number per layer
    useful: tuple[int, ...]
    dead: tuple[int, ...]  # neurons (channels) that no source reaches or that reach no output

    @property
    def connectivity(self) -> float:
        return connectivity(self.living, self.total)

    @property
    def useful_connectivity(self) -> float:
        return connectivity(self.useful, self.total)


def census(weights: list[np.ndarray], spontaneous: list[np.ndarray] | None = None) -> Census:
    """Count the connections of a chain of layers.

    Parameters
    ----------
    weights
        One array per layer, `[out, in]` or `[out, in, kh, kw]`. In a dense layer after a convolution, each channel is a
        run of adjacent inputs.
    spontaneous
        Bool `[out]`, one array per layer: neurons that may fire without any input (a bias). None: there are none.
    """
    masks = [weight.reshape(*weight.shape[:2], -1) != 0 for weight in weights]  # [out, in, kernel]
    living = tuple(int(mask.sum()) for mask in masks)
    for mask, before in zip(masks[1:], masks, strict=False):
        assert mask.shape[1] % len(before) == 0
    useful = [mask.copy() for mask in masks]
    changed = True
    while changed:
        count = sum(int(mask.sum()) for mask in useful)
        for index, mask in enumerate(useful[:-1]):
            following = useful[index + 1].reshape(len(useful[index + 1]), len(mask), -1)  # inputs grouped by channel
            reached = mask.any(axis=(1, 2)) | (False if spontaneous is None else spontaneous[index])
            heard = following.any(axis=(0, 2))
            mask[~heard] = False
            following[:, ~reached] = False
        changed = count != sum(int(mask.sum()) for mask in useful)
    dead = tuple(
        int((~(mask.any(axis=(1, 2)) | (False if spontaneous is None else spontaneous[index]))).sum())
        if index == len(useful) - 1
        else int((~useful[index + 1].reshape(len(useful[index + 1]), len(mask), -1).any(axis=(0, 2))).sum())
        for index, mask in enumerate(useful)
    )
    return Census(sum(mask.size for mask in masks), living, tuple(int(m.sum()) for m in useful), dead)
