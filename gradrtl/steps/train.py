"""Training: from images or recordings to a sparse checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import require
from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.importing.graph import import_graph
from ..model.importing.hdf5 import read
from ..model.recordings import AnyData, fit
from ..model.start import Start
from .importing import convention_of

if TYPE_CHECKING:
    from ..model.train import Evaluation

CHECKPOINTS = ".npz"  # suffix; any other file is one of NIR


def train(
    config: TrainConfig,
    data: tuple[AnyData, AnyData],
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    command: str = "",
    device: str = "cpu",
    on_resume: Callable[[int], None] | None = None,
    anew: bool = False,
    start: Start | None = None,
    teacher: Checkpoint | None = None,
) -> tuple[Checkpoint, Evaluation, AnyData]:
    """Train as `config` says on the training set, the first of `data`. Returns the checkpoint, what it makes of the
    test set, and the test set with as many steps as the network runs for.

    `out` keeps the state of an interrupted run, which resumes after its last complete epoch. `on_epoch` is called with
    the row of each epoch, `on_resume` with the number of epochs already done. The state of another run (other data,
    settings or sources) is refused, or removed if `anew` is set. The test set's shape and labels are checked before
    training. `start` is the trained network that `config` names, whose numbers take the place of random ones;
    `teacher` is one whose answers are a part of the loss.
    """
    from ..model.networks import network_of
    from ..model.resume import of_this_run
    from ..model.train import RESUME_FILE, description_for, evaluate
    from ..model.train import train as run

    training, test = data
    description = description_for(config, training)
    training = fit(training, description, "training set")
    test = fit(test, description, "test set")

    def work() -> Checkpoint:
        return run(
            config, training, out, on_epoch, command=command, device=device, on_resume=on_resume, start=start,
            teacher=teacher,
        )  # fmt: skip

    checkpoint = of_this_run(work, out / RESUME_FILE) if anew else work()
    return checkpoint, evaluate(network_of(checkpoint), test), test


def start_of(
    path: Path, shape: tuple[int, ...], framework: str | None, changes: dict[str, Any], steps: int | None,
    readout: str | None,
) -> Start:  # fmt: skip
    """The trained network in a file: a checkpoint, or a NIR file under the convention of `framework` with `changes`.

    `shape` is that of the images, `steps` and `readout` are those of the NIR file's network: see `trainable`.

    Raises
    ------
    UserError
        The file cannot be read, or training does not know something of its network.
    """
    if path.suffix == CHECKPOINTS:
        given = {"framework": framework, "readout": readout, **changes}
        name, value = next(((name, value) for name, value in given.items() if value is not None), ("", None))
        require(not name, name, value, "left out: a checkpoint says it")
        return Start.of_checkpoint(Checkpoint.load(path))
    record = read(path)
    record, convention, kept = convention_of(record, framework, changes)
    steps = steps if steps is not None or kept is None else kept.steps
    require(steps is not None, "steps", "not given", "--steps: a NIR file does not say it")
    assert steps is not None
    return Start.of_import(import_graph(record, convention), shape, steps, readout)


def accuracy_of(start: Start, data: AnyData) -> float:
    """The fraction of images or recordings that a trained network classifies correctly before training goes on."""
    from ..model.networks import network_of
    from ..model.train import evaluate

    data = fit(data, start.network, "test set")
    return evaluate(network_of(Checkpoint(start.network, start.arrays)), data).accuracy
