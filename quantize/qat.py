"""Quantisation-aware training: fine-tune the integers themselves, from the best post-training scales.

`fine_tune` is for chains of layers, folded from a checkpoint. `fine_tune_network` is for any integer network, given the
real numbers behind it. Both train a module whose forward pass is the integer arithmetic, in the same loop.

The sparsity mask is fixed: pruned synapses stay pruned, and those that round to zero are counted as lost. The epoch
with the smallest loss on the validation images, which are held out of the training images, is kept. The loss is less
noisy than the accuracy, which depends on a few images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ..archive import digest
from ..errors import UserError, require
from ..model import resume as state_files
from ..model.data import Dataset
from ..model.held_out import usually_held_out
from ..model.memory import keep_freed_memory
from ..model.recordings import Recordings, split
from ..model.train import augment_for, batches, evaluate, learning_rate, loss_for, objective
from .config import QatConfig
from .fold import FloatNetwork
from .frames import check_frames
from .images import codes_latency, frames_of_images, frames_of_recordings
from .integer_graph import IntegerGraph
from .integer_module import IntegerNetwork
from .labelled_frames import LabelledFrames
from .living import without_dead
from .network import QuantizedNetwork
from .ptq import Scales, weight_scales
from .reals import NEURON, Reals
from .rounding import Formats

Row = dict[str, Any]
STATE = ("module", "optimizer", "history", "best")  # parts of a saved state


def fine_tune(
    network: FloatNetwork,
    formats: Formats,
    data: Dataset,
    config: QatConfig = QatConfig(),  # noqa: B008 (frozen)
    *,
    scales: Scales | None = None,
    resume: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: bool | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> QuantizedNetwork:
    """Fine-tune a folded network on `data`, the training set, and return the integers of its best epoch.

    `scales` are the initial step sizes, by default those of least rounding error. Each epoch's row (`epoch`, `loss`,
    `validation_loss`, `validation`, `synapses`) goes to `on_epoch`; its `validation` accuracy is that of the integer
    network. Epoch 0 is the network before fine-tuning; of two equally good epochs, the later is kept.

    With a file `resume`, the state of the run is saved there after each epoch. A run that finds a state there continues
    from it, with the result of an uninterrupted run. The file is locked meanwhile. `on_resume` is called with the
    number of epochs already done. `progress` shows a bar on stderr; None: if it is a terminal.

    Raises
    ------
    UserError
        The data does not fit the network; the training diverges; `resume` cannot be written, is in use, or holds the
        state of another run: other settings, network, data, sources or versions.
    """
    living = without_dead(network)
    if scales is None:
        scales = weight_scales(network, formats)
    own = tuple(s[rows] if s.size > 1 else s for s, rows in zip(scales, living.neurons, strict=True))
    module = IntegerNetwork(living.network, formats, own)
    data.require_fit(network.input_shape, module.export().classes, "training set")
    arrays = {f"{layer.name}.{k}": getattr(layer, k) for layer in living.network.layers for k in ("weight", "bias")}
    settings = asdict(formats) | {"neurons": [asdict(layer.neuron) for layer in living.network.layers]}
    run = _Run(module, data, config, settings, arrays, True, network.steps)
    return living.expand(_held(run, resume, on_epoch, progress, on_resume))


def fine_tune_network(
    network: QuantizedNetwork,
    reals: Sequence[Reals],
    data: Dataset | Recordings | LabelledFrames,
    config: QatConfig = QatConfig(),  # noqa: B008 (frozen)
    *,
    resume: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: bool | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> QuantizedNetwork:
    """Fine-tune any integer network, and return the integers of its best epoch.

    `reals` are the real numbers, one a population, that are rounded to the integers of `network`. They are trained,
    with the logarithms of the units. Connections, decays, shifts and formats stay as they are. `data` are images,
    recordings, or frames as the simulators take them. Everything else is as for `fine_tune`.

    Raises
    ------
    UserError
        As for `fine_tune`; `reals` do not fit `network`, or are rounded to other integers; frames are augmented.
    """
    module = IntegerGraph(network, reals)
    _check_fit(network, data, config)
    arrays = {
        f"{population.name}.{name}{index}": values
        for population, own in zip(network.populations, reals, strict=True)
        for name in ("unit", "worths", "worth", "strict", "weights", "bias", *NEURON)
        for index, values in enumerate(getattr(own, name) if name == "weights" else (getattr(own, name),))
    }
    counts = network.readouts[0].kind == "count"
    run = _Run(module, data, config, {}, arrays, counts, network.steps)
    return _held(run, resume, on_epoch, progress, on_resume)


def _check_fit(network: QuantizedNetwork, data: Dataset | Recordings | LabelledFrames, config: QatConfig) -> None:
    """`UserError` unless the network can be trained on `data`."""
    classes, most = data.classes, network.classes
    require(classes <= most, "classes in the training set", classes, f"at most {most}, those of the network")
    if isinstance(data, Dataset):
        for given in network.inputs:
            frames_of_images(given, network.steps, data.images[:1], codes_latency(network, given))
        return
    if isinstance(data, Recordings):
        for given in network.inputs:
            frames_of_recordings(given, network.steps, data.counts[:1])
        return
    require(len(data.frames) == len(network.inputs), "recordings", len(data.frames), f"{len(network.inputs)} inputs")
    for given, values in zip(network.inputs, data.frames, strict=True):
        check_frames(given, values, network.steps, f"recordings of {given.name}")
    for name in ("rotation", "shift", "flip", "drop", "jitter", "lag", "stretch", "mask"):
        require(not getattr(config, name), name, getattr(config, name), "0 or False: frames are not augmented")


@dataclass(frozen=True)
class _Run:
    """What is trained, on what, and how; `settings` and `arrays` tell whose state a saved one is."""

    module: IntegerNetwork | IntegerGraph
    data: Dataset | Recordings | LabelledFrames
    config: QatConfig
    settings: dict[str, Any]
    arrays: dict[str, Any]
    counts: bool
    steps: int


def _held(
    run: _Run,
    resume: Path | None,
    on_epoch: Callable[[Row], None] | None,
    progress: bool | None,
    on_resume: Callable[[int], None] | None,
) -> QuantizedNetwork:
    with nullcontext() if resume is None else state_files.held(resume):
        return _trained(run, resume, on_epoch, progress, on_resume)


def _trained(
    run: _Run,
    resume: Path | None,
    on_epoch: Callable[[Row], None] | None,
    progress: bool | None,
    on_resume: Callable[[int], None] | None,
) -> QuantizedNetwork:
    keep_freed_memory(torch.device("cpu"))
    module, data, config = run.module, run.data, run.config
    loss_function = loss_for(config.loss, run.counts, run.steps, config.sharpness, config.smoothing)
    if config.held_out is None:
        config = replace(config, held_out=usually_held_out(len(data)))
    training, validation = split(data, config.held_out, config.held_out_group)
    per_epoch = len(training) // config.batch
    require(per_epoch >= 1, "batch", config.batch, f"at most the {len(training)} training images")
    augment = augment_for(config, data)
    groups = [
        {"params": [p for name, p in module.named_parameters() if name.endswith("log_scale")], "lr": config.scale_lr},
        {"params": [p for name, p in module.named_parameters() if not name.endswith("log_scale")], "lr": config.lr},
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    rates = [config.scale_lr, config.lr]

    def finish(epoch: int, loss: float | None) -> Row:
        with _told_of(epoch):
            module.check()
            found = module.export()
        evaluation = evaluate(module, validation, loss=loss_function, anytime=config.anytime)
        return {
            "epoch": epoch,
            "loss": loss,
            "validation_loss": evaluation.loss,
            "validation": evaluation.accuracy,
            "synapses": found.notes["synapses"]["kept"],
        }

    identity = _identity(run, config)
    if resume is not None and resume.exists():
        kept = state_files.load(resume, "fine-tuning", identity, STATE)
        with state_files.fitting(resume):
            history, best = list(kept["history"]), kept["best"]
            module.load_state_dict(best)  # as at the end of the run
            module.load_state_dict(kept["module"])
            state_files.load_optimizer(optimizer, kept["optimizer"])
        if on_resume is not None:
            on_resume(len(history) - 1)
    else:
        history, best = [finish(0, None)], _state(module)
        if on_epoch is not None:
            on_epoch(history[0])

    total = config.epochs * per_epoch
    with Progress(disable=not (sys.stderr.isatty() if progress is None else progress)) as bars:
        bar = bars.add_task("fine-tuning integers", total=total, completed=(len(history) - 1) * per_epoch)
        for epoch in range(len(history), config.epochs + 1):
            module.train()
            sum_of_losses = 0.0
            start = (epoch - 1) * per_epoch
            for number, (images, labels) in enumerate(
                batches(training, config.batch, augment, config.seed, epoch), start=start
            ):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * learning_rate(number, 0, total)
                loss = objective(module, images, labels, config.spike_cost, loss_function, config.anytime)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                sum_of_losses += float(loss.detach())
                bars.advance(bar)
            row = finish(epoch, sum_of_losses / per_epoch)
            if row["validation_loss"] <= min(r["validation_loss"] for r in history):
                best = _state(module)
            history.append(row)
            if on_epoch is not None:
                on_epoch(row)
            if resume is not None:
                values = module.state_dict(), optimizer.state_dict(), history, best
                state_files.save(resume, "fine-tuning", identity, dict(zip(STATE, values, strict=True)))

    module.load_state_dict(best)
    chosen = min(history, key=lambda row: (row["validation_loss"], -row["epoch"]))
    made = {"epoch": chosen["epoch"], "validation": chosen["validation"], "data": data.digest}
    notes = {"qat": {**asdict(config), **made, "sources": identity["sources"]}}
    return module.export(notes)


@contextmanager
def _told_of(epoch: int) -> Iterator[None]:
    """Around integers after an epoch: one line if they fit no longer."""
    try:
        yield
    except UserError as error:
        if not epoch:
            raise
        raise UserError(f"training diverged in epoch {epoch}: {error}; a lower --lr or --scale-lr may help") from None


def _state(module: IntegerNetwork | IntegerGraph) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _identity(run: _Run, config: QatConfig) -> dict[str, Any]:
    """What must be equal in a saved state and the run that resumes from it; the module is as before fine-tuning."""
    start = {name: tensor.numpy() for name, tensor in _state(run.module).items()}
    return state_files.identity(
        {**asdict(config), **run.settings},
        run.data.digest,
        "gradrtl.model",
        "gradrtl.quantize",
        network=digest({}, run.arrays),
        start=digest({}, start),
        integers=run.module.export().digest,
    )
