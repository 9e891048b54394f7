"""The accelerator under the names and the reset that AXI tools expect: module `gradrtl_axi`, in Verilog."""

from __future__ import annotations

from dataclasses import dataclass

from .interface import CLOCK, ports
from .mapping import Mapping

MODULE = "gradrtl_axi"
CLOCK_PORT, RESET_PORT = "aclk", "aresetn"
STREAMS = {"s_axis": "slave", "m_axis": "master"}  # AXI4-Stream interfaces and their modes
REGISTERS = "s_axil"  # the AXI4-Lite interface, a slave
VALID_READY = ("valid", "ready")


@dataclass(frozen=True)
class WrapperPort:
    """A port of the wrapper: `direction` is `in` or `out`; `bus` its interface and `signal` its AXI name there.

    `inner`: the port of the accelerator that it is connected to, None for TKEEP.
    """

    name: str
    direction: str
    width: int
    bus: str
    signal: str
    inner: str | None


def wrapper_ports(mapping: Mapping) -> list[WrapperPort]:
    """The ports of the wrapper but its clock and reset, interface by interface."""
    made = []
    for name, direction, width in ports(mapping):
        if name in CLOCK:
            continue
        bus = next(one for one in (*STREAMS, REGISTERS) if name.startswith(f"{one}_"))
        signal = name.removeprefix(f"{bus}_")
        made.append(WrapperPort(name, direction, width, bus, signal.upper(), name))
        if bus in STREAMS and signal == "tdata":
            made.append(WrapperPort(f"{bus}_tkeep", direction, width // 8, bus, "TKEEP", None))
    return made


def wrapper(mapping: Mapping) -> str:
    """Text of the wrapper around the accelerator of `mapping`.

    Ports
    -----
    aclk, aresetn
        The clock, and the reset: synchronous, active low. While it is 0, every valid and ready output is 0.
    s_axis_*, m_axis_*, s_axil_*
        Those of the accelerator. `s_axis_tkeep` is accepted and not needed: what is beyond the last pixel of a frame
        does not matter. `m_axis_tkeep` is all ones.

    Latency, throughput and stalls are those of the accelerator: there is no register in between. The attributes tell
    Vivado's IP integrator the interfaces.
    """
    found = wrapper_ports(mapping)
    busses = ":".join((*STREAMS, REGISTERS))
    clock = f"xilinx.com:signal:clock:1.0 {CLOCK_PORT} CLK", f"ASSOCIATED_BUSIF {busses}, ASSOCIATED_RESET {RESET_PORT}"
    reset = f"xilinx.com:signal:reset:1.0 {RESET_PORT} RST", "POLARITY ACTIVE_LOW"
    lines = []
    for name, (info, parameter) in ((CLOCK_PORT, clock), (RESET_PORT, reset)):
        lines += [f'(* X_INTERFACE_INFO = "{info}" *)', f'(* X_INTERFACE_PARAMETER = "{parameter}" *)']
        lines.append(f"input wire {name},")
    for port in found:
        kind = "axis" if port.bus in STREAMS else "aximm"
        lines.append(f'(* X_INTERFACE_INFO = "xilinx.com:interface:{kind}:1.0 {port.bus} {port.signal}" *)')
        bits = f"[{port.width - 1}:0] " if port.width > 1 else ""
        lines.append(f"{port.direction}put wire {bits}{port.name}{',' if port is not found[-1] else ''}")
    declared = "\n".join(f"  {line}" for line in lines)
    pins, body = [".clk(aclk)", ".rst(~aresetn)"], []
    for port in found:
        gated = port.direction == "out" and port.name.endswith(VALID_READY)
        if port.inner is None:
            if port.direction == "out":
                body.append(f"  assign {port.name} = {{{port.width}{{1'b1}}}};")
        elif gated:
            body += [f"  wire inner_{port.name};", f"  assign {port.name} = inner_{port.name} & {RESET_PORT};"]
            pins.append(f".{port.inner}(inner_{port.name})")
        else:
            pins.append(f".{port.inner}({port.name})")
    connected = ",\n".join(f"    {pin}" for pin in pins)
    inside = "\n".join(body)
    return (
        f"// GradRTL accelerator, network {mapping.network.digest}: AXI names, {CLOCK_PORT}, active-low {RESET_PORT}.\n"
        f"`default_nettype none\nmodule {MODULE} (\n{declared}\n);\n{inside}\n"
        f"  gradrtl accelerator (\n{connected}\n  );\nendmodule\n`default_nettype wire\n"
    )
