"""What packages for other tools are made of: sources, facts, test vectors, templates."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2

from .. import __version__
from ..errors import require
from ..quantize.network import QuantizedNetwork
from ..rtl.contents import split_memories
from ..rtl.inputs import largest_sent
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
class Board:
    """A Zynq-7000 board: its `part`, its name in Vivado, empty if it has none, and the clock in MHz."""

    part: str = "xc7z020clg400-1"
    board: str = "tul.com.tw:pynq-z2:part0:1.0"
    mhz: float = 100

    def __post_init__(self) -> None:
        part = re.fullmatch(r"xc7z\w+(-\w+)?", self.part)
        require(part is not None, "part", self.part, "a Zynq-7000, such as xc7z020clg400-1")
        board = re.fullmatch(r"([\w.-]+(:[\w.-]+){3})?", self.board)
        require(board is not None, "board", self.board, "vendor:name:part0:version, or nothing")
        require(1 <= self.mhz <= 250, "mhz", self.mhz, "1 to 250")


@dataclass(frozen=True)
class Kit:
    """What packages are made of: the `mapping`, the command for the header, `frames` for test benches, `memories`.

    `board` is that of packages for Vivado.
    """

    mapping: Mapping
    command: str
    frames: Any
    memories: str = "inline"
    board: Board = field(default_factory=Board)

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
        "dropped": mapping.input.dropped.tolist() if mapping.input.is_mixed else None,
        "segments": mapping.segments,
        "largest": max(map(largest_sent, mapping.input.inputs)),
        "steps": kit.network.steps,
        "classes": kit.network.classes,
        "readouts": list(mapping.output.classes),
        "numbered": mapping.output.numbered,
        "answers_early": mapping.network.answers_early,
        "cancels": mapping.placement.cancel,
    }


def vectors(kit: Kit) -> list[dict[str, list[int]]]:
    """Of each frame the `words` that go in, and the `packet` of the simulator (`rtl.outputs.Outputs`)."""
    outcome = engine.run(kit.network, kit.frames)
    packets = kit.mapping.output.packets(outcome.decided, outcome.counts).tolist()
    words = words_of(kit.mapping, kit.frames)
    return [{"words": sent, "packet": packet} for sent, packet in zip(words, packets, strict=True)]


def rtl(kit: Kit) -> dict[str, str]:
    """The sources in a folder of their own."""
    return {f"rtl/{name}": text for name, text in sources(kit).items()}


def template(name: str, **values: Any) -> str:
    """A file of `templates/package`; one that ends in `.j2` is filled in."""
    text = files("gradrtl").joinpath("templates", "package", name).read_text()
    if not name.endswith(".j2"):
        return text
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(text)
        .render(values)
    )


def json_text(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
