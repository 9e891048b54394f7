"""What frames came to, as plain values for --json and reports: answers, and the work of each core."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from ..sim.activity import activity
from ..sim.energy import dense, estimate
from ..sim.measure import measure
from ..sim.operations import count
from .frames import DATA, Chosen
from .simulate import some_of

FIRST_WRONG = 24  # misclassified frames that are listed


def judgement(found: np.ndarray, labels: np.ndarray | None, classes: int) -> dict[str, Any]:
    """What the answers `found`, int `[n]`, are worth; nothing without labels. More labels than answers are left out.

    `confusion`: number of frames by label and answer, `[classes][classes]`. `wrong`: the first `FIRST_WRONG`
    misclassified frames, each with `frame`, `label` and `answer`.
    """
    if labels is None:
        return {}
    labels = labels[: len(found)].astype(np.int64)
    answers = np.asarray(found, np.int64)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    wrong = np.flatnonzero(labels != answers)[:FIRST_WRONG]
    rows = [{"frame": int(n), "label": int(labels[n]), "answer": int(answers[n])} for n in wrong]
    return {"confusion": confusion.tolist(), "wrong": rows}


def worth_drawing(found: np.ndarray, labels: np.ndarray | None) -> list[int]:
    """The numbers of the first frame and of the first misclassified one."""
    wrong = [] if labels is None else np.flatnonzero(found != labels[: len(found)])[:1].tolist()
    return sorted({0, *wrong})


def energy_of(network: QuantizedNetwork, frames: Any) -> dict[str, float]:
    """Estimates of energy for `some_of` the `frames`, and for the dense network."""
    return {
        "energy_nj": estimate(network, count(network, some_of(network, frames))).nanojoules,
        "dense_energy_nj": dense(network).nanojoules,
    }


def work_of(mapping: Mapping, frames: Any) -> list[dict[str, Any]]:
    """The `sim.activity.Activity` of each core in `some_of` the `frames`."""
    some = some_of(mapping.network, frames)
    return [
        {**asdict(one), "utilisation": one.utilisation, "waiting": one.waiting}
        for one in activity(measure(mapping, some))
    ]


def data_text(chosen: Chosen, number: int, stream: bool = False) -> str:
    """Where `number` frames, or the steps of a stream, come from, in words."""
    folder: Path | str | None = chosen.frames or chosen.folder
    if folder is None:
        folder = DATA if DATA.is_dir() else "images of the package"
    what = "steps" if stream else "frames" if chosen.frames else "test images"
    return f"{folder}, the first {number} {what}"
