"""Imports follow the arrows of docs/design.md, section 1; parts that must stay light load nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradrtl import cache

ROOT = Path(__file__).parents[1]
FOLDERS = {"model": "model", "quantize": "quantize", "rtl": "rtl", "sim": "sim", "gradrtl": "face"}
FOUNDATIONS = (
    "__init__",
    "errors",
    "shapes",
    "archive",
    "arrays",
    "bits",
    "cache",
    "cluster",
    "compiled",
    "checks",
    "files",
    "locks",
    "processes",
    "store",
    "workers",
)
# How results are made and kept, not which: all other foundations count in every key of the cache.
MACHINERY = {"__init__", "cache", "cluster", "locks", "processes", "store", "workers"}
# What each room may import, itself aside.
ARROWS = {
    "foundations": set(),
    "model": {"foundations"},
    "quantize": {"foundations", "model"},
    "rtl": {"foundations", "quantize"},
    "sim": {"foundations", "quantize", "rtl"},
    "face": {"foundations", "model", "quantize", "rtl", "sim"},
}
# Heavy packages, and where they may be imported.
HEAVY = {"torch": {"model", "quantize", "face"}, "amaranth": {"rtl"}, "matplotlib": {"quantize", "face"}}
# Where charts are drawn, of the rest of `gradrtl/`: all else hands figures to the reports.
DRAWING = ("gradrtl.report.", "gradrtl.steps.explore", "gradrtl.steps.convert")
# These describe a placement in numbers. The simulators read them, so they load no hardware description.
PLAIN = (
    "c_header",
    "latency",
    "mapping",
    "layer_mapping",
    "parameters",
    "slots",
    "inputs",
    "frame_words",
    "outputs",
    "lists",
    "routes",
    "synapse_format",
    "place_dense",
    "place_convolution",
    "assignment",
    "convolution",
    "pruning",
    "planning",
    "queues",
    "scan",
    "devices",
    "registers",
)


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def room(module: str) -> str:
    """The room of `gradrtl.sim.engine`, written as a dotted name."""
    parts = module.split(".")[1:]
    if not parts or parts[0] in FOUNDATIONS:
        return "foundations"
    return parts[0] if parts[0] in ARROWS else "face"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts[1:] if parts[0] == "gradrtl" else parts
    return ".".join(("gradrtl", *inside)).removesuffix(".__init__")


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and full name of each module that `path` imports."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            known = [f"{base}.{alias.name}" for alias in node.names if is_module(f"{base}.{alias.name}")]
            found += [(node.lineno, name) for name in known or [base]]
    return found


def is_module(name: str) -> bool:
    parts = name.split(".")
    if parts[0] != "gradrtl":
        return False
    inside = parts[1:] if len(parts) > 1 and parts[1] in FOLDERS and parts[1] != "gradrtl" else ["gradrtl", *parts[1:]]
    path = ROOT.joinpath(*inside)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_foundations_count_in_every_key():
    assert sorted(f"gradrtl.{name}" for name in set(FOUNDATIONS) - MACHINERY) == sorted(cache.FOUNDATIONS)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    here = room(name_of(path))
    wrong = []
    for line, name in imports(path):
        there = room(name) if name.startswith("gradrtl") else None
        if there is not None and there != here and there not in ARROWS[here]:
            wrong.append(f"line {line}: {here} imports {name}, of {there}")
        if here not in HEAVY.get(name.partition(".")[0], {here}):
            wrong.append(f"line {line}: {here} imports {name}")
        if re.search(r"\._(?!_)", name) and not name.startswith("gradrtl"):
            wrong.append(f"line {line}: {name} is private to another package")
    assert not wrong


@pytest.mark.parametrize("path", sorted((ROOT / "gradrtl").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_reports_alone_draw_and_are_loaded_when_asked_for(path):
    """`steps` and `commands` import reports inside functions: without --report, no plotting library is loaded."""
    here, found = name_of(path), imports(path)
    if not here.startswith(DRAWING):
        assert [line for line, name in found if name.startswith("matplotlib")] == []
    if not here.startswith("gradrtl.report"):
        lines = path.read_text().splitlines()
        loaded = [lines[line - 1] for line, name in found if name.startswith("gradrtl.report")]
        assert all(line.startswith(" ") for line in loaded)


@pytest.mark.parametrize("module", [f"gradrtl.rtl.{name}" for name in PLAIN])
def test_placement_is_free_of_hardware_description(module):
    program = f"import sys, {module}; sys.exit('amaranth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
