"""Runs the cocotb regression: a Verilator build for each of four networks, coverage of lines and toggles reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from cocotb_networks import NETWORKS, placed
from cocotb_tools.runner import get_results, get_runner

from gradrtl.rtl.verilog import TOP, generate
from gradrtl.sim import toolchain

# What Amaranth's Verilog draws: `casez` without default, constants narrower than their operands, comparisons that a
# parameter at the end of its range makes constant.
WAIVED = ("CASEINCOMPLETE", "WIDTHEXPAND", "WIDTHTRUNC", "UNSIGNED", "CMPCONST")

TESTS = Path(__file__).parent
BUILD = TESTS.parent / "build" / "cocotb"


@pytest.mark.rtl
@pytest.mark.parametrize("kind", NETWORKS)
def test_regression(kind, monkeypatch):
    network = NETWORKS[kind]()
    folder = BUILD / kind
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "gradrtl.v"
    source.write_text(generate(placed(network), "tests/test_cocotb_top.py"))
    for name, value in toolchain.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    waived = [f"-Wno-{name}" for name in WAIVED]
    runner = get_runner("verilator")
    runner.build(
        sources=[source],
        hdl_toplevel=TOP,
        build_dir=folder,
        build_args=["--public-flat-rw", "--coverage-line", "--coverage-toggle", "-Wno-PROCASSINIT", *waived],
        log_file=folder / "build.log",
    )
    try:
        results = runner.test(
            test_module="cocotb_top",
            hdl_toplevel=TOP,
            build_dir=folder,
            test_dir=folder,
            plusargs=[f"+{kind}"],
            log_file=folder / "test.log",
        )
    except SystemExit:
        pytest.fail(failures(folder / "test.log"))
    total, failed = get_results(results)
    assert total > 8
    assert failed == 0
    print("\n" + (folder / "functional_coverage.txt").read_text() + code_coverage(folder / "coverage.dat"))


def failures(log: Path) -> str:
    """The lines of the log that tell what failed."""
    return "\n".join(line for line in log.read_text().splitlines() if "Error" in line or "assert" in line)[-4000:]


def code_coverage(path: Path) -> str:
    """Lines and toggles that a run reached, from Verilator's coverage file."""
    points = {"line": [0, 0], "toggle": [0, 0]}
    for entry in path.read_text(errors="replace").splitlines():
        if not entry.startswith("C "):
            continue
        kind = next((k for k in points if f"v_{k}" in entry), None)
        if kind:
            points[kind][0] += int(entry.rsplit(" ", 1)[1]) > 0
            points[kind][1] += 1
    return "".join(f"{kind} coverage: {hit} of {of} points\n" for kind, (hit, of) in points.items())
