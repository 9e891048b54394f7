"""Processing elements (`rtl/pe.py`): when an event is taken by all PEs of a core, and when their banks are full."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import INTERVAL, LOOKUP_STAGE, QUEUE, READ, REOPENED, token_latency
from ...rtl.mapping import LayerMapping
from ..vectors import larger, largest, record, rows, select
from .fifo import NEVER, RING, Times, leave, space

LANES = 16  # PEs are handled in vectors of this many
MOVED, WAITED, FREE = STATES = 0, 1, 2  # rows of each vector: see `take`
load, store, _ = rows(LANES)

PES = record(
    [
        ("queue", RING),  # events that some PE has not popped
        ("taken", np.int64),  # in `times`: the newest event
        ("vectors", np.int64),
        ("begin", np.int64),  # row of `lanes` where this core's begin: one for each vector, three times (see `take`),
        ("costs", np.int64),  # and row of `costs`
        ("token_latency", np.int64),
    ]
)


def vectors(layer: LayerMapping) -> int:
    """Vectors that hold the PEs of a layer."""
    return -(-layer.pes // LANES)


def state(layer: LayerMapping, times: Times, lane: int, cost: int) -> tuple:
    """A `PES` whose rows begin at `lane` and `cost`. Events wait until both banks are cleared after reset."""
    return (
        times.ring(layer.queue_depth),
        times.one(layer.rows),
        vectors(layer),
        lane,
        cost,
        token_latency(layer.kernel is not None),
    )


def costs(layer: LayerMapping) -> np.ndarray:
    """Cycles of the synapse reader in each PE, int64 `[(1 + addresses) * vectors, LANES]`, a token's first."""
    found = np.zeros((1 + len(layer.addresses), vectors(layer) * LANES), np.int64)
    found[0] = READ
    found[1:, : layer.pes] = layer.counts.T[layer.lists] * READ
    return found.reshape(-1, LANES)


@kernel(borrows=True, forceinline=True)
def take(pes, times, lanes, costs, offered, address):
    """The cycle in which an event that is offered from cycle `offered` on is taken. A token has the address -1.

    For each PE, `lanes` holds the cycles in which the first look-up stage (MOVED) and the second (WAITED) were last
    left, and the first cycle in which the reader is free (FREE).
    """
    taken = max(max(offered, times[pes.taken] + INTERVAL), space(pes.queue, times))
    popped = taken + QUEUE
    vectors = pes.vectors
    moved, waited, free = pes.begin + MOVED * vectors, pes.begin + WAITED * vectors, pes.begin + FREE * vectors
    cost_at = pes.costs + (1 + address) * vectors
    for k in range(vectors):
        cost, left, handed, ready = (
            load(costs, cost_at + k),
            load(lanes, moved + k),
            load(lanes, waited + k),
            load(lanes, free + k),
        )
        pop = larger(left, taken + QUEUE)
        popped = max(popped, largest(pop))
        move = larger(pop + LOOKUP_STAGE, handed)
        handoff = larger(move + LOOKUP_STAGE, ready)
        reads = cost >= 1
        store(lanes, moved + k, move)
        store(lanes, waited + k, select(reads, handoff, handed))
        store(lanes, free + k, select(reads, handoff + cost, ready))
    leave(pes.queue, times, popped)
    times[pes.taken] = taken
    return taken


@kernel(borrows=True, forceinline=True)
def reopen(pes, lanes, released):
    """The next events wait for a bank that the fire unit releases in cycle `released`."""
    begin = pes.begin + FREE * pes.vectors
    for row in range(begin, begin + pes.vectors):
        store(lanes, row, larger(load(lanes, row), released + REOPENED))


@kernel(borrows=True, forceinline=True)
def full(pes, lanes):
    """The first cycle in which the bank of every PE is seen full, once all have taken its token."""
    begin = pes.begin + WAITED * pes.vectors
    handed = load(lanes, begin)
    for row in range(begin + 1, begin + pes.vectors):
        handed = larger(handed, load(lanes, row))
    return np.int64(largest(handed)) + pes.token_latency


@kernel(borrows=True)
def latest(lanes):
    """The latest cycle in all PEs of all cores."""
    found = load(lanes, 0)
    for row in range(len(lanes)):
        found = larger(found, load(lanes, row))
    return np.int64(largest(found))


@kernel(borrows=True)
def rebase(lanes, shift):
    """Count the cycles of all PEs from a base that is `shift` later."""
    for row in range(len(lanes)):
        store(lanes, row, larger(load(lanes, row) - shift, NEVER))


@kernel(borrows=True)
def forget(lanes):
    """All PEs are reset."""
    for row in range(len(lanes)):
        for lane in range(LANES):
            lanes[row, lane] = NEVER
