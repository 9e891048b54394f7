"""A sweep of quantisation settings: bits against accuracy on held-out images. The test images have no say."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from ..cluster import Cluster, run
from ..errors import UserError, require
from ..files import whole, write_text
from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.data import Dataset, load
from ..model.recordings import fit, split
from ..quantize.rounding import Formats
from ..shapes import LARGEST_STEPS
from ..store import Store
from .explore import Named, made_from
from .quantise import accuracy, formats_for, quantise

METHODS = ("weights", "search", "qat")
FORMATS = ("input_bits", "per_channel", "membrane_fraction", "membrane_bits", "decay_bits")  # fields of `Formats`
RESULTS = "results.jsonl"  # file of a sweep: what it has found, a line each
FIGURES = ("accuracy", "connectivity", "synapses", "weight_memory", "digest")  # of a row
REFUSED = "refused"  # what a result has in their place: why there is no network


@dataclass(frozen=True)
class Setting:
    """How a checkpoint is quantised; fields as the options of `gradrtl quantize`. None: its default there."""

    bits: int
    method: str = "weights"
    steps: int | None = None
    input_bits: int = 8
    per_channel: bool = False
    membrane_fraction: int | None = None
    membrane_bits: int | None = None
    decay_bits: int | None = None
    connectivity: float | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        Formats(**self.formats)  # which refuses what no network can have
        steps, part, epochs = self.steps, self.connectivity, self.epochs
        require(steps is None or 1 <= steps <= LARGEST_STEPS, "steps", steps, f"1 to {LARGEST_STEPS}")
        require(part is None or 0 < part <= 1, "connectivity", part, "above 0, at most 1")
        require(epochs is None or epochs >= 0, "epochs", epochs, "0 or above")
        require(self.method in METHODS, "method", self.method, ", ".join(METHODS))
        tuned = self.method == "qat" or epochs is None
        require(tuned, "epochs", epochs, f"left out for the method {self.method}")

    @property
    def formats(self) -> dict[str, Any]:
        """The number formats, without those that are left to their defaults."""
        given = {name: getattr(self, name) for name in FORMATS}
        return {"weight_bits": self.bits} | {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        asked = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        told = [(name.replace("_", "-"), value) for name, value, default in asked if value != default]
        return ", ".join(name if value is True else f"{name} {value}" for name, value in told)


@dataclass(frozen=True)
class Row:
    """A quantised network.

    `accuracy`: on the training images held out, 0 to 1. `synapses`: weights that are not zero; `weight_memory`: their
    bits.
    """

    checkpoint: str
    setting: Setting
    accuracy: float
    connectivity: float
    synapses: int
    weight_memory: int
    digest: str

    @property
    def values(self) -> dict[str, Any]:
        """A line of the table; `connectivity_limit` is what was asked for, `connectivity` what came of it."""
        return _asked(self.checkpoint, self.setting) | {name: getattr(self, name) for name in FIGURES}


@dataclass(frozen=True)
class Refused:
    """A combination for which there is no network, and why."""

    checkpoint: str
    setting: Setting
    reason: str

    def __str__(self) -> str:
        return f"{self.checkpoint}, {self.setting}: {self.reason}"

    @property
    def values(self) -> dict[str, Any]:
        return _asked(self.checkpoint, self.setting) | {"reason": self.reason}


def _asked(checkpoint: str, setting: Setting) -> dict[str, Any]:
    columns = {field.name: field.name for field in fields(Setting)} | {"connectivity": "connectivity_limit"}
    return {"checkpoint": checkpoint} | {column: getattr(setting, name) for name, column in columns.items()}


def settings(**lists: Sequence[Any]) -> list[Setting]:
    """Every combination of the values of each field. `epochs` are of the method qat alone: refused without it."""
    if "qat" not in lists.get("method", ()):
        asked = [epochs for epochs in lists.get("epochs", ()) if epochs is not None]
        require(not asked, "epochs", ", ".join(map(str, asked)), "left out without the method qat")
    found = []
    for values in product(*lists.values()):
        given = dict(zip(lists, values, strict=True))
        if given.get("method", "weights") != "qat":
            given["epochs"] = None
        found.append(Setting(**given))
    return list(dict.fromkeys(found))


def front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other one beats in bits of weights or accuracy, fewest bits first."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.weight_memory, -row.accuracy)):
        if not best or row.accuracy > best[-1].accuracy:
            best.append(row)
    return best


@dataclass(frozen=True)
class Task:
    checkpoint: Named
    setting: Setting
    folder: Path

    def __str__(self) -> str:
        return f"{self.checkpoint.path} with {self.setting}"

    @property
    def key(self) -> str:
        return json.dumps([self.checkpoint.content, *astuple(self.setting)])


def work(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """What is found of each task, in a worker."""
    return [quantised(task) for task in tasks]


def quantised(task: Task) -> dict[str, Any]:
    """Quantise, and count the held-out images that are classified correctly; or why this checkpoint cannot be so."""
    found, training = task.checkpoint.load(), _training(task.folder)
    training = fit(training, found.network, "training set")
    try:
        return _figures(found, task.setting, training)
    except UserError as error:
        return {REFUSED: str(error)}


def _figures(found: Checkpoint, asked: Setting, training: Dataset) -> dict[str, Any]:
    if asked.steps is not None:
        found = replace(found, network=replace(found.network, steps=asked.steps))
    formats = formats_for(found, **asked.formats)
    tuning: dict[str, Any] = {} if asked.epochs is None else {"epochs": asked.epochs}
    network = quantise(found, formats, training, asked.method, connectivity=asked.connectivity, **tuning)
    config = TrainConfig.from_json(found.config)
    synapses = sum(network.notes["synapses"]["kept"])
    return {
        "accuracy": accuracy(network, split(training, config.held_out, config.held_out_group)[1]),
        "connectivity": round(network.connectivity, 6),
        "synapses": synapses,
        "weight_memory": synapses * asked.bits,
        "digest": network.digest,
    }


@cache
def _training(folder: Path) -> Dataset:
    return load(folder)[0]


def sweep(
    checkpoints: Sequence[str],
    asked: Sequence[Setting],
    folder: Path,
    out: Path,
    cluster: Cluster,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] | None = None,
) -> tuple[list[Row], list[Refused]]:
    """Quantise each of `checkpoints` in each way that is asked for.

    Returns the networks, and the combinations without one, which end nothing. Results are kept in `out/results.jsonl`,
    which several processes may share, and those asked for are written to `out/results.csv` and `out/results.json`: in
    both, `refused` is the reason where there is no network, and figures are empty there. `progress` is called with the
    number of those that are new, `say` now and then with a line.
    """
    named = [Named.of(path) for path in dict.fromkeys(checkpoints)]
    todo = {task.key: task for task in (Task(one, setting, folder) for one in named for setting in asked)}
    code = partial(made_from, folder)
    with Store(out / RESULTS, "setting", code()) as store:
        progress(sum(key in store.lines for key in todo))
        for _ in run(work, todo, cluster, store=store, code=code, say=say):
            progress(1)
        found = [_result(task, store.value(store.lines[key])) for key, task in todo.items()]
    lines = [_line(one) for one in found]
    with whole(out / "results.csv") as part, part.open("w", newline="") as file:
        table = csv.DictWriter(file, list(lines[0]))
        table.writeheader()
        table.writerows(lines)
    write_text(out / "results.json", json.dumps(lines, indent=1) + "\n")
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Refused)]


def _result(task: Task, value: dict[str, Any]) -> Row | Refused:
    if REFUSED in value:
        return Refused(task.checkpoint.path, task.setting, value[REFUSED])
    return Row(task.checkpoint.path, task.setting, **value)


def _line(one: Row | Refused) -> dict[str, Any]:
    """A line of `results.csv` and `results.json`: the same columns with and without a network."""
    if isinstance(one, Row):
        return one.values | {REFUSED: None}
    return _asked(one.checkpoint, one.setting) | dict.fromkeys(FIGURES) | {REFUSED: one.reason}
