"""Verilog around the accelerator that brings its streams and trace wires out as plain ports for the C++ driver.

The wires are read by instance name (`dut.core0.fire_valid`), so any Verilog that names them so can be traced,
whatever its modules are called. Widths are the mapping's: a design with others is refused by Verilator.
"""

from __future__ import annotations

from ..rtl.mapping import Mapping

INSTANCE = "dut"
REGISTER_INPUTS = ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready")


def harness(mapping: Mapping, registers: bool, traced: bool) -> str:
    """Text of module `harness`. `registers`: the design has an AXI4-Lite port, kept idle here."""
    data = 8 * mapping.pixels_a_beat if mapping.network.input.kind == "static" else 32
    ports = [
        ("input", 1, "clk"),
        ("input", 1, "rst"),
        ("input", data, "s_axis_tdata"),
        ("input", 1, "s_axis_tvalid"),
        ("output", 1, "s_axis_tready"),
        ("input", 1, "s_axis_tlast"),
        ("output", 32, "m_axis_tdata"),
        ("output", 1, "m_axis_tvalid"),
        ("input", 1, "m_axis_tready"),
        ("output", 1, "m_axis_tlast"),
        ("output", 1, "m_axis_tuser"),
    ]
    pins = [f".{name}({name})" for _, _, name in ports]
    if registers:
        pins += [f".s_axil_{name}('0)" for name in REGISTER_INPUTS]
    wires = []
    if traced:
        for layer in mapping.layers:
            core = f"core{layer.index}"
            for name, width in (("valid", 1), ("spikes", layer.pes), ("membranes", layer.pes * layer.membrane_bits)):
                ports.append(("output", width, f"{core}_{name}"))
                wires.append(f"  assign {core}_{name} = {INSTANCE}.{core}.fire_{name};\n")
    declarations = ",\n".join(f"  {direction} [{width - 1}:0] {name}" for direction, width, name in ports)
    instance = f"  gradrtl {INSTANCE} ({', '.join(pins)});\n"
    return f"module harness (\n{declarations}\n);\n{instance}{''.join(wires)}endmodule\n"


def cores(mapping: Mapping, traced: bool) -> str:
    """Text of `cores.h`: the layers whose wires the harness shows."""
    return "".join(f"CORE({layer.index})\n" for layer in mapping.layers) if traced else ""
