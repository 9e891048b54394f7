"""The committed page of the interface is current, and says what the hardware has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradrtl.rtl.interface import example, main, page, ports
from gradrtl.rtl.registers import registers
from gradrtl.rtl.verilog import generate

PAGE = Path(__file__).parents[1] / "docs/interface.md"


def test_committed_page_is_current():
    assert PAGE.read_text() == page(), f"renew it: python -m gradrtl.rtl.interface {PAGE.name} --write"


def test_page_that_is_out_of_date_is_told_and_renewed(tmp_path, capsys):
    path = tmp_path / "interface.md"
    assert main([str(path)]) == 1
    path.write_text(page() + "\n")
    assert main([str(path)]) == 1
    assert "out of date" in capsys.readouterr().out
    assert main([str(path), "--write"]) == 0
    assert path.read_text() == page()


def test_every_register_is_on_the_page():
    for register in registers(2):
        assert f"| 0x{register.address:02X} | `{register.name}` | {register.access} |" in page()


@pytest.mark.parametrize(("kind", "pixels"), [("static", 1), ("static", 8), ("spikes", 4)])
def test_ports_are_those_of_the_verilog(kind, pixels):
    mapping = example(kind, pixels)
    found = re.findall(r"^  (in|out)put (?:wire |reg )?(?:\[(\d+):0\] )?(\w+)\s*;", top(mapping), re.M)
    assert sorted((name, way, int(high or 0) + 1) for way, high, name in found) == sorted(ports(mapping))


def top(mapping) -> str:
    """Text of the top module."""
    return re.search(r"^module gradrtl\b.*?^endmodule", generate(mapping, "test"), re.M | re.S)[0]
