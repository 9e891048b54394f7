"""Training: from images to a sparse checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.data import Dataset


def train(
    config: TrainConfig,
    data: tuple[Dataset, Dataset],
    out: Path,
    on_epoch: Callable[[dict], None] | None = None,
    command: str = "",
    device: str = "cpu",
) -> tuple[Checkpoint, float]:
    """Train as `config` says, on the first of `data`; returns the checkpoint and its accuracy on the second.

    `out` keeps the state of an interrupted run, which goes on where it was. `on_epoch` is given each epoch's row.
    """
    from ..model.networks import network_of
    from ..model.train import evaluate
    from ..model.train import train as run

    training, test = data
    checkpoint = run(config, training, out, on_epoch, command=command, device=device)
    return checkpoint, evaluate(network_of(checkpoint), test).accuracy
