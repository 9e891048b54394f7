"""`gradrtl import` and `gradrtl export` from the command line: what is printed, what is written, what is refused."""

from __future__ import annotations

import json

import nir_files
import numpy as np
import pytest
from command_line import run
from nir_files import given, graph, leaky, node, taken

from gradrtl.model.importing import reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Population, QuantizedNetwork, Readout
from gradrtl.sim import engine

STEPS = 8


def record(neuron=None):
    generator = np.random.default_rng(0)
    nodes = {
        "input": given(6),
        "fc1": node("Linear", weight=generator.integers(-4, 9, (5, 6)) / 16),
        "lif1": neuron or leaky(),
        "fc2": node("Linear", weight=generator.integers(-4, 9, (3, 5)) / 16),
        "lif2": leaky(),
        "output": taken(3),
    }
    return graph(nodes, "input -> fc1 -> lif1 -> fc2 -> lif2 -> output")


@pytest.fixture
def files(tmp_path):
    """A NIR file and what a framework that resets at once would have recorded."""
    model = nir_files.write(tmp_path / "model.nir", record())
    frames = (np.random.default_rng(1).random((4, STEPS, 6)) < 0.6).astype(np.uint8)
    imported = import_graph(record(), Convention.of("snntorch", reset="subtract"))
    spikes = reference.run(imported.structure, {"input": frames.astype(float)}).spikes
    np.savez(
        tmp_path / "rec.npz", input=frames, spikes_lif1=spikes["lif1"], output=spikes["lif2"], framework="snntorch"
    )
    np.save(tmp_path / "labels.npy", spikes["lif2"].sum(axis=1).argmax(axis=1))
    return tmp_path, model


def test_the_table_tells_import_and_rounding_apart(files):
    folder, model = files
    words = (model, "-o", folder / "n.npz", "--reference", folder / "rec.npz", "--labels", folder / "labels.npy")
    right = run("import", *words, "--reset", "subtract")
    assert "convention snntorch: dt 0.0001, integrator euler, reset subtract, compare gt" in right
    first = next(line for line in right.splitlines() if line.startswith("lif1"))
    assert first.split()[-6:] == ["0", "of", "160", "0", "of", "160"]
    assert "accuracy: floats 100.00 %, integers 100.00 %, framework 100.00 %" in right
    wrong = run("import", *words)
    first = next(line for line in wrong.splitlines() if line.startswith("lif1"))
    assert "of 160, first at frame " in first
    network = QuantizedNetwork.load(folder / "n.npz")
    assert network.notes["import"]["convention"]["reset"] == "subtract-delayed"
    assert network.steps == STEPS
    assert network.rates is not None


def test_check_reports_everything_and_writes_nothing(files):
    folder, _ = files
    nodes = {**record().nodes, "lif1": leaky(v_threshold=np.nan), "lif2": leaky(v_threshold=np.ones(7))}
    broken = nir_files.write(folder / "broken.nir", graph(nodes, "input -> fc1 -> lif1 -> fc2 -> lif2 -> output"))
    told = run("import", broken, "--steps", 3, "--check", "-o", folder / "none.npz", code=2)
    assert "error: node lif1 v_threshold is NaN" in told
    assert "error: node lif2 v_threshold size is 7" in told
    assert "error: 2 in the way of importing" in told
    short = run("import", broken, "--steps", 3, code=2)
    assert short.splitlines()[-1].endswith("(1 more: --check lists them)")
    assert "nothing in the way" in run("import", files[1], "--steps", 3, "--check", "-o", folder / "none.npz")
    assert not (folder / "none.npz").exists()


