"""The package for LiteX: a module with streams, registers and DMAs, and a small SoC in LiteX's simulation."""

from __future__ import annotations

from ..errors import require
from .kit import Kit, facts, json_text, rtl, template, vectors

WORD = 32  # bits of LiteX's bus


def for_litex(kit: Kit) -> dict[str, str]:
    """A LiteX module, and an SoC that sends frames through it: `python sim.py`.

    Raises `UserError` for beats that are no whole words of LiteX's bus.
    """
    found = facts(kit)
    size = found["beat_bytes"]
    require(8 * size >= WORD, "pixels a beat", size, f"4 or 8: a word of LiteX's bus has {WORD} bits")
    frames = [{**frame, "words": _words(frame["words"], 8 * size)} for frame in vectors(kit)]
    return {
        **rtl(kit),
        "facts.json": json_text(found),
        "vectors.json": json_text({"frames": frames}),
        "gradrtl_litex.py": template("litex_module.py"),
        "sim.py": template("litex_sim.py"),
    }


def _words(beats: list[int], bits: int) -> list[int]:
    """Beats of `bits` bits as words of the bus, the lowest first."""
    return [beat >> low & (1 << WORD) - 1 for beat in beats for low in range(0, bits, WORD)]
