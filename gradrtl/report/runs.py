"""The report of each command, from its figures and from what it worked on."""

from __future__ import annotations

from collections.abc import Mapping as Figures
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from ..sim.compare import Difference
from ..sim.traces import Traced
from . import sections
from .page import Report, Section, Table, Verdict, links
from .sections import number

Targets = Sequence[tuple[Path | None, str]]


def verification(
    path: Path,
    figures: Figures[str, Any],
    mapping: Mapping,
    frames: Any,
    traced: Sequence[Traced],
    difference: Difference | None,
    targets: Targets = (),
) -> Report:
    """Of `gradrtl verify`, to be written to `path`. `traced`: the frames that are drawn; `targets`: files, and what
    each is.
    """
    network = mapping.network
    return Report(
        "Verilog compared with its simulator",
        compared(figures),
        sections.facts(
            figures["data"], figures["command"], str(figures["network"]), figures["digest"],
            placement=figures["placement"],
        ),
        (
            _first_difference(figures, network, difference),
            sections.answers(figures, network, frames),
            sections.traces(traced, network, "simulator", difference),
            sections.activity(figures.get("activity") or ()),
            sections.cycles(figures),
            sections.hardware(mapping),
            sections.graph(network),
            files_of(path, targets),
        ),
        tuple(figures["notes"]),
    )  # fmt: skip


def compared(figures: Figures[str, Any]) -> Verdict:
    """The verdict of a comparison."""
    if figures["passed"]:
        what = f"{number(figures['spikes'])} spikes and {number(figures['membranes'])} membranes"
        if not figures["membranes"]:
            what = "all classes and sums"
        predicted = figures["frames_with_predicted_cycles"]
        cycles = f", and the cycles of {number(predicted)} frames are as predicted" if predicted else ""
        return Verdict(
            "pass",
            f"The Verilog computes what the simulator computes. In {number(figures['frames'])} frames {what} are "
            f"equal{cycles}.",
        )
    if figures["difference"]:
        return Verdict("fail", f"The Verilog differs from the simulator. First difference: {figures['difference']}.")
    return Verdict("fail", f"The Verilog violates its protocol or does not finish: {figures['fault']}.")


def _first_difference(figures: Figures[str, Any], network: QuantizedNetwork, difference: Difference | None) -> Section:
    if figures["passed"]:
        return Section("First difference", ())
    told = (
        f"Compared until then: {number(figures['frames'])} frames, {number(figures['spikes'])} spikes, "
        f"{number(figures['membranes'])} membranes. All numbers count from 0."
    )
    if difference is None:
        return Section("What went wrong", (f"{figures['fault']}.", told, f"Repeat with: {figures['command']}"))
    places: list[tuple[str, str]] = [("frame", str(difference.frame))]
    if difference.step is not None:
        places.append(("step", str(difference.step)))
    if difference.layer is not None:
        places.append(("population", f"{network.populations[difference.layer].name} (number {difference.layer})"))
    if difference.neuron is not None:
        places.append(("neuron" if difference.layer is not None else "class", str(difference.neuron)))
    places += [
        ("quantity", difference.quantity),
        ("in the simulator", str(difference.expected)),
        ("in the Verilog", str(difference.got)),
    ]
    table = Table("Where it is, and the values", ("", "value"), tuple(places))
    return Section("First difference", (table, told, f"Repeat with: {figures['command']}"))


def files_of(path: Path, targets: Targets) -> Section:
    """Links from a report at `path` to the `targets` that exist."""
    found = links(path, targets)
    return Section("Files", (found,) if found.files else ())
