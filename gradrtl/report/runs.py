"""The report of each command, from its figures and from what it worked on."""

from __future__ import annotations

from collections.abc import Mapping as Figures
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model.checkpoint import Checkpoint
from ..model.recordings import AnyData
from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from ..sim.compare import Difference
from ..sim.traces import Traced
from . import sections
from .page import Report, Section, Table, Verdict, links
from .sections import number, percent

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


def simulation(
    path: Path,
    figures: Figures[str, Any],
    network: QuantizedNetwork,
    frames: Any,
    traced: Sequence[Traced],
    targets: Targets = (),
) -> Report:
    """Of `gradrtl simulate`; arguments as for `verification`."""
    accuracy = figures["accuracy"]
    unit = "step" if network.stream else "frame"
    right = "" if accuracy is None else f" {percent(accuracy)} are classified correctly."
    return Report(
        "Simulation of an integer network",
        Verdict("done", f"{number(figures['images'])} {unit}s ran in the bit-accurate simulator.{right}"),
        sections.facts(figures["data"], figures["command"], str(figures["network"]), figures["digest"]),
        (
            sections.answers(figures, network, frames),
            sections.readouts(figures["readouts"]),
            sections.traces(traced, network, "simulator", None),
            sections.operations(figures, unit),
            sections.energy(figures),
            sections.graph(network),
            files_of(path, targets),
        ),
        tuple(figures["notes"]),
    )


def training(
    path: Path, figures: Figures[str, Any], checkpoint: Checkpoint, test: AnyData, targets: Targets = ()
) -> Report:
    """Of `gradrtl train`, with the answers on the `test` set."""
    return Report(
        "Training of a sparse network",
        Verdict(
            "done",
            f"Trained for {number(len(figures['history']))} epochs. {percent(figures['accuracy'])} of the test set are "
            f"classified correctly, with {percent(figures['connectivity'])} of the weights.",
        ),
        sections.facts(str(figures["data"]), figures["command"], str(figures["checkpoint"])),
        (
            sections.training(figures["history"]),
            sections.answers(figures, samples=test.images),
            sections.layers(figures["history"]),
            sections.settings(checkpoint.config),
            files_of(path, targets),
        ),
    )


def conversion(
    path: Path, figures: Figures[str, Any], checkpoint: Checkpoint, held_out: AnyData, targets: Targets = ()
) -> Report:
    """Of `gradrtl convert`, with the answers on the `held_out` images."""
    accuracy, before = figures["accuracy"], figures["activations_accuracy"]
    steps = figures["steps"]
    return Report(
        "A network of activations as spikes",
        Verdict(
            "done",
            f"After {number(steps[-1])} steps {percent(accuracy[-1])} of the held-out images are classified correctly; "
            f"the network of activations classifies {percent(before)}.",
        ),
        sections.facts(str(figures["data"]), figures["command"], str(figures["checkpoint"])),
        (
            sections.closeness(figures),
            sections.answers(figures, samples=held_out.images),
            sections.training(figures["history"]),
            sections.layers(figures["history"]),
            sections.settings(checkpoint.config),
            files_of(path, targets),
        ),
    )


def quantisation(
    path: Path,
    figures: Figures[str, Any],
    checkpoint: Checkpoint,
    network: QuantizedNetwork,
    frames: Any,
    targets: Targets = (),
) -> Report:
    """Of `gradrtl quantize`. `frames`: of the test set; the others as for `verification`."""
    change = 100 * (figures["accuracy"] - figures["accuracy_before"])
    rows = [
        ("accuracy, test set", percent(figures["accuracy_before"]), percent(figures["accuracy"])),
        ("connectivity", percent(figures["connectivity_before"]), percent(figures["connectivity"])),
        ("weight bits", "32, floating point", number(figures["weight_bits"])),
    ]
    made = figures.get("calibration")
    if made is not None:
        rows.append(("held-out accuracy, calibration", percent(made["before"]), percent(made["after"])))
    notes = network.notes.get("qat") or {}
    return Report(
        "A network in integers",
        Verdict(
            "done",
            f"{number(figures['weight_bits'])}-bit weights classify {percent(figures['accuracy'])} of the test set "
            f"correctly, {change:+.2f} points against the trained network.",
        ),
        sections.facts(str(figures["data"]), figures["command"], str(figures["output"]), figures["digest"]),
        (
            Section("Before and after", (Table("Trained and quantised", ("", "before", "after"), tuple(rows)),)),
            sections.answers(figures, network, frames),
            sections.formats(network),
            sections.settings({name: value for name, value in notes.items() if name != "history"}, "Fine-tuning"),
            sections.graph(network),
            files_of(path, targets),
        ),
        tuple(figures["notes"]),
    )


def synthesis(
    path: Path, figures: Figures[str, Any], network: QuantizedNetwork, mapping: Mapping | None, targets: Targets = ()
) -> Report:
    """Of `gradrtl synth`; of a design that does not fit, `figures` has `refused` instead of what the tools report.

    `mapping`: None if no plan fits.
    """
    return Report(
        f"A network on {figures['part']}",
        _built(figures),
        sections.facts(figures["data"], figures["command"], str(figures["network"]), figures["digest"]),
        (
            sections.device(figures),
            sections.activity(figures.get("activity") or ()),
            sections.energy(figures),
            Section("Hardware", ()) if mapping is None else sections.hardware(mapping),
            sections.graph(network if mapping is None else mapping.network),
            files_of(path, targets),
        ),
    )


def _built(figures: Figures[str, Any]) -> Verdict:
    part = figures["part"]
    if figures.get("refused"):
        return Verdict("fail", f"The design does not fit {part}: {figures['refused']}.")
    if not figures["placed"]:
        return Verdict("done", f"Synthesised for {part}; there is no open place and route for it, so no frequency.")
    speed = f"The tools report {figures['frequency']} MHz, the board's clock has {figures['clock']} MHz."
    if not figures["bitstream"]:
        return Verdict("fail", f"The design fits {part}, but is too slow for the board. {speed} There is no bitstream.")
    rate = number(figures["frames_per_second_at_board_clock"])
    return Verdict("pass", f"The design fits {part} and is fast enough: {rate} frames/s on the board. {speed}")


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
