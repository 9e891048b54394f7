"""`gradrtl synth` and `gradrtl run`: a network on an FPGA."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from ..errors import UserError
from ..files import write_text
from ..locks import hold
from ..rtl.devices import DEVICES
from ..rtl.devices import device as find
from .options import bar, data_option, network_argument

pe_option = click.option("--pe", "pes", help="Processing elements by layer; default: the fastest plan that fits.")


@click.command()
@network_argument
@click.option("--device", required=True, help="One of " + ", ".join(DEVICES) + ".")
@pe_option
@data_option
@click.option("--seed", default=1, type=int, help="Of the placement.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder; default build/synth/DEVICE.")
def synth(network: Path, device: str, pes: str | None, folder: Path, seed: int, output: Path | None) -> None:
    """Build NETWORK for an FPGA: netlist, placement, bitstream; area, frequency, frames a second.

    A design that is too slow for its board's clock gets no bitstream.
    """
    from ..quantize.network import QuantizedNetwork
    from ..steps.frames import labelled_frames
    from ..steps.place import place_on
    from ..steps.synth import synth as build

    target = find(device)
    found = QuantizedNetwork.load(network)
    mapping = place_on(found, device, folder, pes)
    frames, _ = labelled_frames(found, folder)
    output = output or Path("build/synth") / device
    began = time.monotonic()
    with hold(output), bar(f"{device}", 1) as advance:
        made = build(mapping, target, frames, output, seed, lambda line: click.echo(f"  {line}", err=True))
        advance()
    report = made.report
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    click.echo(f"{target.part}, PE {used}, {time.monotonic() - began:.0f} s")
    for name, count in report.used.items():
        click.echo(f"  {name}: {count} of {report.available.get(name, 0)}")
    for memory in report.stray_memories:
        click.echo(f"  note: {memory.name}, {memory.words} x {memory.bits} bits, is in {memory.where}")
    figures = {"interval": round(made.interval, 1), "latency": round(made.latency, 1), "pe": used}
    figures |= {"network": str(network), "digest": found.digest}
    if report.placed:
        figures |= {
            "frames_a_second": made.frames_per_second(report.frequency),
            "latency_us": made.latency_us(report.frequency),
        }
        click.echo(
            f"  {report.frequency} MHz; critical path (ns): " + ", ".join(f"{m} {d}" for m, d in report.critical_path)
        )
        click.echo(f"  {figures['frames_a_second']} frames/s, latency {figures['latency_us']} us")
    else:
        click.echo("  synthesis only: no frequency")
    click.echo(f"  {made.interval:.1f} cycles per frame, latency {made.latency:.1f} cycles ({len(frames)} test images)")
    entry = json.loads((output / "report.json").read_text()) | figures
    write_text(output / "report.json", json.dumps(entry, indent=1) + "\n")
    if report.too_slow:
        raise UserError(
            f"no bitstream: {report.frequency} MHz is below the board's clock, {report.clock} MHz; "
            "another --seed, fewer PEs or a slower clock may help"
        )
    if report.bitstream:
        click.echo(f"wrote {output / report.bitstream}")


@click.command()
@network_argument
@click.option("--port", required=True, help="Serial device of the board, such as /dev/ttyUSB1.")
@click.option("--device", default="up5k", help="The device that the board's bitstream was made for.")
@pe_option
@data_option
@click.option("--images", default=20, type=int, help="The first so many test images.")
def run(network: Path, port: str, device: str, pes: str | None, folder: Path, images: int) -> None:
    """Send test images to a board over its serial port and print the classes."""
    import numpy as np

    from ..host import Host, LineError, open_line
    from ..quantize.network import QuantizedNetwork
    from ..rtl.boards import BAUD
    from ..rtl.loading import image
    from ..rtl.serial import identity
    from ..steps.frames import labelled_frames
    from ..steps.place import place_on

    found = QuantizedNetwork.load(network)
    mapping = place_on(found, device, folder, pes)
    frames, labels = labelled_frames(found, folder, images)
    host = Host(open_line(port, BAUD), BAUD)
    if host.identify() != identity(mapping):
        raise LineError("the board holds another network or placement: build it with gradrtl synth")
    if image(mapping):
        with bar("loading", 1) as advance:
            host.load(image(mapping))
            advance()
    right = 0
    for index, answer in enumerate(host.classify(np.ascontiguousarray(frames))):
        right += answer.klass == labels[index]
        click.echo(f"image {index}: {answer.klass} (label {labels[index]})")
    click.echo(f"{right} of {len(frames)} right; {host.statistics.repeated} packets repeated")
