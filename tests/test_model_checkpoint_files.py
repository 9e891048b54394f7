"""Checkpoint files: every field of the header is checked, and arrays before they are unpacked."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import float_networks
import numpy as np
import pytest

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.model.checkpoint import KIND, Checkpoint
from gradrtl.model.description import ConvSpec, DenseSpec, LayerSpec, Network, Pool

LAYERS = (LayerSpec(ConvSpec(2), batch_norm=True, pool=Pool("max", 2)), LayerSpec(DenseSpec(3, bias=True)))


@pytest.fixture
def made() -> Checkpoint:
    return float_networks.checkpoint(Network("small", (1, 4, 4), LAYERS, 3), seed=1)


def contents(made: Checkpoint, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    made.save(path)
    return archive.load(path, KIND, lambda header, claims: header)


def test_comes_back(made: Checkpoint, tmp_path: Path) -> None:
    made.save(tmp_path / "file.npz")
    found = Checkpoint.load(tmp_path / "file.npz")
    assert found.network == made.network
    assert found.arrays.keys() == made.arrays.keys()
    for name, array in made.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["network"], 7, "network is 7, expected an object with the fields name"),
        (["network", "steps"], 3.0, "network.steps is 3.0, expected a whole number, 1 to 65535"),
        (["network", "vote"], True, "network.vote is True, expected a whole number"),
        (["network", "name"], {"a": 1}, "network.name is {'a': 1}, expected a name"),
        (["network", "input_shape"], [1, 65536, 65536], "network.input_shape is .*, expected at most 4194304 sources"),
        (["network", "layers"], {}, "network.layers is {}, expected a list"),
        (["network", "layers", 0], None, r"layers\[0\]: layer is None, expected an object"),
        (["network", "layers", 0, "dropout"], "0.5", r"layers\[0\]: layer.dropout is 0.5, expected a finite number"),
        (["network", "layers", 0, "batch_norm"], 1, r"layers\[0\]: layer.batch_norm is 1, expected True or False"),
        (["network", "layers", 0, "neuron", "tau"], [2.0], r"layers\[0\]: neuron.tau is \[2.0\], expected one finite"),
        (["network", "layers", 0, "neuron", "tau"], 10**400, r"layers\[0\]: neuron.tau is 1000.*, expected one finite"),
        (["network", "layers", 0, "synapses"], [], r"layers\[0\]: synapses.kind is \[\], expected dense or conv"),
        (["network", "layers", 0, "synapses", "kernel"], [3], r"layers\[0\]: conv.kernel is \[3\], expected 2 whole"),
        (["network", "layers", 0, "synapses", "channels"], 1 << 40, r"layers\[0\]: conv.channels is 1099511627776"),
        (["network", "layers", 0, "pool", "size"], None, r"layers\[0\]: pool.size is None, expected a whole number"),
        (["history"], [1], r"checkpoint history is \[1\], expected dicts"),
        (["figures"], [], r"checkpoint figures is \[\], expected a dict"),
        (["command"], 7, "checkpoint command is 7, expected a str"),
        (["extra"], 7, r"header field is \['extra'\], expected one of network, config"),
    ],
)
def test_fields_of_the_wrong_type(
    made: Checkpoint, tmp_path: Path, where: Sequence[Any], value: Any, message: str
) -> None:
    """Behind a digest that is right."""
    path = tmp_path / "file.npz"
    header, arrays = contents(made, path)
    inner = header = copy.deepcopy(header)
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    archive.save(path, KIND, header, arrays)
    with pytest.raises(UserError, match=message) as caught:
        Checkpoint.load(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("layer0.weight", np.zeros((2, 1, 3, 1 << 20), np.float32), r"layer0.weight shape is \(2, 1, 3, 1048576\)"),
        ("layer0.weight", np.zeros((2, 1, 3, 3)), "layer0.weight dtype is float64, expected float32"),
        ("layer9.weight", np.zeros(1 << 22, np.float32), r"arrays is with \['layer9.weight'\]"),
    ],
)
def test_arrays_are_refused_before_they_are_unpacked(
    made: Checkpoint, tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "file.npz"
    header, arrays = contents(made, path)
    archive.save(path, KIND, header, {**arrays, name: array})
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message):
            Checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_missing_arrays_and_numbers_that_are_not_finite(made: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    header, arrays = contents(made, path)
    archive.save(path, KIND, header, {name: array for name, array in arrays.items() if name != "layer1.bias"})
    with pytest.raises(UserError, match=r"arrays is without \['layer1.bias'\]"):
        Checkpoint.load(path)
    arrays["layer1.bias"][0] = np.nan
    archive.save(path, KIND, header, arrays)
    with pytest.raises(UserError, match=r"layer1.bias is not finite"):
        Checkpoint.load(path)
