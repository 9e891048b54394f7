"""Verilog around the accelerator, with its streams and trace wires as plain ports for the C++ driver.

The wires are read by instance name (`dut.datapath.core0.fire_valid`), so any Verilog with these names can be traced,
for any names of modules. Widths are those of the mapping; Verilator refuses a design with others.

Inputs from the driver pass through registers. So no logic of the design depends combinationally on a port, and
Verilator evaluates it once per cycle instead of twice.
"""

from __future__ import annotations

from ..quantize.frontend import SAMPLE_BITS
from ..rtl.mapping import Mapping
from ..rtl.registers import axilite_signals

INSTANCE = "dut"
CORES = (f"{INSTANCE}.datapath.core", f"{INSTANCE}.core")  # names of the cores, without the layer number
SOUND_CORES = (f"{INSTANCE}.accelerator.datapath.core",)  # those behind a front end


def harness(mapping: Mapping, registers: bool, cores: str | None, sound: bool = False) -> str:
    """Text of module `harness`.

    `registers`: the design has an AXI4-Lite port, kept idle here. `cores`: one of `CORES`, None for no traces. `sound`:
    the design takes samples, with TLAST above each in `s_axis_tdata`.
    """
    data = SAMPLE_BITS + 1 if sound else 8 * mapping.pixels_a_beat if mapping.input.kind == "static" else 32
    inputs = [("rst", 1), ("s_axis_tdata", data), ("s_axis_tvalid", 1), ("s_axis_tlast", 1), ("m_axis_tready", 1)]
    outputs = [("s_axis_tready", 1), ("m_axis_tdata", 32), ("m_axis_tvalid", 1), ("m_axis_tlast", 1)]
    outputs.append(("m_axis_tuser", 1))
    ports = [("input", 1, "clk"), *(("input", width, f"next_{name}") for name, width in inputs)]
    ports += [("output", width, name) for name, width in outputs]
    lines = [f"  reg [{width - 1}:0] {name};\n" for name, width in inputs]
    lines += [f"  always @(posedge clk) {name} <= next_{name};\n" for name, _ in inputs]
    driven = {name: name for name, _ in [("clk", 1), *inputs, *outputs]}
    if sound:
        driven |= {"s_axis_tdata": f"s_axis_tdata[{SAMPLE_BITS - 1}:0]", "s_axis_tlast": f"s_axis_tdata[{SAMPLE_BITS}]"}
    pins = [f".{name}({signal})" for name, signal in driven.items()]
    if registers:
        idle = {"in": "'0", "out": ""}
        pins += [f".s_axil_{signal.name}({idle[signal.direction]})" for signal in axilite_signals(1)]
    lines.append(f"  gradrtl {INSTANCE} ({', '.join(pins)});\n")
    if cores is not None and mapping.placement.cancel:
        ports.append(("output", 1, "cancel"))
        lines.append(f"  assign cancel = {INSTANCE}.datapath.cancel;\n")
    if cores is not None:
        for layer in mapping.layers:
            for name, width in (("valid", 1), ("spikes", layer.pes), ("membranes", layer.pes * layer.membrane_bits)):
                ports.append(("output", width, f"core{layer.index}_{name}"))
                lines.append(f"  assign core{layer.index}_{name} = {cores}{layer.index}.fire_{name};\n")
    declarations = ",\n".join(f"  {direction} [{width - 1}:0] {name}" for direction, width, name in ports)
    return f"module harness (\n{declarations}\n);\n{''.join(lines)}endmodule\n"


def core_list(mapping: Mapping, traced: bool) -> str:
    """Text of `cores.h`: the layers whose trace wires are ports of the harness, and the wire that cancels frames."""
    if not traced:
        return ""
    cancel = "CANCEL(cancel)\n" if mapping.placement.cancel else ""
    return cancel + "".join(f"CORE({layer.index})\n" for layer in mapping.layers)
