"""`gradrtl synth` and `gradrtl run`: a network on an FPGA."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np

from .errors import UserError
from .model.data import load
from .options import bar, data_option, frames_for, network_argument, parse_pes, planned_pes, training_frames
from .quantize.network import QuantizedNetwork
from .rtl.devices import DEVICES
from .rtl.devices import device as find
from .rtl.mapping import Mapping, map_network
from .sim.operations import source_rates


def place_on(network: QuantizedNetwork, device: str, folder: Path, pes: str | None = None) -> Mapping:
    """Map `network` for `device`: with `pes`, or as planned. Rates and plan come from training images in `folder`.

    Where there is RAM without contents that is wide enough, it holds the first layer's synapses.
    """
    target = find(device)
    frames = training_frames(network, folder)
    rates = source_rates(network, frames)
    strided = (0,) if target.wide_rams else ()

    def mapped(numbers: list[int]) -> Mapping:
        return map_network(
            network, numbers, rates, target.pixels_a_beat, target.queue_depth, target.row_queue_depth, strided
        )

    if pes:
        return mapped(parse_pes(pes, network, frames, target.pixels_a_beat))
    return mapped(planned_pes(target, network, frames, target.pixels_a_beat, mapped))


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
    from .hardware_commands import timing
    from .rtl.boards import Design, board_design, board_of
    from .rtl.synthesis import synthesise
    from .rtl.verilog import generate

    target = find(device)
    found = QuantizedNetwork.load(network)
    mapping = place_on(found, device, folder, pes)
    output = output or Path("build/synth") / device
    if target.placed:
        design = board_design(mapping, board_of(device))
    else:
        design = Design(
            "gradrtl", {"gradrtl.v": generate(mapping, f"gradrtl synth --device {device}")}, {}, target.clock
        )
    began = time.monotonic()
    with bar(f"{device}", 1) as advance:
        report = synthesise(design, target, output, seed, lambda line: click.echo(f"  {line}", err=True))
        advance()
    _, test = load(folder)
    stream, apart = timing(mapping, frames_for(found, test))
    interval, latency = float(stream.interval.mean()), float(apart.latency.mean())
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    click.echo(f"{target.part}, PE {used}, {time.monotonic() - began:.0f} s")
    for name, count in report.used.items():
        click.echo(f"  {name}: {count} of {report.available.get(name, 0)}")
    for memory in report.stray_memories:
        click.echo(f"  note: {memory.name}, {memory.words} x {memory.bits} bits, is in {memory.where}")
    figures = {"interval": round(interval, 1), "latency": round(latency, 1), "pe": used}
    figures |= {"network": str(network), "digest": found.digest}
    if report.placed:
        figures |= {
            "frames_a_second": round(1e6 * report.frequency / interval),
            "latency_us": round(latency / report.frequency, 2),
        }
        click.echo(
            f"  {report.frequency} MHz; critical path (ns): " + ", ".join(f"{m} {d}" for m, d in report.critical_path)
        )
        click.echo(f"  {figures['frames_a_second']} frames/s, latency {figures['latency_us']} us")
    else:
        click.echo("  synthesis only: no frequency")
    click.echo(f"  {interval:.1f} cycles a frame, latency {latency:.1f} cycles ({len(test.labels)} test images)")
    entry = json.loads((output / "report.json").read_text()) | figures
    (output / "report.json").write_text(json.dumps(entry, indent=1) + "\n")
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
    from .host import Host, LineError, open_line
    from .rtl.boards import BAUD
    from .rtl.loading import image
    from .rtl.serial import identity

    found = QuantizedNetwork.load(network)
    mapping = place_on(found, device, folder, pes)
    _, test = load(folder)
    frames, labels = frames_for(found, test)[:images], test.labels[:images]
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


COMMANDS = (synth, run)
