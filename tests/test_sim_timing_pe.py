"""Processing elements in the timing model: traces worked out by hand from the docstring of `rtl/pe.py`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gradrtl.sim.timing.fifo import NEVER, Times
from gradrtl.sim.timing.pe import LANES, PES, costs, full, latest, rebase, reopen, state, take, vectors

TOKEN = -1


def layer(counts: list[list[int]], lists: list[int] | None = None, depth: int = 4, rows: int = 4, kernel=None):
    """What the model reads of a `LayerMapping`: `counts[pe][list]` synapses."""
    number = np.array(counts)
    lists = list(range(number.shape[1])) if lists is None else lists
    return SimpleNamespace(
        pes=len(counts), counts=number, lists=np.array(lists), addresses=np.array(lists), queue_depth=depth,
        rows=rows, kernel=kernel,
    )  # fmt: skip


class Core:
    """A core of one layer, in 32 or 64 bits."""

    def __init__(self, one, kind=np.int64):
        times = Times()
        self.pes = np.array([state(one, times, 0, 0)], PES)
        self.times = np.array(times.values)
        self.lanes = np.full((3 * vectors(one), LANES), NEVER, kind)
        self.costs = costs(one).astype(kind)

    def take(self, offered: int, address: int) -> int:
        return take(self.pes[0], self.times, self.lanes, self.costs, offered, address)

    def full(self) -> int:
        return full(self.pes[0], self.lanes)


def test_cycles_of_the_reader():
    """A token takes one, an address the synapses of its list in each PE; lists may be shared; other lanes take none."""
    found = costs(layer([[3, 0], [1, 2]], lists=[0, 1, 0]))
    assert found[:, :2].tolist() == [[1, 1], [3, 1], [0, 2], [3, 1]]
    assert not found[1:, 2:].any()
    assert (found[0] == 1).all()


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (16, 1), (17, 2), (40, 3)])
def test_vectors(number, expected):
    assert vectors(layer([[1]] * number)) == expected


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_an_event_a_cycle_and_a_token(kind):
    """Accepted in 10, looked up in 11 and 12, handed over in 13; the token, two cycles later, in 15: full 5 later."""
    core = Core(layer([[1, 1]]), kind)
    assert [core.take(10 + i, i) for i in range(2)] == [10, 11]
    assert core.take(12, TOKEN) == 12
    assert core.full() == 15 + 5


def test_a_convolution_has_two_stages_more():
    core = Core(layer([[1]], kernel=object()))
    core.take(10, TOKEN)
    assert core.full() == 13 + 7


def test_a_long_run_holds_up_what_follows():
    """Three synapses: handed over in 13, the reader is free from 16 on. Then an event without any, then a token."""
    core = Core(layer([[3, 0]]))
    assert core.take(10, 0) == 10
    assert core.take(11, 1) == 11  # is looked up beside it, and gone
    assert core.take(12, TOKEN) == 12
    assert core.full() == 16 + 5


def test_a_full_queue_stops_the_stream():
    """Runs of 10: the first in the reader, the next two in the look-up, two in the queue of two; then one each ten."""
    core = Core(layer([[10]], depth=2))
    taken = [core.take(0, 0)]
    for _ in range(7):
        taken.append(core.take(taken[-1] + 1, 0))
    # Cleared until 4; handed over in 8, 18, 28, 38. The third pops in 8, as the second moves on; the fourth in 18.
    assert taken == [5, 6, 7, 8, 9, 19, 29, 39]


@pytest.mark.parametrize(("fast", "slow"), [(0, 20), (20, 0)])
def test_the_slowest_element_decides(fast, slow):
    """One PE has two synapses of each event, one of another vector five: the token comes after the five of both."""
    counts = [[0]] * 21
    counts[fast], counts[slow] = [2], [5]
    core = Core(layer(counts))
    core.take(10, 0)
    core.take(11, 0)
    core.take(12, TOKEN)
    assert core.full() == 13 + 5 + 5 + 5  # handed over in 13, 18, 23


def test_nothing_is_taken_while_banks_are_cleared():
    assert Core(layer([[1]], rows=9)).take(0, 0) == 10


def test_what_follows_waits_for_a_bank():
    core = Core(layer([[1]]))
    reopen(core.pes[0], core.lanes, 50)
    assert core.take(10, TOKEN) == 10
    assert core.full() == 51 + 5


def test_times_of_another_base():
    core = Core(layer([[3]] * 17))
    core.take(10, 0)
    assert latest(core.lanes) == 16  # the reader is free
    rebase(core.lanes, 100)
    assert latest(core.lanes) == -84
    assert core.lanes.min() == NEVER
