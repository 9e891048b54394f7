"""A case against the importer: float reference and integers must give every spike that the framework gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gradrtl.model.importing import reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import ImportedGraph, import_graph
from gradrtl.model.importing.records import Record
from gradrtl.quantize.graph_rounding import GraphFormats
from gradrtl.quantize.imported import Asked, quantize_imported
from gradrtl.sim import engine

FORMATS = GraphFormats(weight_bits=8, membrane_fraction=8, decay_bits=15)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


def graph_of(record: Record, arrays: dict[str, np.ndarray]) -> ImportedGraph:
    """The import of `record` under the convention of a case."""
    return import_graph(record, Convention.of(str(arrays["framework"]), **json.loads(str(arrays["convention"]))))


def differences(graph: ImportedGraph, arrays: dict[str, np.ndarray], with_integers: bool = True) -> list[str]:
    """What differs from the framework, a line for each population; nothing if every spike is the same.

    A population whose spikes leave a step late is compared from the second step on.
    """
    given = arrays["input"]
    count, steps = given.shape[:2]
    (name,) = graph.inputs
    frames = given.reshape(count, steps, -1)
    traces = reference.run(graph.structure, {name: frames.astype(np.float64)})
    told, compared = [], 0
    integers = {}
    if with_integers:
        network = quantize_imported(graph, Asked(steps), FORMATS)
        made = engine.run(network, frames[:, : network.steps], trace="spikes").trace
        assert made is not None
        integers = dict(zip([one.name for one in network.populations], made.spikes, strict=True))
    for one in graph.populations:
        if f"membranes_{one.name}" in arrays:
            compared += 1
            close = np.allclose(traces.membranes[one.name], arrays[f"membranes_{one.name}"], rtol=1e-4, atol=1e-4)
            told += [] if close else [f"{one.name}: membranes differ"]
            continue
        if f"spikes_{one.name}" not in arrays:  # neurons that stand for a max pool
            continue
        compared += 1
        for what, spikes in (("floats", traces.spikes[one.name]), ("integers", integers.get(one.name))):
            if spikes is not None:
                recorded = arrays[f"spikes_{one.name}"][:, int(one.rule.late) :]
                length = min(recorded.shape[1], spikes.shape[1])
                wrong = int((spikes[:, :length] != recorded[:, :length]).sum())
                told += [f"{one.name}: {wrong} of {recorded.size} in {what}"] if wrong else []
    found = sum(key.startswith(("spikes_", "membranes_")) for key in arrays)
    return told if compared == found else [*told, f"{compared} populations instead of {found}"]
