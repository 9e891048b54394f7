"""Update of the fire unit: a row of neurons leaks, adds its sums, compares, resets."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..bits import signed_bits
from .issue import issued_layout, tags_layout
from .latency import BANKS, FIRE_STAGES
from .mapping import LayerMapping
from .memory import read_port, write_port
from .neuron import after_reset, potential, spike


def output_value_shape(mapping: LayerMapping) -> Shape:
    """Shape of the value of an outgoing event: the membrane in a membrane read-out, else a constant 1."""
    return unsigned(1) if mapping.layer.neuron.spiking else signed(mapping.membrane_bits)


def sums_layout(mapping: LayerMapping) -> data.ArrayLayout:
    """Accumulators of one row: of each PE, of each bank."""
    return data.ArrayLayout(data.ArrayLayout(signed(mapping.current_bits), BANKS), mapping.pes)


def updated_layout(mapping: LayerMapping) -> data.StructLayout:
    """A row, if `valid`, after its update: lanes with an event, new membranes, and tags."""
    membranes = data.ArrayLayout(signed(mapping.membrane_bits), mapping.pes)
    return data.StructLayout({"valid": 1, "mask": mapping.pes, "membranes": membranes, "tags": tags_layout(mapping)})


class Update(wiring.Component):
    """Updates a row of neurons in four stages: read, memory output, update, fire. Holds membranes and parameters.

    A frame's first step starts from the reset value. Lanes without a neuron send nothing.

    Ports
    -----
    issued
        In: `issued_layout`. The same row comes again at the earliest after `latency.FIRE_STAGES` cycles.
    sums
        In: `sums_layout`, one cycle after `issued`.
    updated
        Out: `updated_layout`. In a membrane read-out every neuron sends in the last step.
    stages
        Out, for traces and proofs: the stages that hold a row, the first in bit 0.

    Throughput: one row per cycle. Latency: three cycles from `issued` to `updated`. Never stalls.
    """

    def __init__(self, mapping: LayerMapping):
        self.mapping = mapping
        super().__init__(
            {
                "issued": In(issued_layout(mapping)),
                "sums": In(sums_layout(mapping)),
                "updated": Out(updated_layout(mapping)),
                "stages": Out(FIRE_STAGES),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, neuron = self.mapping, self.mapping.layer.neuron
        pes, rows = mapping.pes, mapping.rows
        membrane = signed(mapping.membrane_bits)
        issued, updated = self.issued, self.updated
        tags2, tags3 = (Signal(tags_layout(mapping), name=f"tags{i}") for i in (2, 3))
        valid2, valid3 = (Signal(name=f"valid{i}") for i in (2, 3))
        bank2 = Signal(name="bank2")
        m.submodules.membranes = memory = Memory(shape=unsigned(pes * mapping.membrane_bits), depth=rows, init=[])
        read, write = read_port(memory, "stored"), write_port(memory, "updated")
        m.d.comb += [
            self.stages.eq(Cat(issued.valid, valid2, valid3, updated.valid)),
            read.addr.eq(issued.tags.row),
            read.en.eq(issued.valid),
        ]
        m.d.sync += [valid2.eq(issued.valid), tags2.eq(issued.tags), bank2.eq(issued.bank)]
        biases, thresholds = self._parameters(m)
        thresholds3, thresholds4 = (
            [t if isinstance(t, Const) else Signal.like(t, name=f"threshold{i}_{p}") for p, t in enumerate(thresholds)]
            for i in (3, 4)
        )
        for late, early in ((thresholds4, thresholds3), (thresholds3, thresholds)):
            m.d.sync += [new.eq(old) for new, old in zip(late, early, strict=True) if not isinstance(new, Const)]

        # Memory output, then update.
        m.d.sync += [valid3.eq(valid2), tags3.eq(tags2), updated.valid.eq(valid3), updated.tags.eq(tags3)]
        u4 = [Signal(signed(mapping.ranges.potential_bits), name=f"u4_{p}") for p in range(pes)]
        for p in range(pes):
            current3 = Signal(signed(mapping.current_bits), name=f"current3_{p}")
            v3 = Signal(membrane, name=f"v3_{p}")
            stored = read.data.word_select(p, mapping.membrane_bits).as_signed()
            m.d.sync += [
                current3.eq(Mux(bank2, self.sums[p][1], self.sums[p][0]) + biases[p]),
                v3.eq(Mux(tags2.first, neuron.reset_value, stored)),
                u4[p].eq(potential(neuron, v3, current3)),
            ]

        # Fire.
        spikes, membranes = [], []
        for p in range(pes):
            used = int(mapping.used[:, p].sum())
            exists = Const(used > 0, 1) if used in (0, rows) else updated.tags.row < used
            spiked = Signal(name=f"spiked_{p}")
            v4 = Signal(membrane, name=f"v4_{p}")
            m.d.comb += [
                spiked.eq(spike(neuron, u4[p], thresholds4[p])),
                v4.eq(after_reset(neuron, u4[p], thresholds4[p], spiked)),
            ]
            spikes.append((spiked if neuron.spiking else updated.tags.last) & exists)
            membranes.append(v4)
        m.d.comb += [
            updated.mask.eq(Cat(*spikes)),
            updated.membranes.eq(Cat(*membranes)),
            write.addr.eq(updated.tags.row),
            write.en.eq(updated.valid),
            write.data.eq(Cat(*membranes)),
        ]
        return m

    def _parameters(self, m: Module) -> tuple[list[Value], list[Value]]:
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
            m.d.comb += [port.addr.eq(self.issued.group), port.en.eq(self.issued.valid)]
            for index, name in enumerate(("bias", "threshold")):
                if name in fields:
                    out[index] = [port.data[p][name] for p in range(mapping.pes)]
        return out[0], out[1]
