"""The flags of malformed frames, for ever: every packet gets the flag of its frame, and nothing else waits for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth.hdl import Assert, Cover, Module, Mux, Signal
from amaranth.lib import stream
from graphs import recurrent, weights
from prover import Claim, Refuted, free, inner, opened, prove, watch

from gradrtl.quantize.network import Connection, Input
from gradrtl.rtl.flags import Flags
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.streams import event_layout

DEPTH = 3  # flags that are kept here; the claim does not depend on it


def small(kind: str, steps: int) -> Mapping:
    made = recurrent(steps)
    given = made.inputs[0]
    if kind == "both":
        first, *others = made.populations
        heard = replace(first, inputs=(*first.inputs, Connection("image", weights(5, 2, 4), 4)))
        inputs = given, Input((2,), name="image")
        return map_network(replace(made, inputs=inputs, populations=(heard, *others)), (1, 1))
    return map_network(replace(made, inputs=(replace(given, kind=kind),)), (1, 1))


class OwnFlag(Claim):
    """The solver picks any frame and follows its flag from the input's last token to the read-out's."""

    def __init__(self, kind: str, steps: int, design: type[Flags] = Flags):
        self.kind, self.steps, self.design = kind, steps, design

    def body(self, m: Module) -> None:
        steps = self.steps
        tokens = {"static": 1, "both": steps + 1}.get(self.kind, steps)
        flags = self.design(small(self.kind, steps), [stream.Signature(event_layout(2, 1))])
        flags.depth = DEPTH
        m.submodules.flags = inside = opened(flags)
        for signal in (flags.i.payload, flags.i.valid, flags.o.ready):
            free(m, signal)
        for signal in (flags.sums_i.payload, flags.sums_i.valid, flags.sums_o.ready):
            free(m, signal)
        goes_in, comes_out = Signal(), Signal()
        token, step = Signal(range(max(2, tokens))), Signal(range(max(2, steps)))
        last_token, last_step = Signal(), Signal()
        event, read, out = flags.i.payload, flags.sums_i.payload, flags.sums_o.payload
        m.d.comb += [
            last_token.eq(event.end & (token == tokens - 1)),
            last_step.eq(read.end & (step == steps - 1)),
            goes_in.eq(flags.i.valid & flags.i.ready & last_token),
            comes_out.eq(flags.sums_i.valid & flags.sums_i.ready & last_step),
        ]
        with m.If(flags.i.valid & flags.i.ready & event.end):
            m.d.sync += token.eq(Mux(last_token, 0, token + 1))
        with m.If(flags.sums_i.valid & flags.sums_i.ready & read.end):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))

        level = Signal(range(DEPTH + 2))  # frames that are inside
        m.d.sync += level.eq(level + goes_in - comes_out)
        m.d.comb += [
            Assert(level <= DEPTH),
            # Both streams go through unchanged, but for the flag, in the same cycle.
            Assert(flags.o.payload.as_value() == event.as_value()),
            Assert((flags.i.valid & flags.i.ready) == (flags.o.valid & flags.o.ready)),
            Assert((flags.sums_i.valid & flags.sums_i.ready) == (flags.sums_o.valid & flags.sums_o.ready)),
            *(Assert(out[name] == read[name]) for name in ("source", "value", "end")),
            # Nothing waits without need: a frame's last token for its flag, or for room for one.
            Assert((flags.i.valid & flags.o.ready) <= (flags.i.ready | (last_token & (level == DEPTH)))),
            Assert((flags.sums_i.valid & flags.sums_o.ready) <= (flags.sums_i.ready | (last_step & (level == 0)))),
        ]

        picked, flag, ahead, pick = Signal(), Signal(), Signal(range(DEPTH + 1)), Signal()
        free(m, pick)
        with m.If(picked & comes_out):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += picked.eq(0)
                m.d.comb += [Assert(out.bad == flag), Cover(flag), Cover(~flag)]
        with m.If(~picked & pick & goes_in):
            m.d.sync += [picked.eq(1), flag.eq(event.bad), ahead.eq(level - comes_out)]
        m.d.comb += [Cover(level == DEPTH), Cover(goes_in & comes_out)]

        # What makes it inductive: counters agree, and the picked flag stands in the queue where it should.
        read_address, write_address = (inner(inside, "kept", f"{name}_address") for name in ("read", "write"))
        after, place = Signal(range(2 * DEPTH)), Signal(range(2 * DEPTH))
        m.d.comb += [
            after.eq(read_address + level),
            place.eq(read_address + ahead),
            Assert(inner(inside, "kept", "level") == level),
            Assert(inner(inside, "kept", "not_full") == (level != DEPTH)),
            Assert(inner(inside, "kept", "not_empty") == (level != 0)),
            Assert(read_address < DEPTH),
            Assert(write_address == Mux(after >= DEPTH, after - DEPTH, after)),
            Assert(inner(inside, "token") == token),
            Assert(inner(inside, "step") == step),
            Assert(token < tokens),
            Assert(step < steps),
        ]
        stored = watch(m, inside, Mux(place >= DEPTH, place - DEPTH, place), "kept", "storage")
        with m.If(picked):
            m.d.comb += [Assert(ahead < level), Assert(stored == flag)]


CASES = [("static", 1), ("static", 3), ("graded", 1), ("graded", 3), ("both", 1), ("both", 2)]


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_every_packet_has_the_flag_of_its_frame(kind, steps):
    prove(OwnFlag(kind, steps), f"flags-{kind}{steps}", 2)


def test_flagged_frames_are_reached():
    prove(OwnFlag("graded", 2), "flags", 12, "cover")


class Hasty(Flags):
    """A packet does not wait for its flag."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += [self.sums_o.valid.eq(self.sums_i.valid), self.sums_i.ready.eq(self.sums_o.ready)]
        return m


class EveryStep(Flags):
    """Each token of the input has a flag."""

    def elaborate(self, platform):
        self.tokens = 1
        return super().elaborate(platform)


@pytest.mark.parametrize("broken", [Hasty, EveryStep])
def test_broken_flags_are_refuted(broken):
    with pytest.raises(Refuted, match="Assert failed"):
        prove(OwnFlag("graded", 2, broken), f"flags-{broken.__name__}", 8, "bmc")
