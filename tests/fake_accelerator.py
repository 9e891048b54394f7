"""A small accelerator in plain Verilog with the ports and trace wires of the real one, and faults on demand.

One state machine: take a frame, update row after row of layer after layer, send the packet. It knows dense layers of
integrate-and-fire neurons with a hard reset, which is enough to test what drives and compares it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.rtl.mapping import Mapping

FAULTS = ("", "hang", "spike", "membrane", "unstable", "twice", "wrong class", "short packet", "flag", "lost row",
          "withdrawn", "flag midway")  # fmt: skip


def faulty(frames: np.ndarray, fault: str, frame: int) -> np.ndarray:
    """A copy of `frames` in which `frame` provokes `fault`: its last pixel, which has no synapses, tells."""
    frames = frames.copy()
    frames[:, -1] = 0
    frames[frame, -1] = FAULTS.index(fault)
    return frames


def small_network(sizes: tuple[int, ...] = (11, 7, 3), steps: int = 3, seed: int = 1) -> QuantizedNetwork:
    """A dense network that the fake accelerator can run; its last source has no synapses."""
    generator = np.random.default_rng(seed)
    layers = []
    for index, (sources, neurons) in enumerate(pairwise(sizes)):
        scale = 255 if index == 0 else 1
        weight = generator.integers(-8, 8, (neurons, sources)).astype(np.int8)
        weight[:, -1] *= index > 0
        layers.append(
            Layer(
                name=f"fc{index}",
                input_shape=(sources,),
                synapses=Dense(weight, generator.integers(-3, 4, neurons) * scale),
                neuron=IntNeuron("none", "hard", np.array([5 * scale]), reset_value=-2),
                weight_bits=4,
            )
        )
    return QuantizedNetwork.chain(Input((sizes[0],)), tuple(layers), steps, Readout())


def fake_verilog(mapping: Mapping) -> str:
    """Verilog of a stand-in for `mapping`."""
    network, lanes = mapping.network, mapping.pixels_a_beat
    steps, classes, last = network.steps, network.classes, len(network.layers) - 1
    declarations, updates, starts, cores = [], [], [], []
    source = "pixel"
    for placed in mapping.layers:
        index, layer, pes, bits = placed.index, network.layers[placed.index], placed.pes, placed.membrane_bits
        declarations.append(f"  int v{index}[{layer.neurons}]; bit s{index}[{layer.neurons}]; int u{index}[{pes}];")
        declarations.append(f"  wire [{pes - 1}:0] fired{index}; wire [{pes * bits - 1}:0] after{index};")
        starts += [f"v{index}[{i}] <= {layer.neuron.reset_value[0]};" for i in range(layer.neurons)]
        sums, keeps = [], []
        for row in range(placed.rows):
            for pe in range(pes):
                i = placed.slots[row, pe]
                if i >= 0:
                    weights = layer.synapses.weight[i].tolist()
                    terms = " + ".join(f"({w}) * int'({source}[{j}])" for j, w in enumerate(weights))
                    sums.append(
                        f"if (row == {row}) u{index}[{pe}] = v{index}[{i}] + ({layer.synapses.bias[i]}) + {terms};"
                    )
                    keeps.append(f"if (row == {row}) s{index}[{i}] <= fired{index}[{pe}];")
                    keeps.append(f"if (row == {row}) v{index}[{i}] <= next{index}[{pe}];")
                    if index == last:
                        keeps.append(f"if (row == {row}) count[{i}] <= count[{i}] + 32'(fired{index}[{pe}]);")
        declarations.append(f"  int next{index}[{pes}];\n  always_comb begin\n    u{index} = '{{default: 0}};")
        declarations += [f"    {line}" for line in sums] + ["  end"]
        threshold = layer.neuron.threshold[0]
        flip = " ^ (`FAULT_SPIKE && step == 1 && row == 1)" if index == 0 else ""
        for pe in range(pes):
            declarations.append(
                f"  assign fired{index}[{pe}] = (u{index}[{pe}] >= {threshold}){flip if pe == 1 else ''};"
            )
            nudge = " + int'(`FAULT_MEMBRANE && step == 2 && row == 0)" if index == 1 and pe == 1 else ""
            reset = layer.neuron.reset_value[0]
            declarations.append(f"  assign next{index}[{pe}] = (fired{index}[{pe}] ? {reset} : u{index}[{pe}]){nudge};")
            declarations.append(f"  assign after{index}[{pe * bits} +: {bits}] = next{index}[{pe}][{bits - 1}:0];")
        valid = f"state == SCAN && layer == {index} && !(`FAULT_LOST_ROW && row == 1)"
        declarations.append(f"  fake_core{index} core{index} ({valid}, fired{index}, after{index});")
        follows = f"layer <= {index + 1};" if index < last else "layer <= 0; step <= step + 1;"
        ends = f"if (step == {steps - 1}) state <= SEND;" if index == last else ""
        updates.append(
            f"if (layer == {index}) begin\n        {' '.join(keeps)}\n        row <= row + 1;\n"
            f"        if (row == {placed.rows - 1}) begin row <= 0; {follows} {ends} end\n      end"
        )
        cores.append(
            f"module fake_core{index} (input fire_valid, input [{pes - 1}:0] fire_spikes, "
            f"input [{pes * bits - 1}:0] fire_membranes);\nendmodule\n"
        )
        source = f"s{index}"
    last_beat = f"sent == (`FAULT_SHORT_PACKET ? {classes - 1} : {classes})"
    names = "".join(
        f"`define FAULT_{name.upper().replace(' ', '_')} (pixel[{network.layers[0].sources - 1}] == {code})\n"
        for code, name in enumerate(FAULTS)
        if name
    )
    pixels = "\n".join(
        f"      if (beat * {lanes} + {k} < {network.layers[0].sources}) "
        f"pixel[beat * {lanes} + {k}] <= s_axis_tdata[{8 * k} +: 8];"
        for k in range(lanes)
    )
    body = "\n".join(declarations)
    return f"""// network: {network.digest}
