"""The report of a run of `gradrtl demo`: the whole flow on one page."""

from __future__ import annotations

from collections.abc import Mapping as Figures
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..rtl.mapping import Mapping
from ..sim.compare import Difference
from ..sim.traces import Traced
from . import sections
from .page import Report, Section, Table
from .runs import compared, files_of
from .sections import number, percent

FILES = {
    "checkpoint.npz": "the trained network",
    "network.npz": "the integer network",
    "simulation.npz": "classes and sums of the test images",
    "gradrtl.v": "the Verilog",
    "cycles.npz": "cycles of test images",
    "comparison.json": "the comparison with the Verilog",
    "traces.npz": "spikes and membranes of the frames that are drawn",
    "manifest.json": "figures, settings, versions and digests",
}


def flow(
    path: Path,
    manifest: Figures[str, Any],
    mapping: Mapping,
    history: Sequence[Figures[str, Any]],
    interval: np.ndarray,
    latency: np.ndarray,
    traced: Sequence[Traced],
    frames: Any = None,
    files: Sequence[Path] = (),
) -> Report:
    """The report, to be written to `path`.

    `manifest`: of the run. `history`: of the training. `interval`: cycles between results of frames back to back;
    `latency`: cycles of the same frames one at a time. `frames`: of the test images, for pictures.
    """
    figures, network = manifest["figures"], mapping.network
    difference = figures["difference"] and Difference(**figures["difference"])
    verdict = compared(
        {
            "passed": not figures["mismatches"],
            "frames": figures["images_rtl"],
            "spikes": figures["spikes_compared"],
            "membranes": figures["membranes_compared"],
            "frames_with_predicted_cycles": figures["cycles_compared"],
            "difference": str(difference) if difference else None,
            "fault": figures["first_mismatch"],
        }
    )
    settings = manifest["settings"]
    return Report(
        "From images to proven Verilog",
        verdict,
        sections.facts(f"{settings['data']}, test images", manifest["command"], "network.npz", network.digest),
        (
            Section("Results", (_results(figures),)),
            sections.training(history),
            sections.answers(figures, network, frames),
            sections.traces(traced, network, "simulator", difference),
            sections.activity(figures["activity"]),
            sections.cycles(
                {"interval_cycles": interval.tolist(), "latency_cycles": latency.tolist()}, "latency of a frame alone"
            ),
            sections.energy(figures),
            sections.hardware(mapping),
            sections.graph(network),
            files_of(path, [(file, FILES.get(file.name, "")) for file in files]),
        ),
        tuple(figures["notes"]),
    )


def _results(figures: Figures[str, Any]) -> Table:
    return Table(
        "Figures of the run",
        ("", "value"),
        (
            ("accuracy, as trained", percent(figures["accuracy_float"])),
            ("accuracy, quantised", percent(figures["accuracy_quantised"])),
            (f"accuracy, Verilog, first {figures['images_rtl']} images", percent(figures["accuracy_rtl"])),
            ("connectivity, trained", percent(figures["connectivity"])),
            ("connectivity, quantised", percent(figures["connectivity_quantised"])),
            ("weight bits", number(figures["weight_bits"])),
            ("memory bits", number(figures["memory_bits"])),
            (f"cycles per frame, {figures['images_timed']} images", number(figures["cycles_per_frame"])),
            ("latency of a frame alone, cycles", number(figures["latency_cycles"])),
            ("mismatches", number(figures["mismatches"])),
        ),
    )
