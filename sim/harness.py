"""Verilog around the accelerator that brings its streams and trace wires out as plain ports for the C++ driver.

The wires are read by instance name (`dut.datapath.core0.fire_valid`), so any Verilog that names them so can be traced,
whatever its modules are called. Widths are the mapping's: a design with others is refused by Verilator.
"""

from __future__ import annotations

from ..rtl.mapping import Mapping

INSTANCE = "dut"
CORES = (f"{INSTANCE}.datapath.core", f"{INSTANCE}.core")  # where the cores may be, layer number to be added
REGISTER_INPUTS = ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready")
REGISTER_OUTPUTS = ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid")


def harness(mapping: Mapping, registers: bool, cores: str | None) -> str:
    """Text of module `harness`.

    `registers`: the design has an AXI4-Lite port, kept idle here. `cores`: one of `CORES`, None for no traces.
    """
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
        pins += [f".s_axil_{name}()" for name in REGISTER_OUTPUTS]
    wires = []
    if cores is not None:
        for layer in mapping.layers:
            for name, width in (("valid", 1), ("spikes", layer.pes), ("membranes", layer.pes * layer.membrane_bits)):
                ports.append(("output", width, f"core{layer.index}_{name}"))
                wires.append(f"  assign core{layer.index}_{name} = {cores}{layer.index}.fire_{name};\n")
    declarations = ",\n".join(f"  {direction} [{width - 1}:0] {name}" for direction, width, name in ports)
    instance = f"  gradrtl {INSTANCE} ({', '.join(pins)});\n"
    return f"module harness (\n{declarations}\n);\n{instance}{''.join(wires)}endmodule\n"


def core_list(mapping: Mapping, traced: bool) -> str:
    """Text of `cores.h`: the layers whose wires the harness shows."""
    return "".join(f"CORE({layer.index})\n" for layer in mapping.layers) if traced else ""
