"""FPGA devices: resources and tools of each.

Numbers are those of the vendors' data sheets and, for logic cells, of nextpnr's own device databases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import UserError, require

ANY = 1 << 30  # no limit on the number of bits


class DoesNotFit(UserError):
    """The design needs more of something than the device has."""


@dataclass(frozen=True)
class Device:
    """One FPGA.

    Attributes
    ----------
    family
        `ice40`, `ecp5`, `gowin` or `xilinx`: names the Yosys command `synth_<family>`.
    luts, flip_flops, multipliers, block_rams
        Numbers on the device; `luts` have 4 inputs (xilinx: 6).
    multiplier_bits
        Width of a multiplier's operands.
    ram_shapes
        (words, bits) that one block RAM can have.
    wide_rams, wide_shape
        Large single-port memories without initial contents, and their shape.
    luts_a_pe
        LUTs per PE in placed designs, with a share of everything else: a rough estimate.
    clock
        Target in MHz.
    small_ram, small_rom
        (words, bits): a memory with at most this size, written (`small_ram`) or not (`small_rom`), is built from LUTs
        or flip-flops. Where block RAMs are scarce, the bounds are larger than the tools' own.
    queues_in_ram
        There is no LUT RAM: queues are in block RAM, unless they are small (see `queues.is_clocked`).
    pixels_a_beat, queue_depth, row_queue_depth
        Values for this device: small ones save logic; queues in block RAM may be long without cost.
    share
        Fraction of the device that a plan should not exceed, if possible.
    placed
        False: synthesis only, no open place and route.
    options
        Arguments of nextpnr that name the part.
    """

    name: str
    part: str
    family: str
    luts: int
    flip_flops: int
    multipliers: int
    block_rams: int
    ram_shapes: tuple[tuple[int, int], ...]
    luts_a_pe: int
    clock: float
    small_ram: tuple[int, int] = (64, ANY)
    small_rom: tuple[int, int] = (0, 0)
    queues_in_ram: bool = False
    pixels_a_beat: int = 4
    queue_depth: int = 16
    row_queue_depth: int = 8
    multiplier_bits: int = 18
    share: float = 1.0
    options: tuple[str, ...] = ()
    wide_rams: int = 0
    wide_shape: tuple[int, int] = (0, 0)
    placed: bool = True

    @property
    def ram_bits(self) -> int:
        """Bits of all block RAMs."""
        return self.block_rams * max(words * bits for words, bits in self.ram_shapes)

    def rams_for(self, words: int, bits: int) -> int:
        """Block RAMs of a memory: it is cut into pieces with the words of a shape, which share a block if its width
        allows.
        """
        return min(-(-(-(-words // w) * bits) // b) for w, b in self.ram_shapes)

    def fits_wide(self, words: int, bits: int) -> bool:
        """Whether one wide single-port memory can hold it."""
        return words <= self.wide_shape[0] and bits <= self.wide_shape[1]


ICE40_SHAPES = ((256, 16), (512, 8), (1024, 4), (2048, 2))
KBIT18_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))

SERIES7 = Device(
    "xc7k325t",
    "AMD XC7K325T-2FFG900C",
    "xilinx",
    luts=203800,
    flip_flops=407600,
    multipliers=840,
    block_rams=890,
    ram_shapes=KBIT18_SHAPES,
    luts_a_pe=480,
    clock=100,
    small_ram=(256, 18),
    small_rom=(512, 8),
    placed=False,
)

DEVICES = {
    device.name: device
    for device in (
        Device(
            "up5k",
            "Lattice iCE40UP5K-SG48",
            "ice40",
            luts=5280,
            flip_flops=5280,
            multipliers=8,
            multiplier_bits=16,
            block_rams=30,
            ram_shapes=ICE40_SHAPES,
            luts_a_pe=970,
            clock=25,
            small_ram=(16, ANY),
            queues_in_ram=True,
            pixels_a_beat=1,
            row_queue_depth=16,
            options=("--up5k", "--package", "sg48"),
            wide_rams=4,
            wide_shape=(16384, 16),
        ),
        Device(
            "ecp5-25",
            "Lattice LFE5U-25F-6BG381C",
            "ecp5",
            luts=24288,
            flip_flops=24288,
            multipliers=28,
            block_rams=56,
            ram_shapes=KBIT18_SHAPES,
            luts_a_pe=700,
            clock=90,
            small_rom=(512, 8),
            options=("--25k", "--package", "CABGA381", "--speed", "6"),
        ),
        Device(
            "ecp5-85",
            "Lattice LFE5U-85F-6BG381C",
            "ecp5",
            luts=83640,
            flip_flops=83640,
            multipliers=156,
            block_rams=208,
            ram_shapes=KBIT18_SHAPES,
            luts_a_pe=700,
            clock=90,
            small_rom=(512, 8),
            options=("--85k", "--package", "CABGA381", "--speed", "6"),
        ),
        Device(
            "gw1nr-9",
            "Gowin GW1NR-LV9QN88PC6/I5",
            "gowin",
            luts=8640,
            flip_flops=6480,
            multipliers=20,
            block_rams=26,
            ram_shapes=KBIT18_SHAPES,
            luts_a_pe=580,
            clock=40,
            small_ram=(16, ANY),
            pixels_a_beat=2,
            options=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
        ),
        replace(
            SERIES7,
            name="xc7z020",
            part="AMD XC7Z020-1CLG400C",
            luts=53200,
            flip_flops=106400,
            multipliers=220,
            block_rams=280,
            small_ram=(256, 72),
            share=0.1,
        ),
        SERIES7,
        replace(
            SERIES7,
            name="xc7vx690t",
            part="AMD XC7VX690T-2FFG1761C",
            luts=433200,
            flip_flops=866400,
            multipliers=3600,
            block_rams=2940,
        ),
    )
}


def device(name: str) -> Device:
    """The device called `name`; `UserError` lists those that exist."""
    require(name in DEVICES, "device", name, " or ".join(DEVICES))
    return DEVICES[name]
