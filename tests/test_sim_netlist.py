"""Netlists after synthesis, with the vendor's cells, answer as the RTL does."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from test_rtl_synthesis import sparse

from gradrtl.host import Host
from gradrtl.line import open_line
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.synthesis import tool
from gradrtl.rtl.verilog import generate_serial
from gradrtl.sim import reference
from gradrtl.sim.board import DIVISOR, SimulatedBoard, build
from gradrtl.sim.netlist import with_models, without_files, without_specify

# Yosys ships no behaviour for the block RAMs and multipliers of the ECP5, so that netlist does without them.
SYNTHESIS = {"ice40": "synth_ice40 -dsp -spram -device u", "ecp5": "synth_ecp5 -nodsp -nobram"}


@pytest.mark.rtl
@pytest.mark.parametrize("family", SYNTHESIS)
def test_netlist_equals_the_reference(family, tmp_path):
    network = sparse(32, 24, 0.15)
    strided = (0,) if family == "ice40" else ()
    mapping = map_network(network, Placement((2, 2), queue_depth=2, row_queue_depth=2, strided=strided))
    (tmp_path / "serial.v").write_text(generate_serial(mapping, DIVISOR))
    script = f"read_verilog -sv serial.v; {SYNTHESIS[family]} -top serial; write_verilog -noattr netlist.v"
    subprocess.run([*tool("yosys"), "-q", "-p", script], cwd=tmp_path, check=True, capture_output=True)
    generator = np.random.default_rng(1)
    images = (generator.integers(0, 256, (12, 32)) * (generator.random((12, 32)) < 0.6)).astype(np.uint8)
    expected = reference.run(network, images)
    assert expected.counts.any()
    with SimulatedBoard(build(with_models((tmp_path / "netlist.v").read_text(), family))) as board:
        host = Host(open_line(board.port, 1_000_000), patience=5.0)
        host.identify()
        host.load(image(mapping))
        answers = list(host.classify(images))
    assert [a.klass for a in answers] == expected.classes.tolist()
    assert [a.sums for a in answers] == [tuple(row) for row in expected.counts.tolist()]


def test_timing_is_left_out():
    text = "module a;\n  specify\n    (x => y) = 1;\n  endspecify\nendmodule\n"
    assert "specify" not in without_specify(text)
    assert "endmodule" in without_specify(text)


def test_contents_come_from_no_file():
    text = 'initial if (INIT_FILE != "") $readmemh(INIT_FILE, memory);\n'
    assert without_files(text) == 'initial if (INIT_FILE != "") ;\n'
