"""Accuracy against weight bits: one network, several ways to quantise it, 2 to 8 bits; a table and a plot.

A sweep keeps each network in a folder and makes none twice, so it may be interrupted at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import require
from .fold import FloatNetwork
from .network import WEIGHT_BITS, QuantizedNetwork
from .plots import draw
from .rounding import Formats

Method = Callable[[FloatNetwork, Formats], QuantizedNetwork]


@dataclass(frozen=True)
class Row:
    """One network of a sweep. `accuracy` is 0 to 1; `connectivity` is that after rounding."""

    method: str
    bits: int
    accuracy: float
    connectivity: float


def sweep(
    network: FloatNetwork,
    methods: dict[str, Method],
    accuracy: Callable[[QuantizedNetwork], float],
    folder: Path,
    *,
    formats: Formats = Formats(),  # noqa: B008 (frozen)
    bits: Iterable[int] = WEIGHT_BITS,
    made_from: dict[str, Any] | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Quantise `network` by each of `methods` (by name) to each of `bits`, in `formats` otherwise.

    The networks are kept in `folder` as `<method>-<bits>bit.npz` and read from there if they exist. `made_from`, JSON
    values, is all else that determines them (data, settings of the methods): networks with another one are refused.
    """
    rows = []
    noted = {**network.notes, **({} if made_from is None else {"made_from": made_from})}
    for name, method in methods.items():
        for width in bits:
            wanted = replace(formats, weight_bits=width)
            path = folder / f"{name}-{width}bit.npz"
            if path.exists():
                found = QuantizedNetwork.load(path)
                for note, value in (("formats", asdict(wanted)), *noted.items()):
                    same = found.notes.get(note) == value
                    require(
                        same, f"{path} {note}", found.notes.get(note), f"{value}: delete it, or take another folder"
                    )
            else:
                found = method(network, wanted)
                found = replace(found, notes={**found.notes, **noted})
                found.save(path)
            counted = found.notes["synapses"]
            row = Row(name, width, accuracy(found), sum(counted["kept"]) / sum(counted["places"]))
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


def markdown(rows: Sequence[Row], float_accuracy: float | None = None) -> str:
    """A Markdown table of accuracies in per cent: a row per width, a column per method."""
    methods = list(dict.fromkeys(row.method for row in rows))
    accuracy = {(row.method, row.bits): row.accuracy for row in rows}
    lines = ["| bits | " + " | ".join(methods) + " |", "| --- |" + " ---: |" * len(methods)]
    for bits in sorted({row.bits for row in rows}):
        cells = [f"{100 * accuracy[m, bits]:.2f}" if (m, bits) in accuracy else "" for m in methods]
        lines.append(f"| {bits} | " + " | ".join(cells) + " |")
    if float_accuracy is not None:
        lines.append("| float | " + " | ".join([f"{100 * float_accuracy:.2f}"] * len(methods)) + " |")
    return "\n".join(lines) + "\n"


def csv(rows: Sequence[Row]) -> str:
    """One line for each row."""
    lines = [f"{r.method},{r.bits},{r.accuracy:.6f},{r.connectivity:.6f}" for r in rows]
    return "\n".join(["method,bits,accuracy,connectivity", *lines]) + "\n"


def plot(rows: Sequence[Row], path: Path, *, float_accuracy: float | None = None, title: str = "") -> None:
    """Draw accuracy against bits into `path` (.svg or .png); the same rows give the same file."""
    require(len(rows) > 0, "rows", 0, "at least one")
    curves = {
        name: [(float(row.bits), 100 * row.accuracy) for row in rows if row.method == name]
        for name in dict.fromkeys(row.method for row in rows)
    }
    level = {} if float_accuracy is None else {"float": 100 * float_accuracy}
    draw(curves, path, xlabel="weight bits", ylabel="accuracy, %", title=title, levels=level)
