"""The generated Verilog in Icarus Verilog: a plain test bench, which writes what it sees on each result packet.

Icarus knows X, which Verilator does not. Where it is not installed (Debian's `iverilog`), its tests are skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rtl_bench import PATIENCE, beats_of

from gradrtl.rtl.mapping import Mapping

LANGUAGES = ("2005", "2012")  # what plain users take, and what cocotb asks for
needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

BENCH = """`timescale 1ns/1ps
module bench;
  reg clk = 0, rst = 1, valid = 0, last = 0, ready = 0;
  reg [{top}:0] data = 0;
  reg [{width}:0] beats [0:{final}];
  wire take, out_valid, out_last, out_user;
  wire [31:0] out;
  wire [{others_top}:0] others;
  integer i, seed = {seed}, left = {frames}, patience = {patience};
  always #5 clk = ~clk;
  gradrtl dut (
    .clk(clk), .rst(rst), .s_axis_tdata(data), .s_axis_tvalid(valid), .s_axis_tready(take), .s_axis_tlast(last),
    .m_axis_tdata(out), .m_axis_tvalid(out_valid), .m_axis_tready(ready), .m_axis_tlast(out_last),
    .m_axis_tuser(out_user), .s_axil_awaddr({address}'d0), .s_axil_awvalid(1'b0), .s_axil_wdata(32'd0),
    .s_axil_wstrb(4'd0), .s_axil_wvalid(1'b0), .s_axil_bready(1'b0), .s_axil_araddr({address}'d0),
    .s_axil_arvalid(rst === 1'b0), .s_axil_rready(1'b1), {others}
  );
  always @(posedge clk) if (rst === 1'b0) begin
    if (^{{take, out_valid, others}} === 1'bx) begin $display("X on a control output"); $finish; end
    if (out_valid && ^{{out, out_last, out_user}} === 1'bx) begin $display("X in a packet"); $finish; end
    if (out_valid && ready) begin
      $display("%0d %b %b", $signed(out), out_last, out_user);
      left = left - out_last;
      patience = {patience};
    end
    patience = patience - 1;
    if (left == 0 || patience == 0) $finish;
  end
  always @(negedge clk) ready = {stalled} ? $random(seed) : 1'b1;
  initial begin
    $readmemh("beats.hex", beats);
    repeat (6) @(negedge clk);
    rst = 0;
    i = 0;
    valid = 1;
    {{last, data}} = beats[0];
    while (i < {final} + 1) begin
      @(posedge clk);
      if (valid && take) i = i + 1;
      @(negedge clk);
      if (i < {final} + 1) {{last, data}} = beats[i];
      valid = i < {final} + 1 && (!{stalled} || valid && !take || $random(seed));
    end
    valid = 0;
  end
endmodule
"""
# Outputs whose bits all have a value at any time.
CONTROL = {
    "s_axil_awready": 1,
    "s_axil_wready": 1,
    "s_axil_bvalid": 1,
    "s_axil_bresp": 2,
    "s_axil_arready": 1,
    "s_axil_rvalid": 1,
    "s_axil_rresp": 2,
    "s_axil_rdata": 32,
}


def packets(
    folder: Path, verilog: str, mapping: Mapping, frames: np.ndarray, language: str, stalled: bool = False
) -> list[list[int]]:
    """Class, sums and TUSER of each packet that leaves, by `verilog` compiled for the year `language`.

    An X on an output after reset ends the simulation and fails.
    """
    beats = [beat for frame in frames for beat in beats_of(mapping, frame)]
    width = re.search(r"input \[(\d+):0\] s_axis_tdata", verilog)
    address = re.search(r"input \[(\d+):0\] s_axil_awaddr", verilog)
    assert width is not None
    assert address is not None
    bits = int(width[1]) + 1
    low, others = 0, []
    for name, size in CONTROL.items():
        others.append(f".{name}(others[{low + size - 1}:{low}])")
        low += size
    bench = BENCH.format(
        top=bits - 1,
        width=bits,
        final=len(beats) - 1,
        seed=1,
        address=int(address[1]) + 1,
        others=", ".join(others),
        others_top=low - 1,
        stalled=int(stalled),
        patience=PATIENCE,
        frames=len(frames),
    )
    (folder / "design.v").write_text(verilog)
    (folder / "bench.v").write_text(bench)
    (folder / "beats.hex").write_text("".join(f"{last << bits | word:x}\n" for word, last in beats))
    compile_it = ["iverilog", f"-g{language}", "-o", "bench.vvp", "bench.v", "design.v"]
    compiled = subprocess.run(compile_it, cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    simulated = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True)
    found: list[list[int]] = [[]]
    for line in simulated.stdout.splitlines():
        assert not line.startswith("X "), line
        word, last, user = line.split()
        found[-1].append(int(word))
        if last == "1":
            found[-1].append(int(user))
            found.append([])
    assert found.pop() == [], "a packet without its last beat"
    return found
