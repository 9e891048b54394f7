"""What nodes say of their own convention goes through a file; what does not fit the graph is one line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from nir_files import given, graph, leaky, node, taken

from gradrtl.errors import UserError
from gradrtl.model.importing.conventions import CONVENTION, CONVENTIONS, conventions, with_conventions
from gradrtl.model.importing.hdf5 import read, write
from gradrtl.model.importing.modules import looped
from gradrtl.model.importing.records import Record

OWN = {"dt": 1.0, "gain": "one", "reset": "none"}


def told(neuron: Record, own: dict) -> Record:
    return replace(neuron, fields={**neuron.fields, CONVENTION: own})


def record() -> Record:
    """Two layers with conventions of their own, the second within a nested graph, and one without."""
    nodes = {
        "input": given(2),
        "fc": node("Linear", weight=np.eye(2)),
        "a": told(leaky(), OWN),
        "b": looped(told(leaky(), {"reset": "value"}), node("Linear", weight=np.eye(2))),
        "c": leaky(),
        "output": taken(2),
    }
    return graph(nodes, "input -> fc -> a -> b -> c -> output")


def test_they_come_back_from_a_file(tmp_path) -> None:
    write(tmp_path / "m.nir", record())
    found = read(tmp_path / "m.nir")
    assert conventions(found) == [(["a"], OWN), (["b", "lif"], {"reset": "value"})]
    assert found.nodes["a"].fields[CONVENTION] == OWN
    assert CONVENTIONS not in found.fields
    assert CONVENTION not in found.nodes["c"].fields


def test_a_graph_without_them_has_no_metadata(tmp_path) -> None:
    import h5py

    plain = replace(record(), nodes={name: one for name, one in record().nodes.items() if name not in ("a", "b")})
    write(tmp_path / "m.nir", plain)
    with h5py.File(tmp_path / "m.nir") as file:
        assert "metadata" not in file["node"]


def test_a_field_of_that_name_is_none_of_ours(tmp_path) -> None:
    import h5py

    write(tmp_path / "m.nir", graph({"input": given(2), "a": leaky(), "output": taken(2)}, "input -> a -> output"))
    with h5py.File(tmp_path / "m.nir", "a") as file:
        file["node/nodes/a"].create_dataset("convention", data="{}", dtype=h5py.string_dtype())
    assert CONVENTION not in read(tmp_path / "m.nir").nodes["a"].fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "metadata gradrtl nodes is no JSON"),
        ("3", "metadata gradrtl nodes is 3"),
        ("[[3]]", "metadata gradrtl nodes is [3], expected names of a node and its convention"),
        (json.dumps([[["a"], {"speed": 1}]]), "speed"),
        (json.dumps([[["a"], {"reset": "slow"}]]), "reset is slow"),
        (json.dumps([[["a"], {"dt": -1}]]), "dt is -1"),
        (json.dumps([[["z"], OWN]]), "metadata gradrtl nodes node is z, expected one of the graph"),
        (json.dumps([[[["a"]], OWN]]), "node is ['a'], expected one of the graph"),
    ],
)
def test_what_does_not_fit_is_one_line(text: str, message: str) -> None:
    plain = graph({"input": given(2), "a": leaky(), "output": taken(2)}, "input -> a -> output")
    with pytest.raises(UserError) as error:
        with_conventions(replace(plain, fields={CONVENTIONS: text}))
    assert message in str(error.value)
