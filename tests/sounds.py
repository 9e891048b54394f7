"""A small network that hears a small front end, and how its samples become beats."""

from __future__ import annotations

from graphs import population, weights

from gradrtl.quantize.frontend import FrontEnd
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network

SETTINGS = FrontEnd.mel(8000, 8, 4, stages=2, guard=1, least=40)
WORDS = ("no", "yes", "stop")
HIDDEN = 6


def hearing(settings: FrontEnd = SETTINGS, steps: int = 6) -> QuantizedNetwork:
    """Neurons that hear the front end, and themselves a step later; leaky ones whose membranes are summed."""
    heard = Connection("sound", weights(HIDDEN, settings.sources, 1), 4)
    return QuantizedNetwork(
        (Input(settings.shape, settings.bits, "graded", name="sound"),),
        (
            population("hidden", HIDDEN, heard, Connection("hidden", weights(HIDDEN, HIDDEN, 2), 4, delay=1)),
            population("words", len(WORDS), Connection("hidden", weights(len(WORDS), HIDDEN, 3), 4), spiking=False,
                       reset="none", threshold=1),
        ),
        steps,
        (Readout("sum", source="words"),),
        notes={"checkpoint": {"recordings": {"front end": settings.to_json(), "words": list(WORDS)}}},
    )  # fmt: skip


def placed(settings: FrontEnd = SETTINGS) -> Mapping:
    return map_network(hearing(settings), Placement((2, 1), queue_depth=2, row_queue_depth=2, stream=True))
