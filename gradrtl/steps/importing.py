"""Import of NIR files: the network, and a table that shows where its spikes differ from those of the framework."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, require, within
from ..model.data import require_label_range
from ..model.importing import reference
from ..model.importing.convention import Convention
from ..model.importing.graph import ImportedGraph, import_graph
from ..model.importing.records import METADATA, Findings, Record
from ..quantize.graph_rounding import GraphFormats
from ..quantize.imported import Asked, quantize_imported
from ..quantize.labelled_frames import LabelledFrames
from ..quantize.network import PIXEL_BITS, QuantizedNetwork, Readout
from ..quantize.nir_formats import Kept
from ..quantize.nir_restored import restored
from ..shapes import OF_SPIKES
from ..sim import engine
from ..sim.outcome import Outcome
from .notes import require_labels
from .place import with_rates
from .tuning import Tuning

LARGEST_SAMPLES = 1 << 30  # bytes of a file of frames
NAMED = 32  # nodes in a message
PREFIX = "spikes_"  # of the arrays of a recording that hold the spikes of a node


@dataclass(frozen=True)
class Samples:
    """Frames to import with: for each Input, float64 `[n, steps, values]`, or `[n, values]` of static pixels, 0 to 1.

    labels
        int64 `[n]`, or None.
    recorded
        What the framework gave for them, by node: float64 `[n, steps, neurons]`.
    """

    frames: dict[str, np.ndarray]
    labels: np.ndarray | None
    recorded: dict[str, np.ndarray]
    is_static: bool

    def __len__(self) -> int:
        return len(next(iter(self.frames.values())))

    def __getitem__(self, part: slice) -> Samples:
        def cut(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: values[part] for name, values in arrays.items()}

        labels = None if self.labels is None else self.labels[part]
        return Samples(cut(self.frames), labels, cut(self.recorded), self.is_static)

    def by_step(self, steps: int) -> dict[str, np.ndarray]:
        """The frames at each of the first `steps` steps."""
        if self.is_static:
            return {name: np.repeat(values[:, None], steps, axis=1) for name, values in self.frames.items()}
        return {name: values[:, :steps] for name, values in self.frames.items()}

    def of(self, network: QuantizedNetwork) -> tuple[np.ndarray, ...]:
        """The frames as `network` reads them: uint8."""
        found = []
        for given in network.inputs:
            values = self.frames[given.name]
            if self.is_static:
                found.append(np.rint(values * ((1 << PIXEL_BITS) - 1)).astype(np.uint8))
            else:
                found.append(np.ascontiguousarray(values[:, : network.steps]).astype(np.uint8))
        return tuple(found)


@dataclass(frozen=True)
class Row:
    """A population in the table. Positions: one neuron in one step of one frame.

    spikes
        In floats, in integers, and in the framework's recording if there is one.
    differ
        Positions at which integers differ from floats.
    first
        The first of them, `(frame, step, neuron)`.
    recorded_positions, recorded_differ, recorded_first
        The same of floats and recording: a recording may have fewer steps than the frames.
    """

    name: str
    neurons: int
    positions: int
    spikes: tuple[int, int, int | None]
    differ: int
    first: tuple[int, int, int] | None
    recorded_positions: int | None
    recorded_differ: int | None
    recorded_first: tuple[int, int, int] | None


@dataclass(frozen=True)
class Imported:
    """An imported network, its rows of the table, and what was noticed.

    accuracy
        By the labels: of floats, of integers, of the recording if there is one, and of the fine-tuned integers.
    held_out
        The number of frames, the last ones, that rows and accuracy are of; None: all.
    """

    graph: ImportedGraph
    network: QuantizedNetwork
    rows: tuple[Row, ...]
    accuracy: dict[str, float]
    notes: tuple[str, ...]
    held_out: int | None = None


def import_nir(
    record: Record,
    convention: Convention,
    asked: Callable[[int | None], Asked],
    formats: GraphFormats,
    samples: Callable[[ImportedGraph], Samples | None] = lambda graph: None,
    findings: Findings | None = None,
    search: bool = False,
    progress: Callable[[int, int], None] | None = None,
    kept: Kept | None = None,
    tuning: Tuning | None = None,
) -> Imported:
    """Import the records of a NIR graph; `read` of `gradrtl.model.importing.hdf5` makes them from a file.

    Parameters
    ----------
    asked
        Given the number of steps of the samples, or None, what is asked for.
    samples
        Given the imported graph, the frames to compare on; see `load_samples`.
    findings
        Where all that stands in the way is gathered before the first of it is raised.
    search
        Whether the units are searched on the samples: by accuracy, or without labels by the spikes that agree.
    kept
        What an exported network kept beside it: where it fits, the result has the integers of that network, unless
        they are searched or fine-tuned.
    tuning
        How the integers are fine-tuned on the samples. Some of these are held out: on them alone networks are compared.

    Raises
    ------
    UserError
        The graph cannot be imported; the message names the node, the value and what is expected.
    """
    findings = Findings() if findings is None else findings
    graph, exported = _graph(record, convention, findings, kept if tuning is None and not search else None)
    given = samples(graph)
    steps = None if given is None or given.is_static else next(iter(given.frames.values())).shape[1]
    wanted = asked(steps)
    judged, searched, held_out = given, given, None
    if tuning is not None:
        require(given is not None, "calibrate", "without frames", "frames to fine-tune on")
        assert given is not None
        held_out = tuning.held_out(graph, len(given), given.labels)
        judged, searched = given[len(given) - held_out :], given[: len(given) - held_out]
    traces = None if judged is None else reference.run(graph.structure, judged.by_step(wanted.steps))
    score = None
    if search:
        require(searched is not None, "calibrate", "without frames", "frames to search on")
        assert searched is not None
        assert traces is not None
        own = traces if searched is judged else reference.run(graph.structure, searched.by_step(wanted.steps))
        score = _score(searched, own)
    if exported is not None:
        network = replace(exported, steps=wanted.steps)
    else:
        network = quantize_imported(graph, wanted, formats, score, progress=progress)
    require_labels(network, None if given is None else given.labels)
    told = _several(graph, network, traces)
    rows: tuple[Row, ...] = ()
    accuracy: dict[str, float] = {}
    if given is not None and judged is not None and traces is not None:
        outcome = engine.run(network, judged.of(network), trace=True)
        rows, accuracy = _table(graph, network, judged, traces, outcome)
        frames = given.of(network)
        if tuning is not None and held_out is not None and given.labels is not None:
            recordings = LabelledFrames(frames, given.labels)
            network = tuning.run(graph, wanted, formats, network, recordings, held_out)
            classes = engine.run(network, judged.of(network)).classes
            accuracy["fine-tuned"] = float((classes == judged.labels).mean())
            claimed, engines = network.notes["qat"]["validation"], f"{accuracy['fine-tuned']}, the engine's"
            require(claimed == accuracy["fine-tuned"], "accuracy of the fine-tuned module", claimed, engines)
        network = with_rates(network, frames)
    told = [*findings.notes[len(graph.notes) :], *told]
    notes = (*graph.notes, *told, *network.notes["import"]["rounding"])
    network = replace(
        network, notes={**network.notes, "import": {**network.notes["import"], "notes": [*graph.notes, *told]}}
    )
    return Imported(graph, network, rows, accuracy, notes, held_out)


def _graph(
    record: Record, convention: Convention, findings: Findings, kept: Kept | None
) -> tuple[ImportedGraph, QuantizedNetwork | None]:
    """The imported graph; and if it is that of an exported network, that network."""
    if kept is not None:
        record = kept.applied(record)
        graph = import_graph(record, convention, findings, as_written=True)
        network = restored(kept, graph)
        if network is not None:
            return graph, network
        findings.note("what gradrtl export kept in the file does not fit its graph: it is not used")
    return import_graph(record, convention, findings), None


def _several(graph: ImportedGraph, network: QuantizedNetwork, traces: reference.Traces | None) -> list[str]:
    """Notes on neurons that may spike several times in a step; `UserError` where they do, or may unseen."""
    told = []
    for population in graph.populations:
        if not population.rule.several:
            continue
        where = f"node {population.name} spikes in a step"
        one = "(Sinabs SingleSpike, Rockpool max_spikes_per_dt=1, snnTorch reset_delay=True)"
        remedy = f"1: train with one {one}, then --spikes single"
        if traces is not None:
            most = int(traces.spikes[population.name].max(initial=0))
            require(most <= 1, where, most, remedy)
            told.append(
                f"{population.name}: the framework allows several spikes in a step; none gave two on these frames"
            )
        else:
            ranges = network.ranges[network.graph.index[population.name]]
            lowest = int(network.population(population.name).neuron.threshold.min())
            proof = "1, proven or seen: --calibrate FRAMES shows it, --spikes single allows one"
            require(lowest > 0 and ranges.potential[1] < 2 * lowest, where, "perhaps 2", proof)
    return told


def _score(samples: Samples, traces: reference.Traces) -> Callable[[QuantizedNetwork], float]:
    """What a search of the units maximises."""

    def score(network: QuantizedNetwork) -> float:
        require_labels(network, samples.labels)  # before a long search, not after it
        made = engine.run(network, samples.of(network), trace="spikes")
        assert made.trace is not None
        wrong = sum(
            int((spikes != traces.spikes[population.name][:, : network.steps]).sum())
            for population, spikes in zip(network.populations, made.trace.spikes, strict=True)
            if population.name in traces.spikes
        )
        right = 0 if samples.labels is None else int((made.classes == samples.labels).sum())
        return right - wrong / (1 + sum(values.size for values in traces.spikes.values()))

    return score


def _table(
    graph: ImportedGraph, network: QuantizedNetwork, samples: Samples, traces: reference.Traces, outcome: Outcome
) -> tuple[tuple[Row, ...], dict[str, float]]:
    assert outcome.trace is not None
    rows = []
    steps = network.steps
    for population, spikes in zip(network.populations, outcome.trace.spikes, strict=True):
        if not population.neuron.spiking:
            continue
        floats = traces.spikes[population.name][:, :steps]
        recorded = _recorded(graph, samples, population.name, steps)
        import_differs = None if recorded is None else floats[:, : recorded.shape[1]] != recorded
        rows.append(
            Row(
                population.name,
                population.neurons,
                floats.size,
                (int(floats.sum()), int(spikes.sum()), None if recorded is None else int(recorded.sum())),
                int((floats != spikes).sum()),
                _first(floats != spikes),
                None if import_differs is None else import_differs.size,
                None if import_differs is None else int(import_differs.sum()),
                None if import_differs is None else _first(import_differs),
            )
        )
    accuracy: dict[str, float] = {}
    if samples.labels is not None:
        readout = network.readouts[0]
        of = traces.spikes if readout.kind in OF_SPIKES else traces.membranes
        answers = {"floats": _answers(readout, of[readout.source][:, :steps]), "integers": outcome.classes}
        recorded = _recorded(graph, samples, readout.source, steps)
        if recorded is not None:
            answers["framework"] = _answers(readout, recorded)
        accuracy = {what: float((classes == samples.labels).mean()) for what, classes in answers.items()}
    return tuple(rows), accuracy


def _answers(readout: Readout, values: np.ndarray) -> np.ndarray:
    """The classes that are read of spikes or membranes `[n, steps, neurons]`; see `Readout`."""
    if readout.kind in ("count", "sum"):
        read = values.sum(axis=1)
    elif readout.kind == "largest":
        read = values.max(axis=1)
    elif readout.kind == "membrane":
        read = values[:, -1]
    else:
        first = values.any(axis=2).argmax(axis=1)
        read = values[np.arange(len(values)), first]
    return read.reshape(len(read), -1, readout.group).sum(axis=2).argmax(axis=1)


def _recorded(graph: ImportedGraph, samples: Samples, name: str, steps: int) -> np.ndarray | None:
    """What the framework recorded of a population, a step earlier where its spikes leave a step late."""
    found = samples.recorded.get(name)
    if found is None:
        return None
    late = next(one.rule.late for one in graph.populations if one.name == name)
    return found[:, 1:][:, :steps] if late else found[:, :steps]


def _first(differs: np.ndarray) -> tuple[int, int, int] | None:
    """The first position, by frame, then step, then neuron."""
    if not differs.any():
        return None
    frame, step, neuron = np.unravel_index(int(differs.reshape(-1).argmax()), differs.shape)
    return int(frame), int(step), int(neuron)


def load_samples(
    graph: ImportedGraph, kind: str, frames: Path | None, labels: Path | None = None, recording: Path | None = None,
    findings: Findings | None = None,
) -> Samples | None:  # fmt: skip
    """The frames of a .npy or .npz file, or of a recording; None without either.

    A .npz file has an array for each Input, under its name, or `input` for the only one. A recording also has the
    spikes of nodes, `spikes_NODE`, and `output`, what the first Output puts out. Shapes: `[n, steps, ...]`, or
    `[steps, ...]` of one frame; static pixels `[n, ...]`, uint8 or floats of 0 to 1. Spikes that are not compared get a
    note in `findings`.

    Raises
    ------
    UserError
        A file does not fit the graph; `frames` are others than those that `recording` was made of.
    """
    if frames is None and recording is None:
        require(labels is None, "labels", labels, "with --calibrate or --reference")
        return None
    records = _arrays(recording) if recording is not None else {}
    given = _arrays(frames) if frames is not None else records
    path = frames or recording
    found = {}
    for name, shape in graph.inputs.items():
        key = _key_of(name, graph, given)
        require(key in given, f"frames file {path}", ", ".join(given), f"an array {name}")
        found[name] = _frames(f"{path} array {key}", given[key], shape, kind)
        own = records.get(_key_of(name, graph, records), given[key])
        same = own.size == given[key].size and bool((own.ravel() == given[key].ravel()).all())
        require(same, "calibrate", f"{frames}, other frames than in {recording}", f"those of {recording}, or not given")
    count = len(next(iter(found.values())))
    for name, values in found.items():
        require(len(values) == count, f"frames of {name}", len(values), f"{count}, as of the others")
    _check_names(graph, recording, records, Findings() if findings is None else findings)
    recorded = {}
    for population in graph.populations:
        names = [f"{PREFIX}{population.name}", *(["output"] if population.name == graph.outputs[0] else [])]
        for key in [name for name in names if name in records][:1]:
            full = _leading(f"{recording} array {key}", records[key], population.shape, 2)
            require(len(full) == count, f"{recording} array {key}", f"{len(full)} frames", f"{count}, as of the input")
            recorded[population.name] = full
    answers = None
    if labels is not None:
        answers = _arrays(labels).get("input")
        fits = answers is not None and answers.dtype.kind in "iu" and answers.shape == (count,)
        require(fits, f"labels file {labels}", None if answers is None else answers.shape, f"{count} whole numbers")
        assert answers is not None
        require_label_range(answers)
    return Samples(found, None if answers is None else answers.astype(np.int64), recorded, kind == "static")


def _check_names(
    graph: ImportedGraph, recording: Path | None, records: dict[str, np.ndarray], findings: Findings
) -> None:
    """`UserError` for spikes of what is no node; a note on those of a node that has none of its own.

    They would be compared with nothing.
    """
    nodes, populations = {*graph.structure.plain.nodes}, {population.name for population in graph.populations}
    known = ", ".join([population.name for population in graph.populations][:NAMED])
    for name in records:
        if name.startswith(PREFIX) and name not in graph.inputs:
            node = name.removeprefix(PREFIX)
            require(node in nodes, f"{recording} array", name, f"{PREFIX}NODE for a node that is there: {known}")
            if node not in populations:
                findings.note(f"{recording} array {name} is not compared: {node} is no population; those are {known}")


def _key_of(name: str, graph: ImportedGraph, arrays: dict[str, np.ndarray]) -> str:
    """Under which name a file has the frames of an Input."""
    return name if name in arrays or len(graph.inputs) > 1 else "input"


def convention_of(
    record: Record, framework: str | None, changes: dict[str, Any], usual: str | None = None
) -> tuple[Record, Convention, Kept | None]:
    """A NIR graph, the convention under which it is read, and what an export of our own has kept in it.

    Such a graph has a convention of its own, and a reset for each population, unless `framework` is given or `changes`
    say otherwise. `usual`: the framework of other graphs.
    """
    kept = Kept.from_text(record.fields[METADATA]) if METADATA in record.fields else None
    if kept is None or framework is not None:
        return record, Convention.of(framework or usual or "nir", **changes), kept
    given = {name: value for name, value in changes.items() if value is not None}
    return kept.applied(record, given.get("reset")), replace(kept.convention, **given), kept


def framework_of(recording: Path | None) -> str | None:
    """The framework that a recording says it is from."""
    if recording is None:
        return None
    found = _arrays(recording, texts=True).get("framework")
    return None if found is None else str(found)


def _frames(where: str, array: np.ndarray, shape: tuple[int, ...], kind: str) -> np.ndarray:
    full = _leading(where, array, shape, 1 if kind == "static" else 2)
    if kind == "static":
        full = full / 255 if array.dtype == np.uint8 else full
        require(
            bool((full >= 0).all() and (full <= 1).all()),
            where,
            f"{full.min():g} to {full.max():g}",
            "0 to 1, or uint8",
        )
        return full
    whole = bool(
        (full == np.rint(full)).all() and (full >= 0).all() and (full <= (1 if kind == "spikes" else 255)).all()
    )
    remedy = "zeros and ones" if kind == "spikes" else "whole numbers of 0 to 255"
    require(whole, where, f"{full.min():g} to {full.max():g}", f"{remedy}; see --input")
    return full


def _leading(where: str, array: np.ndarray, shape: tuple[int, ...], axes: int) -> np.ndarray:
    """`array` as float64 with `axes` leading axes, one of which may be left out, and one axis of values."""
    require(array.dtype.kind in "biuf" and bool(np.isfinite(array).all()), where, array.dtype, "finite numbers")
    for lead in (axes, axes - 1):
        if array.ndim >= lead and prod(array.shape[lead:]) == prod(shape) and array.size:
            made = array.astype(np.float64).reshape(*array.shape[:lead], prod(shape))
            return made if lead == axes else made[None]
    names = "[n, steps, " if axes == 2 else "[n, "
    raise UserError.of(f"{where} shape", array.shape, names + ", ".join(map(str, shape)) + "]")


def _arrays(path: Path, texts: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, or that of a .npy file as `input`."""
    require(path.is_file(), "file", path, "a file that exists")
    require(
        path.stat().st_size <= LARGEST_SAMPLES,
        f"file {path}",
        f"{path.stat().st_size} bytes",
        f"at most {LARGEST_SAMPLES}",
    )
    with within(f"file {path}"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # NumPy warns of a header that it had to repair
                found: Any = np.load(path, allow_pickle=False)
                every = (
                    {"input": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
                )
        except Exception:  # NumPy raises many kinds on damaged bytes
            raise UserError("not a .npy or .npz file of numbers, or damaged") from None
    return {name: array for name, array in every.items() if texts or array.dtype.kind in "biuf"}
