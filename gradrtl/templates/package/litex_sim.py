"""A small SoC with the accelerator, built and run in LiteX's Verilator simulation: `python sim.py`.

There is no processor: a script of bus accesses does what a program would do. It identifies the accelerator, sends each
frame from memory, and compares the packets in memory with those of GradRTL's simulator.
"""

import json
import subprocess
import sys

from gradrtl_litex import FACTS, HERE, WORD, add_gradrtl
from litex.build.generic_platform import Pins
from litex.build.io import CRG
from litex.build.sim import SimPlatform
from litex.build.sim.config import SimConfig
from litex.gen import LiteXModule
from litex.soc.integration.builder import Builder
from litex.soc.integration.export import get_csr_json
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import wishbone
from migen import FSM, Cat, Display, Finish, If, Memory, NextState, NextValue, Signal

FRAMES, PACKETS, REGISTERS = 0x1000_0000, 0x2000_0000, 0x3000_0000  # where they are on the bus
WRITE, EXPECT, AWAIT, END = range(4)  # kinds of steps: write; read this value; read until it is this value
PATIENCE = 20  # bits of the cycles that a step may take
CLOCK = 1_000_000


class Script(LiteXModule):
    """Does `steps`, tuples of a kind, an address and a value, as a master of the bus; prints PASS or FAIL and ends."""

    def __init__(self, steps, told):
        self.bus = bus = wishbone.Interface(data_width=WORD, adr_width=WORD - 2, addressing="word")
        words = [
            kind << 2 * WORD | address << WORD | value for kind, address, value in [*steps, (END, 0, 0), (END, 0, 0)]
        ]
        memory = Memory(2 + 2 * WORD, len(words), init=words)
        port = memory.get_port(async_read=True)
        self.specials += memory, port
        number, cycles = Signal(max=len(words) + 1), Signal(PATIENCE)
        kind, address, value = Signal(2), Signal(WORD), Signal(WORD)
        self.comb += [
            port.adr.eq(number),
            Cat(value, address, kind).eq(port.dat_r),
            bus.adr.eq(address[2:]),
            bus.dat_w.eq(value),
            bus.sel.eq(15),
            bus.we.eq(kind == WRITE),
        ]
        self.fsm = fsm = FSM(reset_state="ACCESS")
        again = (kind == AWAIT) & (bus.dat_r != value)
        fsm.act(
            "ACCESS",
            bus.cyc.eq(kind != END),
            bus.stb.eq(kind != END),
            If(bus.ack & ~again, NextState("NEXT")),
            If(bus.ack & again, NextState("AGAIN")),
        )
        fsm.act("AGAIN", NextState("ACCESS"))
        fsm.act("NEXT", NextValue(number, number + 1), NextState("ACCESS"))
        wrong = (kind == EXPECT) & (bus.dat_r != value)
        self.sync += [
            cycles.eq(cycles + 1),
            If(fsm.ongoing("NEXT"), cycles.eq(0)),
            If(fsm.ongoing("ACCESS") & (kind == END), Display(f"PASS: {told}"), Finish()),
            If(
                bus.ack & wrong,
                Display("FAIL: step %0d: address %x is %x, expected %x", number, address, bus.dat_r, value),
                Finish(),
            ),
            If(bus.err, Display("FAIL: step %0d: no answer from address %x", number, address), Finish()),
            If(
                cycles == (1 << PATIENCE) - 1,
                Display("FAIL: step %0d: address %x is never %x", number, address, value),
                Finish(),
            ),
        ]


class SoC(SoCMini):
    """Frames in a ROM, packets in a RAM, the accelerator, the script of `steps`."""

    def __init__(self, frames, steps):
        platform = SimPlatform("SIM", [("sys_clk", 0, Pins(1))])
        super().__init__(platform, clk_freq=CLOCK)
        self.crg = CRG(platform.request("sys_clk"))
        words = [word for frame in frames for word in frame["words"]]
        self.add_rom("frames", FRAMES, size_of(len(words)), contents=words)
        self.add_ram("packets", PACKETS, size_of(max(len(frame["packet"]) for frame in frames)))
        add_gradrtl(self, REGISTERS)
        self.script = Script(steps, f"{len(frames)} packets as expected")
        self.bus.add_master("script", master=self.script.bus)


def size_of(words):
    """Bytes of a memory for so many words: a power of two."""
    return 1 << max(5, (4 * words - 1).bit_length())


def steps_of(frames, csrs):
    """What a program does; `csrs` are the addresses of the DMAs' registers."""

    def start(part, base, words):
        place = {name: csrs[f"gradrtl_{part}_{name}"]["addr"] for name in ("base", "length", "enable", "done")}
        steps = [(place["enable"], 0), (place["base"], 0), (place["base"] + 4, base), (place["length"], 4 * words)]
        return [(WRITE, address, value) for address, value in [*steps, (place["enable"], 1)]], (AWAIT, place["done"], 1)

    def register(name, value):
        return EXPECT, REGISTERS + FACTS["registers"][name], value

    digest = FACTS["digest"]
    steps = [register("magic", FACTS["magic"])]
    steps += [register(f"digest{i}", int(digest[8 * i : 8 * i + 8], 16)) for i in range(8)]
    base = FRAMES
    for number, frame in enumerate(frames):
        write, written = start("writer", PACKETS, len(frame["packet"]))
        read, _ = start("reader", base, len(frame["words"]))
        words = [(EXPECT, PACKETS + 4 * i, word & 0xFFFFFFFF) for i, word in enumerate(frame["packet"])]
        waits = (AWAIT, REGISTERS + FACTS["registers"]["status"], 1)  # a packet, for the writer
        steps += [*read, waits, *write] if number % 2 else [*write, *read]
        steps += [written, *words]
        base += 4 * len(frame["words"])
    return [*steps, register("frames_in", len(frames)), register("frames_out", len(frames)), register("errors", 0)]


def generate():
    """Write the SoC's Verilog and what LiteX needs to build it; returns the folder."""
    frames = json.loads((HERE / "vectors.json").read_text())["frames"]
    first = SoC(frames, [])  # tells where LiteX puts the registers
    first.finalize()
    csrs = json.loads(get_csr_json(first.csr.regions))["csr_registers"]
    config = SimConfig()
    config.add_clocker("sys_clk", freq_hz=CLOCK)
    folder = HERE / "build"
    builder = Builder(SoC(frames, steps_of(frames, csrs)), output_dir=str(folder), compile_software=False)
    builder.build(sim_config=config, run=False)
    return folder / "gateware"


def main():
    gateware = generate()
    with (gateware / "build.log").open("w") as log:
        done = subprocess.run(["bash", "build_sim.sh"], cwd=gateware, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print(f"FAIL: no simulation was built: {gateware / 'build.log'}")
        return 1
    simulated = subprocess.run(["obj_dir/Vsim"], cwd=gateware, capture_output=True, text=True, check=False)
    print(simulated.stdout)
    return int("PASS" not in simulated.stdout)


if __name__ == "__main__":
    sys.exit(main())
