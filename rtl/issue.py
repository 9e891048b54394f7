"""Issue of the fire unit: it selects the next row, under credit-based flow control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .addressing import looked_up
from .latency import HELD
from .mapping import LayerMapping
from .scan import Outgoing
from .streams import credit_layout


def tags_layout(mapping: LayerMapping) -> data.StructLayout:
    """Tags of a row in the fire unit.

    `row`: its number; `output`: row part of the address under which it leaves; `end`, `bad`: last of its step, of a
    malformed frame; `first`, `last`: in the first or last step of its frame; `sends`: completes its window. Of further
    ways in which rows leave, `output1`, `sends1`; of a way with a pool of its own `opens`: the first of its window,
    and `inside` one.
    """
    outputs = {f"output{suffix}": outgoing.output_bits for suffix, outgoing in _ways(mapping)}
    flags = dict.fromkeys(("end", "bad", "first", "last", *(f"sends{suffix}" for suffix, _ in _ways(mapping))), 1)
    own = [name + suffix for suffix, outgoing in _ways(mapping) if outgoing.pool for name in ("opens", "inside")]
    return data.StructLayout({"row": mapping.row_bits} | outputs | flags | dict.fromkeys(own, 1))


def _ways(mapping: LayerMapping) -> list[tuple[str, Outgoing]]:
    """The ways in which rows leave, with what stands behind the names of each."""
    return [(str(way or ""), outgoing) for way, outgoing in enumerate(mapping.outgoing)]


def issued_layout(mapping: LayerMapping) -> data.StructLayout:
    """A row, if `valid`, in the cycle after its issue: its bank, its group of rows and its tags."""
    group = range(max(2, mapping.scan.groups))
    return data.StructLayout({"valid": 1, "bank": 1, "group": group, "tags": tags_layout(mapping)})


@dataclass(frozen=True)
class Leaving:
    """An edge that leaves a fire unit: entries of its row queue, its delay in steps, its way of `mapping.outgoing`."""

    depth: int
    delay: int = 0
    way: int = 0


def _suffixes(edges: Sequence[Leaving], first: int = 0) -> list[str]:
    """What stands behind the names of the ports of each edge: nothing for the first one, then its number."""
    return [str(i or "") for i in range(first, first + len(edges))]


class Issue(wiring.Component):
    """Issues the rows of full banks in scan order, each with a credit for the row queue of every edge that leaves.

    A bank is scanned `scans` times; a frame has `steps` steps, None in a stream, whose first step alone is `first`, and
    each is the `last`. After reset both banks are cleared, row by row. Outputs to the PEs come from registers.

    Ports
    -----
    full, bad, row, read, clear, clear_row, release, running, credit
        See `FireUnit`.
    issued
        Out: `issued_layout`.
    masked
        Out, with `issued`, a bit for each edge: the step is one of the frame's last `delay`.
    issues, credits, returned
        Out, for traces and proofs: a row is issued in this cycle; free credits; a credit that counts in the next cycle.

    Ports of further edges have their numbers behind them: `credit1`, `credits1`, `returned1`.

    Throughput: a row a cycle. Latency: a bank full in cycle `c` has its first row issued in `c + SEEN`; a row issued in
    cycle `i` is on `issued` in `i + 1` and cleared in `i + RELEASED`. Stalls: no bank is full, or no credit is free.
    """

    def __init__(self, mapping: LayerMapping, steps: int | None, scans: int, edges: Sequence[Leaving] = ()):
        self.mapping = mapping
        self.steps = steps
        self.scans = scans
        self.edges = tuple(edges) or (Leaving(mapping.row_queue_depth),)
        more: dict[str, wiring.Member] = {}
        for i, edge in enumerate(self.edges[1:], 1):
            more |= {
                f"credit{i}": In(credit_layout()),
                f"credits{i}": Out(range(edge.depth + 1), init=edge.depth),
                f"returned{i}": Out(1),
            }
        super().__init__(
            {
                "full": In(mapping.banks),
                "bad": In(mapping.banks),
                "credit": In(credit_layout()),
                "row": Out(mapping.row_bits),
                "read": Out(mapping.banks),
                "clear": Out(mapping.banks),
                "clear_row": Out(mapping.row_bits),
                "release": Out(mapping.banks),
                "running": Out(1),
                "issued": Out(issued_layout(mapping)),
                "issues": Out(1),
                "credits": Out(range(self.edges[0].depth + 1), init=self.edges[0].depth),
                "returned": Out(1),
                "masked": Out(len(self.edges)),
            }
            | more
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, issued, tags = self.mapping, self.issued, self.issued.tags
        row = Signal(mapping.row_bits, name="next_row")
        last_row = Signal(name="last_row")
        m.d.comb += last_row.eq(row == mapping.rows - 1)

        # A bank stays full until its last row is past the clearing write, which is before the other bank has been
        # scanned (`latency.FIRE_STAGES` rows at least).
        bank = Signal(name="bank")
        step = Signal(range(max(2, self.steps or 2)), name="step")
        scan = Signal(range(max(2, self.scans)), name="scan")
        last_step = Signal(name="last_step")
        last_scan = Signal(name="last_scan")
        seen = Signal(mapping.banks, name="seen")
        m.d.comb += [
            last_step.eq(1 if self.steps is None else step == self.steps - 1),
            last_scan.eq(scan == self.scans - 1),
            self.issues.eq(self.running & seen.bit_select(bank, 1) & self._has_credits()),
        ]
        for suffix in _suffixes(self.edges):
            credit, credits, returned = (getattr(self, f"{n}{suffix}") for n in ("credit", "credits", "returned"))
            m.d.sync += [
                returned.eq(credit.loaded),
                credits.eq(credits - self.issues + returned + credit.empty),
            ]
        m.d.sync += seen.eq(self.full)
        for i, edge in enumerate(self.edges):
            if edge.delay and self.steps:
                m.d.sync += self.masked[i].eq(step >= self.steps - edge.delay)
        with m.If(~self.running):
            m.d.sync += self.running.eq(last_row)
        with m.If(self.issues | ~self.running):
            m.d.sync += row.eq(Mux(last_row, 0, row + 1))
        with m.If(self.issues & last_row):
            following = Const(1) if self.steps is None else Mux(last_step, 0, step + 1)
            m.d.sync += [step.eq(following), scan.eq(Mux(last_scan, 0, scan + 1))]
            with m.If(last_scan):
                m.d.sync += bank.eq(~bank)
        group, leaves = self._scan(m, row)
        clears = Signal(name="clears")
        releases = Signal(name="releases")
        m.d.sync += [
            issued.valid.eq(self.issues),
            issued.bank.eq(bank),
            issued.group.eq(group),
            clears.eq(last_scan),
            releases.eq(last_scan & last_row),
            tags.row.eq(row),
            tags.end.eq(last_row),
            tags.bad.eq(self.bad.bit_select(bank, 1)),
            tags.first.eq(step == 0),
            tags.last.eq(last_step),
            *(tags[name].eq(value) for name, value in leaves.items()),
        ]

        # One cycle after the read, clear what was read.
        m.d.comb += self.row.eq(tags.row)
        read: Value = self.issues << bank
        clear: Value = (issued.valid & clears) << issued.bank
        release: Value = (issued.valid & releases) << issued.bank
        if mapping.is_mixed:  # what is held is read in every step, and cleared in the last one
            read |= self.issues << HELD
            clear |= (issued.valid & tags.last) << HELD
            release |= (issued.valid & tags.last & tags.end) << HELD
        m.d.sync += [
            self.read.eq(read),
            self.clear_row.eq(Mux(self.running, tags.row, row)),
            self.clear.eq(Mux(self.running, clear, (1 << mapping.banks) - 1)),
            self.release.eq(release),
        ]
        return m

    def _has_credits(self) -> Value:
        """Every edge has a credit."""
        found = self.credits != 0
        for suffix in _suffixes(self.edges[1:], 1):
            found &= getattr(self, f"credits{suffix}") != 0
        return found

    def _scan(self, m: Module, row: Signal) -> tuple[Value, dict[str, Value]]:
        """Group of `row`, and the tags that say how it leaves: see `Outgoing`."""
        scan = self.mapping.scan
        if scan.group_rows == 1:
            group: Value = row
            place = {"x": Const(0), "y": Const(0)}
        else:
            turns = {"inside": scan.window**2, "x": scan.width, "y": scan.height, "group": scan.groups}
            counters = {name: Signal(range(max(2, size)), name=f"scan_{name}") for name, size in turns.items()}
            moves = self.issues
            for name, size in turns.items():
                ends = counters[name] == size - 1
                with m.If(moves):
                    m.d.sync += counters[name].eq(Mux(ends, 0, counters[name] + 1))
                moves &= ends
            group, place = counters["group"], {name: counters[name] for name in ("x", "y")}
        found: dict[str, Value] = {}
        for suffix, outgoing in _ways(self.mapping):
            if outgoing.pool is not None:
                found |= {name + suffix: value for name, value in _through_a_pool(outgoing, group, **place).items()}
            elif scan.group_rows == 1:
                found |= {f"output{suffix}": row, f"sends{suffix}": Const(1)}
            else:
                found[f"output{suffix}"] = Cat(place["x"][: outgoing.x_bits], place["y"][: outgoing.y_bits], group)
                sends = counters["inside"] == scan.window**2 - 1 if scan.joined else Const(1)
                found[f"sends{suffix}"] = sends
        return group, found


def _through_a_pool(outgoing: Outgoing, group: Value, x: Value, y: Value) -> dict[str, Value]:
    """The tags of a row at `y`, `x` of its map, by tables."""
    size = outgoing.size
    axes = [(y, outgoing.height, outgoing.y_bits), (x, outgoing.width, outgoing.x_bits)]
    windows, opens, closes, inside = [], Const(1), Const(1), Const(1)
    for (index, windows_along, bits), length in zip(axes, (outgoing.scan.height, outgoing.scan.width), strict=True):
        at = np.arange(length)
        windows.append(looked_up(at // size, index)[:bits] if bits else Const(0, 0))
        opens &= looked_up((at % size == 0).astype(int), index)
        closes &= looked_up((at % size == size - 1).astype(int), index)
        inside &= looked_up((at // size < windows_along).astype(int), index)
    sends = inside & closes if outgoing.joined else inside
    return {"output": Cat(windows[1], windows[0], group), "sends": sends, "opens": opens, "inside": inside}
