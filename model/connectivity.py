"""Counting connections: how many weights are not zero, and which of them can change an output. Plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import connectivity
from .graph import Graph


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


def census_of_graph(graph: Graph, weights: list[np.ndarray]) -> Census:
    """Count the connections of a graph; `weights`, one a connection, are in the order of `graph.weight_shapes`.

    Dead are channels that no input reaches and no bias moves, or that reach no output.
    """
    masks = [weight.reshape(*weight.shape[:2], -1) != 0 for weight in weights]  # [out, in, kernel]
    edges = [
        (population.name, connection.sources) for population in graph.populations for connection in population.inputs
    ]
    inputs = {part.name: part.name for part in graph.inputs}
    channels = {name: shape[0] for name, shape in graph.shapes.items()}
    reached, heard = {}, {}
    for population in graph.populations:
        start = population.neuron.start_value or 0.0
        moves = population.bias or population.batch_norm or start != 0
        reached[population.name] = np.full(channels[population.name], moves)
        heard[population.name] = np.full(channels[population.name], population.name == graph.readout.source)
    for name in inputs:
        reached[name], heard[name] = np.ones(channels[name], bool), np.zeros(channels[name], bool)
    grouped = [mask.reshape(len(mask), channels[sources[0]], -1).any(axis=2) for mask, (_, sources) in
               zip(masks, edges, strict=True)]  # fmt: skip
    for _ in range(sum(channels.values())):
        before = sum(int(values.sum()) for values in (*reached.values(), *heard.values()))
        for mask, (target, sources) in zip(grouped, edges, strict=True):
            seen = np.any([reached[source] for source in sources], axis=0)
            reached[target] |= mask[:, seen].any(axis=1)
            for source in sources:
                heard[source] |= mask[heard[target]].any(axis=0)
        if before == sum(int(values.sum()) for values in (*reached.values(), *heard.values())):
            break
    useful = []
    for mask, (target, sources) in zip(masks, edges, strict=True):
        seen = np.any([reached[source] for source in sources], axis=0)
        lives = heard[target][:, None] & seen[None, :]
        useful.append(int(mask.reshape(len(mask), len(seen), -1)[lives].sum()))
    dead = tuple(int((~(reached[p.name] & heard[p.name])).sum()) for p in graph.populations)
    return Census(sum(mask.size for mask in masks), tuple(int(mask.sum()) for mask in masks), tuple(useful), dead)
