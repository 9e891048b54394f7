"""`gradrtl package`: the accelerator for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import require
from .options import (
    bar,
    chosen_frames,
    frames_options,
    given_only,
    memories_option,
    network_argument,
    placed,
    placement_options,
    whole_command,
)
from .output import command, figures

if TYPE_CHECKING:
    from ..steps.frames import Chosen
    from ..steps.place import Wanted

BENCH_IMAGES = 5  # frames in a test bench by default


@command()
@network_argument
@click.option(
    "--for",
    "target",
    required=True,
    type=click.Choice(["cocotb", "fusesoc", "vivado", "litex"]),
    help="What the package is for (docs/packages.md).",
)
@placement_options
@frames_options(usual=BENCH_IMAGES)
@memories_option
@click.option("--part", help="vivado: the device, a Zynq-7000.  [default: xc7z020clg400-1, of the PYNQ-Z2]")
@click.option("--board", help="vivado: the board's name there; '' for none.  [default: tul.com.tw:pynq-z2:part0:1.0]")
@click.option("--mhz", type=float, help="vivado: the clock.  [default: 100]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder. [default: build/package/TARGET]")
def package(
    network: Path,
    target: str,
    wanted: Wanted,
    chosen: Chosen,
    memories: str,
    part: str | None,
    board: str | None,
    mhz: float | None,
    output: Path | None,
) -> None:
    """Write the accelerator of a NETWORK as a package for another tool, with a test bench where it has one.

    All packages have the Verilog, and a wrapper gradrtl_axi with AXI names, aclk and an active-low aresetn. The frames
    are those of the test bench.
    """
    from ..quantize.network import QuantizedNetwork
    from ..steps.kit import Board, Kit
    from ..steps.package import package as write

    about_board = given_only({"part": part, "board": board, "mhz": mhz})
    for name, value in about_board.items():
        require(target == "vivado", name, value, f"nothing for {target}: it is for vivado")
    given = Board(**about_board)
    found = QuantizedNetwork.load(network)
    mapping = placed(found, wanted)
    frames, _ = chosen_frames(found, chosen, mapping.network.stream)
    output = output or Path("build/package") / target
    with bar("generating", 1) as advance:
        written = write(Kit(mapping, whole_command(), frames, memories, given), target, output)
        advance()
    figures(target=target, output=output, files=written, digest=found.digest)
    click.echo(f"wrote {len(written)} files to {output}")