def test_check_finds_faults_of_different_kinds_at_once(files):
    folder, _ = files
    nodes = {
        **record().nodes,
        "fc1": node("Linear", weight=np.full((5, 6), np.nan)),
        "lif1": leaky(v_threshold="high"),
        "odd": node("Spiker"),
        "lif2": leaky(tau=-1.0),
    }
    edges = "input -> fc1 -> lif1 -> fc2 -> lif2 -> output", "lif2 -> odd", "odd -> nowhere"
    broken = nir_files.write(folder / "broken.nir", graph(nodes, *edges))
    told = run("import", broken, "--steps", 3, "--check", "-o", folder / "none.npz", code=2)
    for line in (
        "edge odd -> nowhere is to or from nowhere, which is no node",
        "node odd type is Spiker, expected one of",
        "node fc1 weight is NaN or infinite in 30 elements",
        "node lif1 v_threshold is high, expected numbers",
        "node lif2 tau is -1, expected above 0",
    ):
        assert f"error: {line}" in told
    assert "error: 5 in the way of importing" in told
    assert not (folder / "none.npz").exists()


def test_an_export_comes_back(files):
    folder, model = files
    run("import", model, "--steps", 9, "--framework", "snntorch", "-o", folder / "a.npz")
    told = run("export", folder / "a.npz", "-o", folder / "a.nir")
    assert "lost for other programs: 9 steps of a frame" in told
    assert "exported by gradrtl" in run("import", folder / "a.nir", "-o", folder / "b.npz")
    assert QuantizedNetwork.load(folder / "a.npz").digest == QuantizedNetwork.load(folder / "b.npz").digest


def test_an_export_with_other_formats(files):
    """Options of the formats are taken, under the convention of the export."""
    folder, model = files
    run("import", model, "--steps", 9, "--framework", "snntorch", "-o", folder / "a.npz")
    run("export", folder / "a.npz", "-o", folder / "a.nir")
    told = run("import", folder / "a.nir", "--bits", 4, "--steps", 9, "-o", folder / "b.npz")
    assert "exported by gradrtl: its own convention\n" in told
    assert {c.weight_bits for one in QuantizedNetwork.load(folder / "b.npz").populations for c in one.inputs} == {4}
    told = run("import", folder / "a.nir", "--reset", "value", "--steps", 9, "-o", folder / "b.npz")
    assert "convention nir: dt 1.0, integrator euler, reset value, compare ge" in told
    assert {one.neuron.reset for one in QuantizedNetwork.load(folder / "b.npz").populations} == {"hard"}


def test_inputs_of_several_kinds_come_back(files):
    folder, _ = files
    weight = Dense(np.ones((3, 2), np.int8))
    given = Input((2,), 4, "static", "x"), Input((2,), 4, "graded", "y")
    population = Population(
        "p", (3,), IntNeuron("none", "soft", 4), 0, (Connection("x", weight), Connection("y", weight))
    )
    network = QuantizedNetwork(given, (population,), 3, (Readout("count", 1, "p"),))
    network.save(folder / "a.npz")
    run("export", folder / "a.npz", "-o", folder / "a.nir")
    run("import", folder / "a.nir", "-o", folder / "b.npz")
    assert QuantizedNetwork.load(folder / "b.npz").digest == network.digest
    told = run("import", folder / "a.nir", "--calibrate", folder / "rec.npz", code=2)
    assert "expected none: the inputs of the network are of several kinds" in told
    told = run("import", folder / "a.nir", "--bits", 4, "-o", folder / "b.npz", code=2)
    assert "error: inputs is of the kinds graded, static, expected one kind, --input" in told
    run("import", folder / "a.nir", "--bits", 4, "--input", "graded", "-o", folder / "b.npz")


NEURON = IntNeuron("none", "soft", threshold=4)
SUMS = IntNeuron("none", "none", threshold=1, spiking=False)


def dense(outputs, inputs):
    return Dense(np.random.default_rng(outputs).integers(-3, 4, (outputs, inputs), dtype=np.int8))


def from_hidden(name, neuron, outputs):
    return Population(name, (outputs,), neuron, 0, (Connection("h", dense(outputs, 6), 4),))


def exported(folder, given, populations, readouts):
    """A network of 5 steps behind a hidden population, and its export."""
    hidden = Population("h", (6,), NEURON, 0, (Connection("in", dense(6, 4), 4),))
    network = QuantizedNetwork((given,), (hidden, *populations), 5, readouts)
    network.save(folder / "own.npz")
    run("export", folder / "own.npz", "-o", folder / "own.nir")
    return network


