"""Contents of memories in generated Verilog: as assignments in the text, or in files for `$readmemh`."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

# A memory's contents as Yosys writes them: one assignment per word, from word 0 on.
NAME = r"(\\\S+(?= )|[A-Za-z_]\w*)"
MEMORY = re.compile(rf"^ *initial begin\n(?: *{NAME}[ ]?\[\d+\] = \d+'h[0-9a-f]+;\n)+ *end\n", re.MULTILINE)
WORD = re.compile(rf"^ *{NAME}[ ]?\[(\d+)\] = \d+'h([0-9a-f]+);$", re.MULTILINE)
LOAD = re.compile(rf'^ *initial \$readmemh\("([\w.-]+)", {NAME} , 0, \d+\);\n', re.MULTILINE)
DIGITS = re.compile(r"[0-9a-f]+")


def split_memories(verilog: str, prefix: str = "", keep_lines: bool = True) -> tuple[str, dict[str, str]]:
    """Move the initial contents of memories to files for `$readmemh`: the text, and the files' texts by name.

    The names are `prefix`, `memory`, a number and `.hex`. With `keep_lines`, line numbers stay the same. As code, the
    contents would be most of the text for Verilator and the compiler. The bounds of `$readmemh` are stated because
    tools disagree on the order of a memory that is declared downwards.
    """
    files: dict[str, str] = {}

    def moved(block: re.Match[str]) -> str:
        words = WORD.findall(block[0])
        in_order = [(block[1], str(index)) for index in range(len(words))]
        if [(name, index) for name, index, _ in words] != in_order:
            return block[0]
        file = f"{prefix}memory{len(files)}.hex"
        files[file] = "".join(f"{value}\n" for _, _, value in words)
        lines = block[0].count("\n") if keep_lines else 1
        return f'  initial $readmemh("{file}", {block[1]} , 0, {len(words) - 1});' + "\n" * lines

    return MEMORY.sub(moved, verilog), files


def prefix_of(path: Path) -> str:
    """What the names of the memory files of the Verilog file `path` begin with: of every file something else."""
    name = re.sub(r"[^\w.-]", "_", path.stem)
    if path.name == f"{name}.v":
        return f"{name}_"
    return f"{name}_{sha256(path.name.encode()).hexdigest()[:8]}_"


def join_memories(verilog: str, read: Callable[[str], str]) -> str:
    """The inverse: contents of files that `read` finds by name become assignments again.

    Raises `ValueError`, with the name, for a file that holds other than one hexadecimal number in each line.
    """

    def joined(line: re.Match[str]) -> str:
        words = read(line[1]).split()
        if not words or not all(DIGITS.fullmatch(word) for word in words):
            raise ValueError(line[1])
        name = line[2] + " " * line[2].startswith("\\")
        body = "".join(f"    {name}[{index}] = {4 * len(word)}'h{word};\n" for index, word in enumerate(words))
        return f"  initial begin\n{body}  end\n"

    return LOAD.sub(joined, verilog)
