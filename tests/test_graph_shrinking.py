"""Graphs shrink to what makes them fail."""

from __future__ import annotations

import random_graphs
from graph_shrinking import shrink


def test_shrinks_to_the_cycle_that_matters():
    found = map(random_graphs.graph, range(99))
    large = next(one for one in found if len(one.edges) > 8 and random_graphs.has_cycle(one))
    small = shrink(large, random_graphs.has_cycle, budget=1000)
    assert random_graphs.has_cycle(small)
    assert len(small.populations) <= 2
    assert len(small.edges) <= 4
    assert small.steps == 1
