"""Register map and result packets as a C header, for programs that drive the accelerator."""

from __future__ import annotations

from .. import __version__
from ..errors import require
from .outputs import Outputs
from .registers import MAGIC, Register, registers

PREFIX = "GRADRTL"
BITS = {  # bits of registers that have separate meanings
    "control": ("soft_reset",),
    "status": ("packet_waits", "frame_begun"),
    "errors": ("short_or_address", "long"),
}
ACCESS = {"ro": "read only", "wo": "write only", "w1c": "write 1 to clear"}


def c_header(layers: int, outputs: Outputs | None = None) -> str:
    """Text of `gradrtl_regs.h` for a network of `layers` layers: byte offsets, bit masks, the value of `magic`.

    With `outputs`, also the words of a result packet: where each read-out has its class, its first sum, how many sums.
    """
    require(layers >= 1, "layers", layers, "at least 1")
    lines = [
        f"/* Registers of a GradRTL {__version__} accelerator with {layers} layers. Offsets are in bytes. */",
        f"#ifndef {PREFIX}_REGS_H",
        f"#define {PREFIX}_REGS_H",
        "",
        f"#define {PREFIX}_LAYERS {layers}u",
        f"#define {PREFIX}_MAGIC_VALUE 0x{MAGIC:08X}u",
        "",
    ]
    for register in registers(layers):
        lines += _register(register)
    if outputs is not None:
        lines += _packet(outputs)
    return "\n".join([*lines, "", f"#endif /* {PREFIX}_REGS_H */", ""])


def _packet(outputs: Outputs) -> list[str]:
    lines = ["/* Words of a result packet, counted from 0 */", f"#define {PREFIX}_PACKET_WORDS {outputs.words}u"]
    if outputs.numbered:
        lines.append(f"#define {PREFIX}_STEP_NUMBER 0u")
    for number, (first, classes) in enumerate(zip(outputs.firsts[:-1], outputs.classes, strict=True)):
        values = {"CLASS": first, "FIRST_SUM": first + 1, "SUMS": classes}
        lines += [f"#define {PREFIX}_READOUT{number}_{name} {value}u" for name, value in values.items()]
    return lines


def _register(register: Register) -> list[str]:
    name = f"{PREFIX}_{register.name.upper()}"
    return [
        f"/* {ACCESS[register.access]}: {register.meaning} */",
        f"#define {name} 0x{register.address:02X}u",
        *(f"#define {name}_{bit.upper()} 0x{1 << i:X}u" for i, bit in enumerate(BITS.get(register.name, ()))),
    ]
