"""The AXI4-Lite register map, for hardware, tests, host and documentation."""

from __future__ import annotations

from dataclasses import dataclass

MAGIC = int.from_bytes(b"GRTL", "big")
DIGEST_WORDS = 8
WORD_BITS = 32  # width of a register


@dataclass(frozen=True)
class AxiSignal:
    """A signal of an AXI4-Lite channel at the subordinate: its AXI name in lower case, `in` or `out`, its width."""

    name: str
    direction: str
    width: int


def axilite_signals(address_bits: int) -> tuple[AxiSignal, ...]:
    """The signals of the five channels."""
    channels: dict[str, list[tuple[str, str, int]]] = {
        "aw": [("addr", "in", address_bits), ("valid", "in", 1), ("ready", "out", 1)],
        "w": [("data", "in", WORD_BITS), ("strb", "in", WORD_BITS // 8), ("valid", "in", 1), ("ready", "out", 1)],
        "b": [("resp", "out", 2), ("valid", "out", 1), ("ready", "in", 1)],
        "ar": [("addr", "in", address_bits), ("valid", "in", 1), ("ready", "out", 1)],
        "r": [("data", "out", WORD_BITS), ("resp", "out", 2), ("valid", "out", 1), ("ready", "in", 1)],
    }
    return tuple(
        AxiSignal(channel + name, direction, width)
        for channel, parts in channels.items()
        for name, direction, width in parts
    )


@dataclass(frozen=True)
class Register:
    """One 32-bit register at byte `address`. `access`: `ro`, `wo` (reads 0), or `w1c` (write 1 to clear)."""

    name: str
    address: int
    access: str
    meaning: str


def registers(layers: int) -> tuple[Register, ...]:
    """All registers of an accelerator with `layers` layers; counters are 32 bits wide and wrap."""
    fixed = (
        ("magic", "ro", '"GRTL" in ASCII, first letter in the highest byte'),
        ("version", "ro", "version of GradRTL: major << 16 | minor << 8 | patch"),
        *(
            (f"digest{i}", "ro", f"network digest, bytes {4 * i} to {4 * i + 3}, first byte highest")
            for i in range(DIGEST_WORDS)
        ),
        ("control", "wo", "write bit 0 = 1: soft reset; frames inside are lost, a packet being sent is completed"),
        ("status", "ro", "bit 0: a packet waits on m_axis; bit 1: a frame has begun on s_axis and not ended"),
        (
            "errors",
            "w1c",
            "bit 0: a frame was too short or held an address unknown or out of order; bit 1: one was too long",
        ),
        ("frames_in", "ro", "frames taken in, good and bad"),
        ("frames_out", "ro", "packets sent"),
        ("cycles", "ro", "cycles since reset"),
        ("input_stalls", "ro", "cycles in which s_axis had a beat that was not taken"),
        ("output_stalls", "ro", "cycles in which m_axis had a beat that was not taken"),
        *((f"events{i}", "ro", f"events taken by layer {i}, tokens not counted") for i in range(layers)),
    )
    return tuple(Register(name, 4 * i, access, meaning) for i, (name, access, meaning) in enumerate(fixed))
