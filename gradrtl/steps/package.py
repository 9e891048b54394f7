"""The accelerator as a package for another tool: sources, a wrapper with AXI names, and what that tool reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from .. import __version__
from ..errors import require
from ..files import write_text
from ..quantize.network import QuantizedNetwork
from ..rtl.contents import split_memories
from ..rtl.mapping import Mapping
from ..rtl.registers import MAGIC, registers
from ..rtl.verilog import generate
from ..rtl.wrapper import MODULE, wrapper, wrapper_ports
from ..sim import engine
from ..sim.beats import words_of

MEMORIES = ("inline", "hex")  # where the contents of memories are: in the Verilog, or in files for $readmemh
PREFIX = "gradrtl_"  # of the names of these files
VENDOR, LIBRARY = "gradrtl", "accelerators"


@dataclass(frozen=True)
class Kit:
    """What packages are made of: the `mapping`, the command for the header, `frames` for test benches, `memories`."""

    mapping: Mapping
    command: str
    frames: Any
    memories: str = "inline"

    def __post_init__(self) -> None:
        require(self.memories in MEMORIES, "memories", self.memories, " or ".join(MEMORIES))
        beyond = self.mapping.placement.strided
        require(not beyond, "device", "one whose memories have no initial contents", "another: packages hold them")

    @property
    def network(self) -> QuantizedNetwork:
        return self.mapping.network


def sources(kit: Kit) -> dict[str, str]:
    """The Verilog and its memory files: name to text, those that are compiled first."""
    memories: dict[str, str] = {}
    verilog = generate(kit.mapping, kit.command)
    if kit.memories == "hex":
        verilog, memories = split_memories(verilog, PREFIX, keep_lines=False)
    return {"gradrtl.v": verilog, f"{MODULE}.v": wrapper(kit.mapping), **memories}


def facts(kit: Kit) -> dict[str, Any]:
    """What programs around the accelerator need to know: sizes of beats and frames, addresses, identity."""
    mapping, static = kit.mapping, kit.mapping.input.kind == "static"
    width = {port.name: port.width for port in wrapper_ports(mapping)}
    return {
        "version": __version__,
        "digest": kit.network.digest,
        "magic": MAGIC,
        "registers": {register.name: register.address for register in registers(len(mapping.layers))},
        "address_bits": width["s_axil_araddr"],
        "beat_bytes": width["s_axis_tdata"] // 8,
        "frame_bytes": mapping.sources if static else None,
        "input": mapping.input.kind,
        "sources": mapping.sources,
        "steps": kit.network.steps,
        "classes": kit.network.classes,
    }


def vectors(kit: Kit) -> list[dict[str, list[int]]]:
    """Of each frame the `words` that go in, and the `packet` of the simulator (`rtl.outputs.Outputs`)."""
    outcome = engine.run(kit.network, kit.frames)
    packets = kit.mapping.output.packets(outcome.decided, outcome.counts).tolist()
    words = words_of(kit.mapping, kit.frames)
    return [{"words": sent, "packet": packet} for sent, packet in zip(words, packets, strict=True)]


def package(kit: Kit, target: str, folder: Path) -> list[Path]:
    """Write the package for `target` into `folder`; returns the files that were written.

    Raises `UserError` for a target that does not exist.
    """
    require(target in TARGETS, "for", target, " or ".join(TARGETS))
    written = []
    for name, text in TARGETS[target](kit).items():
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def for_cocotb(kit: Kit) -> dict[str, str]:
    """A test bench with cocotbext-axi: `python run.py`."""
    return {
        **_rtl(kit),
        "gradrtl.json": _json(facts(kit)),
        "vectors.json": _json({"frames": vectors(kit)}),
        "test_gradrtl.py": _template("test_gradrtl.py"),
        "run.py": _template("run.py"),
    }


def for_fusesoc(kit: Kit) -> dict[str, str]:
    """A core description with a self-checking bench: `fusesoc run --target sim`."""
    found, frames, made = facts(kit), vectors(kit), _rtl(kit)
    bits = 8 * found["beat_bytes"]
    beats = [word for frame in frames for word in _marked(frame["words"], bits)]
    expected = [word for frame in frames for word in _marked(frame["packet"], 32)]
    bench = _template(
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


TARGETS: dict[str, Callable[[Kit], dict[str, str]]] = {"cocotb": for_cocotb, "fusesoc": for_fusesoc}


def _rtl(kit: Kit) -> dict[str, str]:
    return {f"rtl/{name}": text for name, text in sources(kit).items()}


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


def _template(name: str, **values: Any) -> str:
    """A file of `templates/package`; one that ends in `.j2` is filled in."""
    text = files("gradrtl").joinpath("templates", "package", name).read_text()
    if not name.endswith(".j2"):
        return text
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(text)
        .render(values)
    )


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"


def _hex(words: list[int]) -> str:
    return "".join(f"{word:x}\n" for word in words)
