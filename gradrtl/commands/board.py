"""`gradrtl synth` and `gradrtl run`: a network on an FPGA."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UserError, require
from ..files import write_text
from ..locks import hold
from ..rtl.devices import DEVICES, DoesNotFit
from ..rtl.devices import device as find
from .options import bar, frames_options, network_argument, placed, placement_options, report_option, whole_command
from .output import command, figures, plain, remark

if TYPE_CHECKING:
    from ..quantize.network import QuantizedNetwork
    from ..rtl.mapping import Mapping
    from ..steps.frames import Chosen
    from ..steps.place import Wanted

FIRST_IMAGES = 20  # that `run` sends by default


@command()
@network_argument
@placement_options
@frames_options()
@report_option
@click.option("--clock", type=float, help="Clock of the board in MHz, made by its PLL. [default: the board's own]")
@click.option("--seed", default=1, type=int, help="Seed of the place-and-route tool.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the results. [default: build/synth/DEVICE]"
)
def synth(
    network: Path,
    wanted: Wanted,
    chosen: Chosen,
    report: Path | None,
    clock: float | None,
    seed: int,
    output: Path | None,
) -> None:
    """Build NETWORK for an FPGA: netlist, placement, bitstream; area, frequency, frames per second.

    A design that is too slow for its board's clock gets no bitstream: --clock sets a slower one.
    """
    from ..quantize.network import QuantizedNetwork
    from ..steps.frames import labelled_frames, number_of
    from ..steps.results import data_text, energy_of, work_of
    from ..steps.synth import synth as build

    device = wanted.device
    if device is None:
        raise UserError(f"device is missing, expected --device with one of {', '.join(DEVICES)}")
    target = find(device)
    found = QuantizedNetwork.load(network)
    frames, _ = labelled_frames(found, chosen)
    output = output or Path("build/synth") / device
    began = time.monotonic()

    def show(line: str) -> None:
        remark(f"  {line}")

    told = {
        "network": str(network),
        "digest": found.digest,
        "part": target.part,
        "data": data_text(chosen, number_of(frames)),
        "command": whole_command(),
    }
    mapping: Mapping | None = None
    try:
        mapping = _placed_with_frames(found, wanted)
        told["pe"] = ",".join(map(str, mapping.placement.pes))
        with hold(output), bar(f"{device}", 1) as advance:
            made = build(mapping, target, frames, output, whole_command(), seed, show, clock)
            advance()
    except DoesNotFit as error:
        figures(**told, refused=str(error))
        if report is not None:
            write_report(report, plain(told | {"refused": str(error)}), found, mapping, output)
        raise
    result = made.report
    click.echo(f"{target.part}, PE {told['pe']}, {time.monotonic() - began:.0f} s")
    for name, count in result.used.items():
        click.echo(f"  {name}: {count} of {result.available.get(name, 0)}")
    for memory in result.stray_memories:
        click.echo(f"  note: {memory.name}, {memory.words} x {memory.bits} bits, is in {memory.where}")
    counted = {"cycles_per_frame": round(made.interval, 1), "latency_cycles": round(made.latency, 1)} | told
    if result.placed:
        for suffix, megahertz in (("", result.frequency), ("_at_board_clock", result.clock)):
            counted |= {
                f"frames_per_second{suffix}": made.frames_per_second(megahertz),
                f"latency_us{suffix}": made.latency_us(megahertz),
            }
        click.echo(
            f"  {result.frequency} MHz; critical path (ns): " + ", ".join(f"{m} {d}" for m, d in result.critical_path)
        )
        click.echo(
            f"  at {result.frequency} MHz, the highest frequency that the tools report: "
            f"{counted['frames_per_second']} frames/s, latency {counted['latency_us']} us"
        )
        if not result.too_slow:
            click.echo(
                f"  at {result.clock} MHz, the board's clock: "
                f"{counted['frames_per_second_at_board_clock']} frames/s, "
                f"latency {counted['latency_us_at_board_clock']} us"
            )
    else:
        click.echo("  synthesis only: no frequency")
    count = number_of(frames)
    click.echo(f"  {made.interval:.1f} cycles per frame, latency {made.latency:.1f} cycles ({count} frames)")
    entry = json.loads((output / "report.json").read_text()) | counted
    if report is not None:
        entry |= {"activity": work_of(mapping, frames), **energy_of(found, frames)}
    figures(**entry, folder=output)
    write_text(output / "report.json", json.dumps(entry, indent=1) + "\n")
    if report is not None:
        write_report(report, plain(entry | {"folder": output}), found, mapping, output)
    if result.too_slow:
        raise UserError(
            f"no bitstream: {result.frequency} MHz is below the board's clock, {result.clock} MHz; "
            "another --seed, fewer PEs or a slower --clock may help"
        )
    if result.bitstream:
        click.echo(f"wrote {output / result.bitstream}")


def _placed_with_frames(network: QuantizedNetwork, wanted: Wanted) -> Mapping:
    mapping = placed(network, wanted)
    require(not mapping.network.stream, "stream", True, "given to generate or package: synth and run have frames")
    return mapping


def write_report(
    path: Path, told: dict[str, Any], network: QuantizedNetwork, mapping: Mapping | None, folder: Path
) -> None:
    """The report of `synth`, of its figures. The files of the run are in `folder`; without a mapping there are none."""
    from ..report.page import write
    from ..report.runs import synthesis

    files = [] if mapping is None else [(file, "") for file in sorted(folder.iterdir())]
    write(path, synthesis(path, told, network, mapping, files))
    click.echo(f"wrote {path}")


@command()
@network_argument
@click.option("--port", required=True, help="Serial device of the board, such as /dev/ttyUSB1.")
@placement_options
@frames_options(usual=FIRST_IMAGES)
def run(network: Path, port: str, wanted: Wanted, chosen: Chosen) -> None:
    """Send test images, or frames of your own, to a board over its serial port and print the classes.

    Give the same placement options as for gradrtl synth, which made the board's bitstream.
    """
    import numpy as np

    from ..host import Host
    from ..line import LineError, open_line
    from ..quantize.network import QuantizedNetwork
    from ..rtl.boards import BAUD, board_of
    from ..rtl.loading import image
    from ..rtl.outputs import Outputs
    from ..rtl.serial import identity
    from ..steps.frames import labelled_frames
    from ..steps.notes import require_labels

    found = QuantizedNetwork.load(network)
    if wanted.device:
        board_of(wanted.device)  # refuses a device without a board
    with open_line(port, BAUD) as line:
        mapping = _placed_with_frames(found, wanted)
        given, labels = labelled_frames(found, chosen)
        frames = mapping.input.packed(mapping.input.stacked(given))
        require_labels(found, labels)
        host = Host(line, BAUD, outputs=mapping.output)
        if host.identify() != identity(mapping):
            raise LineError(
                f"the board on {port} holds another network or placement than {network}: "
                "give the options of its gradrtl synth, or build its bitstream again"
            )
        if memories := image(mapping):
            with bar("loading", 1) as advance:
                host.load(memories)
                advance()
        decided = []
        for index, answer in enumerate(host.classify(np.ascontiguousarray(frames))):
            decided.append((answer.klass, *answer.others))
            told = ", ".join(map(str, decided[-1]))
            click.echo(f"image {index}: {told}" + ("" if labels is None else f" (label {labels[index]})"))
    classes = [first for first, *_ in decided]
    right = None if labels is None else int((np.array(classes) == labels).sum())
    figures(
        images=len(frames),
        right=right,
        classes=classes,
        readouts=Outputs.table(found),
        decided=decided,
        repeated=host.statistics.repeated,
    )
    told = f"{len(frames)} images" if right is None else f"{right} of {len(frames)} right"
    click.echo(f"{told}; {host.statistics.repeated} packets repeated")
