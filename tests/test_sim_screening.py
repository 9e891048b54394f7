"""Verilog that runs commands or touches files is refused by name; what stays inside the simulation passes."""

from __future__ import annotations

import subprocess

import pytest

from gradrtl.errors import UserError
from gradrtl.sim.screening import plain, screened
from gradrtl.sim.toolchain import verilator_root


def expand(folder):
    """The preprocessor, as the tool chain calls it."""

    def preprocessed(text: str) -> str:
        (folder / "design.v").write_text(text)
        root = verilator_root()
        command = [str(root / "bin" / "verilator_bin"), "-E", "design.v"]
        environment = {"VERILATOR_ROOT": str(root)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    return preprocessed


def never(text: str) -> str:
    raise AssertionError("the preprocessor is called")


HOSTILE = {
    'initial $system("id");': "$system",
    'initial $c("system(\\"id\\");");': "$c",
    'initial $c32("1");': "$c32",
    'initial $cpure("1");': "$cpure",
    'import "DPI-C" function int system(input string s);': 'import "DPI"',
    'import /* x */ // y\n "DPI-C" function int system(input string s);': 'import "DPI"',
    'export\n"DPI-C" function f;': 'export "DPI"',
    'integer f = $fopen("f", "w");': "$fopen",
    "initial $fclose(1);": "$fclose",
    'initial $fwrite(32\'h80000002, "x");': "$fwrite",
    'initial $fdisplay(1, "x");': "$fdisplay",
    "initial x = $fgetc(32'h80000000);": "$fgetc",
    'initial $readmemh("/etc/passwd", m);': "$readmemh",
    'initial $readmemb("b", m);': "$readmemb",
    'initial $writememh("w", m);': "$writememh",
    'initial $dumpfile("d");': "$dumpfile",
    "initial $dumpvars;": "$dumpvars",
    'initial $value$plusargs("a=%d", x);': "$value$plusargs",
    "initial $unheard_of;": "$unheard_of",
    '`include "/etc/passwd"': "`include",
    "`systemc_header\n#include <cstdlib>\n`verilog": "`systemc_header",
    "`systemc_ctor\nsystem(0);\n`verilog": "`systemc_ctor",
    "`verilator_config": "`verilator_config",
    "`define S $sys\n`define T(x) x``tem\ninitial `T(`S)(0);": "$system",
    "`define SYS(a) $``a\ninitial `SYS(system)(0);": "$system",
    "`ifdef A\n`else\ninitial $system(0);\n`endif": "$system",
    "// harmless\r initial $system(0);": "$system",
    'initial x = """a"b"""; initial $system("id"); initial y = "";': '"""',
    "/* // */ initial $system(0); /* */": "$system",
    'initial $display("\\\\"); initial $system(0);': "$system",
    'initial $display("\\""); initial $system(0);': "$system",
    "wire \\a/* ; initial $system(0); //*/": "$system",
    'wire \\a" ; initial $system(0); // "': "$system",
    "/* no end": "/*",
    '"no end': '"',
    "`pragma protect begin": "`pragma",
    "`unheard_of": "`unheard_of",
}


@pytest.mark.parametrize("line", HOSTILE)
def test_refused_by_name_with_its_line(line, tmp_path):
    text = f"module gradrtl;\n\n{line}\nendmodule\n"
    with pytest.raises(UserError) as caught:
        screened(text, expand(tmp_path))
    told = str(caught.value)
    assert HOSTILE[line] in told
    assert told.startswith("the Verilog, line ")
    assert "--trusted" in told
    assert "\n" not in told


@pytest.mark.parametrize("text", ["wire a;\n\n  initial $system(0);", "`define A\n`A\n\n  initial $system(0);"])
def test_the_line_is_that_of_the_text(text, tmp_path):
    number = text.splitlines().index("  initial $system(0);") + 1
    with pytest.raises(UserError, match=f"line {number}, uses [$]system"):
        screened(text, expand(tmp_path))


@pytest.mark.parametrize(
    "directive", ['`in``clude "secret.v"', '`define INC `incl``ude "secret.v"\n`INC', "`line 1 `x"]
)
def test_no_way_around_include(directive, tmp_path):
    (tmp_path / "secret.v").write_text("module secret; endmodule\n")
    try:
        passed = screened(f"{directive}\nmodule gradrtl; endmodule\n", expand(tmp_path))
    except UserError:
        return
    assert "secret;" not in passed


def test_an_included_file_is_refused_behind_the_preprocessor():
    with pytest.raises(UserError, match="uses `include, which reads a file"):
        screened("`A\n", lambda text: '`line 1 "design.v" 1\n\n`line 1 "/etc/passwd" 1\nroot\n')


HARMLESS = [
    'initial $display("$system %d", $time);',
    "// $system\n/* $fopen */ initial begin $finish; $stop; end",
    "wire \\$system ; wire [$clog2(5):0] a = $signed(b);",
    "wire \\$signal$83 ; assign \\$signal$83 = 1;",
    'import package_a::*; initial $display("x");',
    'initial $write("import", "DPI-C");',
    "specify $setup(a, b, 1); endspecify",
]


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_text_stays_as_it_is(line):
    assert screened(f"module a;\n{line}\nendmodule\n", never) == f"module a;\n{line}\nendmodule\n"


def test_harmless_directives_stay(tmp_path):
    text = "`timescale 1ns / 1ps\n`default_nettype none\n`define A 1\nmodule a; wire b = `A; endmodule\n`celldefine\n"
    passed = screened(text, expand(tmp_path))
    assert "`timescale" in passed
    assert "wire b = 1" in passed


@pytest.mark.parametrize("comment", ["/*verilator public*/", "// verilator lint_on WIDTH", "/* verilator tag\n x */"])
def test_instructions_to_the_simulator_are_removed_and_lines_stay(comment):
    text = f"module a; {comment}\nwire b; /*verilator split_var*/ // verilator\nendmodule\n"
    passed = screened(text, never)
    assert comment not in passed
    assert "/*verilator split_var*/" in passed
    assert passed.count("\n") == text.count("\n")


def test_one_kind_of_line_end():
    assert plain("a\r\nb\rc\fd\ve\n") == "a\nb\nc d e\n"
    with pytest.raises(UserError, match="line 2, holds the character"):
        plain("a\nb\x00")
