"""Latencies and fixed depths of the accelerator's parts, in cycles and entries. This is their only definition.

Hardware, timing model, tests and documents read them here. No hardware description is imported.
"""

from __future__ import annotations

# A stream passes one transfer per cycle: from one to the first cycle of the next.
INTERVAL = 1

# Accumulator banks of a core: one is filled while the other is scanned.
BANKS = 2
HELD = BANKS  # the bank of what is held for the frame, where other sums change at every step

# Processing element. From the cycle in which an event leaves one stage of its lookup (event queue, pointer, run) to the
# first in which it can leave the next. Cycles that the synapse reader takes for a token, and for each synapse. From the
# handoff of a token to the first cycle in which its bank is seen full; from a synapse to its row in a convolution (a
# dense layer has the row in the synapse word). From the release of a bank to the first cycle in which it can be filled.
LOOKUP_STAGE = 1
READ = 1
TOKEN = 5
CONVOLUTION = 2
REOPENED = 1

# Fire unit. From the cycle in which a bank is full to its first issue; from the issue of a row to the release of the
# bank, and to its offer on `rows`.
SEEN = 1
RELEASED = 2
PUT_OUT = 5
# From the cycle in which the serialiser loads a row, or takes an empty one, to the first in which its
# credit lets another row be issued.
CREDIT_LOADED = 2
CREDIT_EMPTY = 1
# A row is read, registered, updated, written: the same row is read again after this time at the earliest.
FIRE_STAGES = 4
# A synaptic current that enters the membrane in the same step is a stage of its own, before the potential.
CURRENT_STAGE = 1

# Every queue (`rtl/fifo.py`): from the cycle in which an entry is taken to the first in which it is offered; from the
# cycle in which one leaves a full queue to the first in which another is taken.
QUEUE = 1
QUEUE_FREED = 1

# Serialiser. From the load of a row to its first event; the others, and the token, follow, one per cycle.
LOADED = 1

# Join of several ports: from the cycle in which an event is taken to the first in which it is offered.
JOIN = 1

# Read-out. From the cycle in which the last beat of a packet leaves to the first in which the last token of the next
# frame is taken. The search for the largest sum takes one cycle for each class.
SENT = 1
# A read-out of largest membranes: from the cycle in which an event leaves the last core to the first in which the
# read-out can take it.
LARGEST_STAGE = 1

# A cancelled frame: from the cycle in which the read-out takes the token that decides it to the one in which the cores
# are reset.
CANCELLED = 1

# Queues, in entries. On both streams of the top level: `ready`, `valid` and data come from registers. In front of the
# first core: enough for one event per cycle.
INPUT_QUEUE = 2
OUTPUT_QUEUE = 2
BEATS_WAITING = 2

# Front end for sound: from the last product's issue to the cycle in which all loudness can be read; in front of the
# logarithms, and of the codes.
FRONT_END_DRAIN = 2
FRONT_END_SEEN = 1
FRONT_END_FETCH = 1


def front_end_sample(products: int) -> int:
    """Cycles from one sample to the next within a step; `products`: of all filters."""
    return 1 + products


def front_end_filters(products: int) -> int:
    """Cycles from a step's last sample to the first in which the loudness of its bands can be read."""
    return front_end_sample(products) + FRONT_END_DRAIN


def front_end_codes(bands: int) -> int:
    """Cycles from then to that of the first source, if nothing stalls; the others and the mark follow."""
    return FRONT_END_SEEN + bands + FRONT_END_FETCH


def front_end_step_end(products: int, bands: int, sources: int) -> int:
    """Cycles from a step's last sample to the offer of its mark on `m_axis`, if nothing stalls."""
    return front_end_filters(products) + front_end_codes(bands) + sources + QUEUE


def front_end_step(samples: int, products: int, bands: int, sources: int) -> int:
    """Cycles from a step's first sample to that of the next, if nothing stalls."""
    return (samples - 1) * front_end_sample(products) + front_end_step_end(products, bands, sources) + 1 - QUEUE


def search_cycles(classes: int) -> int:
    """Cycles from the last token of a frame to the cycle before the first in which its packet is offered."""
    return classes


def fire_stages(current: bool) -> int:
    """Cycles after which a row may be read again; `current`: whether there is a `CURRENT_STAGE`."""
    return FIRE_STAGES + (CURRENT_STAGE if current else 0)


def put_out(current: bool) -> int:
    """Cycles from the issue of a row to its offer on `rows`; `current`: whether there is a `CURRENT_STAGE`."""
    return PUT_OUT + (CURRENT_STAGE if current else 0)


def token_latency(convolution: bool) -> int:
    """Cycles from the handoff of a token to the first cycle in which its bank is seen full."""
    return TOKEN + (CONVOLUTION if convolution else 0)


def loop_latency(joins: bool, current: bool, convolution: bool) -> int:
    """Cycles from one step to the next of a core that hears itself a step later, beside those of its rows and spikes:
    from the issue of a row over the row queue, the serialiser, the join, an event queue and its lookup to the first
    issue of the next scan.
    """
    heard = QUEUE + 2 * LOOKUP_STAGE + token_latency(convolution)
    return put_out(current) + QUEUE + LOADED + (JOIN if joins else 0) + heard + SEEN
