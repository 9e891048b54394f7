"""Network files of version 2: headers and arrays that make no network are refused before anything is unpacked."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from damage import contents

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.quantize import network_file
from gradrtl.quantize.network import QuantizedNetwork

HIDDEN = ("populations", 0)
OWN, LOOP = (*HIDDEN, "inputs", 0), (*HIDDEN, "inputs", 1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("plain") / "graph.npz"
    graphs.recurrent().save(path)
    return contents(path, network_file.KIND)


def refused(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    archive.save(path, network_file.KIND, header, arrays, version=network_file.VERSION)
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            QuantizedNetwork.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("inputs",), [], "source is input, expected one of hidden, output"),
        (("inputs", 0, "kind"), "sound", "inputs[0]: input.kind is sound, expected static or spikes or graded"),
        (("inputs", 0, "bits"), 9, "inputs[0]: input.bits is 9"),
        (("inputs", 0, "name"), 3, "inputs[0]: input.name is 3, expected a name"),
        (("inputs", 0, "shape"), [1, 65536, 65536], "inputs[0]: input.shape is"),
        (("populations",), [], "arrays is ['population0.bias'], expected those of the populations"),
        (("populations",), 3, "populations is 3, expected a list"),
        (HIDDEN, "hidden", "populations[0]: population is hidden, expected an object"),
        ((*HIDDEN, "shape"), [6], "population0.bias shape is (5,), expected (1,) or (6,)"),
        ((*HIDDEN, "shape"), [0], "shape is (0,)"),
        ((*HIDDEN, "name"), "other", "populations[0]: inputs[1]: source is hidden, expected one of input, other"),
        ((*HIDDEN, "neuron", "leak"), "slow", "neuron.leak is slow"),
        ((*HIDDEN, "neuron", "rounding"), 3, "neuron.rounding is 3, expected floor or nearest"),
        ((*HIDDEN, "neuron", "refractory"), 1.0, "neuron.refractory is 1.0, expected a whole number"),
        ((*HIDDEN, "neuron", "current"), {"shift": 2}, "neuron.current is incomplete: enters is missing"),
        ((*HIDDEN, "neuron", "current"), {"shift": 2, "enters": "new"}, "population0.current_factor is missing"),
        ((*HIDDEN, "neuron", "adaptation"), {"shift": "2"}, "neuron.adaptation.shift is 2, expected a whole number"),
        ((*HIDDEN, "neuron", "threshold"), 3, "neuron field is ['threshold']"),
        ((*HIDDEN, "inputs"), [], "arrays is ['population0.input0.weight']"),
        ((*OWN, "sources"), [], "inputs[0]: sources is 0, expected 1 to 16 names"),
        ((*OWN, "sources"), ["nobody"], "inputs[0]: source is nobody, expected one of input, hidden, output"),
        ((*OWN, "sources"), ["hidden"], "population0.input0.weight shape is (5, 6), expected (5, 5)"),
        ((*OWN, "sources"), "input", "sources is input, expected a list"),
        ((*OWN, "synapses"), {"kind": "sparse"}, "synapses is sparse, expected dense or conv"),
        ((*OWN, "synapses"), {"kind": "conv", "stride": [1, 1], "padding": [0, 0]}, "source shape is (6,)"),
        ((*OWN, "weight_bits"), 3, "weights is (-6, 7), expected -4 to 3 at 3 bits"),
        ((*OWN, "shift"), 17, "shift is 17, expected 0 to 16"),
        ((*OWN, "pool"), {"kind": "max", "size": 2}, "pool input shape is (6,)"),
        ((*LOOP, "delay"), 0, "cycle of populations is hidden -> hidden, expected a delay"),
        ((*LOOP, "delay"), "1", "delay is 1, expected a whole number, 0 to 255"),
        (("readouts",), [], "readouts is 0, expected 1 to 64"),
        (("readouts", 0, "source"), "input", "readout source is input, expected one of hidden, output"),
        (("readouts", 0, "kind"), "vote", "readouts[0]: readout.kind is vote"),
        (("steps",), 65_536, "steps is 65536, expected 1 to 65535"),
        (("notes",), [], "notes is [], expected an object"),
        (("placement",), [16], "placement is [16], expected an object"),
        (("layers2",), 1, "header field is ['layers2']"),
    ],
    ids=str,
)
def test_headers_that_make_no_network(tmp_path, plain, where, value, message):
    header, arrays = copy.deepcopy(plain[0]), plain[1]
    inner = header
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert message in refused(tmp_path / "graph.npz", header, arrays)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"population0.bias": np.zeros(3, np.int64)}, "population0.bias shape is (3,), expected (1,) or (5,)"),
        ({"population0.bias": np.zeros(5)}, "population0.bias dtype is float64, expected int64"),
        ({"population0.input1.weight": np.zeros((5, 1 << 20), np.int8)}, "population0.input1.weight shape is"),
        ({"population0.input0.rates": np.zeros(6)}, "incomplete: population0.input1.rates is missing"),
        ({"population0.current_factor": np.zeros(1, np.int64)}, "arrays is ['population0.current_factor']"),
        ({"more": np.zeros(1 << 22)}, "arrays is ['more'], expected those of the populations"),
        ({"population1.threshold": None}, "incomplete: population1.threshold is missing"),
        ({"population1.factor": np.array([5])}, "neuron.factor is 5, expected 0 to 2**shift = 4"),
    ],
    ids=str,
)
def test_arrays_that_make_no_network(tmp_path, plain, other, message):
    arrays = {name: values for name, values in {**plain[1], **other}.items() if values is not None}
    assert message in refused(tmp_path / "graph.npz", plain[0], arrays)
