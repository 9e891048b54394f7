"""Where training starts, if not from random weights: a trained network, our own or imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..archive import digest
from .checkpoint import Checkpoint
from .description import Network
from .graph import Graph
from .importing.graph import ImportedGraph
from .importing.training import trainable

IMPORT = "import"


@dataclass(frozen=True)
class Start:
    """A network and its numbers, as a `Checkpoint` has them.

    origin
        Kept with what is trained from it: its `kind`, the digest of its `weights`, and what else is known of it.
    """

    network: Network | Graph
    arrays: dict[str, np.ndarray]
    origin: dict[str, Any]

    @property
    def is_import(self) -> bool:
        return self.origin["kind"] == IMPORT

    @staticmethod
    def of_checkpoint(checkpoint: Checkpoint) -> Start:
        """From a checkpoint of our own."""
        return Start(checkpoint.network, checkpoint.arrays, {"kind": "checkpoint", **checkpoint.origin})

    @staticmethod
    def of_import(graph: ImportedGraph, shape: tuple[int, ...], steps: int, readout: str | None = None) -> Start:
        """From an imported network, for images of `shape`; see `importing.training.trainable`."""
        network, arrays = trainable(graph, shape, steps, readout)
        return Start(network, arrays, {"kind": IMPORT, **graph.to_json(), "weights": digest({}, arrays)})
