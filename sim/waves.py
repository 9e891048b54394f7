"""Waves: the signals of a compiled accelerator over some cycles, as VCD or FST, with view files for the viewers.

The design runs again, compiled for waves, from reset on and under the same stalls, behind the same walls as in a
comparison. It writes VCD to a file that this process has opened; what it wrote is read here, line by line, and nothing
of it is executed. FST is made of that VCD.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vcd.gtkw import GTKWSave

from ..errors import UserError, require
from ..files import whole
from ..rtl.mapping import Mapping
from .driving import PATIENCE, Run, Stalls, Window
from .frames import Frames, check
from .verify import Moment, Verification
from .verilated import BLOCK, build, text_of

AROUND = 200  # cycles before and after the marked one
BEFORE = 8  # cycles that GTKWave shows left of the marked one
SUFFIXES = (".fst", ".vcd")
FEW_CYCLES = 20_000  # up to here, a model that is compiled quickly is faster in all
HARNESS = "harness"
VARIABLE = re.compile(r"\$var +(\w+) +(\d+) +(\S+) +(\S+)(?: +\[(\d+):(\d+)\])? +\$end")
SCOPE = re.compile(r"\$scope +\w+ +(\S+) +\$end")
CHANGE = re.compile(r"(?:b([01xz]+) |([01xz]))(\S+)")
STREAMS = ("s_axis", "m_axis")


@dataclass(frozen=True)
class Wave:
    """The wave of the cycles in `window`, `vcd`, of which the cycle `marked` is shown first."""

    vcd: str
    window: Window
    marked: int


@dataclass(frozen=True)
class Variable:
    """A variable of a VCD text: its `code`, `name`, number of bits, and the scopes around it from the top."""

    code: str
    name: str
    bits: int
    scopes: tuple[str, ...]

    @property
    def path(self) -> str:
        return ".".join((*self.scopes, self.name))


def time_of(cycle: int) -> int:
    """The time in a wave of the second half of a cycle: the clock is 1, and the values are those of the cycle."""
    return 2 * cycle + 2


def around(moment: Moment, cycles: int = AROUND) -> Window:
    """The window of a number of `cycles` on both sides of a moment."""
    return Window(max(0, moment.cycle - cycles), moment.cycle + cycles)


def frame_of(found: Verification, frame: int) -> tuple[Moment, Window]:
    """The beginning of a frame in a comparison, and its window: from its first beat to its packet.

    Raises `UserError` for a frame that was not compared.
    """
    assert found.times is not None
    count = len(found.times.result)
    require(0 <= frame < count, "wave-frame", frame, f"0 to {count - 1}, the frames that were compared")
    number = int(np.searchsorted(found.shares, frame, side="right")) - 1
    first, last = int(found.times.first_beat[frame]), int(found.times.result[frame])
    return Moment(found.shares[number], number, first), Window(first, last)


def record(
    mapping: Mapping,
    verilog: str | Path,
    frames: Frames,
    found: Verification,
    moment: Moment,
    window: Window,
    *,
    stalls: Stalls | None = None,
    apart: bool = False,
    cache: str | Path | None = None,
    patience: int = PATIENCE,
    trusted: bool = False,
) -> Wave:
    """Run the share of the frames in which `moment` is again, as `verify.verify` did with the same arguments.

    Raises `UserError` if the run is not possible, or ends before the window begins.
    """
    given = check(mapping.network, frames)
    later = [begin for begin in found.shares if begin > moment.share]
    share = tuple(values[moment.share : (later[0] if later else len(values))] for values in given)
    model = build(text_of(verilog), mapping, cache=cache, quick=window.last < FEW_CYCLES, trusted=trusted, waves=True)
    stalls = stalls or Stalls()
    with Run(
        model,
        len(share[0]),
        first=moment.share,
        window=window,
        stalls=stalls.of_part(moment.number),
        apart=apart,
        patience=patience,
    ) as run:
        for begin in range(0, len(share[0]), BLOCK):
            if not run.feed(tuple(values[begin : begin + BLOCK] for values in share)):
                break
        run.finish()
        text = run.wave().decode(errors="replace")
    if "\n#" not in text:
        raise UserError(f"the run ended before cycle {window.first}, so there is no wave of it")
    return Wave(text, window, moment.cycle)


def variables(vcd: str) -> list[Variable]:
    """The variables that a VCD text declares."""
    scopes: list[str] = []
    found = []
    for line in vcd.partition("$enddefinitions")[0].splitlines():
        if scope := SCOPE.search(line):
            scopes.append(scope[1])
        elif "$upscope" in line:
            scopes.pop()
        elif variable := VARIABLE.search(line):
            found.append(Variable(variable[3], variable[4], int(variable[2]), tuple(scopes)))
    return found


def changes(vcd: str) -> Iterator[tuple[int, str, str]]:
    """The changes in a VCD text: time, code of the variable, bits."""
    time = 0
    for line in vcd.partition("$enddefinitions")[2].splitlines():
        if line.startswith("#"):
            time = int(line[1:])
        elif change := CHANGE.fullmatch(line.strip()):
            yield time, change[3], change[1] or change[2]


def groups(vcd: str, mapping: Mapping) -> dict[str, list[Variable]]:
    """The variables that a view shows first, by the title of their group: clock, streams, cores."""
    ports = [one for one in variables(vcd) if one.scopes[-1:] == (HARNESS,) and not one.name.startswith("next_")]
    found = {"clock": [one for one in ports if one.name in ("clk", "rst")]}
    for stream in STREAMS:
        found[stream] = [one for one in ports if one.name.startswith(stream)]
    for layer in mapping.layers:
        own = [one for one in ports if one.name.startswith(f"core{layer.index}_")]
        found[f"core{layer.index} {layer.population.name}"] = own
    return {title: members for title, members in found.items() if members}


def write(path: Path, wave: Wave, mapping: Mapping, title: str) -> tuple[Path, ...]:
    """Write a wave to `path`, FST or VCD by its suffix, and views for GTKWave and Surfer beside it; returns all."""
    check_suffix(path)
    with whole(path) as part:
        if path.suffix == ".vcd":
            part.write_text(wave.vcd)
        else:
            _write_fst(part, wave.vcd)
    shown = groups(wave.vcd, mapping)
    views = {
        path.with_suffix(".gtkw"): _gtkwave(path, wave, shown, title),
        path.with_suffix(".sucl"): _surfer(path, wave, shown, title),
    }
    for view, text in views.items():
        with whole(view) as part:
            part.write_text(text)
    return (path, *views)


def check_suffix(path: Path) -> None:
    """`UserError` for a file that is no wave by its name."""
    require(path.suffix in SUFFIXES, "wave", path, f"a file that ends in {' or '.join(SUFFIXES)}")


def _gtkwave(path: Path, wave: Wave, shown: dict[str, list[Variable]], title: str) -> str:
    """A view file for GTKWave."""
    text = io.StringIO()
    save = GTKWSave(text)
    save.comment(title)
    save.dumpfile(path.name, abspath=False)
    save.timestart(max(time_of(wave.window.first), time_of(wave.marked - BEFORE)))
    save.zoom_markers(-4.0, time_of(wave.marked))
    for name, members in shown.items():
        with save.group(name):
            for one in members:
                bits = f"[{one.bits - 1}:0]" if one.bits > 1 else ""
                save.trace(f"{one.path}{bits}", datafmt="bin" if one.name.endswith("_spikes") else "hex")
    return text.getvalue()


def _surfer(path: Path, wave: Wave, shown: dict[str, list[Variable]], title: str) -> str:
    """A command file for Surfer: a command a line, up to a # or a semicolon. The name of a divider is one word."""
    lines = [f"# {title}", f"load_file {path.name}"]
    for name, members in shown.items():
        divider = re.sub(r"\W+", "_", name)
        lines += [f"divider_add {divider}", *(f"variable_add {one.path}" for one in members)]
    return "\n".join([*lines, f"cursor_set {time_of(wave.marked)}", "zoom_fit"]) + "\n"


