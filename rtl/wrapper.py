"""The accelerator under the names and the reset that AXI tools expect: module `gradrtl_axi`, in Verilog."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import require
from .frame_words import COUNT_BIT, MARK_BIT, SPIKE_BITS
from .interface import CLOCK, ports
from .mapping import Mapping

MODULE = "gradrtl_axi"
CLOCK_PORT, RESET_PORT = "aclk", "aresetn"
STREAMS = {"s_axis": "slave", "m_axis": "master"}  # AXI4-Stream interfaces and their modes
REGISTERS = "s_axil"  # the AXI4-Lite interface, a slave
VALID_READY = ("valid", "ready")
PARAMETER = "USE_TKEEP"


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


@dataclass(frozen=True)
class Interface:
    """An interface of the wrapper: what it is in Xilinx's catalogue, its mode and its parameters there.

    `kind` is `library:name` of the catalogue; `ports` are names of ports by their names in the catalogue.
    """

    name: str
    kind: str
    mode: str
    parameters: dict[str, str]
    ports: dict[str, str]


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


def interfaces(mapping: Mapping) -> list[Interface]:
    """The interfaces of the wrapper around the accelerator of `mapping`: clock and reset first."""
    busses = (*STREAMS, REGISTERS)
    clock = {"ASSOCIATED_BUSIF": ":".join(busses), "ASSOCIATED_RESET": RESET_PORT}
    made = [
        Interface(CLOCK_PORT, "signal:clock", "slave", clock, {"CLK": CLOCK_PORT}),
        Interface(RESET_PORT, "signal:reset", "slave", {"POLARITY": "ACTIVE_LOW"}, {"RST": RESET_PORT}),
    ]
    found = wrapper_ports(mapping)
    for bus in busses:
        width = {port.signal: port.width for port in found if port.bus == bus}
        names = {port.signal: port.name for port in found if port.bus == bus}
        told: dict[str, object] = {"DATA_WIDTH": width.get("WDATA"), "ADDR_WIDTH": width.get("AWADDR")}
        told["PROTOCOL"] = "AXI4LITE"
        if bus in STREAMS:
            told = {"TDATA_NUM_BYTES": width["TDATA"] // 8, "TUSER_WIDTH": width.get("TUSER", 0)}
            told |= {f"HAS_{signal}": 1 for signal in ("TREADY", "TKEEP", "TLAST")}
        kind = "interface:axis" if bus in STREAMS else "interface:aximm"
        made.append(Interface(bus, kind, STREAMS.get(bus, "slave"), {n: str(v) for n, v in told.items()}, names))
    return made


def _attributes(mapping: Mapping) -> dict[str, list[str]]:
    """By port, the attributes that tell Vivado's IP integrator its interface."""
    made = {}
    for one in interfaces(mapping):
        parameters = ", ".join(f"{name} {value}" for name, value in one.parameters.items())
        for number, (signal, port) in enumerate(one.ports.items()):
            made[port] = [f'(* X_INTERFACE_INFO = "xilinx.com:{one.kind}:1.0 {one.name} {signal}" *)']
            if number == 0:
                made[port].append(f'(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME {one.name}, {parameters}" *)')
    return made


