"""Quantisation: from a checkpoint to an integer network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..errors import require
from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.graph import Graph
from ..model.held_out import require_unseen
from ..model.recordings import AnyData, split
from ..quantize.calibration import NOTE, calibrated
from ..quantize.fold import fold
from ..quantize.graph_ptq import quantize_graph, weight_units
from ..quantize.graph_rounding import GraphFormats, at_units, fold_graph, reals_of
from ..quantize.network import QuantizedNetwork
from ..quantize.ptq import quantize as post_training
from ..quantize.rounding import Formats
from ..quantize.thinning import thinned, thinned_graph
from ..sim import engine
from .frames import frames_for
from .notes import on_answers, on_rates

SEARCH_IMAGES = 10_000  # training images on which a search of the scales scores its candidates


def default_method(checkpoint: Checkpoint) -> str:
    """The `method` of `quantise` if none is asked for."""
    return "weights" if isinstance(checkpoint.network, Graph) else "qat"


def formats_for(checkpoint: Checkpoint, *, per_channel: bool, **given: Any) -> Formats | GraphFormats:
    """The formats for a checkpoint of a chain or of a graph, with its own defaults for what is not `given`."""
    kind = GraphFormats if isinstance(checkpoint.network, Graph) else Formats
    return kind(per_channel=per_channel, **given)


def quantise(
    checkpoint: Checkpoint,
    formats: Formats | GraphFormats,
    training: AnyData,
    method: str,
    *,
    connectivity: float | None = None,
    resume: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
    anew: bool = False,
    **fine_tuning: float | int | None,
) -> QuantizedNetwork:
    """Convert `checkpoint` to an integer network.

    Parameters
    ----------
    formats
        `GraphFormats` for a graph; see `formats_for`.
    method
        `weights`: scales from the weights alone; `search`: scales searched on `training`; `qat`: fine-tuned on it.
    connectivity
        Upper limit on the fraction of non-zero weights; the smallest are removed. None: no limit.
    resume
        File for the state of a fine-tuning, so that an interrupted one resumes. Remove it when the network is saved.
    on_epoch, progress, on_resume
        Called with the row of each epoch; with the number of each candidate of a search and their total; with the
        number of epochs that an interrupted run had done.
    anew
        Whether the state of another run (other data, checkpoint, settings or sources) is removed, not refused.
    fine_tuning
        Fields of `QatConfig` that differ from those of the training; None: as trained.

    Raises
    ------
    UserError
        `checkpoint` was trained on images that fine-tuning holds out; formats, data or `resume` do not fit.
    """
    score = _score(checkpoint, training) if method == "search" else None
    tune: Callable[..., QuantizedNetwork]
    if isinstance(formats, GraphFormats):
        graph = fold_graph(checkpoint)
        if connectivity is not None:
            graph = thinned_graph(graph, formats, connectivity)
        if method != "qat":
            return quantize_graph(graph, formats, score, progress=progress)
        units = weight_units(graph, formats)
        tune = partial(_qat().fine_tune_network, at_units(graph, formats, units), reals_of(graph, formats, units))
    else:
        network = fold(checkpoint)
        if connectivity is not None:
            network = thinned(network, formats, connectivity)
        if method != "qat":
            return post_training(network, formats, score, rounds=1, progress=progress)
        tune = partial(_qat().fine_tune, network, formats)

    from ..model.resume import of_this_run
    from ..quantize.config import QatConfig

    own = {name: value for name, value in fine_tuning.items() if value is not None}
    config = QatConfig.as_trained(checkpoint.config, **own)
    held_out = split(training, config.held_out, config.held_out_group)[1]
    if config.held_out_group is None:
        require_unseen(len(held_out), training.digest, checkpoint.origin)
    work = partial(tune, training, config, resume=resume, on_epoch=on_epoch, on_resume=on_resume)
    found: QuantizedNetwork = of_this_run(work, resume) if anew and resume is not None else work()
    _check_claim(found, held_out)
    return found


def require_calibration(checkpoint: Checkpoint, training: AnyData, images: int) -> None:
    """`UserError` if `checkpoint` was not converted from a network of activations, or was trained on fewer images."""
    accepted = "not given: gradrtl convert has not written this checkpoint"
    require(checkpoint.conversion is not None, "calibrate", images, accepted)
    most = len(_parts(checkpoint, training)[0])
    require(1 <= images <= most, "calibrate", images, f"1 to {most}, the images that were trained on")


class Calibrated(NamedTuple):
    """The calibrated network, and the fraction of held-out images that is classified right `before` and `after`."""

    network: QuantizedNetwork
    before: float
    after: float


def calibrate(
    checkpoint: Checkpoint,
    network: QuantizedNetwork,
    training: AnyData,
    images: int,
    progress: Callable[[int, int], None] | None = None,
) -> Calibrated:
    """Calibrate `network`, which `quantise` has made of `checkpoint`, on the first `images` that were trained on.

    See `quantize.calibration`. `progress` is called with the number of each measurement of rates and their total.
    `UserError` as of `require_calibration`.
    """
    from ..model.conversion import STARTS, mean_activations

    require_calibration(checkpoint, training, images)
    assert checkpoint.conversion is not None
    seen, held_out = _parts(checkpoint, training)
    frames, activations = frames_for(network, seen[:images]), mean_activations(checkpoint, seen[:images].images)

    def rates(now: QuantizedNetwork, name: str) -> np.ndarray:
        index = [population.name for population in now.populations].index(name)
        blocks = engine.blocks(now, frames, trace="spikes")
        traces = (outcome.trace for _, outcome in blocks)
        spikes = sum(trace.spikes[index].sum(axis=(0, 1), dtype=np.int64) for trace in traces if trace is not None)
        return np.asarray(spikes) / (images * now.steps)

    found = calibrated(network, activations, rates, progress)
    note = {"images": images, "start": STARTS[checkpoint.conversion[0]]}
    found = replace(found, notes={**found.notes, NOTE: note})
    return Calibrated(found, accuracy(network, held_out), accuracy(found, held_out))


def _qat() -> ModuleType:
    """Fine-tuning; torch takes a second to import."""
    from ..quantize import qat

    return qat


def _check_claim(found: QuantizedNetwork, held_out: AnyData) -> None:
    """What fine-tuning says of the network is what the engine finds: the two are the same arithmetic."""
    claimed, reached = found.notes["qat"]["validation"], accuracy(found, held_out)
    require(claimed == reached, "validation accuracy of the fine-tuned module", claimed, f"{reached}, the engine's")


def _score(checkpoint: Checkpoint, training: AnyData) -> Callable[[QuantizedNetwork], float]:
    """What a search of the scales maximises: the accuracy on some of the images that were trained on."""
    some = _parts(checkpoint, training)[0][:SEARCH_IMAGES]
    return lambda candidate: accuracy(candidate, some)


def _parts(checkpoint: Checkpoint, training: AnyData) -> tuple[AnyData, AnyData]:
    """What `checkpoint` was trained on, and what was held out."""
    config = TrainConfig.from_json(checkpoint.config)
    seen, held_out = split(training, config.held_out, config.held_out_group)
    return seen[: config.images], held_out


def accuracy(network: QuantizedNetwork, data: AnyData) -> float:
    """Fraction of `data` that the integer network classifies correctly."""
    return judged(network, data).accuracy


class Judged(NamedTuple):
    """The fraction of correct answers, the `classes` that were answered, int64 `[n]`, and notes on the network."""

    accuracy: float
    classes: np.ndarray
    notes: list[str]


def judged(network: QuantizedNetwork, data: AnyData) -> Judged:
    """What the integer network answers; notes if it has gone silent or answers one class."""
    made = engine.run(network, frames_for(network, data))
    notes = on_rates(network) + on_answers(made.classes, made.counts, data.labels)
    return Judged(float((made.classes == data.labels).mean()), made.classes, notes)