@pytest.mark.parametrize(
    ("populations", "readouts"),
    [
        ((from_hidden("b", NEURON, 3), from_hidden("a", SUMS, 3)), (Readout("count", 1, "b"), Readout("sum", 1, "a"))),
        ((from_hidden("b", NEURON, 3),), (Readout("first", 1, "b"),)),
        ((from_hidden("b", NEURON, 6),), (Readout("first", 2, "b"),)),
        ((), (Readout("count", 3, "h"),)),
        ((from_hidden("a", SUMS, 6),), (Readout("largest", 2, "a"),)),
        ((from_hidden("a", SUMS, 6),), (Readout("membrane", 2, "a"),)),
    ],
)
def test_the_answers_of_floats_are_read_as_those_of_the_integers(tmp_path, populations, readouts):
    """Integers as floats: they answer alike, ties included."""
    network = exported(tmp_path, Input((4,), 1, "spikes", "in"), populations, readouts)
    frames = np.random.default_rng(3).integers(0, 2, (40, 5, 4), dtype=np.uint8)
    made = engine.run(network, frames, trace=True)
    last = network.populations.index(network.population(readouts[0].source))
    values = made.trace.spikes if readouts[0].kind in ("count", "first") else made.trace.membranes
    labels = made.classes.copy()
    assert len(set(labels)) > 1
    labels[:4] = (labels[:4] + 1) % network.classes
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "rec.npz", input=frames, **{f"spikes_{readouts[0].source}": values[last]})
    words = "--reference", tmp_path / "rec.npz", "--labels", tmp_path / "labels.npy", "-o", tmp_path / "again.npz"
    told = run("import", tmp_path / "own.nir", *words)
    assert "accuracy: floats 90.00 %, integers 90.00 %, framework 90.00 %" in told


