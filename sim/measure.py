"""Results and cycles of a placed network: from the engine and the timing model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..errors import require
from ..rtl.mapping import Mapping
from . import engine
from .events import Events, events_of
from .frames import Frames
from .outcome import Outcome
from .timing.predict import Cycles, predict


@dataclass(frozen=True)
class Measured:
    """A run of frames through the accelerator that `mapping` describes.

    `outcome` has the spikes of every layer; `events` those of every serialiser.
    """

    mapping: Mapping
    outcome: Outcome
    events: tuple[Events, ...]

    @cached_property
    def back_to_back(self) -> Cycles:
        """Times of frames fed back to back."""
        return predict(self.mapping, self.events)

    @cached_property
    def apart(self) -> Cycles:
        """Times of frames that each enter an idle accelerator: `latency` is that of a single frame."""
        return predict(self.mapping, self.events, apart=True)

    @property
    def cycles_per_frame(self) -> float:
        """Mean cycles from result to result of frames fed back to back; the latency of a single frame."""
        each = self.back_to_back.interval if len(self.outcome.classes) > 1 else self.apart.latency
        return float(each.mean())

    @property
    def latency(self) -> float:
        """Mean cycles of a frame that enters an idle accelerator."""
        return float(self.apart.latency.mean())


def measure(
    mapping: Mapping, frames: Frames, *, outcome: Outcome | None = None, threads: int | None = None
) -> Measured:
    """Run `frames` (see `engine.run`) in the accelerator that `mapping` describes: exact, without simulating a clock.

    `outcome`: the engine's result for `frames` with a trace (spikes are enough), to reuse it for several mappings of
    one network. Raises `UserError` for frames that do not fit the network.
    """
    if outcome is None:
        outcome = engine.run(mapping.network, frames, trace="spikes", threads=threads)
    require(outcome.trace is not None, "outcome.trace", None, "a trace: run the engine with trace='spikes'")
    assert outcome.trace is not None
    return Measured(mapping, outcome, events_of(mapping, frames, outcome.trace))
