"""Hostile Verilog for the fuzzer: what must be refused, in disguises, and an independent look at what was let pass."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from gradrtl.sim.screening import OURS
from gradrtl.sim.toolchain import compilable, verilator_root
from gradrtl.sim.verilated import text_of

MEMORY = "\n  initial begin\n /*/[0] = 8'h00;\n /*/[1] = 8'h00;\n  end\n"  # such blocks are moved to files
PIECES = (
    '$system("id")', '$c("1")', '$c32("1")', 'import "DPI-C" function int f();', '$fopen("f")',
    '$readmemh("f", m)', '$dumpfile("d")', '`include "f"', "`systemc_header", "`verilator_config",
    "`pragma protect", '"""', "/*", "*/", "//", '"', '\\"', "\\", "`define S $sys\n", "`define T(x) x``tem\n",
    "`T(`S)(0);", "`S``tem(0);", "`", "``", "\n", "\r", "\x0c", "\x00", "é", "`ifdef A\n", "`else\n",
    "`endif\n", '`line 1 "x" 1\n', "/*verilator public*/", "$", "(* ", "*)", "export", "import", " ",
    MEMORY, MEMORY, "/*/", '"DPI-C"', "`undefineall\n", "`define include\n", "initial begin", "end", "\\$system ",
)  # fmt: skip
CAPTURED = {"capture_output": True, "text": True, "errors": "replace", "check": False}
NEEDLES = ("$system", "$c(", "$c32", "$fopen", "$readmemh", "$dumpfile", "`include", "`systemc", "`verilator_config")


def mixed(text: str, rng: np.random.Generator) -> str:
    """`text` with some pieces at random places, mostly between its lines."""
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(text) + 1))
        if rng.random() < 0.7:
            at = text.find("\n", at) + 1
        text = text[:at] + "".join(rng.choice(PIECES, int(rng.integers(1, 5)))) + text[at:]
    return text


def let_pass(path: Path) -> str:
    """What of the Verilog at `path` may be compiled; `AssertionError` if that is hostile after all."""

    def expand(text: str) -> str:
        (path.parent / "design.v").write_text(text)
        root = verilator_root()
        command = [str(root / "bin" / "verilator_bin"), "-E", "design.v"]
        done = subprocess.run(command, cwd=path.parent, env={"VERILATOR_ROOT": str(root)}, **CAPTURED)
        return done.stdout

    found, _ = compilable(text_of(path), path.parent, expand)
    code = without_comments(OURS.sub("", found))
    assert not any(needle in code for needle in NEEDLES), code
    return found


def without_comments(text: str) -> str:
    """The text without comments, strings and escaped names, read one character at a time."""
    code, at = [], 0
    while at < len(text):
        if text.startswith("//", at):
            at = (text + "\n").index("\n", at)
        elif text.startswith("/*", at):
            at = text.index("*/", at + 2) + 2
        elif text[at] == '"':
            at += 1
            while text[at] != '"':
                at += 2 if text[at] == "\\" else 1
            at += 1
        elif text[at] == "\\":
            while at < len(text) and text[at] not in " \t\n":
                at += 1
        else:
            code.append(text[at])
            at += 1
    return "".join(code)
