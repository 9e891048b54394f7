"""Graphs of maps in hardware: every spike, membrane and sum, and the cycles of every frame, as predicted."""

from __future__ import annotations

from pathlib import Path

import pytest
from batches import generate_together
from graph_cases import case
from map_graphs import GRAPHS
from random_cases import Case, agree
from random_networks import frames
from test_rtl_top import check

from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import verilated

CACHE = Path(__file__).parent.parent / "build" / "cache"
SEEDS = (0, 1, 2, 3)  # every other one with a cycle


@pytest.mark.parametrize("stalls", [0.0, 0.2])
@pytest.mark.parametrize("name", GRAPHS)
def test_small_graphs(name, stalls):
    """In Amaranth's simulator: results, and the times of every frame."""
    made = GRAPHS[name]
    mapping = map_network(made, Placement((2, 1, 2, 3, 1)[: len(made.populations)], queue_depth=3, row_queue_depth=2))
    check(made, mapping, frames(made, 4, 5), stalls, 5)


@pytest.mark.rtl
def test_all_machines_agree(tmp_path):
    cases = [case(seed, built=True) for seed in SEEDS]
    cases += [Case(made, frames(made, 6, 1), (3,) * len(made.populations), 2, 4, 2) for made in GRAPHS.values()]
    mappings = [one.mapping for one in cases]
    texts = generate_together(mappings, "tests")
    models = verilated.build_together(list(zip(texts, mappings, strict=True)), tmp_path, cache=CACHE)
    for number, (one, text, model) in enumerate(zip(cases, texts, models, strict=True)):
        finding = agree(one, text, CACHE, number, model)
        assert finding.wrong is None, f"case {number}: {finding.wrong}"
        assert finding.membranes > 0


def test_pools_of_their_own_only_where_readers_differ():
    ways = {name: [len(layer.outgoing) for layer in map_network(made, (2,) * len(made.populations)).layers]
            for name, made in GRAPHS.items()}  # fmt: skip
    assert ways["residual"] == [1, 2, 1, 1]
    assert ways["mixed"] == [3, 1, 1, 1]
    assert ways["together"] == [2, 1, 1]
