"""The fork of the input, for ever: every listener gets each event of its input once, and its tokens."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Cat, Const, Cover, Module, Mux, Signal, Value
from amaranth.lib import stream
from prover import Claim, Refuted, free, opened, prove

from gradrtl.rtl.fork import Fork, Listener
from gradrtl.rtl.streams import source_layout

STEPS = 2
HEARD = {  # the addresses of each listener, and whether these are pixels
    "one input": (((0, 5), False), ((0, 5), False)),
    "pixels alone": (((0, 3), True), ((3, 7), True), ((0, 3), True)),
    "several inputs": (((0, 3), False), ((3, 4), False), ((4, 7), False), ((3, 4), False)),
    "pixels beside events": (((0, 3), True), ((3, 5), False), ((5, 7), False), ((0, 3), True)),
}


class EachToItsOwn(Claim):
    """Tokens are counted by frames, with those of the pixels where there are any beside events."""

    def __init__(self, case: str, design: type[Fork] = Fork):
        self.listeners = [Listener(range(*own), held, 3, 2) for own, held in HEARD[case]]
        self.mixed = case == "pixels beside events"
        self.design = design

    def body(self, m: Module) -> None:
        fork = self.design(stream.Signature(source_layout(3, 2, self.mixed)), self.listeners)
        m.submodules.fork = opened(fork)
        event = fork.i.payload
        free(m, fork.i.valid)
        for name in ("source", "value", "end", "bad"):
            free(m, event[name])
        token, takes = Signal(range(STEPS + 1)), Signal()  # of the frame at the input
        m.d.comb += takes.eq(fork.i.valid & fork.i.ready)
        if self.mixed:
            m.d.comb += event.held.eq(token == 0)
            with m.If(takes & event.end):
                m.d.sync += token.eq(Mux(token == STEPS, 0, token + 1))
        known = Signal()  # somebody's address
        m.d.comb += known.eq(Cat(self._owns(one, event.source) for one in self.listeners).any())
        must_wait: list[Value] = []
        for number, one in enumerate(self.listeners):
            heard = fork.heard(number)
            free(m, heard.ready)
            own = self._owns(one, event.source)
            concerned = Mux(event.end, Const(1) if not self.mixed else (token == 0) == one.held, own)
            # It takes what concerns it in the cycle in which the input gives it, and nothing else.
            m.d.comb += Assert((heard.valid & heard.ready) == (takes & concerned))
            m.d.comb += Assert(~heard.valid | concerned)
            with m.If(heard.valid):
                m.d.comb += [Assert(heard.payload[name] == event[name]) for name in ("value", "end", "bad")]
                with m.If(~event.end):
                    m.d.comb += Assert(heard.payload.source == event.source - one.addresses.start)
            must_wait.append(concerned & ~heard.ready)
            # Tokens of a frame, in the order of the stream: one behind the pixels, one for each step.
            tokens = Signal(range(STEPS + 1), name=f"tokens{number}")
            if self.mixed:
                with m.If(heard.valid & heard.ready & event.end):
                    m.d.sync += tokens.eq(Mux(tokens == (0 if one.held else STEPS - 1), 0, tokens + 1))
                m.d.comb += Assert(tokens == (0 if one.held else Mux(token == 0, 0, token - 1)))
            m.d.comb += Cover(heard.valid & heard.ready & ~event.end)
        # Nothing waits without need: only for those whose event it is.
        m.d.comb += Assert(~fork.i.valid | (takes == ~Cat(must_wait).any()))
        m.d.comb += [Cover(takes & event.end), Cover(takes & ~event.end & ~known), Assert(token <= STEPS)]

    @staticmethod
    def _owns(one: Listener, source: Value) -> Value:
        return (source >= one.addresses.start) & (source < one.addresses.stop)


@pytest.mark.parametrize("case", [case for case in HEARD if case != "one input"])
def test_every_event_to_its_own(case):
    prove(EachToItsOwn(case), f"fork-{case.replace(' ', '-')}", 2)


class OfOneInput(EachToItsOwn):
    """Of one input there are no other addresses."""

    @staticmethod
    def _owns(one, source):
        return Const(1)


def test_every_event_to_all():
    prove(OfOneInput("one input"), "fork-one", 2)


def test_all_listeners_are_reached():
    prove(EachToItsOwn("pixels beside events"), "fork", 6, "cover")


class ToAllReady(Fork):
    """Each takes an event when it is ready, and not when all are."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        for number in range(len(self.listeners)):
            m.d.comb += self.heard(number).valid.eq(self.i.valid & self._concerns(self.listeners[number]))
        return m


class TokensToAll(Fork):
    """The token of the pixels goes to those that hear events."""

    def _concerns(self, one):
        return self.i.payload.end | super()._concerns(one)


class WaitsForAll(Fork):
    """An event waits for those that do not hear it."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(Cat(self.heard(number).ready for number in range(len(self.listeners))).all())
        return m


@pytest.mark.parametrize("broken", [ToAllReady, TokensToAll, WaitsForAll])
def test_broken_forks_are_refuted(broken):
    with pytest.raises(Refuted, match="Assert failed"):
        prove(EachToItsOwn("pixels beside events", broken), f"fork-{broken.__name__}", 4, "bmc")
