"""Lists of synapses: what an event at an address of a port adds, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..quantize.network import Edge
from .convolution import Sources


@dataclass(frozen=True)
class Lists:
    """The synapses of one port of a core.

    lists
        int64 `[addresses]`: the list of each input address.
    counts
        int64 `[pes, lists]`: synapses of each list.
    targets
        For each PE, int64 arrays by field, list after list: the fields of `SynapseFormat.synapse` for the target.
    weights
        One int64 array for each PE: the weights of these synapses.
    """

    lists: np.ndarray
    counts: np.ndarray
    targets: tuple[dict[str, np.ndarray], ...]
    weights: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Heard:
    """What a core hears through one port.

    edge
        The connection.
    addresses
        int64 `[addresses]`: the source, in the order of the connection, behind each; -1 if no event can have it.
    lists
        int64 `[addresses]`: the list of each, among those of the core.
    first
        The first of these.
    sources
        Address arithmetic of a convolution.
    """

    edge: Edge
    addresses: np.ndarray
    lists: np.ndarray
    first: int
    sources: Sources | None = None


def joined(parts: Sequence[Lists]) -> Lists:
    """All ports' lists, one after another."""
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(part.counts.shape[1] for part in parts)])
    pes = range(len(parts[0].weights))
    return Lists(
        np.concatenate([part.lists + first for part, first in zip(parts, firsts, strict=False)]),
        np.concatenate([part.counts for part in parts], axis=1),
        tuple(
            {name: np.concatenate([part.targets[pe][name] for part in parts]) for name in parts[0].targets[pe]}
            for pe in pes
        ),
        tuple(np.concatenate([part.weights[pe] for part in parts]) for pe in pes),
    )
