"""The generated Verilog in Icarus Verilog: plain test benches, which write what leaves the design.

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
    found: list[list[int]] = [[]]
    for line in _simulated(folder, language):
        assert not line.startswith("X "), line
        word, last, user = line.split()
        found[-1].append(int(word))
        if last == "1":
            found[-1].append(int(user))
            found.append([])
    assert found.pop() == [], "a packet without its last beat"
    return found


SERIAL_BENCH = """`timescale 1ns/1ps
module bench;
  reg clk = 0, rst = 1, rx = 1, sent = 0;
  wire tx, busy;
  reg [7:0] bytes [0:{final}];
  reg [7:0] byte_in, byte_out;
  integer i, j, k, quiet = 0;
  always #5 clk = ~clk;
  serial dut (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .busy(busy));
  always @(posedge clk) if (rst === 1'b0) begin
    if (^{{tx, busy}} === 1'bx) begin $display("X on a pin"); $finish; end
    quiet = sent && tx ? quiet + 1 : 0;
    if (quiet == {patience}) $finish;
  end
  initial begin
    $readmemh("bytes.hex", bytes);
    repeat (6) @(negedge clk);
    rst = 0;
    for (i = 0; i < {final} + 1; i = i + 1) begin
      byte_in = bytes[i];
      rx = 0;
      repeat ({divisor}) @(negedge clk);
      for (j = 0; j < 8; j = j + 1) begin
        rx = byte_in[j];
        repeat ({divisor}) @(negedge clk);
      end
      rx = 1;
      repeat ({divisor}) @(negedge clk);
    end
    sent = 1;
  end
  always @(negedge tx) if (rst === 1'b0) begin
    repeat ({divisor} / 2) @(negedge clk);
    for (k = 0; k < 8; k = k + 1) begin
      repeat ({divisor}) @(negedge clk);
      byte_out[k] = tx;
    end
    repeat ({divisor}) @(negedge clk);
    $display("%h", byte_out);
  end
endmodule
"""


def serial_bytes(folder: Path, verilog: str, sent: bytes, divisor: int, language: str) -> bytes:
    """What the serial accelerator `verilog` sends back for the bytes `sent`, until it is quiet.

    A bit takes `divisor` cycles. An X on a pin after reset ends the simulation and fails.
    """
    bench = SERIAL_BENCH.format(final=len(sent) - 1, divisor=divisor, patience=PATIENCE)
    (folder / "design.v").write_text(verilog)
    (folder / "bench.v").write_text(bench)
    (folder / "bytes.hex").write_text("".join(f"{byte:02x}\n" for byte in sent))
    lines = _simulated(folder, language)
    assert all(re.fullmatch("[0-9a-f]{2}", line) for line in lines), lines
    return bytes.fromhex("".join(lines))


def _simulated(folder: Path, language: str) -> list[str]:
    """Lines that `bench.v` with `design.v` prints, compiled for the year `language`."""
    compile_it = ["iverilog", f"-g{language}", "-o", "bench.vvp", "bench.v", "design.v"]
    compiled = subprocess.run(compile_it, cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    simulated = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True)
    return simulated.stdout.splitlines()
