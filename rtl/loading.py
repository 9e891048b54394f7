"""Memories whose contents are loaded after configuration, and the ports for loading.

The UP5K's large memories have one port and no initial contents. Their contents are sent once after power-up and
survive every reset.
"""

from __future__ import annotations

import numpy as np
from amaranth.hdl import ClockSignal, Instance, Module, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..bits import unsigned_bits
from .mapping import LayerMapping, Mapping

RAM = "gradrtl_single_port_ram"

# Appended to the Verilog of a loadable design. Amaranth gives every memory initial contents; this one has none, so
# that synthesis may choose a memory that cannot have any; the attribute asks for the largest kind that there is.
RAM_VERILOG = f"""
module {RAM} #(parameter DEPTH = 2, parameter WIDTH = 1, parameter ADDRESS = 1) (
  input wire clk, input wire write, input wire [ADDRESS-1:0] address,
  input wire [WIDTH-1:0] word, output reg [WIDTH-1:0] q
);
  (* ram_style = "huge" *) reg [WIDTH-1:0] memory [0:DEPTH-1];
  always @(posedge clk)
    if (write) memory[address] <= word;
    else q <= memory[address];
endmodule
"""


def load_layout(mapping: Mapping) -> data.StructLayout:
    """One word for a synapse memory: `write` is 1 in the cycle in which it is valid.

    `memory` counts the PEs of all strided layers, in order.
    """
    layers = strided_layers(mapping)
    memories = sum(layer.pes for layer in layers)
    return data.StructLayout(
        {
            "write": 1,
            "memory": unsigned_bits(memories - 1),
            "address": max((layer.synapse_address_bits for layer in layers), default=1),
            "word": max((layer.synapse_format.synapse.bits for layer in layers), default=1),
        }
    )


def load_ports(layer: LayerMapping, memories: int) -> dict[str, wiring.Member]:
    """Ports for loading `memories` synapse memories of one layer: one bit of `load_write` for each."""
    return {
        "load_write": In(memories),
        "load_address": In(layer.synapse_address_bits),
        "load_word": In(layer.synapse_format.synapse.bits),
    }


def strided_layers(mapping: Mapping) -> list[LayerMapping]:
    """The layers whose synapses are loaded."""
    return [layer for layer in mapping.layers if layer.stride_bits is not None]


def image(mapping: Mapping) -> list[np.ndarray]:
    """Contents of every loaded memory, int64 arrays, in the order of `load_layout`'s `memory`."""
    return [layer.synapse_words(pe) for layer in strided_layers(mapping) for pe in range(layer.pes)]


class LoadableMemory(wiring.Component):
    """A single-port memory of `depth` words: reads at `address`, unless `write` puts `word` there.

    Latency: `q` follows one cycle after `address`; it holds during a write. Contents survive reset.
    """

    def __init__(self, depth: int, width: int):
        self.depth, self.width = depth, width
        self.address_bits = unsigned_bits(depth - 1)
        super().__init__(
            {
                "write": In(1),
                "address": In(self.address_bits),
                "word": In(unsigned(width)),
                "q": Out(unsigned(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ram = Instance(
            RAM,
            p_DEPTH=self.depth,
            p_WIDTH=self.width,
            p_ADDRESS=self.address_bits,
            i_clk=ClockSignal(),
            i_write=self.write,
            i_address=self.address,
            i_word=self.word,
            o_q=self.q,
        )
        return m