// mapping: {mapping.digest}
{names}module gradrtl (
  input clk, input rst,
  input [{8 * lanes - 1}:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready, input s_axis_tlast,
  output [31:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready, output m_axis_tlast, output m_axis_tuser
);
  localparam TAKE = 0, SCAN = 1, SEND = 2;
  int state, beat, step, layer, row, sent, ticks, best;
  bit [7:0] pixel[{network.layers[0].sources}];
  int count[{classes}];
  bit again;
{body}
  always_comb begin
    best = 0;
    for (int c = 1; c < {classes}; c++) if (count[c] > count[best]) best = c;
  end
  assign s_axis_tready = state == TAKE;
  assign m_axis_tvalid = state == SEND && !`FAULT_HANG && !(`FAULT_WITHDRAWN && ticks[0]);
  assign m_axis_tdata = (sent == 0 ? best + int'(`FAULT_WRONG_CLASS) : count[sent - 1])
                        ^ 32'(`FAULT_UNSTABLE && ticks[0]);
  assign m_axis_tlast = {last_beat};
  assign m_axis_tuser = `FAULT_FLAG || (`FAULT_FLAG_MIDWAY && sent == 2);
  always_ff @(posedge clk) begin
    ticks <= ticks + 1;
    if (state == TAKE && s_axis_tvalid && s_axis_tready) begin
{pixels}
      beat <= beat + 1;
      if (s_axis_tlast) begin
        state <= SCAN; again <= 0; beat <= 0; step <= 0; layer <= 0; row <= 0;
        {" ".join(starts)}
        count <= '{{default: 0}};
      end
    end
    if (state == SCAN) begin
      {" else ".join(updates)}
    end
    if (state == SEND && m_axis_tvalid && m_axis_tready) begin
      sent <= sent + 1;
      if (m_axis_tlast) begin
        sent <= 0; again <= 1;
        if (again || !`FAULT_TWICE) state <= TAKE;
      end
    end
    if (rst) begin state <= TAKE; beat <= 0; sent <= 0; ticks <= 0; end
  end
endmodule
{"".join(cores)}"""
