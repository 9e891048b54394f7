"""The register map as a C header, for programs that drive the accelerator over AXI4-Lite."""

from __future__ import annotations

from .. import __version__
from ..errors import require
from .registers import MAGIC, Register, registers

PREFIX = "GRADRTL"
BITS = {  # bits of registers that have separate meanings
    "control": ("soft_reset",),
    "status": ("packet_waits", "frame_begun"),
    "errors": ("short_or_address", "long"),
}
ACCESS = {"ro": "read only", "wo": "write only", "w1c": "write 1 to clear"}


def c_header(layers: int) -> str:
    """Text of `gradrtl_regs.h` for a network of `layers` layers: byte offsets, bit masks, the value of `magic`."""
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
    return "\n".join([*lines, "", f"#endif /* {PREFIX}_REGS_H */", ""])


def _register(register: Register) -> list[str]:
    name = f"{PREFIX}_{register.name.upper()}"
    return [
        f"/* {ACCESS[register.access]}: {register.meaning} */",
        f"#define {name} 0x{register.address:02X}u",
        *(f"#define {name}_{bit.upper()} 0x{1 << i:X}u" for i, bit in enumerate(BITS.get(register.name, ()))),
    ]
