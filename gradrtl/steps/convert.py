"""Conversion: from images, by a network of activations, to a checkpoint of integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib

from ..archive import kind_of
from ..errors import UserError, require, require_not_given, within
from ..model.checkpoint import Checkpoint
from ..model.conversion import Closeness
from ..model.data import Dataset, split
from ..model.description import Network
from ..model.float_teacher import KIND as TEACHER
from ..model.float_teacher import FloatTeacher
from ..model.graph import Graph
from ..model.relu_config import LONGEST, First, ReluConfig
from ..model.relu_graph import MOST_LEVELS
from ..quantize.network import QuantizedNetwork
from ..quantize.network_file import KIND
from ..quantize.plots import draw
from ..quantize.relus import read_unit, relus_of
from .train import CHECKPOINTS, start_of

matplotlib.use("Agg")

BATCHES = {"cpu": 100, "cuda": 500}  # images that run at once where closeness is measured
STATE_DICTS = (".pt", ".pth")
ACCURACY, ERRORS, RATES = "accuracy.svg", "errors.svg", "rates.svg"  # in the folder of a conversion
PLOTS = {ACCURACY: "accuracy by steps", ERRORS: "errors by steps", RATES: "rates over activations"}


@dataclass(frozen=True)
class Converted:
    """The spiking network, and how close it comes to that of activations on held-out images."""

    checkpoint: Checkpoint
    closeness: Closeness
    held_out: Dataset


def convert(
    config: ReluConfig,
    training: Dataset,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    command: str = "",
    device: str = "cpu",
    start: Checkpoint | None = None,
    teachers: Sequence[Checkpoint | FloatTeacher] = (),
    on_resume: Callable[[int], None] | None = None,
    first: First = "given",
    longest: int = LONGEST,
) -> Converted | None:
    """Train as `config` says on the training set, and convert; None in processes of `torchrun` that do not lead.

    The other arguments are those of `train_relu`. Closeness is measured on the images that `config` holds out, at the
    powers of two up to `longest` steps.
    """
    from ..model.conversion import closeness, powers
    from ..model.conversion import convert as converted
    from ..model.relu_train import train_relu
    from ..model.workers import leads, part

    trained = train_relu(config, training, out, on_epoch, device, start, teachers, on_resume, first)
    part()
    if not leads():
        return None
    made = converted(trained, config, command)
    held_out = split(training, config.held(len(training)))[1]
    where = next(trained.network.parameters()).device
    found = closeness(trained.network, made, held_out, powers(longest), batch=BATCHES[where.type], device=where)
    return Converted(made, found, held_out)


def start_from(
    path: Path, description: Network | Graph | None, shape: tuple[int, ...], framework: str | None,
    changes: dict[str, Any], steps: int,
) -> Checkpoint:  # fmt: skip
    """The network of activations in a file: a state dict with the weights of `description`, a NIR file, a checkpoint or
    an integer network.

    `shape`, `framework`, `changes` and `steps` are those of `steps.train.start_of`.

    Raises
    ------
    UserError
        The file cannot be read, or has other layers, or neurons that are no ReLUs.
    """
    from ..model.relu_start import of_state_dict, started

    if path.suffix in STATE_DICTS or is_network(path):
        require_not_given({"framework": framework, **changes}, "with a NIR file alone")
    if path.suffix in STATE_DICTS:
        if description is None:
            raise UserError.of("network", None, f"--network or --layers beside {path}, which has weights alone")
        return of_state_dict(path, description)
    if is_network(path):
        return relus_of(QuantizedNetwork.load(path), description)
    require(
        description is None, "network", getattr(description, "name", None), f"not given beside {path}, which has it"
    )
    is_checkpoint = path.suffix == CHECKPOINTS
    start = start_of(path, shape, framework, changes, None if is_checkpoint else steps, None)
    return started(start.network, start.arrays)


def teacher_from(path: Path) -> Checkpoint | FloatTeacher:
    """What a file teaches: a network that only teaches, a converted checkpoint, or an integer network with a level for
    each of its steps.

    Raises
    ------
    UserError
        The file cannot be read, or the network has neurons that are no ReLUs.
    """
    kind = kind_of(path)
    if kind == TEACHER:
        return FloatTeacher.load(path)
    if kind != KIND:
        return Checkpoint.load(path)
    network = QuantizedNetwork.load(path)
    with within(f"teacher {path}"):
        made = relus_of(network)
        known = read_unit(network) is not None
        require(known, "read-out", "without what its sums are worth", "a network that quantize made of a conversion")
    return replace(made, figures={"conversion": {"method": "shift", "levels": min(made.network.steps, MOST_LEVELS)}})


def is_network(path: Path) -> bool:
    """Whether a file has an integer network."""
    return path.suffix == CHECKPOINTS and kind_of(path) == KIND


def accuracy_of(start: Checkpoint, method: str, config: ReluConfig, training: Dataset) -> float:
    """Of the network of activations of `method`: the fraction of held-out images that it classifies right."""
    from ..model.relu import network_from
    from ..model.relu_train import accuracy

    return accuracy(network_from(start, method, config.levels), split(training, config.held(len(training)))[1], "cpu")


def table(found: Closeness) -> str:
    """The accuracies and errors as lines of text, a column for each number of steps."""
    rows = [("T", *(str(steps) for steps in found.steps)), ("accuracy, %", *(f"{100 * a:.2f}" for a in found.accuracy))]
    rows += [(f"error of {name}", *(f"{error:.4f}" for error in errors)) for name, errors in found.errors.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, f"network of activations: {100 * found.activations_accuracy:.2f} %"])


def write(found: Closeness, out: Path) -> list[tuple[Path, str]]:
    """Write the plots of a conversion: accuracy and errors by step, and activations against firing rates by layer.

    Returns their files, and what each shows. A network without hidden layers has accuracies alone.
    """
    points = [(float(steps), 100 * a) for steps, a in zip(found.steps, found.accuracy, strict=True)]
    level = {"network of activations": 100 * found.activations_accuracy}
    draw({"integrate-and-fire neurons": points}, out / ACCURACY, xlabel="time steps T", ylabel="held-out images, %",
         levels=level, logarithmic=True)  # fmt: skip
    if not found.errors:
        return [(out / ACCURACY, PLOTS[ACCURACY])]
    curves = {name: list(zip(map(float, found.steps), errors, strict=True)) for name, errors in found.errors.items()}
    draw(curves, out / ERRORS, xlabel="time steps T", ylabel="mean |rate - activation|", logarithmic=True)
    _rates(found, out / RATES)
    return [(out / name, shown) for name, shown in PLOTS.items()]


def _rates(found: Closeness, path: Path) -> None:
    """A panel for each layer: firing rate after the last step over activation, both in units of the threshold."""
    from matplotlib import pyplot

    names = list(found.rates)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context({"svg.hashsalt": "gradrtl", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(2.6 * columns, 2.4 * rows), layout="constrained", squeeze=False
        )
        for panel, name in zip(axes.flat, names, strict=False):
            panel.plot([0, 1], [0, 1], color="#dddddd", linewidth=1)
            panel.plot(found.activations[name], found.rates[name], ".", markersize=2, color="#0072b2", rasterized=True)
            panel.set_title(name, loc="left", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
        for panel in axes.flat[len(names) :]:
            panel.set_visible(False)
        figure.supxlabel("activation / threshold")
        figure.supylabel(f"firing rate over {found.steps[-1]} steps")
        figure.savefig(path, dpi=100, metadata={"Date": None})
        pyplot.close(figure)
