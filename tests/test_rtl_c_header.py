"""The C header: a strict compiler takes it, and its numbers are those of the register map."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from gradrtl.cli import main
from gradrtl.errors import UserError
from gradrtl.rtl.c_header import BITS, c_header
from gradrtl.rtl.interface import example
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.registers import MAGIC, registers


def constants(text: str) -> dict[str, int]:
    return {name: int(value, 0) for name, value in re.findall(r"^#define (\w+) (\w+)u$", text, re.M)}


@pytest.mark.parametrize("layers", [1, 3, 64])
def test_numbers_are_those_of_the_map(layers):
    found = constants(c_header(layers))
    assert (found.pop("GRADRTL_LAYERS"), found.pop("GRADRTL_MAGIC_VALUE")) == (layers, MAGIC)
    for register in registers(layers):
        assert found.pop(f"GRADRTL_{register.name.upper()}") == register.address
    bits = {
        f"GRADRTL_{name.upper()}_{bit.upper()}": 1 << i for name, names in BITS.items() for i, bit in enumerate(names)
    }
    assert found == bits


def test_bits_are_those_that_the_map_states():
    """Each `bit N` in a register's meaning has a name in the header."""
    for register in registers(1):
        stated = [int(n) for n in re.findall(r"\bbit (\d+)", register.meaning)]
        assert stated == list(range(len(BITS.get(register.name, ())))), register.name


def test_bits_have_their_places():
    """The order in which the hardware has them, which the tests of the top module compare bit by bit."""
    found = constants(c_header(1))
    masks = {name.removeprefix("GRADRTL_"): value for name, value in found.items()}
    assert (masks["STATUS_PACKET_WAITS"], masks["STATUS_FRAME_BEGUN"]) == (1, 2)
    assert (masks["ERRORS_SHORT_OR_ADDRESS"], masks["ERRORS_LONG"]) == (1, 2)


def test_words_of_a_packet():
    found = constants(c_header(1, Outputs((3, 2))))
    words = {name.removeprefix("GRADRTL_"): value for name, value in found.items()}
    assert words["PACKET_WORDS"] == 7
    assert [words[f"READOUT0_{name}"] for name in ("CLASS", "FIRST_SUM", "SUMS")] == [0, 1, 3]
    assert [words[f"READOUT1_{name}"] for name in ("CLASS", "FIRST_SUM", "SUMS")] == [4, 5, 2]


def test_no_layers():
    with pytest.raises(UserError, match="layers is 0, expected at least 1"):
        c_header(0)


@pytest.mark.parametrize("language", ["c", "c++"])
def test_strict_compiler_takes_it(language, tmp_path):
    compiler = shutil.which("gcc" if language == "c" else "g++")
    if compiler is None:
        pytest.skip(f"no compiler of {language}")
    text = c_header(2, Outputs((3, 2)))
    (tmp_path / "gradrtl_regs.h").write_text(text)
    used = "".join(f"    sum += {name};\n" for name in constants(text))
    include = '#include "gradrtl_regs.h"\n'
    program = f"{include}{include}int main(void)\n{{\n    unsigned sum = 0u;\n{used}    return sum == 0u;\n}}\n"
    (tmp_path / "main.c").write_text(program)
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", language]
    words = [compiler, *strict, "main.c", "-o", "main"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


def test_command_writes_it_beside_the_verilog(tmp_path):
    network, header = tmp_path / "network.npz", tmp_path / "gradrtl_regs.h"
    example("static", 4, layers=3).network.save(network)
    words = ["generate", str(network), "-o", str(tmp_path / "gradrtl.v"), "--pe", "1,1,1", "--header", str(header)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert header.read_text() == c_header(3, Outputs((4,)))
    assert f"wrote {header}" in result.output
