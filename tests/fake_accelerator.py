"""A small accelerator in plain Verilog with the ports and trace wires of the real one, and faults on demand.

One state machine: take a frame, update row after row of layer after layer, send the packet. It knows dense layers of
integrate-and-fire neurons with a hard reset, which is enough to test what drives and compares it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from gradrtl.quantize.network import Dense, Input, Layer, Neuron, QuantizedNetwork, Readout
from gradrtl.rtl.mapping import Mapping

FAULTS = {
    "": "",
    "hang": "state == SEND && frame == 2",
    "silent": "state == SEND && frame == 1",
    "spike": "frame == 3 && step == 1",
    "membrane": "frame == 2 && step == 2",
    "unstable": "",
    "twice": "",
    "wrong class": "frame == 1",
    "short packet": "frame == 1",
}


def small_network(sizes: tuple[int, ...] = (10, 7, 3), steps: int = 3, seed: int = 1) -> QuantizedNetwork:
    """A dense network that the fake accelerator can run."""
    generator = np.random.default_rng(seed)
    layers = []
    for index, (sources, neurons) in enumerate(pairwise(sizes)):
        scale = 255 if index == 0 else 1
        layers.append(
            Layer(
                name=f"fc{index}",
                input_shape=(sources,),
                synapses=Dense(
                    generator.integers(-8, 8, (neurons, sources)).astype(np.int8),
                    generator.integers(-3, 4, neurons) * scale,
                ),
                neuron=Neuron("none", "hard", np.array([5 * scale]), reset_value=-2),
                weight_bits=4,
            )
        )
    return QuantizedNetwork(Input((sizes[0],)), tuple(layers), steps, Readout())


def fake_verilog(mapping: Mapping, fault: str = "", traced: bool = True) -> str:
    """Verilog of a stand-in for `mapping`; `fault` names one of `FAULTS`."""
    network, lanes = mapping.network, mapping.pixels_a_beat
    steps, classes, last = network.steps, network.classes, len(network.layers) - 1
    declarations, updates, starts, cores = [], [], [], []
    source = "pixel"
    for l, placed in enumerate(mapping.layers):
        layer, pes, bits = placed.layer, placed.pes, placed.membrane_bits
        declarations.append(f"  int v{l}[{layer.neurons}]; bit s{l}[{layer.neurons}]; int u{l}[{pes}];")
        declarations.append(f"  wire [{pes - 1}:0] fired{l}; wire [{pes * bits - 1}:0] after{l};")
        starts += [f"v{l}[{i}] <= {layer.neuron.reset_value};" for i in range(layer.neurons)]
        sums, keeps = [], []
        for row in range(placed.rows):
            for pe in range(pes):
                i = placed.slots[row, pe]
                if i >= 0:
                    weights = layer.synapses.weight[i].tolist()
                    terms = " + ".join(f"({w}) * int'({source}[{j}])" for j, w in enumerate(weights))
                    sums.append(f"if (row == {row}) u{l}[{pe}] = v{l}[{i}] + ({layer.synapses.bias[i]}) + {terms};")
                    keeps.append(
                        f"if (row == {row}) begin s{l}[{i}] <= fired{l}[{pe}]; v{l}[{i}] <= next{l}[{pe}]; end"
                    )
                    if l == last:
                        keeps.append(f"if (row == {row}) count[{i}] <= count[{i}] + 32'(fired{l}[{pe}]);")
        declarations.append(f"  int next{l}[{pes}];\n  always_comb begin\n    u{l} = '{{default: 0}};")
        declarations += [f"    {line}" for line in sums] + ["  end"]
        threshold = layer.neuron.threshold[0]
        flip = " ^ (broken && row == 1)" if fault == "spike" and l == 0 else ""
        for pe in range(pes):
            declarations.append(f"  assign fired{l}[{pe}] = (u{l}[{pe}] >= {threshold}){flip if pe == 1 else ''};")
            nudge = " + int'(broken && row == 0)" if fault == "membrane" and l == 1 and pe == 1 else ""
            reset = layer.neuron.reset_value
            declarations.append(f"  assign next{l}[{pe}] = (fired{l}[{pe}] ? {reset} : u{l}[{pe}]){nudge};")
            declarations.append(f"  assign after{l}[{pe * bits} +: {bits}] = next{l}[{pe}][{bits - 1}:0];")
        valid = f"state == SCAN && layer == {l}"
        declarations.append(f"  fake_core{l} core{l} ({valid}, fired{l}, after{l});")
        follows = f"layer <= {l + 1};" if l < last else "layer <= 0; step <= step + 1;"
        ends = f"if (step == {steps - 1}) state <= SEND;" if l == last else ""
        updates.append(
            f"if (layer == {l}) begin\n        {' '.join(keeps)}\n        row <= row + 1;\n"
            f"        if (row == {placed.rows - 1}) begin row <= 0; {follows} {ends} end\n      end"
        )
        names = "fire_valid, fire_spikes, fire_membranes" if traced else "a, b, c"
        a, b, c = names.split(", ")
        cores.append(
            f"module fake_core{l} (input {a}, input [{pes - 1}:0] {b}, input [{pes * bits - 1}:0] {c});\nendmodule\n"
        )
        source = f"s{l}"
    tail = {"twice": "frame == 1", "short packet": "1'b0"}.get(fault, "1'b0")
    end = f"sent == {classes - 1 if fault == 'short packet' else classes}"
    best = " + int'(broken)" if fault == "wrong class" else ""
    jitter = " ^ 32'(ticks[0])" if fault == "unstable" else ""
    pixels = "\n".join(
        f"      if (beat * {lanes} + {k} < {network.layers[0].sources}) "
        f"pixel[beat * {lanes} + {k}] <= s_axis_tdata[{8 * k} +: 8];"
        for k in range(lanes)
    )
    body = "\n".join(declarations)
    return f"""// network: {network.digest}
// mapping: {mapping.digest}
module gradrtl (
  input clk, input rst,
  input [{8 * lanes - 1}:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready, input s_axis_tlast,
  output [31:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready, output m_axis_tlast, output m_axis_tuser
);
  localparam TAKE = 0, SCAN = 1, SEND = 2;
  int state, beat, step, layer, row, frame, sent, ticks, best;
  bit [7:0] pixel[{network.layers[0].sources}];
  int count[{classes}];
  wire broken = {FAULTS[fault] or "1'b0"};
{body}
  always_comb begin
    best = 0;
    for (int c = 1; c < {classes}; c++) if (count[c] > count[best]) best = c;
  end
  assign s_axis_tready = state == TAKE{" && !(frame == 2)" if fault == "hang" else ""};
  assign m_axis_tvalid = state == SEND{" && !broken" if fault == "silent" else ""};
  assign m_axis_tdata = (sent == 0 ? best{best} : count[sent - 1]){jitter};
  assign m_axis_tlast = {end};
  assign m_axis_tuser = 0;
  always_ff @(posedge clk) begin
    ticks <= ticks + 1;
    if (state == TAKE && s_axis_tvalid && s_axis_tready) begin
{pixels}
      beat <= beat + 1;
      if (s_axis_tlast) begin
        state <= SCAN; beat <= 0; step <= 0; layer <= 0; row <= 0;
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
        sent <= 0; frame <= frame + 1;
        if (!({tail} && !ticks[31])) state <= TAKE;
      end
    end
    if (rst) begin state <= TAKE; beat <= 0; sent <= 0; frame <= 0; ticks <= 0; end
  end
endmodule
{"".join(cores)}"""
