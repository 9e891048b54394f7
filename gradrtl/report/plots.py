"""The charts of a report: lines, bars, histograms, spike rasters and membranes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..quantize.network import QuantizedNetwork
from ..sim.compare import Difference
from ..sim.traces import Traced
from .charts import BAD, FIRST, INK, SECOND, SERIES, chart, logarithmic
from .page import Chart

MOST_BANDS = 6  # populations in a raster
MOST_ROWS = 32  # neurons of a population in a raster
MOST_SPIKES = 1200  # of a population in a raster
MOST_STEPS = 200  # in a raster, or of a membrane
MOST_NEURONS = 3  # membranes of a population
NAMES = 40  # characters of a name in a chart


def line(
    title: str, description: str, x: str, y: str, xs: Sequence[float], ys: Sequence[float], log: bool = False
) -> Chart:
    """One quantity over another."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(xs, ys, color=FIRST, marker="o" if len(xs) < 30 else None, markersize=3)
        if log:
            logarithmic(axes, "y")
        if len(xs) == 1:
            axes.set_xlim(xs[0] - 1, xs[0] + 1)  # whole numbers on the axis
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return chart(title, description, draw)


def bars(title: str, description: str, x: str, y: str, values: Sequence[float]) -> Chart:
    """A bar for each of the numbers 0, 1, and so on."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(range(len(values)), values, color=FIRST)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return chart(title, description, draw)


def histograms(title: str, description: str, x: str, y: str, parts: dict[str, Sequence[float]]) -> Chart:
    """Distributions on one axis, by name; each is drawn filled, with an outline of its own."""
    values = [value for part in parts.values() for value in part]
    edges = np.histogram_bin_edges(values, bins=min(40, max(5, len(values) // 5)))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (name, part) in enumerate(parts.items()):
            axes.stairs(np.histogram(part, edges)[0], edges, fill=True, color=SERIES[number], alpha=0.45, label=name)
            axes.stairs(np.histogram(part, edges)[0], edges, color=SERIES[number], linestyle=("-", "--", ":")[number])
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(parts) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=len(parts))

    return chart(title, description, draw)


def steps_of(steps: int, difference: Difference | None) -> range:
    """The steps that are drawn of a frame: all, or the first; with a difference, those around it."""
    if steps <= MOST_STEPS:
        return range(steps)
    middle = 0 if difference is None or difference.step is None else difference.step
    begin = min(max(0, middle - MOST_STEPS // 2), steps - MOST_STEPS)
    return range(begin, begin + MOST_STEPS)


def _spot(difference: Difference | None, number: int) -> tuple[int, int] | None:
    """Neuron and step of a difference in population `number`."""
    if difference is None or difference.layer != number or difference.neuron is None or difference.step is None:
        return None
    return difference.neuron, difference.step


def _bands(network: QuantizedNetwork, difference: Difference | None) -> list[int]:
    """The populations of a raster: those that spike, the one with the difference among them."""
    found = [number for number in network.order if network.populations[number].neuron.spiking]
    special = None if difference is None else difference.layer
    if len(found) > MOST_BANDS:
        spread = np.linspace(0, len(found) - 1, MOST_BANDS).round().astype(int)
        kept = [found[index] for index in spread]
        if special in found and special not in kept:
            kept[1] = special
        found = [number for number in found if number in kept]
    return found


def _neurons(one: Traced, number: int, difference: Difference | None) -> np.ndarray:
    """The neurons of a population in a raster: those that spike in either machine, if there are too many some."""
    spikes = one.expected.spikes[number].astype(bool)
    if one.got is not None:
        spikes = spikes | (one.got.spikes[number].astype(bool) & one.built[number])
    found = np.flatnonzero(spikes.any(axis=0))
    total = int(spikes.sum())
    most = min(MOST_ROWS, max(1, MOST_SPIKES * len(found) // max(1, total)))
    if len(found) > most:
        found = found[np.linspace(0, len(found) - 1, most).round().astype(int)]
    spot = _spot(difference, number)
    if spot is not None:
        found = np.union1d(found, spot[:1])
    return found


def raster(one: Traced, network: QuantizedNetwork, machine: str, difference: Difference | None = None) -> Chart | None:
    """Spikes of one frame, or of some steps of a stream; those of the Verilog over the simulator's. `difference`: the
    first one, if it is in there.

    None if no population spikes. `machine`: what the simulator's spikes are called.
    """
    bands = _bands(network, difference)
    if not bands:
        return None
    drawn = [_neurons(one, number, difference) for number in bands]
    window, offset = steps_of(one.steps, difference), one.offset
    title = f"Spikes of {one.name}"
    counts = ", ".join(
        f"{network.populations[number].name} {int(one.expected.spikes[number].sum())}" for number in bands
    )
    description = (
        f"Time steps {window.start + offset} to {window.stop + offset - 1} from left to right, a row for each neuron "
        "that spikes."
    )
    description += f" Spikes by population in the {machine}: {counts}."
    if one.got is not None:
        differing = one.differing[0]
        description += (
            " The Verilog has the same spikes." if not differing else f" The Verilog differs in {differing} spikes."
        )
    heights = [max(6, len(neurons)) for neurons in drawn]

    def draw(figure: Figure) -> None:
        several = figure.subplots(len(bands), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, number, neurons in zip(several, bands, drawn, strict=True):
            axes.grid(axis="y", visible=False)
            name = network.populations[number].name
            axes.set_title(_short(f"{name}: {len(neurons)} neuron{'s' * (len(neurons) != 1)}", NAMES), pad=3)
            width, alpha = (2.2, 1.0) if one.got is None else (4.5, 0.5)
            _marks(axes, one.expected.spikes[number], neurons, window, offset, FIRST, width, alpha, 0.42, machine)
            if one.got is not None:
                got = one.got.spikes[number] * one.built[number]
                _marks(axes, got, neurons, window, offset, SECOND, 1.6, 1.0, 0.3, "Verilog")
            if spot := _spot(difference, number):
                row = int(np.flatnonzero(neurons == spot[0])[0])
                axes.plot(
                    [spot[1] + offset], [row], "o", color=BAD, fillstyle="none", markersize=11, label="difference"
                )
            axes.set_ylim(max(len(neurons), 1) - 0.2, -0.8)
            axes.set_xlim(window.start + offset - 0.6, window.stop + offset - 0.4)
            rows = sorted({0, len(neurons) // 2, len(neurons) - 1} & set(range(len(neurons))))
            axes.set_yticks(rows, [str(neurons[row]) for row in rows])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        several[-1].set_xlabel("time step")
        _legend(figure, several)

    height = 0.8 + sum(0.35 + 0.065 * rows for rows in heights)
    return chart(title, description, draw, height)


def _marks(
    axes: Axes, spikes: np.ndarray, neurons: np.ndarray, window: range, offset: int, colour: str, width: float,
    alpha: float, half: float, label: str,
) -> None:  # fmt: skip
    """Spikes as short vertical lines, `half` a row up and down: one path for all."""
    steps, rows = np.nonzero(spikes[window.start : window.stop][:, neurons])
    x = np.repeat(steps + window.start + offset, 3).astype(float)
    x[2::3] = np.nan
    y = np.stack([rows - half, rows + half, rows], axis=1).ravel()
    axes.plot(x, y, color=colour, linewidth=width, alpha=alpha, label=label, solid_capstyle="butt")


def membranes(
    one: Traced, network: QuantizedNetwork, number: int, machine: str, difference: Difference | None = None
) -> Chart:
    """Membranes of some neurons of a population in one frame; those of the Verilog over the simulator's."""
    population = network.populations[number]
    values, window = one.expected.membranes[number], steps_of(one.steps, difference)
    drawn = _liveliest(one, number, difference)
    title = f"Membranes of {population.name}, {one.name}"
    told = ", ".join(map(str, drawn))
    description = (
        f"Membrane potentials at the end of each time step, {window.start + one.offset} to "
        f"{window.stop + one.offset - 1}, of neurons {told}."
    )
    if one.got is not None:
        same = all(np.array_equal(values[:, n], one.got.membranes[number][:, n]) for n in drawn)
        description += f" Those of the Verilog {'are the same' if same else 'differ'}."
    xs = np.arange(window.start, window.stop) + one.offset

    def draw(figure: Figure) -> None:
        several = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
        for axes, neuron in zip(several, drawn, strict=True):
            axes.set_title(f"neuron {neuron}", pad=3)
            span = slice(window.start, window.stop)
            axes.plot(
                xs, values[span, neuron], color=FIRST, linewidth=5 if one.got else 1.6, alpha=0.45 if one.got else 1,
                label=machine,
            )  # fmt: skip
            if one.got is not None:
                axes.plot(
                    xs, one.got.membranes[number][span, neuron], color=SECOND, linewidth=1.2, marker=".",
                    markersize=5 if len(xs) < 60 else 0, label="Verilog",
                )  # fmt: skip
            fired = one.expected.spikes[number][span, neuron].astype(bool)
            axes.plot(xs[fired], values[span, neuron][fired], "|", color=INK, markersize=8, label="spike")
            spot = _spot(difference, number)
            if spot is not None and spot[0] == neuron:
                axes.axvline(spot[1] + one.offset, color=BAD, linestyle="--", linewidth=1, label="difference")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, -0.5), max(high, 0.5))  # 0 and whole numbers, of a flat line too
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        several[-1].set_xlabel("time step")
        _legend(figure, several)

    return chart(title, description, draw, 0.85 + 0.9 * len(drawn))


def _liveliest(one: Traced, number: int, difference: Difference | None) -> list[int]:
    """The neurons whose membranes are drawn: that of the difference, then those that spike and move most."""
    spikes, values = one.expected.spikes[number], one.expected.membranes[number].astype(np.int64)
    moves = np.abs(np.diff(values, axis=0, prepend=0)).sum(axis=0)
    allowed = np.flatnonzero(one.built[number]) if one.got is not None else np.arange(spikes.shape[1])
    order = np.lexsort((-moves[allowed], ~spikes[:, allowed].any(axis=0)))
    found = [int(allowed[index]) for index in order]
    spot = _spot(difference, number)
    if spot is not None:
        found = [spot[0], *(neuron for neuron in found if neuron != spot[0])]
    return found[:MOST_NEURONS]


def _legend(figure: Figure, several: Any) -> None:
    """One legend for all axes, each name once."""
    named: dict[str, Any] = {}
    for axes in several:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if len(named) > 1:
        figure.legend(
            list(named.values()),
            list(named),
            loc="outside upper left",
            ncols=len(named),
            borderaxespad=0,
            handlelength=1.5,
        )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
