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
