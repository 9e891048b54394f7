"""Training: from images to a sparse checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.data import Dataset


def train(
    config: TrainConfig,
    data: tuple[Dataset, Dataset],
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    command: str = "",
    device: str = "cpu",
    on_resume: Callable[[int], None] | None = None,
    anew: bool = False,
) -> tuple[Checkpoint, float]:
    """Train as `config` says on the training set, the first of `data`. Returns the checkpoint and its test accuracy.

    `out` keeps the state of an interrupted run, which resumes after its last complete epoch. `on_epoch` is called with
    the row of each epoch, `on_resume` with the number of epochs already done. The state of another run (other data,
    settings or sources) is refused, or removed if `anew` is set. The test set's shape and labels are checked before
    training.
    """
    from ..model.networks import network_of
    from ..model.resume import of_this_run
    from ..model.train import RESUME_FILE, evaluate
    from ..model.train import train as run

    training, test = data
    description = config.description(training.shape)
    training.require_fit(description.input_shape, description.classes, "training set")
    test.require_fit(description.input_shape, description.classes, "test set")

    def work() -> Checkpoint:
        return run(config, training, out, on_epoch, command=command, device=device, on_resume=on_resume)

    checkpoint = of_this_run(work, out / RESUME_FILE) if anew else work()
    return checkpoint, evaluate(network_of(checkpoint), test).accuracy
