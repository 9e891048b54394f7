"""NIR files are read as they stand; one damaged file of every kind ends in one line."""

from __future__ import annotations

import sys

import h5py
import nir
import nir_files
import numpy as np
import pytest
from nir_files import given, graph, integrate, node, taken

from gradrtl.errors import UserError
from gradrtl.model import hdf5_process
from gradrtl.model.importing import hdf5
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.model.importing.records import Findings
from gradrtl.quantize.imported import Asked, quantize_imported


def small(**changes):
    nodes = {
        "input": given(3),
        "fc": node("Affine", weight=np.ones((2, 3)), bias=np.zeros(2)),
        "lif": node("IF", r=np.full(2, 1e4), v_threshold=np.ones(2), v_reset=np.zeros(2)),
        "output": taken(2),
    }
    return graph({**nodes, **changes}, "input -> fc -> lif -> output")


def same(a, b):
    assert a.type == b.type
    assert a.edges == b.edges
    assert a.fields.keys() == b.fields.keys()
    for name, value in a.fields.items():
        np.testing.assert_array_equal(value, b.fields[name])
    assert a.nodes.keys() == b.nodes.keys()
    for name, inner in a.nodes.items():
        same(inner, b.nodes[name])


def test_what_is_written_is_read(tmp_path):
    record = small(
        rec=graph({"i": given(2), "w": node("Conv2d", padding="same", weight=np.ones((1, 1, 2, 2)))}, "i -> w")
    )
    hdf5.write(tmp_path / "a.nir", record)
    same(hdf5.read(tmp_path / "a.nir"), record)


def test_files_of_the_nir_package_and_ours_are_the_same(tmp_path):
    hdf5.write(tmp_path / "ours.nir", small())
    read = nir.read(tmp_path / "ours.nir")
    assert set(read.edges) == {("input", "fc"), ("fc", "lif"), ("lif", "output")}
    nir.write(tmp_path / "theirs.nir", read)
    theirs = import_graph(hdf5.read(tmp_path / "theirs.nir"), Convention())
    ours = import_graph(small(), Convention())
    assert quantize_imported(theirs, Asked(3)).digest == quantize_imported(ours, Asked(3)).digest


def refused(path, expected):
    with pytest.raises(UserError) as error:
        import_graph(hdf5.read(path), Convention())
    assert str(error.value).isprintable()
    assert expected in str(error.value)


def test_not_a_file(tmp_path):
    refused(tmp_path / "none.nir", "none.nir, expected a file that exists")
    (tmp_path / "text.nir").write_text("nodes: none\n")
    refused(tmp_path / "text.nir", "text.nir: not an HDF5 file, or damaged")
    (tmp_path / "empty.nir").touch()
    refused(tmp_path / "empty.nir", "empty.nir: not an HDF5 file, or damaged")


def test_truncated(tmp_path):
    path = nir_files.write(tmp_path / "a.nir", small())
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "a.nir: not an HDF5 file, or damaged (")


def test_another_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "a.nir", "w") as file:
        file["data"] = np.ones(3)
    refused(tmp_path / "a.nir", "contents is another HDF5 file, expected a NIR graph under the name node")


def test_a_single_node(tmp_path):
    refused(nir_files.write(tmp_path / "a.nir", integrate()), "node is a single IF, expected a NIRGraph")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lif": node("Spiker", x=1)}, "node lif type is Spiker, expected one of IF, LIF, "),
        ({"fc": node("Linear", weight=np.full((2, 3), np.nan))}, "node fc weight is NaN or infinite in 6 elements"),
        ({"fc": node("Linear", weight=np.ones((2, 4)))}, "node fc weight columns is 4, expected 3, what leads to it"),
        ({"fc": node("Linear", weight=np.ones(3))}, "node fc weight is ndarray of float64 (3,), expected an array of"),
        ({"fc": node("Linear")}, "node fc weight is missing"),
        ({"lif": integrate(np.ones(5))}, "node lif v_threshold size is 5, expected 1 or 2"),
        ({"fc": node("Linear", weight="many")}, "node fc weight is "),
    ],
)
def test_nodes_that_cannot_be(tmp_path, changes, expected):
    refused(nir_files.write(tmp_path / "a.nir", small(**changes)), expected)


def test_an_edge_to_nowhere(tmp_path):
    record = small()
    broken = type(record)(record.type, {}, record.nodes, (*record.edges, ("lif", "conv9")))
    refused(
        nir_files.write(tmp_path / "a.nir", broken), "edge lif -> conv9 is to or from conv9, which is no node, expected"
    )


def test_an_edge_to_a_shortened_name_is_repaired():
    record = small()
    nodes = {("lif1" if name == "lif" else name): inner for name, inner in record.nodes.items()}
    findings = Findings()
    graph = import_graph(type(record)(record.type, {}, nodes, record.edges), Convention(), findings)
    assert [one.name for one in graph.populations] == ["lif1"]
    assert "edge fc -> lif: there is no node lif, read as lif1" in findings.notes


def test_a_cycle_without_a_neuron(tmp_path):
    nodes = {**small().nodes, "a": node("Scale", scale=1.0), "b": node("Scale", scale=1.0)}
    record = graph(nodes, "input -> fc -> a -> b -> a", "b -> lif -> output")
    refused(nir_files.write(tmp_path / "a.nir", record), "cycle of nodes is a -> b -> a, expected a neuron in it")


def test_a_hundred_thousand_neurons(tmp_path):
    nodes = {
        "input": given(2),
        "fc": node("Linear", weight=np.ones((100_000, 2))),
        "lif": integrate(),
        "output": taken(1),
    }
    path = nir_files.write(tmp_path / "a.nir", graph(nodes, "input -> fc -> lif -> output"))
    refused(path, "node lif shape is (100000,), expected numbers from 1 to 65536")


def test_no_input_and_no_output(tmp_path):
    nodes = small().nodes
    bare = graph({"fc": nodes["fc"], "lif": nodes["lif"]}, "fc -> lif")
    findings = Findings()
    with pytest.raises(UserError, match=r"nodes Input is none, expected one: .* \(1 more: --check lists them\)"):
        import_graph(bare, Convention(), findings)
    assert len(findings.errors) == 2


def test_claims_of_a_huge_array(tmp_path):
    path = nir_files.write(tmp_path / "a.nir", small())
    with h5py.File(path, "r+") as file:
        inner = file["node/nodes/fc"]
        del inner["weight"]
        inner.create_dataset("weight", shape=(1 << 20, 1 << 20), chunks=(16, 16), dtype=np.float64)
    refused(path, "size is more than 268435456 bytes, expected at most")


def test_data_of_other_files(tmp_path):
    other = nir_files.write(tmp_path / "b.nir", small())
    path = nir_files.write(tmp_path / "a.nir", small())
    with h5py.File(path, "r+") as file:
        del file["node/nodes/fc"]
        file["node/nodes/fc"] = h5py.ExternalLink(str(other), "node/nodes/fc")
    refused(path, "fc is a link, expected data of this file")


def test_a_reader_that_ends_or_hangs(tmp_path, monkeypatch):
    path = nir_files.write(tmp_path / "a.nir", small())
    program = tmp_path / "program"
    for text, expected in (("kill -SEGV $$", "(its reader ended)"), ("exec sleep 20", "not read within 0.2 seconds")):
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        monkeypatch.setattr(hdf5, "SECONDS", 0.2 if "sleep" in text else 60)
        monkeypatch.setattr(sys, "executable", str(program))
        refused(path, expected)


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_process, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="h5py"):
        hdf5.read(nir_files.write(tmp_path / "a.nir", small()))
