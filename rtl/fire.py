"""The fire unit: in each step, every neuron of a layer leaks, adds its sum, compares, resets; P neurons per cycle."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .issue import Issue, Leaving
from .mapping import LayerMapping
from .pool import Pool
from .streams import credit_layout
from .update import Update, sums_layout


class FireUnit(wiring.Component):
    """Scans the rows of a full accumulator bank and puts out rows of spikes.

    Three components: `Issue`, `Update`, and a `Pool` for each way in which rows leave. A row passes six stages without
    waiting: issue, read, memory output,
    update, fire, offer. Flow control is by credits: a row is issued only with a credit for the row queue. The credit
    returns when the row leaves that queue, or does not enter it. So no `ready` passes backwards through the stages. A
    bank is scanned once, or, with static input, `steps` times in a row; on its last scan each sum is cleared after it
    is read, and the bank is released with the last row. The frame's first scan starts from the start value; in a
    stream (`steps` is None), that is the first one after reset. In a joined
    window (max pooling) the OR of its rows leaves with the last.

    Ports
    -----
    full
        In: all PEs have completed bank `b`.
    sums
        In: accumulators of each PE and bank, one cycle after `read`.
    bad
        In: the token that closed bank `b` was marked bad.
    row, read, clear, clear_row, release
        Out: to all PEs, see `ProcessingElement`.
    running
        Out: low while both banks are cleared after reset, `rows` cycles; events must wait.
    rows
        Out: `row_layout`, one for each row and step, the last of a step marked `end`; must be taken in the same cycle.
        By further ways of `mapping.outgoing`: `rows1` and so on.
    credit
        In: `credit_layout`, credits that come back from the row queue. Those of further edges: `credit1` and so on.
    masked
        Out, with `rows`, a bit for each edge: the row is of one of the frame's last `delay` steps.
    update_valid, update_spikes, update_membranes
        Out: for traces; see `docs/design.md`.

    Throughput: one row per cycle. Latency (`rtl/latency.py`): a bank full in cycle `c` has its first row issued in
    `c + SEEN` if the unit is idle; a row issued in cycle `i` is put out in `i + PUT_OUT`. Stalls: all
    credits of an edge are in use. A credit returned in cycle `g` lets another row be issued in `g + 1`
    if its row was empty, else in `g + 2`.
    """

    def __init__(self, mapping: LayerMapping, steps: int | None, scans: int, edges: Sequence[Leaving] = ()):
        """`edges`: those that leave; none for one with `mapping.row_queue_depth`."""
        self.mapping = mapping
        self.issue = Issue(mapping, steps, scans, edges)
        self.update = Update(mapping)
        self.pools = [Pool(mapping, way) for way in range(len(mapping.outgoing))]
        super().__init__(
            {
                "full": In(mapping.banks),
                "bad": In(mapping.banks),
                "sums": In(sums_layout(mapping)),
                "row": Out(mapping.row_bits),
                "read": Out(mapping.banks),
                "clear": Out(mapping.banks),
                "clear_row": Out(mapping.row_bits),
                "release": Out(mapping.banks),
                "running": Out(1),
                **{f"rows{way or ''}": pool.signature.members["rows"] for way, pool in enumerate(self.pools)},
                "credit": In(credit_layout()),
                "update_valid": Out(1),
                "update_spikes": Out(mapping.pes),
                "update_membranes": Out(mapping.pes * mapping.membrane_bits),
                "masked": Out(len(self.issue.edges)),
            }
            | {f"credit{i}": In(credit_layout()) for i in range(1, len(self.issue.edges))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.issue = issue = self.issue
        m.submodules.update = update = self.update
        for way, pool in enumerate(self.pools):
            m.submodules[f"pool{way or ''}"] = pool
        for name in ("full", "bad", "credit", *(f"credit{i}" for i in range(1, len(issue.edges)))):
            m.d.comb += getattr(issue, name).eq(getattr(self, name))
        for name in ("row", "read", "clear", "clear_row", "release", "running"):
            m.d.comb += getattr(self, name).eq(getattr(issue, name))
        updated = update.updated
        m.d.comb += [
            update.issued.eq(issue.issued),
            update.sums.eq(self.sums),
            *(pool.updated.eq(updated) for pool in self.pools),
            self.update_valid.eq(updated.valid),
            self.update_spikes.eq(updated.mask if self.mapping.population.neuron.spiking else 0),
            self.update_membranes.eq(updated.membranes),
        ]
        if self.issue.steps and any(edge.delay for edge in issue.edges):
            masked = issue.masked
            for i in range(2, self.mapping.put_out):
                late = Signal.like(masked, name=f"masked{i}")
                m.d.sync += late.eq(masked)
                masked = late
            m.d.sync += self.masked.eq(masked)
        for way, pool in enumerate(self.pools):
            wiring.connect(m, pool.rows, wiring.flipped(getattr(self, f"rows{way or ''}")))
        return m
