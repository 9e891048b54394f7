"""The join, clocked, with every side at random: all events of a step in the order of the ports, then one token."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from gradrtl.rtl.join import Join, Port
from gradrtl.rtl.streams import event_layout

STEPS = 30
PORTS = (Port(2, 1), Port(3, 4), Port(1, 2))
OFFSETS = (0, 4, 12)


def joined(ports: tuple[Port, ...], sent: list[list[list[tuple[int, int, int, int]]]], rates: np.ndarray, seed: int):
    """What leaves, and in which cycles, if port `i` sends the steps `sent[i]` and offers with probability `rates[i]`.

    The last of `rates` is that of the listener.
    """
    join = Join(ports, event_layout(4, 4), lambda m, i, source: {"source": source + OFFSETS[i]})
    generator = np.random.default_rng(seed)
    found, cycles = [], []
    total = sum(len(step) for step in zip(*sent, strict=True))

    def sender(index: int):
        async def send(ctx):
            stream = getattr(join, f"port{index}")
            for event in (event for step in sent[index] for event in step):
                while generator.random() > rates[index]:
                    await ctx.tick()
                for name, value in zip(("source", "value", "end", "bad"), event, strict=True):
                    ctx.set(stream.payload[name], value)
                ctx.set(stream.valid, 1)
                await ctx.tick().until(stream.ready)
                ctx.set(stream.valid, 0)

        return send

    async def listen(ctx):
        cycle = 0
        while len([event for event in found if event[2]]) < STEPS:
            ctx.set(join.events.ready, int(generator.random() < rates[-1]))
            _, _, valid, ready, event = await ctx.tick().sample(
                join.events.valid, join.events.ready, join.events.payload
            )
            if valid and ready:
                found.append((event.source, event.value, event.end, event.bad))
                cycles.append(cycle)
            cycle += 1
            assert cycle < 10_000, "the join stands still"

    assert total
    design = Module()
    design.submodules.join = join
    design.d.sync += Signal(name="clocked").eq(1)  # one port is a wire: nothing else has a clock
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    for index in range(len(ports)):
        simulator.add_testbench(sender(index), background=True)
    simulator.add_testbench(listen)
    simulator.run()
    return found, cycles


def drawn(ports: tuple[Port, ...], seed: int) -> list[list[list[tuple[int, int, int, int]]]]:
    """Steps of each port: some events, then a token, which is bad now and then."""
    generator = np.random.default_rng([seed, 1])
    sent = []
    for port in ports:
        steps = []
        for _ in range(STEPS):
            count = int(generator.integers(0, 4))
            events = [
                (int(generator.integers(1 << port.address_bits)), int(generator.integers(1, 1 << port.value)), 0, 0)
                for _ in range(count)
            ]
            steps.append([*events, (0, 0, 1, int(generator.random() < 0.2))])
        sent.append(steps)
    return sent


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_one_token_a_step_behind_all_events(count, seed):
    ports = PORTS[:count]
    sent = drawn(ports, seed)
    rates = np.random.default_rng(seed).choice([1.0, 0.5, 0.2], count + 1)
    found, _ = joined(ports, sent, rates, seed)
    expected = []
    for step in zip(*sent, strict=True):
        for offset, events in zip(OFFSETS, step, strict=False):
            expected += [(source + offset, value, 0, 0) for source, value, end, _ in events if not end]
        expected.append((None, None, 1, int(any(events[-1][3] for events in step))))
    seen = [(None, None, 1, bad) if end else (source, value, 0, 0) for source, value, end, bad in found]
    assert seen == expected


def test_an_event_a_cycle_and_a_cycle_for_each_other_token():
    """Two ports of three and two events: 3 + 1 (a token that is not handed on) + 2 + 1, a step after another."""
    ports = PORTS[:2]
    sent = [[[(i, 1, 0, 0) for i in range(n)] + [(0, 0, 1, 0)] for _ in range(STEPS)] for n in (3, 2)]
    _, cycles = joined(ports, sent, np.ones(3), 0)
    tokens = cycles[5::6]
    assert set(np.diff(tokens)) == {7}
