"""The queue of an input that is heard late, for ever: every event once, in order, behind the tokens of its delay."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Cover, Module, Mux, Signal, Value
from prover import Claim, Refuted, free, inner, opened, prove, watch

from gradrtl.rtl.edge import LateInput

DEPTH = 3


class EveryEventLate(Claim):
    """The solver picks any event or token that counts, and follows it to the output."""

    def __init__(self, delay: int, steps: int, design: type[LateInput] = LateInput):
        self.delay, self.steps, self.design = delay, steps, design

    def body(self, m: Module) -> None:
        delay, steps = self.delay, self.steps
        late = self.design(2, 1, DEPTH, delay, steps)
        m.submodules.late = inside = opened(late)
        for signal in (late.events.payload, late.events.valid, late.late.ready):
            free(m, signal)
        event, out = late.events.payload, late.late.payload
        takes, counts, leaves = Signal(), Signal(), Signal()
        step = Signal(range(max(2, steps)))  # of the frame that comes in
        with m.If(takes & event.end):
            m.d.sync += step.eq(Mux(step == steps - 1, 0, step + 1))
        m.d.comb += [
            takes.eq(late.events.valid & late.events.ready),
            counts.eq(takes & (event.end | (step + delay < steps))),  # else it would be of the next frame
            leaves.eq(late.late.valid & late.late.ready),
        ]
        count = Signal(range(DEPTH + delay + 2), init=delay)
        m.d.sync += count.eq(count + counts - leaves)
        ahead_of_all = inner(inside, "ahead") if delay else Signal()
        level, read_address, write_address = (
            inner(inside, "queue", name) for name in ("level", "read_address", "write_address")
        )
        m.d.comb += [
            Assert(late.late.valid == (count != 0)),
            Assert(late.events.ready == (level != DEPTH)),  # only a full queue holds up what comes
            Cover(level == DEPTH),
            Cover(takes & ~counts),
        ]
        with m.If(ahead_of_all != 0):
            m.d.comb += [Assert(out.end), Assert(~out.bad)]

        picked, word, ahead, pick = Signal(), Signal(len(event.as_value())), Signal.like(count), Signal()
        free(m, pick)
        with m.If(picked & leaves):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += picked.eq(0)
                m.d.comb += [Assert(out.as_value() == word), Cover(out.end), Cover(~out.end)]
        with m.If(~picked & pick & counts):
            m.d.sync += [picked.eq(1), word.eq(event.as_value()), ahead.eq(count - leaves)]

        # What makes it inductive: counters agree, and the picked event stands in the queue where it should.
        after, place = Signal(range(2 * DEPTH)), Signal(range(2 * DEPTH))
        m.d.comb += [
            after.eq(read_address + level),
            place.eq(read_address + ahead - ahead_of_all),
            Assert(count == level + ahead_of_all),
            Assert(ahead_of_all <= delay),
            Assert(inner(inside, "queue", "not_full") == (level != DEPTH)),
            Assert(inner(inside, "queue", "not_empty") == (level != 0)),
            Assert(level <= DEPTH),
            Assert(read_address < DEPTH),
            Assert(write_address == Mux(after >= DEPTH, after - DEPTH, after)),
            Assert(inner(inside, "step") == step),
            Assert(step < steps),
        ]
        stored = watch(m, inside, Mux(place >= DEPTH, place - DEPTH, place), "queue", "storage")
        with m.If(picked):
            m.d.comb += [Assert(ahead >= ahead_of_all), Assert(ahead < count), Assert(Value.cast(stored) == word)]


@pytest.mark.parametrize(("delay", "steps"), [(0, 1), (1, 3), (2, 2), (3, 2)])
def test_every_event_once(delay, steps):
    prove(EveryEventLate(delay, steps), f"late{delay}-{steps}", 2)


def test_events_past_the_frame_are_reached():
    prove(EveryEventLate(1, 2), "late", 8, "cover")


class Leaking(LateInput):
    """Events of a frame's last steps go into the next frame."""

    def elaborate(self, platform):
        self.steps += 1
        return super().elaborate(platform)


def test_a_broken_queue_is_refuted():
    with pytest.raises(Refuted, match="Assert failed"):
        prove(EveryEventLate(1, 2, Leaking), "late-broken", 8, "bmc")
