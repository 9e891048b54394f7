"""Runs `cocotb_axi.py`: the bus models of the cocotb regression, tested themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from cocotb_tools.runner import get_results, get_runner

from gradrtl.sim import toolchain

TESTS = Path(__file__).parent


@pytest.mark.rtl
def test_bus_models(monkeypatch):
    folder = TESTS.parent / "build" / "cocotb" / "axi"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in toolchain.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    runner = get_runner("verilator")
    log = folder / "build.log"
    runner.build(sources=[TESTS / "axi_echo.v"], hdl_toplevel="axi_echo", build_dir=folder, log_file=log)
    results = runner.test(
        test_module="cocotb_axi",
        hdl_toplevel="axi_echo",
        build_dir=folder,
        test_dir=folder,
        log_file=folder / "test.log",
    )
    total, failed = get_results(results)
    assert (total, failed) == (5, 0), (folder / "test.log").read_text()[-4000:]
