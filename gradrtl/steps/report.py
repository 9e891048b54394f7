"""The HTML report of a run: one self-contained file, plots inline."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np

from ..files import write_text
from ..model.checkpoint import Checkpoint
from ..rtl.mapping import Mapping
from .picture import picture

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TEMPLATE = "report.html.j2"


def write_report(
    path: Path,
    figures: dict[str, Any],
    checkpoint: Checkpoint,
    mapping: Mapping,
    interval: np.ndarray,
    latency: np.ndarray,
) -> None:
    """Write the report.

    `interval`: cycles between results of frames back to back; `latency`: cycles of the same frames one at a time.
    """
    plots = [
        ("Accuracy on held-out training images, and connectivity, by epoch", _training(checkpoint)),
        ("Cycles of each test image", _cycles(interval, latency)),
        ("Synapses in each processing element", _loads(mapping)),
        ("Memory bits", _memories(mapping)),
    ]
    layers = [
        {
            "name": placed.population.name,
            "neurons": placed.population.neurons,
            "built": int(placed.used.sum()),
            "pes": placed.pes,
            "synapses": placed.synapses,
            "weight_bits": placed.synapse_format.weight_bits,
            "current_bits": placed.current_bits,
            "membrane_bits": placed.membrane_bits,
        }
        for placed in mapping.layers
    ]
    template = jinja2.Environment(autoescape=True).from_string(
        files("gradrtl").joinpath("templates", TEMPLATE).read_text()
    )
    text = template.render(figures=figures, layers=layers, plots=plots, digest=mapping.network.digest,
                           latency=latency, interval=interval, graph=picture(mapping.network))  # fmt: skip
    write_text(path, text)


def _inline(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _training(checkpoint: Checkpoint) -> str:
    figure, axis = plt.subplots(figsize=(7, 3.2))
    epochs = [row["epoch"] for row in checkpoint.history]
    axis.plot(epochs, [100 * row["validation"] for row in checkpoint.history], color="#0072b2")
    axis.set_xlabel("epoch")
    axis.set_ylabel("accuracy, %", color="#0072b2")
    other = axis.twinx()
    other.plot(epochs, [100 * row["connectivity"] for row in checkpoint.history], color="#d55e00")
    other.set_yscale("log", subs=[2, 5])
    for ticks in (other.yaxis.set_major_formatter, other.yaxis.set_minor_formatter):
        ticks(lambda value, _: f"{value:g}")
    other.set_ylabel("connectivity, %", color="#d55e00")
    return _inline(figure)


def _cycles(interval: np.ndarray, latency: np.ndarray) -> str:
    figure, axis = plt.subplots(figsize=(7, 3.2))
    axis.hist(interval, bins=60, alpha=0.7, label="between results, back to back", color="#0072b2")
    axis.hist(latency, bins=60, alpha=0.7, label="latency of a frame alone", color="#d55e00")
    axis.set_xlabel("cycles")
    axis.set_ylabel("frames")
    axis.legend(loc="upper left")
    return _inline(figure)


def _loads(mapping: Mapping) -> str:
    figure, axes = plt.subplots(1, len(mapping.layers), figsize=(7, 3.2), squeeze=False)
    for axis, placed in zip(axes[0], mapping.layers, strict=True):
        axis.bar(range(placed.pes), [weights.size for weights in placed.weights], color="#009e73")
        axis.set_title(placed.population.name)
        axis.set_xlabel("processing element")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("synapses")
    return _inline(figure)


def _memories(mapping: Mapping) -> str:
    figure, axis = plt.subplots(figsize=(7, 3.2))
    bottom = np.zeros(len(mapping.layers))
    names = [placed.population.name for placed in mapping.layers]
    for kind in mapping.layers[0].memory_bits:
        bits = np.array([placed.memory_bits[kind] for placed in mapping.layers], dtype=float)
        axis.bar(names, bits, bottom=bottom, label=kind)
        bottom += bits
    axis.set_ylabel("bits")
    axis.legend()
    return _inline(figure)
