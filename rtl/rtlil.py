"""Rewrites Amaranth's netlist text (RTLIL) so that every simulator reads the same Verilog from it.

Three constructs in Amaranth's output depend on the reader of the Verilog and are rewritten:

- Yosys turns assignments without conditions into one-line `always @*` blocks where other bits of the signal have
  conditions. In SystemVerilog nothing triggers such a block at time zero, and its bits stay X. Here statements
  without conditions become connections. Yosys prints the others as they are, without a pass that splits them.
- Operands narrower than their result are widened by context, which lint tools reject. Here each operand has the width
  of its operation, by explicit copies of the sign or zeros.
- A choice among values without an `else` is complete only because of the assignment before it. Here it has an empty
  default.

Intermediate results, which Amaranth numbers, get plain names: `net_5`. Nothing else changes, and the same text gives
the same text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

WIRE = re.compile(r"wire width (\d+) .*?(\S+)$")
CELL = re.compile(r"cell (\S+) (\S+)$")
TARGET = re.compile(r"assign (\S+)(?: \[(\d+)(?::(\d+))?\])? (.+)$")
NUMBERED = re.compile(r"(?<!\S)\$(\d+)(?!\S)")
CONSTANT = re.compile(r"\d+'([01]+)$")
# Cells whose operands are as wide as the result, and those whose operands are as wide as each other.
ARITHMETIC = {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$not", "$neg"}
COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}
# Patterns of a switch that Verilog has as an `if`, and of one over both values of a bit.
COMPLETE = ({"1'1"}, {"1'0", "1'1"})
SHIFTS = {"$shl", "$shr", "$sshr", "$shift"}


def rewritten(text: str) -> str:
    """RTLIL of the same design, for Verilog with one meaning in all tools."""
    lines: list[str] = []
    module: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.startswith("module "):
            inside = True
        if not inside:
            lines.append(line)
            continue
        module.append(line)
        if line == "end":
            lines += _Module(module).rewritten()
            module, inside = [], False
    return "\n".join(lines)


@dataclass(frozen=True)
class _Target:
    """Bits `low` to `high` of the wire `name`."""

    name: str
    high: int
    low: int

    @property
    def width(self) -> int:
        return self.high - self.low + 1


class _Module:
    """One module, line by line."""

    def __init__(self, lines: list[str]):
        self.lines = lines
        self.widths: dict[str, int] = {}
        for line in lines:
            if found := WIRE.match(line.strip()):
                self.widths[found[2]] = int(found[1])
        self.wires: list[str] = []  # lines of new wires
        self.connections: list[str] = []  # lines of new connections

    def rewritten(self) -> list[str]:
        body: list[str] = []
        lines = iter(self.lines[1:-1])
        for line in lines:
            if line.startswith("  cell $"):
                body += self._cell(line, lines)
            elif line.startswith("  process "):
                body += self._process(line, lines)
            else:
                body.append(line)
        whole = [self.lines[0], *self.wires, *body, *self.connections, self.lines[-1]]
        return [self._named(line) for line in whole]

    def _wire(self, name: str, width: int) -> str:
        """A new wire, named after `name`."""
        while name in self.widths:
            name += "_"
        self.widths[name] = width
        self.wires.append(f"  wire width {width} {name}")
        return name

    def _cell(self, first: str, lines: Iterator[str]) -> list[str]:
        """The cell with its operands widened."""
        block = [first]
        while block[-1] != "  end":
            block.append(next(lines))
        found = CELL.match(first.strip())
        kind = found[1] if found else ""
        if kind not in ARITHMETIC | COMPARISONS | SHIFTS:
            return block
        values = {words[1][1:]: words for words in (line.split(None, 2) for line in block[1:-1])}
        number = {name: int(words[2]) for name, words in values.items() if words[0] == "parameter"}
        operands = [name for name in ("A", "B") if name in values and (name == "A" or kind not in SHIFTS)]
        widths = [number[f"{name}_WIDTH"] for name in operands]
        wanted = max(widths) if kind in COMPARISONS else max(*widths, number["Y_WIDTH"])
        if kind == "$shift" and number["A_SIGNED"]:
            wanted = widths[0]  # the bits shifted in are zeros, not copies of the sign
        for name, width in zip(operands, widths, strict=True):
            if width < wanted:
                operand = values[name][2]
                values[name][2] = _widened(operand, width, wanted, bool(number[f"{name}_SIGNED"]))
                values[f"{name}_WIDTH"][2] = str(wanted)
        if kind not in COMPARISONS and number["Y_WIDTH"] < wanted:
            result = values["Y"][2]
            whole = self._wire(f"{_plain(result)}_whole", wanted)
            values["Y"][2], values["Y_WIDTH"][2] = whole, str(wanted)
            self.connections.append(f"  connect {result} {_part(whole, number['Y_WIDTH'] - 1, 0)}")
        return [first, *(f"    {' '.join(words)}" for words in values.values()), "  end"]

    def _process(self, first: str, lines: Iterator[str]) -> list[str]:
        """The process; or connections, where it has no conditions."""
        block = [first]
        while block[-1] != "  end":
            block.append(next(lines))
        statements = [line.strip() for line in block[1:-1]]
        target = self._target(statements[0])
        if all(line.startswith("assign ") for line in statements):
            self.connections += self._connections(target, statements)
            return []
        if target.width != self.widths[target.name]:
            raise ValueError(f"statements drive a part of a wire: {statements[0]}")
        return _with_defaults(block)

    def _target(self, line: str) -> _Target:
        found = TARGET.match(line)
        if found is None:
            raise ValueError(f"not an assignment of RTLIL: {line}")
        name, high, low, _ = found.groups()
        if high is None:
            return _Target(name, self.widths[name] - 1, 0)
        return _Target(name, int(high), int(low if low is not None else high))

    def _connections(self, target: _Target, statements: list[str]) -> list[str]:
        """One connection for each piece of `target`: the last statement that assigns a bit counts."""
        source: dict[int, tuple[int, int]] = {}  # target bit: statement, bit of its right side
        right: dict[int, str] = {}
        for number, line in enumerate(statements):
            bits = self._target(line)
            found = TARGET.match(line)
            assert found is not None
            right[number] = found[4]
            source |= {bit: (number, bit - bits.low) for bit in range(bits.low, bits.high + 1)}
        pieces: dict[tuple[int, int], list[int]] = defaultdict(list)  # runs of bits from one statement
        for bit, (number, offset) in sorted(source.items()):
            pieces[number, bit - offset].append(bit)
        made = []
        for (number, base), run in pieces.items():
            for low, high in _runs(run):
                side = _part(right[number], high - base, low - base)
                made.append(f"  connect {target.name} [{high}:{low}] {side}")
        return made

    def _named(self, line: str) -> str:
        """The line with a name for each numbered wire."""
        word = line.lstrip().partition(" ")[0]
        if word not in {"wire", "connect", "assign", "switch"} or "$" not in line:
            return line
        return NUMBERED.sub(lambda found: self._net(found[1]), line)

    def _net(self, number: str) -> str:
        name = f"\\net_{number}"
        while name in self.widths:
            name += "_"
        return name


def _runs(bits: list[int]) -> Iterator[tuple[int, int]]:
    """Lowest and highest bit of each run of neighbours in `bits`, ascending."""
    low = bits[0]
    for bit, following in zip(bits, [*bits[1:], -1], strict=True):
        if following != bit + 1:
            yield low, bit
            low = following


def _part(value: str, high: int, low: int) -> str:
    """Bits of a value; those of a constant by hand."""
    if found := CONSTANT.match(value):
        bits = found[1][::-1][low : high + 1][::-1]
        return f"{len(bits)}'{bits}"
    return f"{value} [{high}:{low}]"


def _widened(value: str, width: int, wanted: int, signed: bool) -> str:
    """`value` of `width` bits in `wanted` bits."""
    extra = wanted - width
    if found := CONSTANT.match(value):
        top = found[1][0] if signed else "0"
        return f"{wanted}'{top * extra}{found[1]}"
    if signed:
        return "{ " + f"{value} [{width - 1}] " * extra + f"{value} }}"
    return f"{{ {extra}'{'0' * extra} {value} }}"


def _with_defaults(block: list[str]) -> list[str]:
    """The process with an empty default in each `switch` that has none, unless it is an `if` or complete."""
    made: list[str] = []
    switches: list[set[str]] = []  # the patterns of each open switch
    for line in block:
        word = line.strip()
        if word.startswith("switch "):
            switches.append(set())
        elif word == "case" or word.startswith("case "):
            switches[-1].add(word[len("case ") :])
        elif word == "end" and switches:
            patterns = switches.pop()
            if "" not in patterns and patterns not in COMPLETE:
                made.append(line[: len(line) - len(word)] + "  case")
        made.append(line)
    return made


def _plain(value: str) -> str:
    """A name to derive another from."""
    name = value.split()[0]
    return f"\\net_{name[1:]}" if name.startswith("$") else name
