"""The accelerator as a package for another tool: sources, a wrapper with AXI names, and what that tool reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..errors import require
from ..files import write_text
from ..rtl.wrapper import MODULE
from .kit import LIBRARY, VENDOR, Kit, facts, json_text, rtl, template, vectors
from .litex import for_litex
from .vivado import for_vivado


def package(kit: Kit, target: str, folder: Path) -> list[Path]:
    """Write the package for `target` into `folder`; returns the files that were written.

    Raises `UserError` for a target that does not exist, and for a folder with the package of another one.
    """
    require(target in TARGETS, "for", target, " or ".join(TARGETS))
    other = next((name for name, file in FILES.items() if name != target and (folder / file).exists()), None)
    require(other is None, "output", folder, f"another folder: it has the package for {other}")
    written = []
    for name, text in TARGETS[target](kit).items():
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def for_cocotb(kit: Kit) -> dict[str, str]:
    """A test bench with cocotbext-axi: `python run.py`."""
    return {
        **rtl(kit),
        "gradrtl.json": json_text(facts(kit)),
        "vectors.json": json_text({"frames": vectors(kit)}),
        "test_gradrtl.py": template("test_gradrtl.py"),
        "run.py": template("run.py"),
    }


def for_fusesoc(kit: Kit) -> dict[str, str]:
    """A core description with a self-checking bench: `fusesoc run --target sim`."""
    found, frames, made = facts(kit), vectors(kit), rtl(kit)
    bits = 8 * found["beat_bytes"]
    beats = [word for frame in frames for word in _marked(frame["words"], bits)]
    expected = [word for frame in frames for word in _marked(frame["packet"], 32)]
    bench = template(
        "bench.sv.j2", beats=len(beats), words=len(expected), frames=len(frames), data_bits=bits,
        address_bits=found["address_bits"],
    )  # fmt: skip
    return {
        **made,
        "bench/gradrtl_bench.sv": bench,
        "bench/beats.hex": _hex(beats),
        "bench/expected.hex": _hex(expected),
        f"{MODULE}.core": _core(kit, list(made)),
    }


TARGETS: dict[str, Callable[[Kit], dict[str, str]]] = {
    "cocotb": for_cocotb,
    "fusesoc": for_fusesoc,
    "vivado": for_vivado,
    "litex": for_litex,
}
FILES = {"cocotb": "run.py", "fusesoc": f"{MODULE}.core", "vivado": "build.tcl", "litex": "sim.py"}  # each has its own


def _marked(words: list[int], bits: int) -> list[int]:
    """Words of `bits` bits with TLAST above them."""
    return [int(index == len(words) - 1) << bits | word & (1 << bits) - 1 for index, word in enumerate(words)]


def _core(kit: Kit, names: list[str]) -> str:
    """The description in FuseSoC's format, CAPI 2. Memory files are copied to where the simulators run."""
    memories = [
        f"      - {name}: {{file_type: user, copyto: {Path(name).name}}}" for name in names if name.endswith(".hex")
    ]
    return "\n".join(
        (
            "CAPI=2:",
            f"name: {VENDOR}:{LIBRARY}:{MODULE}:{__version__}",
            f"description: Sparse spiking network {kit.network.digest[:16]} with AXI4-Stream and AXI4-Lite",
            "filesets:",
            "  rtl:",
            "    files:",
            *(f"      - {name}" for name in names if not name.endswith(".hex")),
            *memories,
            "    file_type: verilogSource",
            "  bench:",
            "    files:",
            "      - bench/gradrtl_bench.sv: {file_type: systemVerilogSource}",
            "      - bench/beats.hex: {file_type: user, copyto: beats.hex}",
            "      - bench/expected.hex: {file_type: user, copyto: expected.hex}",
            "targets:",
            f"  default: {{filesets: [rtl], toplevel: {MODULE}}}",
            "  lint:",
            "    default_tool: verilator",
            "    filesets: [rtl]",
            f"    toplevel: {MODULE}",
            "    tools: {verilator: {mode: lint-only}}",
            "  sim:",
            "    default_tool: icarus",
            "    filesets: [rtl, bench]",
            "    toplevel: gradrtl_bench",
            "    tools:",
            "      icarus: {iverilog_options: [-g2012]}",
            "      verilator: {mode: binary, verilator_options: [--timing, -Wno-fatal]}",
            "",
        )
    )


def _hex(words: list[int]) -> str:
    return "".join(f"{word:x}\n" for word in words)
