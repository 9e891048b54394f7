"""Graphs as descriptions: what fits, JSON, the order of populations, and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gradrtl.errors import UserError
from gradrtl.model.description import ConvSpec, DenseSpec
from gradrtl.model.graph import (
    LI,
    AdaptationSpec,
    ConnectionSpec,
    CurrentSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)
from gradrtl.shapes import Pool

ROWS = InputSpec("rows", (1, 6, 5), held=False)


def heard(*sources: str, outputs: int = 4, delay: int = 0) -> ConnectionSpec:
    return ConnectionSpec(sources, DenseSpec(outputs), delay)


def graph(*populations: PopulationSpec, inputs: tuple[InputSpec, ...] = (ROWS,), kind: str = "count") -> Graph:
    return Graph("g", inputs, populations, ReadoutSpec(populations[-1].name, kind), steps=6)


RECURRENT = graph(
    PopulationSpec(
        "hidden",
        (heard("rows"), heard("hidden", delay=1), heard("back", delay=2)),
        NeuronSpec(0.75, current=CurrentSpec(0.25, "old"), adaptation=AdaptationSpec(), refractory=2, learnt="neuron"),
        bias=True,
    ),
    PopulationSpec("back", (heard("hidden"),), NeuronSpec(reset="soft", reset_amount=0.5)),
    PopulationSpec("out of all", (heard("hidden", "back", outputs=3), heard("rows", outputs=3, delay=1)), LI),
    kind="largest",
)
RESIDUAL = graph(
    PopulationSpec("first", (ConnectionSpec(("image",), ConvSpec(2)),), batch_norm=True),
    PopulationSpec("second", (ConnectionSpec(("first",), ConvSpec(2)),), batch_norm=True),
    PopulationSpec("out", (ConnectionSpec(("first", "second"), DenseSpec(3), pool=Pool("max", 2)),)),
    inputs=(InputSpec("image", (2, 6, 5)),),
)


@pytest.mark.parametrize("network", [RECURRENT, RESIDUAL])
def test_json(network: Graph) -> None:
    assert Graph.from_json(json.loads(json.dumps(network.to_json()))) == network


def test_json_may_leave_out_what_has_a_default() -> None:
    found = Graph.from_json(
        {
            "name": "short",
            "inputs": [{"name": "rows", "shape": [1, 6, 5], "held": False}],
            "populations": [
                {"name": "a", "inputs": [{"sources": ["rows"], "synapses": {"kind": "dense", "outputs": 4}}]},
            ],
            "readout": {"source": "a"},
            "steps": 6,
        }
    )
    assert found == replace(graph(PopulationSpec("a", (heard("rows"),))), name="short")


def test_a_chain_hears_one_population_after_the_other() -> None:
    first, second = PopulationSpec("first", (heard("rows"),)), PopulationSpec("second", (heard("first"),))
    assert graph(first).is_chain
    assert graph(first, second).is_chain
    for other in (
        graph(first, replace(second, inputs=(heard("first"), heard("rows")))),
        graph(first, replace(second, inputs=(heard("first", delay=1),))),
        graph(first, PopulationSpec("again", (heard("first"), heard("again", delay=1)))),
        Graph("turned round", (ROWS,), (second, first), ReadoutSpec("second"), steps=6),
        RECURRENT,
        RESIDUAL,
    ):
        assert not other.is_chain


def test_shapes_and_order() -> None:
    assert RECURRENT.components == (("hidden", "back"), ("out of all",))
    assert RECURRENT.shapes == {"rows": (1, 1, 5), "hidden": (4,), "back": (4,), "out of all": (3,)}
    assert [RECURRENT.is_recurrent(p.name) for p in RECURRENT.populations] == [True, True, False]
    assert RECURRENT.input_shape == (1, 6, 5)
    assert RESIDUAL.shapes["second"] == (2, 6, 5)
    assert list(RESIDUAL.weight_shapes.values()) == [(2, 2, 3, 3), (2, 2, 3, 3), (3, 12)]
    assert RESIDUAL.classes == 3
    for delay in (0, 1):
        late = graph(
            PopulationSpec("a", (heard("b", delay=delay),)),
            PopulationSpec("b", (heard("rows"),)),
            PopulationSpec("c", (heard("a"),)),
        )
        assert late.components == (("b",), ("a",), ("c",)), "described in any order"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: graph(PopulationSpec("a", (heard("rows"), heard("a")))), "population a is on or behind a cycle"),
        (lambda: graph(PopulationSpec("a", (heard("raws"),))),
         r"population a inputs\[0\] source is raws, expected one of"),
        (lambda: graph(PopulationSpec("a", (heard("rows"), heard("rows", outputs=3)))),
         r"population a inputs\[1\]: output shape is \(3,\), expected \(4,\)"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),)), PopulationSpec("b", (heard("rows", "a"),))),
         r"connection source a shape is \(4,\), expected \(1, 1, 5\)"),
        (lambda: graph(PopulationSpec("a", (heard("a", delay=1),))), "population a is heard by others alone"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),)), PopulationSpec("b", (heard("rows"),))),
         "population a is heard by nobody"),
        (lambda: graph(PopulationSpec("rows", (heard("rows"),))), "network name is rows, expected each name once"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),), LI)), "readout.kind is count"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),)), kind="sum"), "readout.kind is sum"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),), LI), PopulationSpec("b", (heard("a"),))),
         "population a spiking"),
        (lambda: graph(PopulationSpec("a", (heard("rows"), heard("a", delay=1)), batch_norm=True)),
         "population a batch_norm"),
        (lambda: graph(PopulationSpec("a", (heard("i", delay=1),)), inputs=(InputSpec("i", (1, 6, 5)),)), "delay is 1"),
        (lambda: graph(PopulationSpec("a", (heard("rows"), heard("a", "a", delay=1)))),
         "sources is .*, expected names, each once"),
        (lambda: graph(PopulationSpec("a", (ConnectionSpec(("rows",), DenseSpec(4), pool=Pool()),))),
         "none: inputs are not pooled"),
        (lambda: graph(PopulationSpec("a", (heard("i"), heard("i", "a"))), inputs=(InputSpec("i", (1, 6, 5)),)),
         "expected held inputs only, or none"),
        (lambda: graph(PopulationSpec("a", (heard("rows"),)), inputs=(ROWS, InputSpec("i", (1, 6, 5)))),
         "input i is heard by nobody"),
        (lambda: replace(RECURRENT, steps=4), "steps is 4, expected a divisor of the 6 rows"),
        (lambda: NeuronSpec(learnt="neuron", decay=1.0), "neuron.decay is 1.0, expected between"),
        (lambda: NeuronSpec(spiking=False, refractory=1), "neuron.spiking is False"),
        (lambda: NeuronSpec(reset="none", reset_value=1.0), "neuron.reset_value is 1.0"),
        (lambda: NeuronSpec(reset_amount=1.0), "neuron.reset_amount is 1.0"),
        (lambda: CurrentSpec(1.5), "neuron.current.decay is 1.5"),
        (lambda: AdaptationSpec(jump=-1.0), "neuron.adaptation.jump is -1.0"),
        (lambda: Graph.from_json({"name": "x"}), "inputs is missing"),
        (lambda: ConnectionSpec(("a",), DenseSpec(3, bias=True)), "connection.synapses.bias"),
    ],
)  # fmt: skip
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