def wrapper(mapping: Mapping) -> str:
    """Text of the wrapper around the accelerator of `mapping`.

    Ports
    -----
    aclk, aresetn
        The clock, and the reset: synchronous, active low. While it is 0, every valid and ready output is 0.
    s_axis_*, m_axis_*, s_axil_*
        Those of the accelerator, and `tkeep`; `m_axis_tkeep` is all ones.

    Parameter `USE_TKEEP`: with 0, `s_axis_tkeep` is ignored.

    `s_axis_tkeep` is 1 for each byte that counts. A pixel whose byte is not kept is missing: it is 0, and the frame is
    malformed. What is beyond the last pixel of a frame need not be kept. A word of events of which a byte is not kept
    is dropped, and the frame is malformed.

    Latency, throughput and stalls are those of the accelerator: there is no register in between. A frame of pixels
    that has all its beats, but not all its pixels, takes one cycle more. The attributes tell Vivado's IP integrator
    the interfaces.
    """
    found = wrapper_ports(mapping)
    attributes = _attributes(mapping)
    lines = []
    for name in (CLOCK_PORT, RESET_PORT):
        lines += [*attributes[name], f"input wire {name},"]
    for port in found:
        bits = f"[{port.width - 1}:0] " if port.width > 1 else ""
        comma = "," if port is not found[-1] else ""
        lines += [*attributes[port.name], f"{port.direction}put wire {bits}{port.name}{comma}"]
    declared = "\n".join(f"  {line}" for line in lines)
    pins, body = [".clk(aclk)", ".rst(~aresetn)"], []
    kept = {f"s_axis_{name}": f"kept_{name}" for name in ("tdata", "tvalid", "tlast")}
    for port in found:
        if port.inner is None:
            if port.direction == "out":
                body.append(f"  assign {port.name} = {{{port.width}{{1'b1}}}};")
        elif port.direction == "out" and port.name.endswith(VALID_READY):
            closed = " & ~closing" if port.name == "s_axis_tready" else ""
            body += [f"  wire inner_{port.name};", f"  assign {port.name} = inner_{port.name} & {RESET_PORT}{closed};"]
            pins.append(f".{port.inner}(inner_{port.name})")
        else:
            pins.append(f".{port.inner}({kept.get(port.name, port.name)})")
    body += (_kept_pixels if mapping.input.kind == "static" else _kept_words)(mapping)
    connected = ",\n".join(f"    {pin}" for pin in pins)
    inside = "\n".join(body)
    return (
        f"// GradRTL accelerator, network {mapping.network.digest}: AXI names, {CLOCK_PORT}, active-low {RESET_PORT}.\n"
        f"`default_nettype none\nmodule {MODULE} #(\n  parameter {PARAMETER} = 1\n) (\n{declared}\n);\n{inside}\n"
        f"  gradrtl accelerator (\n{connected}\n  );\nendmodule\n`default_nettype wire\n"
    )


def _kept_pixels(mapping: Mapping) -> list[str]:
    """The beats of a frame of pixels: what is not kept is 0.

    If a pixel is missing, and the frame has all its beats, its last beat goes without `tlast` and one more beat
    follows: the accelerator takes it for a frame that is too long, and flags it.
    """
    lanes, beats = mapping.pixels_a_beat, mapping.beats
    bits = max(1, (beats - 1).bit_length())
    tail = (1 << mapping.sources - lanes * (beats - 1)) - 1  # the bytes of the last beat that are pixels
    ones = f"{{{lanes}{{1'b1}}}}"
    return [
        f"  reg [{bits - 1}:0] index = 0;  // of the beat in its frame",
        "  reg lacking = 0;  // a pixel of this frame is missing",
        "  reg closing = 0;  // one more beat follows",
        f"  wire [{lanes - 1}:0] keep = {PARAMETER} ? s_axis_tkeep : {ones};",
        f"  wire at_end = index == {bits}'d{beats - 1};",
        f"  wire [{lanes - 1}:0] needed = at_end ? {lanes}'d{tail} : {ones};",
        "  wire lacks = lacking | |(needed & ~keep);",
        "  wire spoilt = s_axis_tlast & at_end & lacks;",
        "  wire kept_tvalid = s_axis_tvalid | closing;",
        "  wire kept_tlast = closing | (s_axis_tlast & ~spoilt);",
        f"  wire [{8 * lanes - 1}:0] kept_tdata = s_axis_tdata & {{"
        + ", ".join(f"{{8{{keep[{lane}]}}}}" for lane in reversed(range(lanes)))
        + "};",
        "  always @(posedge aclk)",
        f"    if (~{RESET_PORT}) begin",
        "      index <= 0;",
        "      lacking <= 0;",
        "      closing <= 0;",
        "    end else if (kept_tvalid & inner_s_axis_tready) begin",
        "      closing <= spoilt & ~closing;",
        "      lacking <= lacks & ~kept_tlast & ~spoilt & ~closing;",
        f"      index <= (kept_tlast | spoilt) ? {bits}'d0 : at_end ? index : index + {bits}'d1;",
        "    end",
    ]


def _kept_words(mapping: Mapping) -> list[str]:
    """The words of a frame of events: one that is not kept whole becomes an address that no source has."""
    ghost = (1 << MARK_BIT) - 1
    require(mapping.sources < 1 << COUNT_BIT, "sources", mapping.sources, f"below {1 << COUNT_BIT}")
    return [
        "  wire closing = 0;",
        f"  wire whole = {PARAMETER} ? &s_axis_tkeep : 1'b1;",
        "  wire kept_tvalid = s_axis_tvalid;",
        "  wire kept_tlast = s_axis_tlast;",
        f"  wire [{SPIKE_BITS - 1}:0] kept_tdata = whole ? s_axis_tdata : {SPIKE_BITS}'h{ghost:x};",
    ]
