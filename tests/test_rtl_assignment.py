"""Assignment: everybody has a place, no PE has more neurons than it must, loads are nearly equal."""

from __future__ import annotations

import numpy as np
import pytest

from gradrtl.rtl.assignment import assign


@pytest.mark.parametrize("pes", [1, 2, 3, 7, 16, 40])
@pytest.mark.parametrize("neurons", [1, 5, 16, 33])
def test_each_neuron_once_and_none_too_many(neurons, pes):
    loads = np.random.default_rng(neurons).random(neurons)
    members = assign(loads, pes)
    assert len(members) == pes
    assert sorted(np.concatenate(members).tolist()) == list(range(neurons))
    assert max(map(len, members)) == -(-neurons // pes)
    assert all((np.diff(m) > 0).all() for m in members)
    assert all(m.tolist() == again.tolist() for m, again in zip(members, assign(loads, pes), strict=True))


def test_by_hand():
    # 8 and 7 go apart; 6 joins 7, 5 joins 8 (13 each); 4 joins the first, and 1 what has room.
    assert [m.tolist() for m in assign(np.array([8.0, 7, 6, 5, 4, 1]), 2)] == [[0, 3, 4], [1, 2, 5]]


@pytest.mark.parametrize("seed", range(5))
def test_loads_are_within_a_small_neuron_of_equal(seed):
    loads = np.random.default_rng(seed).gamma(2.0, 10.0, 800)
    sums = [loads[m].sum() for m in assign(loads, 16)]
    assert max(sums) <= 1.02 * loads.sum() / 16
