"""Update of the fire unit: a row of neurons leaks, adds its sums, compares, resets."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .issue import issued_layout, tags_layout
from .latency import HELD
from .mapping import LayerMapping
from .memory import read_port, write_port
from .neuron import after_reset, decayed, next_adaptation, next_current, next_refractory, potential, scaled, spike
from .parameters import Scope

LETTERS = {"membranes": "v", "currents": "i", "adaptations": "a", "refractory": "waiting"}  # of the states' registers


def output_value_shape(mapping: LayerMapping) -> Shape:
    """Shape of the value that leaves with an event: the membrane of a silent neuron, else a constant 1."""
    return unsigned(1) if mapping.population.neuron.spiking else signed(mapping.membrane_bits)


def sums_layout(mapping: LayerMapping) -> data.ArrayLayout:
    """Accumulators of one row: of each PE, of each bank."""
    return data.ArrayLayout(data.ArrayLayout(signed(mapping.current_bits), mapping.banks), mapping.pes)


def updated_layout(mapping: LayerMapping) -> data.StructLayout:
    """A row, if `valid`, after its update: lanes with an event, new membranes, and tags."""
    membranes = data.ArrayLayout(signed(mapping.membrane_bits), mapping.pes)
    return data.StructLayout({"valid": 1, "mask": mapping.pes, "membranes": membranes, "tags": tags_layout(mapping)})


class Update(wiring.Component):
    """Updates a row of neurons in stages: read, memory output, update, fire. Holds states and parameters.

    A synaptic current that enters the membrane in the same step has a stage of its own before the update. A frame's
    first step starts from the start value, all other states at 0. Lanes without a neuron send nothing.

    Ports
    -----
    issued
        In: `issued_layout`. The same row comes again no sooner than `mapping.fire_stages` cycles later.
    sums
        In: `sums_layout`, one cycle after `issued`.
    updated
        Out: `updated_layout`. Silent neurons all send in the last step, or with `mapping.every_step` in every one.
    stages
        Out, for traces and proofs: the stages that hold a row, the first in bit 0.

    Throughput: a row a cycle. Latency: `mapping.fire_stages - 1` cycles from `issued` to `updated`. Never stalls.
    """

    def __init__(self, mapping: LayerMapping):
        self.mapping = mapping
        super().__init__(
            {
                "issued": In(issued_layout(mapping)),
                "sums": In(sums_layout(mapping)),
                "updated": Out(updated_layout(mapping)),
                "stages": Out(mapping.fire_stages),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, neuron = self.mapping, self.mapping.population.neuron
        pes, rows = mapping.pes, mapping.rows
        membrane = signed(mapping.membrane_bits)
        issued, updated = self.issued, self.updated
        fire = mapping.fire_stages  # number of the last stage; the first one is `issued`
        update = fire - 1
        valid = {i: Signal(name=f"valid{i}") for i in range(2, fire)}
        tags = {i: Signal(tags_layout(mapping), name=f"tags{i}") for i in range(2, fire)}
        bank2 = Signal(name="bank2")
        states = {"membranes": membrane} | {name: unsigned(bits) for name, bits in mapping.states.items()}
        if "currents" in states:
            states["currents"] = signed(mapping.states["currents"])
        m.d.comb += self.stages.eq(Cat(issued.valid, *valid.values(), updated.valid))
        reads, writes = {}, {}
        for name, shape in states.items():
            m.submodules[name] = memory = Memory(shape=unsigned(pes * shape.width), depth=rows, init=[])
            suffix = "" if name == "membranes" else f"_{name}"
            reads[name], writes[name] = read_port(memory, f"stored{suffix}"), write_port(memory, f"updated{suffix}")
            m.d.comb += [reads[name].addr.eq(issued.tags.row), reads[name].en.eq(issued.valid)]
        m.d.sync += [valid[2].eq(issued.valid), tags[2].eq(issued.tags), bank2.eq(issued.bank)]
        given = self._parameters(m)
        for i in range(3, fire):
            m.d.sync += [valid[i].eq(valid[i - 1]), tags[i].eq(tags[i - 1])]
        m.d.sync += [updated.valid.eq(valid[update]), updated.tags.eq(tags[update])]

        spikes: list[Value] = []
        new: dict[str, list[Value]] = {name: [] for name in states}
        for p in range(pes):
            # Memory output.
            current = Signal(signed(mapping.current_bits), name=f"current3_{p}")
            total = Mux(bank2, self.sums[p][1], self.sums[p][0])
            if mapping.is_mixed:
                total += self.sums[p][HELD]
            m.d.sync += current.eq(total + given["bias"][2][p])
            state = {}
            for name, shape in states.items():
                word = reads[name].data.word_select(p, shape.width)
                stored = word.as_signed() if shape.signed else word
                start = given["start_value"][2][p] if name == "membranes" else 0
                state[name] = Signal(shape, name=f"{LETTERS[name]}3_{p}")
                m.d.sync += state[name].eq(Mux(tags[2].first, start, stored))

            # Synaptic current.
            x: Value = scaled(neuron, current)
            if neuron.current is not None:
                i = Signal(states["currents"], name=f"i4_{p}")
                m.d.sync += i.eq(next_current(neuron, state["currents"], current, given["current_factor"][3][p]))
                x = state["currents"]
                if mapping.has_current_stage:
                    x = i
                    for name, early in state.items():
                        state[name] = Signal.like(early, name=f"{LETTERS[name]}{update}_{p}")
                        m.d.sync += state[name].eq(early)
                    i = Signal.like(x, name=f"i{fire}_{p}")
                    m.d.sync += i.eq(x)
                new["currents"].append(i)

            # Update.
            v = state["membranes"]
            u = Signal(signed(mapping.ranges.potential_bits), name=f"u{fire}_{p}")
            m.d.sync += u.eq(potential(neuron, v, x, given["factor"][update][p]))
            threshold = given["threshold"][fire][p]
            if neuron.adaptation is not None:
                a = state["adaptations"]
                threshold = Signal(signed(mapping.limit_bits), name=f"limit{fire}_{p}")
                kept = Signal.like(a, name=f"a{fire}_{p}")
                decay = given["adaptation_factor"][update][p], neuron.adaptation.shift
                m.d.sync += [threshold.eq(given["threshold"][update][p] + a), kept.eq(decayed(neuron, a, *decay))]

            # Fire.
            used = int(mapping.used[:, p].sum())
            exists = Const(used > 0, 1) if used in (0, rows) else updated.tags.row < used
            spiked = Signal(name=f"spiked_{p}")
            after = Signal(membrane, name=f"v{fire}_{p}")
            fires = spike(neuron, u, threshold)
            left = after_reset(neuron, u, given["reset_value"][fire][p], given["reset_amount"][fire][p], spiked)
            if neuron.refractory:
                free = Signal(name=f"free{fire}_{p}")
                waiting = Signal.like(state["refractory"], name=f"waiting{fire}_{p}")
                before = Signal.like(v, name=f"before{fire}_{p}")
                m.d.sync += [
                    free.eq(state["refractory"] == 0),
                    waiting.eq(state["refractory"]),
                    before.eq(v),
                ]
                fires, left = fires & free, Mux(free, left, before)
                left_after = Signal.like(waiting, name=f"waiting_next_{p}")
                m.d.comb += left_after.eq(next_refractory(neuron, waiting, spiked))
                new["refractory"].append(left_after)
            m.d.comb += [spiked.eq(fires), after.eq(left)]
            if neuron.adaptation is not None:
                adapted = Signal.like(kept, name=f"a_next_{p}")
                m.d.comb += adapted.eq(next_adaptation(kept, given["adaptation_jump"][fire][p], spiked))
                new["adaptations"].append(adapted)
            new["membranes"].append(after)
            sends = spiked if neuron.spiking else Const(1) if mapping.every_step else updated.tags.last
            spikes.append(sends & exists)
        m.d.comb += [
            updated.mask.eq(Cat(*spikes)),
            updated.membranes.eq(Cat(*new["membranes"])),
        ]
        for name, write in writes.items():
            m.d.comb += [
                write.addr.eq(updated.tags.row),
                write.en.eq(updated.valid),
                write.data.eq(Cat(*new[name])),
            ]
        return m

    def _parameters(self, m: Module) -> dict[str, dict[int, list[Value]]]:
        """Each parameter by stage and PE, from stage 2 on: constants, or words of a memory and registers behind it."""
        mapping, issued = self.mapping, self.issued
        update = mapping.fire_stages - 1
        found: dict[str, dict[int, list[Value]]] = {}

        def take(name: str, values: list[Value]) -> None:
            last = {"bias": 2, "start_value": 2, "current_factor": 3, "factor": update, "adaptation_factor": update}
            found[name] = _delayed(m, name, values, last.get(name, mapping.fire_stages))

        for scope, name, address, words in (
            (Scope.GROUP, "parameters", issued.group, mapping.scan.groups),
            (Scope.ROW, "row_parameters", issued.tags.row, mapping.rows),
        ):
            stored = [parameter for parameter in mapping.parameters.values() if parameter.scope == scope]
            if not stored:
                continue
            layout = data.ArrayLayout(data.StructLayout({p.name: signed(p.bits) for p in stored}), mapping.pes)
            init = [
                [{p.name: int(p.values[word, pe]) for p in stored} for pe in range(mapping.pes)]
                for word in range(words)
            ]
            m.submodules[name] = memory = Memory(shape=layout, depth=max(2, words), init=init)
            port = read_port(memory, "parameter" if scope == Scope.GROUP else "row_parameter")
            m.d.comb += [port.addr.eq(address), port.en.eq(issued.valid)]
            for p in stored:
                take(p.name, [port.data[pe][p.name] for pe in range(mapping.pes)])
        for parameter in mapping.parameters.values():
            if parameter.scope == Scope.LAYER:
                shape = None if parameter.name == "start_value" else signed(parameter.bits)
                take(parameter.name, [Const(parameter.constant, shape)] * mapping.pes)
        for name in ("factor", "reset_value"):
            if name not in found:
                take(name, [Const(0)] * mapping.pes)
        found.setdefault("reset_amount", found["threshold"])
        found.setdefault("start_value", found["reset_value"])
        return found


def _delayed(m: Module, name: str, values: list[Value], last: int) -> dict[int, list[Value]]:
    """`values` of all PEs, which come in stage 2, in each stage up to `last`."""
    stages = {2: values}
    for i in range(3, last + 1):
        stages[i] = [v if isinstance(v, Const) else Signal.like(v, name=f"{name}{i}_{p}") for p, v in enumerate(values)]
    for i in range(last, 2, -1):
        pairs = zip(stages[i], stages[i - 1], strict=True)
        m.d.sync += [late.eq(early) for late, early in pairs if not isinstance(late, Const)]
    return stages