@pytest.mark.parametrize("words", [("--bits", 6), ("--compare", "gt"), ("--search", "--calibrate", "frames.npy")])
def test_options_leave_the_rest_of_an_export_as_it_was(tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readouts = Readout("first", 2, "b"), Readout("largest", 3, "a")
    populations = from_hidden("a", SUMS, 6), from_hidden("b", NEURON, 6)
    exported(tmp_path, Input((4,), 8, "static", "in"), populations, readouts)
    np.save("frames.npy", np.random.default_rng(3).integers(0, 256, (8, 4), dtype=np.uint8))
    run("import", "own.nir", *words, "-o", "again.npz")
    again = QuantizedNetwork.load("again.npz")
    assert (again.steps, again.inputs[0].kind, again.readouts) == (5, "static", readouts)


def test_options_change_an_export_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = Input((4,), 8, "static", "in")
    exported(tmp_path, given, (from_hidden("a", SUMS, 6),), (Readout("largest", 3, "a"),))
    run("import", "own.nir", "--readout", "sum", "--steps", 7, "-o", "again.npz")
    again = QuantizedNetwork.load("again.npz")
    assert (again.steps, again.inputs[0].kind, again.readouts) == (7, "static", (Readout("sum", 3, "a"),))
    run("import", "own.nir", "--input", "spikes", "-o", "again.npz")
    again = QuantizedNetwork.load("again.npz")
    assert (again.steps, again.inputs[0].kind, again.readouts) == (5, "spikes", (Readout("largest", 3, "a"),))
    told = run("import", "own.nir", "--framework", "nir", "--dt", 1, "--reset", "subtract", "-o", "again.npz")
    assert "exported" not in told
    again = QuantizedNetwork.load("again.npz")
    assert (again.steps, again.inputs[0].kind, again.readouts) == (5, "static", (Readout("largest", 3, "a"),))


def test_recorded_spikes_belong_to_their_own_frames(files):
    folder, model = files
    with np.load(folder / "rec.npz") as recording:
        arrays = dict(recording)
    np.save(folder / "same.npy", arrays["input"].reshape(4, STEPS, 2, 3).astype(float))
    np.save(folder / "other.npy", 1 - arrays["input"])
    np.savez(folder / "spikes.npz", **{name: values for name, values in arrays.items() if name != "input"})
    words = model, "-o", folder / "n.npz", "--reset", "subtract"
    run("import", *words, "--reference", folder / "rec.npz", "--calibrate", folder / "same.npy")
    run("import", *words, "--reference", folder / "spikes.npz", "--calibrate", folder / "other.npy")
    told = run("import", *words, "--reference", folder / "rec.npz", "--calibrate", folder / "other.npy", code=2)
    assert "error: calibrate is " in told
    assert f"other.npy, other frames than in {folder / 'rec.npz'}, expected those of {folder / 'rec.npz'}" in told


def test_a_short_recording_is_counted_as_long_as_it_is(files):
    folder, model = files
    with np.load(folder / "rec.npz") as recording:
        arrays = dict(recording)
    np.savez(folder / "short.npz", **{**arrays, "spikes_lif1": 1 - arrays["spikes_lif1"][:, :3]})
    words = model, "-o", folder / "n.npz", "--reset", "subtract", "--reference", folder / "short.npz"
    lif1, lif2 = run("import", *words).splitlines()[-4:-2]
    assert "60 of 60, first at frame 0 step 0 neuron 0  0 of 160" in lif1
    assert lif2.split()[-6:] == ["0", "of", "96", "0", "of", "96"]


def test_recorded_spikes_are_those_of_nodes(files):
    folder, model = files
    with np.load(folder / "rec.npz") as recording:
        arrays = dict(recording)
    np.savez(folder / "odd.npz", **arrays, spikes_lif3=arrays["output"])
    words = model, "-o", folder / "n.npz", "--reference", folder / "odd.npz"
    told = run("import", *words, code=2).splitlines()[-1]
    array = f"error: {folder / 'odd.npz'} array is spikes_lif3"
    assert told == f"{array}, expected spikes_NODE for a node that is there: lif1, lif2"
    np.savez(folder / "odd.npz", **arrays, spikes_fc1=arrays["output"])  # a node without spikes of its own
    note = f"note: {folder / 'odd.npz'} array spikes_fc1 is not compared: fc1 is no population; those are lif1, lif2"
    assert note in run("import", *words).splitlines()


def test_an_input_may_be_called_as_spikes_are(files):
    folder, _ = files
    nodes = {("spikes_in" if name == "input" else name): node for name, node in record().nodes.items()}
    model = nir_files.write(folder / "in.nir", graph(nodes, "spikes_in -> fc1 -> lif1 -> fc2 -> lif2 -> output"))
    np.savez(folder / "in.npz", spikes_in=np.zeros((2, STEPS, 6)), spikes_lif1=np.zeros((2, STEPS, 5)))
    run("import", model, "-o", folder / "n.npz", "--reference", folder / "in.npz")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 2, 4], "largest label is 4, expected less than 3, the classes of the network"),
        ([0, 1, -2, 2], "smallest label is -2, expected 0 or above"),
        (np.array([0, 1, 2**63, 2], np.uint64), "largest label is 9223372036854775808, expected at most 65535"),
    ],
)
def test_labels_are_classes_of_the_network(files, labels, expected):
    folder, model = files
    np.save(folder / "labels.npy", labels)
    words = "--calibrate", folder / "rec.npz", "--labels", folder / "labels.npy", "-o", folder / "n.npz"
    assert f"error: {expected}" in run("import", model, *words, code=2)
    assert not (folder / "n.npz").exists()


def test_a_search_begins_with_labels_that_fit(files, monkeypatch):
    folder, model = files
    np.save(folder / "labels.npy", [0, 1, 2, 4])
    words = "--calibrate", folder / "rec.npz", "--labels", folder / "labels.npy", "-o", folder / "n.npz", "--search"
    monkeypatch.setattr(engine, "run", None)
    assert "error: largest label is 4, expected less than 3" in run("import", model, *words, code=2)


