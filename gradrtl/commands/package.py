"""`gradrtl package`: the accelerator for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import bar, frames_options, memories_option, network_argument, placed, placement_options, whole_command
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
    type=click.Choice(["cocotb", "fusesoc"]),
    help="What the package is for (docs/packages.md).",
)
@placement_options
@frames_options(usual=BENCH_IMAGES)
@memories_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder. [default: build/package/TARGET]")
def package(network: Path, target: str, wanted: Wanted, chosen: Chosen, memories: str, output: Path | None) -> None:
    """Write the accelerator of a NETWORK as a package for another tool, with a test bench where it has one.

    All packages have the Verilog, and a wrapper gradrtl_axi with AXI names, aclk and an active-low aresetn. The frames
    are those of the test bench.
    """
    from ..quantize.network import QuantizedNetwork
    from ..steps.frames import labelled_frames
    from ..steps.package import Kit
    from ..steps.package import package as write

    found = QuantizedNetwork.load(network)
    mapping = placed(found, wanted)
    frames, _ = labelled_frames(found, chosen)
    output = output or Path("build/package") / target
    with bar("generating", 1) as advance:
        written = write(Kit(mapping, whole_command(), frames, memories), target, output)
        advance()
    figures(target=target, output=output, files=written, digest=found.digest)
    click.echo(f"wrote {len(written)} files to {output}")
