"""Compiles and runs generated Verilog: Verilator's model behind a C++ driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RtlFault, UserError, require
from ..rtl.mapping import Mapping
from . import toolchain
from .confinement import DESIGN, Limits, ToolError, template
from .driving import PATIENCE, RtlOutcome, Run, Stalls
from .frames import check
from .harness import CORES, INSTANCE, SOUND_CORES, core_list, harness

REGISTERS = "s_axil_awvalid"  # a port that designs with registers have
BLOCK = 256  # frames handed to the driver at a time


@dataclass(frozen=True)
class Model:
    """A compiled accelerator.

    `traced`: it has the trace wires of `core<l>`. `number`: its index if the program has several. `trusted`: it runs
    without confinement.
    """

    program: Path
    mapping: Mapping
    traced: bool
    number: int | None = None
    trusted: bool = False

    @property
    def command(self) -> list[str]:
        return [str(self.program.absolute()), *([] if self.number is None else [str(self.number)])]

    @property
    def folder(self) -> Path:
        """The folder in which it runs, with its memory files."""
        return self.program.parent if self.number is None else self.program.parent / str(self.number)

    def run(
        self,
        frames: np.ndarray,
        *,
        trace: bool = False,
        stalls: Stalls | None = None,
        apart: bool = False,
        patience: int = PATIENCE,
        limits: Limits = DESIGN,
    ) -> RtlOutcome:
        """Run `frames` as the engine takes them, from reset, back to back unless stalled.

        Parameters
        ----------
        trace
            Record all spikes and membranes (5 bytes per neuron, step and frame).
        apart
            Send each frame into an idle accelerator.
        patience
            Cycles without any progress after which the accelerator counts as stuck.

        Raises `RtlFault`, and `UserError` for frames that do not fit the network.
        """
        require(self.traced or not trace, "trace", trace, "False: this Verilog has no trace wires")
        check(self.mapping.network, frames)
        with Run(
            self, len(frames), record_trace=trace, stalls=stalls, apart=apart, patience=patience, limits=limits
        ) as run:
            for begin in range(0, len(frames), BLOCK):
                if not run.feed(frames[begin : begin + BLOCK]):
                    break
            verdict = run.finish()
            if verdict.kind != "done":
                raise RtlFault(verdict.details["message"])
            return run.outcome()


def build(
    verilog: str | Path,
    mapping: Mapping,
    *,
    cache: str | Path | None = None,
    jobs: int | None = None,
    quick: bool = False,
    long: bool = False,
    trusted: bool = False,
    waves: bool = False,
    sound: bool = False,
) -> Model:
    """Compile `verilog` (its text, or the path of a file) for the network and placement of `mapping`.

    `quick`, `long`: for such a run. `trusted`: the Verilog may run commands and access files, and is not confined.
    `waves`: the model can record waves. `sound`: it takes samples, for `Run.feed_sound`. A design without trace wires
    gives a model with `traced` False.
    Raises `ToolError` (a `UserError`) with Verilator's first error.
    """
    text = text_of(verilog)
    require(
        re.search(r"\bmodule\s+gradrtl\b", text) is not None, "the Verilog", "not usable", "it needs a module gradrtl"
    )

    def make(cores: str | None) -> Model:
        traced = cores is not None
        program = toolchain.build(
            text,
            harness(mapping, REGISTERS in text, cores, sound),
            {"binding.cpp": template("binding.cpp"), "cores.h": core_list(mapping, traced)},
            _driver(),
            cache=cache,
            jobs=jobs,
            quick=quick,
            long=long,
            trusted=trusted,
            waves=waves,
        )
        return Model(program, mapping, traced, trusted=trusted)

    for cores in SOUND_CORES if sound else CORES:
        try:
            return make(cores)
        except ToolError as error:
            if error.file != "harness.v" or INSTANCE not in error.message:
                raise
    return make(None)


def build_together(
    designs: Sequence[tuple[str, Mapping]], folder: Path, *, cache: str | Path | None = None
) -> list[Model]:
    """Compile several generated Verilog texts, each with its mapping, for short runs: a program in the empty `folder`.

    For many small networks, this is faster than `build` for each. Every design must have its trace wires.
    """
    binding = template("binding.cpp")
    bindings = []
    for number in range(len(designs)):
        own = binding.replace('"Vharness.h"', f'"{number}/V{number}harness.h"').replace("Vharness", f"V{number}harness")
        own = own.replace("cores.h", f"cores{number}.h")
        bindings.append(f"namespace model{number} {{\n{own}\n}}\n")
    headers = "".join(f'#include "{number}/V{number}harness.h"\n' for number in range(len(designs)))
    makers = ", ".join(f"model{number}::make_model" for number in range(len(designs)))
    choice = f"Ports make_model(int number) {{ return (Ports (*[])(int)){{{makers}}}[number](number); }}\n"
    program = toolchain.build_together(
        [(text, harness(mapping, REGISTERS in text, CORES[0])) for text, mapping in designs],
        {"bindings.cpp": f'#include "ports.h"\n{headers}{"".join(bindings)}{choice}'}
        | {f"cores{number}.h": core_list(mapping, True) for number, (_, mapping) in enumerate(designs)},
        _driver(),
        folder,
        cache=cache,
    )
    return [Model(program, mapping, True, number) for number, (_, mapping) in enumerate(designs)]


def text_of(verilog: str | Path) -> str:
    """The text of a file, or the text itself. Bytes that are not UTF-8 (in comments, mostly) are replaced."""
    if isinstance(verilog, str):
        return verilog
    require(verilog.is_file(), "verilog", verilog, "a file")
    try:
        return verilog.read_bytes().decode(errors="replace")
    except OSError as error:
        raise UserError(f"{verilog} cannot be read: {error.strerror}") from error


def _driver() -> dict[str, str]:
    return {name: template(name) for name in ("driver.cpp", "ports.h", "stalls.h")}
