"""Rewritten RTLIL computes what it computed before, and the parts of it that simulators read differently are gone."""

from __future__ import annotations

import re
import subprocess

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Array, Const, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gradrtl.rtl.rtlil import rewritten
from gradrtl.rtl.synthesis import tool


class Everything(wiring.Component):
    """Every operation on operands of unlike widths and signs, choices with and without an else, structs in parts."""

    def __init__(self):
        super().__init__(
            {
                "a": In(3),
                "b": In(signed(5)),
                "c": In(1),
                "sums": Out(data.ArrayLayout(signed(12), 8)),
                "bits": Out(16),
                "parts": Out(data.StructLayout({"low": 3, "middle": signed(6), "high": 2, "end": 1})),
                "kept": Out(data.StructLayout({"count": 4, "flag": 1})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, b, c = self.a, self.b, self.c
        m.d.comb += [
            self.sums[0].eq(a + b),
            self.sums[1].eq(b - a),
            self.sums[2].eq(a * b),
            self.sums[3].eq(-b),
            self.sums[4].eq(Mux(c, a, b) ^ ((b | a) & b)),
            self.sums[5].eq(~a),
            self.sums[6].eq(b >> a),
            self.sums[7].eq(a << b[:2]),
        ]
        m.d.comb += self.bits.eq(Const(0))
        conditions = (a < b, b >= a, a == b, b != a, a > 5, b <= -3, a == 9, b == -16)
        m.d.comb += [self.bits[i].eq(condition) for i, condition in enumerate(conditions)]
        with m.If(c):
            m.d.comb += self.bits[8:11].eq(a)
        with m.Switch(a):
            with m.Case(1, 2):
                m.d.comb += self.bits[11].eq(c)
            with m.Case(5):
                m.d.comb += self.bits[12].eq(1)
                with m.Switch(c), m.Case(0):
                    m.d.comb += self.bits[13].eq(1)
        m.d.comb += self.bits[14].eq(self.b.bit_select(a[:2], 1))
        m.d.comb += self.bits[15].eq(Array([Const(0), c, Const(1), b[4]])[a])
        m.d.comb += [self.parts.end.eq(a.any()), self.parts.middle.eq(b)]
        with m.If(~c):
            m.d.comb += self.parts.low.eq(a)
        with m.Elif(a == 3):
            m.d.comb += self.parts.high.eq(2)
        with m.If(c):
            m.d.sync += self.kept.count.eq(self.kept.count + a)
        with m.If(a == 2):
            m.d.comb += self.kept.flag.eq(c)
        return m


@pytest.fixture(scope="module")
def texts():
    text = rtlil.convert(Everything(), name="top", emit_src=False)
    return text, rewritten(text)


def yosys(script: str) -> subprocess.CompletedProcess:
    return subprocess.run([*tool("yosys"), "-q", "-"], input=script, capture_output=True, text=True, check=False)


def equivalent(before: str, after: str) -> bool:
    """Proven for every input and state, by induction over matched registers."""
    reads = [
        f"read_rtlil <<end_of_text\n{text}\nend_of_text\nproc; rename top {name}"
        for text, name in ((before, "before"), (after, "after"))
    ]
    script = "\n".join(
        [
            *reads,
            "equiv_make before after both",
            "hierarchy -top both",
            "clean",
            "equiv_simple -undef",
            "equiv_induct -undef",
            "equiv_status -assert",
        ]
    )
    found = yosys(script)
    assert "unproven" in found.stderr or found.returncode == 0, found.stderr
    return found.returncode == 0


def test_the_rewritten_design_is_equivalent(texts):
    before, after = texts
    assert before != after
    assert equivalent(before, after)


def test_the_proof_sees_a_difference(texts):
    before, after = texts
    assert not equivalent(before, after.replace("cell $sub", "cell $add", 1))


def test_operands_are_as_wide_as_their_operation(texts):
    checked = set()
    for kind, block in re.findall(r"^  cell (\$\w+)(.*?)^  end", texts[1], re.MULTILINE | re.DOTALL):
        a, b, y = (re.search(rf"{name}_WIDTH (\d+)", block) for name in "ABY")
        if kind in {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}:
            assert a[1] == b[1], block
        elif kind in {"$add", "$sub", "$mul", "$and", "$or", "$xor"}:
            assert a[1] == b[1] == y[1], block
        elif kind in {"$not", "$neg", "$shl", "$sshr"}:
            assert a[1] == y[1], block
        else:
            continue
        checked.add(kind)
    assert {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$not", "$shl", "$sshr", "$lt", "$ge", "$ne"} <= checked


def test_no_signal_is_driven_by_statements_and_by_wires(texts):
    """Statements drive all of a wire; and where they do, no connection and no cell drives a part of it."""
    for module in texts[1].split("\nend\n"):
        by_statements = set(re.findall(r"^ +assign (\S+)", module, re.MULTILINE))
        by_wires = set(re.findall(r"^(?:  )?connect (\S+)", module, re.MULTILINE))
        by_cells = set(re.findall(r"^    connect \\[YQ] (\S+)", module, re.MULTILINE))
        assert not by_statements & (by_wires | by_cells)
    assert re.search(r"^connect \\kept ", texts[1], re.MULTILINE)


def test_every_choice_has_an_end(texts):
    """A `switch` that is no `if` has a default, so that no reader has to look for the assignment before it."""
    text = texts[1]
    assert "switch" in text
    for switch in re.finditer(r"( *)switch .*\n((?:\1 .*\n)*)\1end", text):
        cases = re.findall(rf"^{switch[1]}  (case.*)$", switch[2], re.MULTILINE)
        assert "case" in cases or set(cases) in ({"case 1'1"}, {"case 1'0", "case 1'1"}), switch[0]


def test_wires_have_names(texts):
    wires = re.findall(r"^  wire .*?(\S+)$", texts[1], re.MULTILINE)
    assert "\\net_1" in wires
    assert not [name for name in wires if name.startswith("$")]
