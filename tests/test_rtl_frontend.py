"""The front end clocked: every beat equals the simulator's under stalls, at the cycles that are predicted without."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from icarus import LANGUAGES, needs_icarus
from test_sim_frontend import random_samples, random_settings

from gradrtl.quantize.frontend import FrontEnd
from gradrtl.rtl import latency
from gradrtl.rtl.frontend import SoundInput, generate
from gradrtl.sim.compiled_frontend import beats_of
from gradrtl.sim.frontend import counts

SMALL = FrontEnd.mel(8000, 8, 4, stages=2, guard=1, least=40)
MARK = 1 << 31


class Bench:
    """Sends recordings one after another; `beats` are `(data, last)`, `accepted` and `left` their cycles."""

    def __init__(self, settings: FrontEnd, recordings: list[np.ndarray], stalls: float = 0, seed: int = 0) -> None:
        self.dut, self.recordings, self.stalls = SoundInput(settings), recordings, stalls
        self.generators = [np.random.default_rng([seed, side]) for side in range(2)]
        self.beats: list[tuple[int, int]] = []
        self.accepted: list[int] = []
        self.left: list[int] = []
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._send, background=True)
        simulator.add_testbench(self._receive)
        simulator.run()

    def _stalled(self, side: int) -> bool:
        return bool(self.generators[side].random() < self.stalls)

    async def _send(self, ctx) -> None:
        dut, time = self.dut, 0
        for samples in self.recordings:
            for index, sample in enumerate(samples.tolist()):
                ctx.set(dut.s_axis_tvalid, 0)
                while self._stalled(0):
                    await ctx.tick()
                    time += 1
                ctx.set(dut.s_axis_tdata, sample & 0xFFFF)
                ctx.set(dut.s_axis_tlast, index == len(samples) - 1)
                ctx.set(dut.s_axis_tvalid, 1)
                ready = 0
                while not ready:
                    _, _, ready = await ctx.tick().sample(dut.s_axis_tready)
                    time += 1
                self.accepted.append(time - 1)
        ctx.set(dut.s_axis_tvalid, 0)

    async def _receive(self, ctx) -> None:
        dut, time, moved, ended = self.dut, 0, 0, 0
        while ended < len(self.recordings):
            ctx.set(dut.m_axis_tready, not self._stalled(1))
            _, _, valid, ready, data, last = await ctx.tick().sample(
                dut.m_axis_tvalid, dut.m_axis_tready, dut.m_axis_tdata, dut.m_axis_tlast
            )
            if valid and ready:
                self.beats.append((data, last))
                self.left.append(time)
                ended, moved = ended + last, time
            time += 1
            assert time - moved < 20_000, f"no beat in 20,000 cycles after beat {len(self.beats)}"


def expected_beats(settings: FrontEnd, recordings: list[np.ndarray]) -> list[tuple[int, int]]:
    found = []
    for samples in recordings:
        data, last = beats_of(counts(settings, samples))
        found += list(zip(data.tolist(), last.astype(int).tolist(), strict=True))
    return found


def some_recordings(generator: np.random.Generator, step: int) -> list[np.ndarray]:
    """Whole steps, a part of one, a single sample, another that follows."""
    return [random_samples(generator, count) for count in (3 * step, 2 * step + 1, 1, step + step // 2 + 1)]


@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_beats_equal_the_simulator(seed, stalls):
    generator = np.random.default_rng([seed, 5])
    settings = replace(random_settings(generator), step=int(generator.integers(1, 12)))
    recordings = some_recordings(generator, settings.step)
    assert Bench(settings, recordings, stalls, seed).beats == expected_beats(settings, recordings)


@pytest.mark.parametrize("stages", [1, 2])
def test_cycles_are_as_predicted(stages):
    settings = replace(SMALL, stages=stages)
    recordings = [random_samples(np.random.default_rng(1), 3 * settings.step)]
    found = Bench(settings, recordings)
    marks = [time for time, (data, _) in zip(found.left, found.beats, strict=True) if data == MARK]
    step, sizes = settings.step, (settings.products, settings.bands, settings.sources)
    assert found.accepted[1] - found.accepted[0] == latency.front_end_sample(settings.products)
    assert {b - a for a, b in zip(found.accepted, found.accepted[step:], strict=False)} == {
        latency.front_end_step(step, *sizes)
    }
    lasts = found.accepted[step - 1 :: step]
    assert {mark - last for mark, last in zip(marks, lasts, strict=True)} == {latency.front_end_step_end(*sizes)}


def test_the_loudest_samples_wrap_nowhere():
    """All states at their largest: a band's loudest recording, and the range's ends for a whole step."""
    recordings = []
    for g, a1, a2 in SMALL.filters:
        p = [1.0, a1 / 2**14]
        for _ in range(5 * SMALL.step - 2):
            p.append((a1 * p[-1] + a2 * p[-2]) / 2**14)
        h = np.array(p) - np.array([0, 0, *p[:-2]])
        recordings.append(np.where(h[::-1] * g > 0, 32767, -32768).astype(np.int16))
    recordings.append(np.full(2 * SMALL.step, -32768, np.int16))
    settings = replace(SMALL, guard=0, least=0)
    assert Bench(settings, recordings).beats == expected_beats(settings, recordings)


@needs_icarus
@pytest.mark.parametrize("language", LANGUAGES)
def test_icarus_has_the_same_beats(tmp_path, language):
    recordings = some_recordings(np.random.default_rng(4), SMALL.step)
    samples = [(int(x) & 0xFFFF) | (i == len(one) - 1) << 16 for one in recordings for i, x in enumerate(one)]
    (tmp_path / "samples.hex").write_text("".join(f"{word:05x}\n" for word in samples))
    (tmp_path / "bench.v").write_text(ICARUS.format(final=len(samples) - 1, recordings=len(recordings)))
    (tmp_path / "design.v").write_text(generate(SMALL))
    compiler, vvp = shutil.which("iverilog"), shutil.which("vvp")
    assert compiler is not None
    assert vvp is not None
    command = [compiler, f"-g{language}", "-Wall", "-o", "bench", "bench.v", "design.v"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([vvp, "bench"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=100)
    lines = done.stdout.split()
    assert list(zip(map(int, lines[::2]), map(int, lines[1::2]), strict=True)) == expected_beats(SMALL, recordings)


ICARUS = """`timescale 1ns/1ps
module bench;
  reg clk = 0, rst = 1, valid = 0, ready = 0;
  reg [16:0] samples [0:{final}];
  reg [16:0] sample = 0;
  wire take, out_valid, out_last;
  wire [31:0] out;
  integer i = 0, seed = 7, left = {recordings}, patience = 20000;
  always #5 clk = ~clk;
  front_end dut (
    .clk(clk), .rst(rst), .s_axis_tdata(sample[15:0]), .s_axis_tlast(sample[16]), .s_axis_tvalid(valid),
    .s_axis_tready(take), .m_axis_tdata(out), .m_axis_tvalid(out_valid), .m_axis_tready(ready), .m_axis_tlast(out_last)
  );
  always @(posedge clk) if (rst === 1'b0) begin
    if (^{{take, out_valid}} === 1'bx || (out_valid && ^{{out, out_last}} === 1'bx)) begin $display("X"); $finish; end
    patience = patience - 1;
    if (out_valid && ready) begin
      $display("%0d %0d", out, out_last);
      left = left - out_last;
      patience = 20000;
    end
    if (left == 0 || patience == 0) $finish;
  end
  always @(negedge clk) ready = $random(seed);
  initial begin
    $readmemh("samples.hex", samples);
    repeat (6) @(negedge clk);
    rst = 0;
    while (i <= {final}) begin
      if (!valid) valid = $random(seed);
      sample = samples[i];
      @(posedge clk);
      if (valid && take) begin
        i = i + 1;
        @(negedge clk);
        valid = 0;
      end else @(negedge clk);
    end
    valid = 0;
  end
endmodule
"""