def _write_fst(path: Path, vcd: str) -> None:
    """The same wave in FST."""
    from pylibfst import lib

    writer = lib.fstWriterCreate(str(path).encode(), 1)
    if not writer:
        raise UserError(f"{path} cannot be written")
    try:
        lib.fstWriterSetTimescale(writer, -9)
        handles: dict[str, int] = {}
        bits: dict[str, int] = {}
        open_scopes: list[str] = []
        for one in variables(vcd):
            same = 0
            while same < min(len(open_scopes), len(one.scopes)) and open_scopes[same] == one.scopes[same]:
                same += 1
            for _ in open_scopes[same:]:
                lib.fstWriterSetUpscope(writer)
            for scope in one.scopes[same:]:
                lib.fstWriterSetScope(writer, lib.FST_ST_VCD_MODULE, scope.encode(), b"")
            open_scopes = list(one.scopes)
            alias = handles.get(one.code, 0)
            made = lib.fstWriterCreateVar(
                writer, lib.FST_VT_VCD_WIRE, lib.FST_VD_IMPLICIT, one.bits, one.name.encode(), alias
            )
            handles.setdefault(one.code, made)
            bits.setdefault(one.code, one.bits)
        before = -1
        for time, code, value in changes(vcd):
            if code not in handles or len(value) > bits[code]:
                continue
            if time > before:
                lib.fstWriterEmitTimeChange(writer, time)
                before = time
            filled = value.rjust(bits[code], "0" if value[0] == "1" else value[0])
            lib.fstWriterEmitValueChange(writer, handles[code], filled.encode())
    finally:
        lib.fstWriterClose(writer)