def test_several_spikes_in_a_step(files):
    folder, _ = files
    fast = nir_files.write(folder / "fast.nir", record(node("LIF", tau=8.0, r=1.0, v_leak=0.0, v_threshold=0.05)))
    words = ("import", fast, "--framework", "sinabs", "-o", folder / "n.npz")
    assert "node lif1 spikes in a step is perhaps 2, expected 1, proven or seen" in run(*words, "--steps", 4, code=2)
    assert "expected 1: train with one" in run(*words, "--calibrate", folder / "rec.npz", code=2)
    run(*words, "--spikes", "single", "--steps", 4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "steps is not given, expected --steps, or frames that have them"),
        (("--steps", 4, "--fraction", "many"), "fraction is many, expected auto, or 0 to 8"),
        (("--steps", 4, "--labels", "rec.npz"), "labels is rec.npz, expected with --calibrate or --reference"),
        (("--steps", 4, "--search"), "calibrate is without frames, expected frames to search on"),
        (("--steps", 4, "--readout", "sum"), "readout is sum, expected count of lif2"),
        (("--steps", 4, "--dt", -1), "dt is -1.0, expected above 0"),
    ],
)
def test_what_is_asked_for_wrongly(files, words, expected):
    assert expected in run("import", files[1], *words, code=2)


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (np.full((2, 4, 6), 2.0), "spikes", "is 2 to 2, expected zeros and ones"),
        (np.full((2, 4, 6), 0.5), "graded", "is 0.5 to 0.5, expected whole numbers of 0 to 255"),
        (np.full((2, 6), 2.0), "static", "is 2 to 2, expected 0 to 1, or uint8"),
        (np.full((2, 4, 5), 1.0), "spikes", "shape is (2, 4, 5), expected [n, steps, 6]"),
        (np.full((2, 4, 6), np.nan), "spikes", "expected finite numbers"),
    ],
)
def test_frames_that_do_not_fit(files, array, kind, expected):
    folder, model = files
    np.save(folder / "frames.npy", array)
    words = ("--calibrate", folder / "frames.npy", "--input", kind, "--steps", 2)
    assert expected in run("import", model, *words, "-o", folder / "n.npz", code=2)


@pytest.mark.parametrize("kind", ["graded", "static"])
def test_other_inputs(files, kind):
    folder, model = files
    shape = (3, 4, 6) if kind == "graded" else (3, 6)
    np.save(
        folder / "frames.npy", np.random.default_rng(2).integers(0, 4 if kind == "graded" else 256, shape, np.uint8)
    )
    words = ("--calibrate", folder / "frames.npy", "--input", kind, "--steps", 4, "--search", "--per-channel")
    run("import", model, *words, "-o", folder / "n.npz")
    assert QuantizedNetwork.load(folder / "n.npz").inputs[0].kind == kind


def test_kept_formats_of_another_program_are_refused(files):
    folder, model = files
    run("import", model, "--steps", 9, "-o", folder / "a.npz")
    run("export", folder / "a.npz", "-o", folder / "a.nir")
    import h5py

    for change, expected in (
        ("[]", "metadata gradrtl is [], expected an object"),
        ("{", "metadata gradrtl is no JSON, expected what gradrtl export wrote"),
        ({"steps": 0}, "metadata gradrtl steps is 0, expected 1 to 65535"),
        ({"populations": []}, "does not fit its graph: it is not used"),
    ):
        with h5py.File(folder / "a.nir", "r+") as file:
            text = file["node/metadata/gradrtl"][()].decode()
            made = change if isinstance(change, str) else json.dumps({**json.loads(text), **change})
            del file["node/metadata/gradrtl"]
            file["node/metadata/gradrtl"] = made
        told = run("import", folder / "a.nir", "-o", folder / "b.npz", code=0 if "not used" in expected else 2)
        assert expected in told
        with h5py.File(folder / "a.nir", "r+") as file:
            del file["node/metadata/gradrtl"]
            file["node/metadata/gradrtl"] = text
