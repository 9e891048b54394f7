"""The package for LiteX: its SoC sends frames through the accelerator and finds the simulator's packets in memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_steps_package import kit, needs, run

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.steps.package import package

BENCH = """module bench;
  reg clk = 0;
  always #5 clk = ~clk;
  sim soc (.sys_clk(clk));
endmodule
"""


def has_headers() -> bool:
    """Whether the C compiler finds what LiteX's simulation includes: Debian's libevent-dev and libjson-c-dev."""
    text = "#include <event2/event.h>\n#include <json-c/json.h>\n"
    try:
        done = subprocess.run(["cc", "-E", "-"], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def change_a_value(gateware: Path) -> None:
    """Expect another value in the third step of the script."""
    script = gateware / "sim_memory.init"
    lines = script.read_text().splitlines()
    lines[1] = lines[1][:-1] + f"{int(lines[1][-1], 16) ^ 1:x}"
    script.write_text("\n".join(lines) + "\n")


@pytest.mark.rtl
@needs("litex")
@needs("pythondata_misc_tapcfg")
@pytest.mark.skipif(not has_headers(), reason="the headers of libevent and json-c are not installed")
def test_soc_in_the_simulation_of_litex(tmp_path):
    """With beats of 64 bits."""
    made = kit("static")
    mapping = map_network(made.network, replace(made.mapping.placement, pixels_a_beat=8))
    package(replace(made, mapping=mapping), "litex", tmp_path)
    done = run([sys.executable, "-W", "error", "sim.py"], tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "PASS: 3 packets as expected" in done.stdout
    gateware = tmp_path / "build/gateware"
    change_a_value(gateware)
    assert "FAIL: step 1: address 30000008 is" in run(["obj_dir/Vsim"], gateware).stdout


@pytest.mark.rtl
@needs("litex")
@needs("pythondata_misc_tapcfg")
def test_verilog_of_the_soc_with_events(tmp_path):
    package(kit("graded"), "litex", tmp_path)
    made = run([sys.executable, "-c", "import sim; sim.generate()"], tmp_path)
    assert made.returncode == 0, made.stderr[-2000:]
    gateware = tmp_path / "build/gateware"
    (gateware / "bench.v").write_text(BENCH)
    sources = ["bench.v", "sim.v", *map(str, (tmp_path / "rtl").glob("*.v"))]
    options = ["--binary", "--timing", "-Wno-fatal", "-CFLAGS", "-O0", "--top-module", "bench"]
    built = run(["verilator", *options, *sources], gateware)
    assert built.returncode == 0, built.stderr[-2000:]
    assert "PASS: 3 packets as expected" in run(["obj_dir/Vbench"], gateware).stdout


def test_beats_narrower_than_the_bus_are_refused(tmp_path):
    made = kit("static")
    narrow = map_network(made.network, replace(made.mapping.placement, pixels_a_beat=2))
    told = "pixels a beat is 2, expected 4 or 8: a word of LiteX's bus has 32 bits"
    with pytest.raises(UserError, match=told):
        package(replace(made, mapping=narrow), "litex", tmp_path)
