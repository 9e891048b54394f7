"""The fire unit: once a step, every neuron of a layer leaks, adds its sum, compares, resets; P of them a cycle."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..bits import signed_bits
from .latency import BANKS
from .mapping import LayerMapping
from .memory import read_port, write_port
from .neuron import after_reset, potential, spike
from .streams import gone_layout, row_layout


def output_value_shape(mapping: LayerMapping) -> Shape:
    """Shape of the value that leaves with an event: the membrane in a membrane read-out, else a constant 1."""
    return unsigned(1) if mapping.layer.neuron.spiking else signed(mapping.membrane_bits)


class FireUnit(wiring.Component):
    """Scans the rows of a full accumulator bank and puts out rows of spikes.

    A row passes six stages and never waits: issue, read, memory output, update, fire, offer. It is issued when there is
    a place for it in the queue of rows behind, which counts it as taken until it is `gone`; so no `ready` runs back
    through the stages. A bank is scanned once, or, with static input, `steps` times in a row; on its last scan each sum
    is cleared behind the read and the bank is released with the last row. The frame's first scan starts from the reset
    value. In a joined window (max pooling) the OR of its rows leaves with the last.

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
        Out: `row_layout`, one for each row and step, the last of a step marked `end`; must be taken at once.
    gone
        In: rows that have left their place behind: one that was needed, one that was not.
    update_valid, update_spikes, update_membranes
        Out: for traces; see `docs/design.md`.

    Throughput: a row a cycle. Latency (`rtl/latency.py`): a bank full in cycle `c` has its first row issued in
    `c + SEEN` if the unit is idle; a row issued in cycle `i` is put out in `i + PUT_OUT`. Stalls:
    `mapping.row_queue_depth` rows are on their way or wait behind; one gone in cycle `g` lets another be issued in
    `g + 1` if it was not needed, else in `g + 2`.
    """

    def __init__(self, mapping: LayerMapping, steps: int, scans: int):
        self.mapping = mapping
        self.steps = steps
        self.scans = scans
        current = data.ArrayLayout(data.ArrayLayout(signed(mapping.current_bits), BANKS), mapping.pes)
        super().__init__(
            {
                "full": In(BANKS),
                "bad": In(BANKS),
                "sums": In(current),
                "row": Out(mapping.row_bits),
                "read": Out(BANKS),
                "clear": Out(BANKS),
                "clear_row": Out(mapping.row_bits),
                "release": Out(BANKS),
                "running": Out(1),
                "rows": Out(
                    stream.Signature(row_layout(mapping.scan.output_bits, mapping.pes, output_value_shape(mapping)))
                ),
                "gone": In(gone_layout()),
                "update_valid": Out(1),
                "update_spikes": Out(mapping.pes),
                "update_membranes": Out(mapping.pes * mapping.membrane_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, neuron = self.mapping, self.mapping.layer.neuron
        pes, rows = mapping.pes, mapping.rows
        membrane = signed(mapping.membrane_bits)
        flags = dict.fromkeys(("end", "bad", "first", "last", "sends"), 1)
        tags = data.StructLayout({"row": mapping.row_bits, "output": mapping.scan.output_bits} | flags)
        tag1, tag2, tag3, tag4 = (Signal(tags, name=f"tag{i}") for i in (1, 2, 3, 4))
        valid1, valid2, valid3, valid4 = (Signal(name=f"valid{i}") for i in (1, 2, 3, 4))

        # After reset: both banks are cleared, row by row.
        row = Signal(mapping.row_bits, name="row")
        last_row = Signal(name="last_row")
        m.d.comb += last_row.eq(row == rows - 1)

        # Issue, while there is room. A bank stays full until its last row is past the clearing write, which is before
        # the other bank has been scanned (`latency.FIRE_STAGES` rows at least).
        bank = Signal(name="bank")
        bank1 = Signal(name="bank1")
        bank2 = Signal(name="bank2")
        step = Signal(range(max(2, self.steps)), name="step")
        scan = Signal(range(max(2, self.scans)), name="scan")
        last_step = Signal(name="last_step")
        last_scan = Signal(name="last_scan")
        room = Signal(range(mapping.row_queue_depth + 1), init=mapping.row_queue_depth, name="room")
        unqueued = Signal(name="unqueued")
        seen = Signal(BANKS, name="seen")
        issue = Signal(name="issue")
        m.d.comb += [
            last_step.eq(step == self.steps - 1),
            last_scan.eq(scan == self.scans - 1),
            issue.eq(self.running & seen.bit_select(bank, 1) & (room != 0)),
        ]
        m.d.sync += [
            unqueued.eq(self.gone.needed),
            room.eq(room - issue + unqueued + self.gone.unneeded),
            seen.eq(self.full),
        ]
        with m.If(~self.running):
            m.d.sync += self.running.eq(last_row)
        with m.If(issue | ~self.running):
            m.d.sync += row.eq(Mux(last_row, 0, row + 1))
        with m.If(issue & last_row):
            m.d.sync += [step.eq(Mux(last_step, 0, step + 1)), scan.eq(Mux(last_scan, 0, scan + 1))]
            with m.If(last_scan):
                m.d.sync += bank.eq(~bank)
        group, output, sends = self._place(m, row, issue)
        group1 = Signal.like(group, name="group1")
        release1 = Signal(name="release1")
        clear1 = Signal(name="clear1")
        m.d.sync += [
            valid1.eq(issue),
            group1.eq(group),
            bank1.eq(bank),
            clear1.eq(last_scan),
            release1.eq(last_scan & last_row),
            tag1.row.eq(row),
            tag1.end.eq(last_row),
            tag1.bad.eq(self.bad.bit_select(bank, 1)),
            tag1.first.eq(step == 0),
            tag1.last.eq(last_step),
            tag1.output.eq(output),
            tag1.sends.eq(sends),
        ]

        # Read. One cycle later, clear what was read. What goes to all PEs comes from registers.
        m.submodules.membranes = memory = Memory(shape=unsigned(pes * mapping.membrane_bits), depth=rows, init=[])
        read, write = read_port(memory, "stored"), write_port(memory, "updated")
        m.d.comb += [
            self.row.eq(tag1.row),
            read.addr.eq(tag1.row),
            read.en.eq(valid1),
        ]
        m.d.sync += [
            self.read.eq(issue << bank),
            self.clear_row.eq(Mux(self.running, tag1.row, row)),
            self.clear.eq(Mux(self.running, (valid1 & clear1) << bank1, (1 << BANKS) - 1)),
            self.release.eq((valid1 & release1) << bank1),
            valid2.eq(valid1),
            tag2.eq(tag1),
            bank2.eq(bank1),
        ]
        biases, thresholds = self._parameters(m, group1, valid1)
        thresholds3, thresholds4 = (
            [t if isinstance(t, Const) else Signal.like(t, name=f"threshold{i}_{p}") for p, t in enumerate(thresholds)]
            for i in (3, 4)
        )
        for late, early in ((thresholds4, thresholds3), (thresholds3, thresholds)):
            m.d.sync += [new.eq(old) for new, old in zip(late, early, strict=True) if not isinstance(new, Const)]

        # Memory output, then update.
        m.d.sync += [valid3.eq(valid2), tag3.eq(tag2), valid4.eq(valid3), tag4.eq(tag3)]
        u4 = [Signal(signed(mapping.ranges.potential_bits), name=f"u4_{p}") for p in range(pes)]
        for p in range(pes):
            current3 = Signal(signed(mapping.current_bits), name=f"current3_{p}")
            v3 = Signal(membrane, name=f"v3_{p}")
            stored = read.data.word_select(p, mapping.membrane_bits).as_signed()
            m.d.sync += [
                current3.eq(Mux(bank2, self.sums[p][1], self.sums[p][0]) + biases[p]),
                v3.eq(Mux(tag2.first, neuron.reset_value, stored)),
                u4[p].eq(potential(neuron, v3, current3)),
            ]

        # Fire.
        spikes, updated = [], []
        for p in range(pes):
            used = int(mapping.used[:, p].sum())
            there = Const(used > 0, 1) if used in (0, rows) else tag4.row < used
            spiked = Signal(name=f"spiked_{p}")
            v4 = Signal(membrane, name=f"v4_{p}")
            m.d.comb += [
                spiked.eq(spike(neuron, u4[p], thresholds4[p])),
                v4.eq(after_reset(neuron, u4[p], thresholds4[p], spiked)),
            ]
            spikes.append((spiked if neuron.spiking else tag4.last) & there)
            updated.append(v4)
        sent = Cat(*spikes)
        if mapping.scan.joined:
            before = Signal(pes, name="before")  # spikes in this window so far
            with m.If(valid4):
                m.d.sync += before.eq(Mux(tag4.sends, 0, before | sent))
            sent = Mux(tag4.sends, before | sent, 0)
        payload = self.rows.payload
        m.d.comb += [
            self.update_valid.eq(valid4),
            self.update_spikes.eq(Cat(*spikes) if neuron.spiking else 0),
            self.update_membranes.eq(Cat(*updated)),
            write.addr.eq(tag4.row),
            write.en.eq(valid4),
            write.data.eq(Cat(*updated)),
        ]
        m.d.sync += [
            self.rows.valid.eq(valid4),
            payload.row.eq(tag4.output),
            payload.mask.eq(sent),
            payload.end.eq(tag4.end),
            payload.bad.eq(tag4.bad),
        ]
        m.d.sync += [payload["values"][p].eq(1 if neuron.spiking else updated[p]) for p in range(pes)]
        return m

    def _place(self, m: Module, row: Signal, issue: Signal) -> tuple[Value, Value, Value]:
        """Group of `row`, row part of the address under which it leaves, and whether it sends: see `Scan`."""
        scan = self.mapping.scan
        if scan.group_rows == 1:
            return row, row, Const(1)
        turns = {"inside": scan.window**2, "x": scan.width, "y": scan.height, "group": scan.groups}
        counters = {name: Signal(range(max(2, size)), name=f"scan_{name}") for name, size in turns.items()}
        moves = issue
        for name, size in turns.items():
            ends = counters[name] == size - 1
            with m.If(moves):
                m.d.sync += counters[name].eq(Mux(ends, 0, counters[name] + 1))
            moves &= ends
        output = Cat(counters["x"][: scan.x_bits], counters["y"][: scan.y_bits], counters["group"])
        sends = counters["inside"] == scan.window**2 - 1 if scan.joined else Const(1)
        return counters["group"], output, sends

    def _parameters(self, m: Module, group: Value, issue: Signal) -> tuple[list[Value], list[Value]]:
        """Biases and thresholds of the row read last cycle: constants where all neurons agree, else one memory."""
        mapping = self.mapping
        fields, columns = {}, {}
        for name, values in (("bias", mapping.biases), ("threshold", mapping.thresholds)):
            if np.unique(values[mapping.used_groups]).size > 1:
                fields[name] = signed(signed_bits(int(values.min()), int(values.max())))
                columns[name] = values
        constants = [
            Const(int(values[mapping.used_groups][0]), signed(signed_bits(int(values.min()), int(values.max()))))
            for values in (mapping.biases, mapping.thresholds)
        ]
        out = [[constant] * mapping.pes for constant in constants]
        if fields:
            layout = data.ArrayLayout(data.StructLayout(fields), mapping.pes)
            init = [
                [{name: int(columns[name][r, p]) for name in fields} for p in range(mapping.pes)]
                for r in range(mapping.scan.groups)
            ]
            m.submodules.parameters = memory = Memory(shape=layout, depth=max(2, mapping.scan.groups), init=init)
            port = read_port(memory, "parameter")
            m.d.comb += [port.addr.eq(group), port.en.eq(issue)]
            for index, name in enumerate(("bias", "threshold")):
                if name in fields:
                    out[index] = [port.data[p][name] for p in range(mapping.pes)]
        return out[0], out[1]
