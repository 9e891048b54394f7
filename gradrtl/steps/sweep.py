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
from ..errors import require
from ..files import whole, write_text
from ..model.config import TrainConfig
from ..model.data import Dataset, load
from ..model.recordings import split
from ..quantize.rounding import Formats
from ..store import Store
from .explore import Named, made_from
from .quantise import accuracy, formats_for, quantise

METHODS = ("weights", "search", "qat")
FORMATS = ("input_bits", "per_channel", "membrane_fraction", "membrane_bits", "decay_bits")  # fields of `Formats`
RESULTS = "results.jsonl"  # file of a sweep: what it has found, a line each


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
        Formats(**self.formats)  # which refuses what cannot be
        require(self.method in METHODS, "method", self.method, ", ".join(METHODS))
        tuned = self.method == "qat" or self.epochs is None
        require(tuned, "epochs", self.epochs, f"left out for the method {self.method}")

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
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "setting"}
        columns = {field.name: field.name for field in fields(Setting)} | {"connectivity": "connectivity_limit"}
        asked = {column: getattr(self.setting, name) for name, column in columns.items()}
        return {"checkpoint": own.pop("checkpoint")} | asked | own


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
    """Quantise, and count the held-out images that are classified correctly."""
    asked, found = task.setting, task.checkpoint.load()
    if asked.steps is not None:
        found = replace(found, network=replace(found.network, steps=asked.steps))
    formats = formats_for(found, **asked.formats)
    training = _training(task.folder)
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
) -> list[Row]:
    """Quantise each of `checkpoints` in each way that is asked for.

    Results are kept in `out/results.jsonl`, which several processes may share, and those asked for are written to
    `out/results.csv` and `out/results.json`. `progress` is called with the number of those that are new, `say` now and
    then with a line.
    """
    named = [Named.of(path) for path in dict.fromkeys(checkpoints)]
    todo = {task.key: task for task in (Task(one, setting, folder) for one in named for setting in asked)}
    code = partial(made_from, folder)
    with Store(out / RESULTS, "setting", code()) as store:
        progress(sum(key in store.lines for key in todo))
        for _ in run(work, todo, cluster, store=store, code=code, say=say):
            progress(1)
        rows = [Row(task.checkpoint.path, task.setting, **store.value(store.lines[key])) for key, task in todo.items()]
    with whole(out / "results.csv") as part, part.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0].values))
        table.writeheader()
        table.writerows(row.values for row in rows)
    write_text(out / "results.json", json.dumps([row.values for row in rows], indent=1) + "\n")
    return rows
