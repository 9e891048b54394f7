"""The package for Vivado and PYNQ: a component for the IP catalogue, a block design with a DMA, a driver."""

from __future__ import annotations

from importlib.resources import files

from ..errors import require
from ..rtl.wrapper import MODULE, PARAMETER, REGISTERS
from ..sim.beats import most_beats
from .ipxact import VERSION, component, xgui
from .kit import LIBRARY, VENDOR, Kit, facts, json_text, rtl, template, vectors

LENGTH_BITS = 26  # of the length of a transfer: the most that the AXI DMA has
LAYOUT = ("frame_words", "outputs")  # modules of `rtl` that the driver needs, copied as they are


def for_vivado(kit: Kit) -> dict[str, str]:
    """A component, the script that builds a bitstream, and the folder `board` for the board itself."""
    given, found, made = kit.board, facts(kit), rtl(kit)
    longest = most_beats(kit.mapping) * found["beat_bytes"]
    require(longest < 1 << LENGTH_BITS, "bytes of a frame", longest, f"below {1 << LENGTH_BITS}, as the DMA takes")
    data_bits = 8 * found["beat_bytes"]
    tcl = template(
        "build.tcl.j2",
        part=given.part,
        board=given.board,
        megahertz=f"{given.mhz:g}",
        vlnv=f"{VENDOR}:{LIBRARY}:{MODULE}:{VERSION}",
        module=MODULE,
        registers=REGISTERS,
        length_bits=LENGTH_BITS,
        data_bits=data_bits,
        memory_bits=max(32, data_bits),
    )
    frames = kit.mapping.input.stacked(kit.frames).tolist()
    packets = [one["packet"] for one in vectors(kit)]
    return {
        **{f"ip/{name}": text for name, text in made.items()},
        "ip/component.xml": component(kit.mapping, VENDOR, LIBRARY, made),
        f"ip/{xgui()}": template("xgui.tcl.j2", parameter=PARAMETER),
        "build.tcl": tcl,
        "board/gradrtl_board/__init__.py": template("pynq_driver.py"),
        **{f"board/gradrtl_board/{name}.py": _module(name) for name in LAYOUT},
        "board/gradrtl_board/facts.json": json_text(found),
        "board/check.py": template("pynq_check.py"),
        "board/frames.json": json_text({"frames": frames, "packets": packets}),
    }


def _module(name: str) -> str:
    return files("gradrtl.rtl").joinpath(f"{name}.py").read_text()
