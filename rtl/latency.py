"""Latencies and fixed depths of the accelerator's parts, in cycles and entries: the only place that states them.

Hardware, timing model, tests and documents read them here. No hardware description is imported.
"""

from __future__ import annotations

# Accumulator banks of a core: one is filled while the other is scanned.
BANKS = 2

# Processing element. From the handoff of a token to the first cycle in which its bank is seen full; from a synapse to
# its row in a convolution (a dense layer has the row in the synapse word).
TOKEN = 5
CONVOLUTION = 2

# Fire unit. From the cycle in which a bank is full to its first issue; from the issue of a row to the release of the
# bank, and to its offer on `rows`.
SEEN = 1
RELEASED = 2
PUT_OUT = 5
# A row is read, registered, updated, written: the same row is read again no sooner.
FIRE_STAGES = 4

# Queues, in entries. On both streams of the top level: `ready`, `valid` and data come from registers. In front of the
# first core: enough for an event a cycle.
INPUT_QUEUE = 2
OUTPUT_QUEUE = 2
BEATS_WAITING = 2


def token_latency(convolution: bool) -> int:
    """Cycles from the handoff of a token to the first cycle in which its bank is seen full."""
    return TOKEN + (CONVOLUTION if convolution else 0)
