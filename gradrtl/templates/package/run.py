"""Compile the accelerator and run its test bench: `python run.py`, or `python run.py --sim verilator`."""

import argparse
import sys
from pathlib import Path

from cocotb_tools.runner import get_results, get_runner

HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", default="icarus", choices=("icarus", "verilator"))
    simulator = parser.parse_args().sim
    folder = HERE / "build" / simulator
    runner = get_runner(simulator)
    runner.build(
        sources=sorted((HERE / "rtl").glob("*.v")),
        hdl_toplevel="gradrtl_axi",
        build_dir=folder,
        build_args=["-Wno-fatal"] if simulator == "verilator" else [],
        timescale=("1ns", "1ps"),
    )
    for memory in (HERE / "rtl").glob("*.hex"):
        (folder / memory.name).write_bytes(memory.read_bytes())
    results = runner.test(
        test_module="test_gradrtl",
        hdl_toplevel="gradrtl_axi",
        build_dir=folder,
        test_dir=folder,
        timescale=("1ns", "1ps"),
    )
    count, failed = get_results(results)
    print(f"{count - failed} of {count} tests passed")
    return int(failed > 0 or count == 0)


if __name__ == "__main__":
    sys.exit(main())
