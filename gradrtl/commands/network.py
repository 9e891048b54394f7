"""`gradrtl info` and `gradrtl simulate`: an integer network and its results for images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    at_least,
    bar,
    chosen_frames,
    frames_options,
    network_argument,
    output_file,
    placed,
    placement_options,
    planning,
    report_option,
    speaker,
    stream_option,
    whole_command,
)
from .output import FILE_OR_STDOUT, command, figures, plain

if TYPE_CHECKING:
    from rich.table import Table

    from ..quantize.network import QuantizedNetwork
    from ..sim.traces import Traced
    from ..steps.frames import Chosen
    from ..steps.place import Wanted


def described(network: QuantizedNetwork) -> dict[str, Any]:
    """What --json tells of a network: its parts with widths in bits, and its totals."""
    from ..rtl.outputs import Outputs

    return {
        "inputs": [
            {"name": given.name, "shape": given.shape, "kind": given.kind, "bits": given.bits}
            for given in network.inputs
        ],
        "populations": [
            {
                "name": population.name,
                "shape": population.shape,
                "sum_bits": ranges.current_bits,
                "membrane_bits": ranges.membrane_bits,
                "connections": [
                    {
                        "sources": edge.connection.sources,
                        "delay": edge.connection.delay,
                        "weight_bits": edge.connection.weight_bits,
                        "synapses": edge.connected,
                        "weights": edge.possible,
                    }
                    for edge in network.graph.into(number)
                ],
            }
            for number, (population, ranges) in enumerate(zip(network.populations, network.ranges, strict=True))
        ],
        "readouts": Outputs.table(network),
        "connectivity": network.connectivity,
        "synapses": network.connected,
        "weights": network.possible,
        "steps": network.steps,
        "classes": network.classes,
        "digest": network.digest,
    }


@command()
@network_argument
@placement_options
@click.option(
    "--picture", "drawn", type=click.Path(path_type=Path), help="Draw the network as a graph to this .svg file."
)
def info(network: Path, wanted: Wanted, drawn: Path | None) -> None:
    """Show a NETWORK's layers, widths, connectivity and memory, and the plan for each device.

    With --device, for that device only. generate, verify, synth and run use the same plans.
    """
    from rich.console import Console

    from ..files import write_text
    from ..quantize.network import QuantizedNetwork
    from ..rtl.devices import DEVICES
    from ..rtl.devices import device as find
    from ..rtl.mapping import refusal
    from ..steps.drawing import drawing
    from ..steps.notes import on_rates
    from ..steps.picture import picture
    from ..steps.place import fits_of

    found = QuantizedNetwork.load(network)
    if drawn is not None:
        write_text(drawn, picture(found))
    if found.is_chain:
        Console().print(_layers(found))
        click.echo(f"connectivity {100 * found.connectivity:.2f} %, {found.connected} of {found.possible} weights")
        click.echo(f"steps {found.steps}, classes {found.classes}, read-out {found.readout.kind}")
    else:
        click.echo("\n".join(drawing(found)))
    click.echo(f"digest {found.digest}")
    planned: dict[str, Any] = {}
    refused = refusal(found)
    if refused is not None:
        click.echo(f"placement: none, {refused}; gradrtl simulate runs it")
    else:
        mapping = placed(found, wanted)
        click.echo(f"placement: {mapping.placement.line}; {mapping.memory_bits} memory bits")
        devices = [find(wanted.device)] if wanted.device else list(DEVICES.values())
        with planning(0 if wanted.device else len(devices)) as progress:  # `placed` has planned for it
            fits = fits_of(found, devices, wanted, progress)
        for fit in fits:
            click.echo(str(fit))
        planned = {
            "placement": mapping.placement.line,
            "memory_bits": mapping.memory_bits,
            "devices": {fit.device.name: str(fit) for fit in fits},
        }
    figures(**described(found), **planned)
    for note in on_rates(found):
        click.echo(f"note: {note}")
    if drawn is not None:
        click.echo(f"wrote {drawn}")


def _layers(network: QuantizedNetwork) -> Table:
    """The layers of a chain."""
    from rich.table import Table

    table = Table("layer", "shape", "weights", "synapses", "connectivity", "weight", "sum", "membrane")
    for layer, ranges in zip(network.layers, network.ranges, strict=True):
        table.add_row(
            layer.name,
            " x ".join(map(str, layer.shape)),
            str(layer.possible),
            str(layer.connected),
            f"{100 * layer.connectivity:.2f} %",
            f"{layer.weight_bits} bit",
            f"{ranges.current_bits} bit",
            f"{ranges.membrane_bits} bit",
        )
    return table


@command()
@network_argument
@stream_option
@frames_options()
@report_option
@click.option("--threads", type=int, callback=at_least(1), help="Threads. [default: one per core]")
@click.option("-o", "--output", type=FILE_OR_STDOUT, help="Write classes and sums to this .npz file; - is stdout.")
def simulate(
    network: Path, stream: bool, chosen: Chosen, report: Path | None, threads: int | None, output: Path | None
) -> None:
    """Run test images, or frames of your own, through the bit-accurate simulator.

    With --stream, all steps of all frames follow each other in one stream, and each has a result.
    """
    from ..quantize.network import QuantizedNetwork
    from ..sim.operations import titles
    from ..steps.frames import number_of
    from ..steps.notes import require_labels
    from ..steps.results import data_text, judgement
    from ..steps.simulate import simulate as run

    found = QuantizedNetwork.load(network)
    frames, labels = chosen_frames(found, chosen, stream)
    require_labels(found, labels)
    found = found.streamed if stream else found
    unit = "step" if stream else "frame"
    count = number_of(frames)
    with bar("simulating", count) as advance:
        made = run(found, frames, threads, advance)
    say = speaker(output)
    accuracy = None if labels is None else made.accuracy(labels)
    say(
        f"{count} {'steps' if stream else 'images'}"
        + ("" if accuracy is None else f", accuracy {100 * accuracy:.2f} %")
    )
    told = {
        "images": count,
        "accuracy": accuracy,
        **judgement(made.classes, labels, found.classes),
        **{
            what: dict(zip(titles(found), values, strict=True))
            for what, values in (("events", made.events), ("synaptic_operations", made.synaptic))
        },
        "counted": made.counted,
        "energy_nj": made.energy,
        "dense_energy_nj": made.dense_energy,
        "readouts": made.answers(found),
        "notes": made.notes(found, labels),
        "network": network,
        "digest": found.digest,
        "data": data_text(chosen, count, stream),
        "command": whole_command(),
    }
    figures(**told)
    for row in made.answers(found) if len(found.readouts) > 1 else ():
        usual = int(row["answers"].argmax())
        say(f"read-out {row['source']} ({row['kind']}): {row['classes']} classes, most often {usual}")
    what = "layer" if found.is_chain else "population"
    if made.counted < count:
        say(f"of {f'the first {made.counted} steps' if stream else f'{made.counted} of these, evenly spread'}:")
    for title, events, synaptic in zip(titles(found), made.events, made.synaptic, strict=True):
        say(f"{what} {title}: {events:.1f} events, {synaptic:.1f} synaptic operations per {unit}")
    say(
        f"energy, an estimate from published figures: {made.energy:.1f} nJ per {unit}, "
        f"dense network {made.dense_energy:.1f} nJ"
    )
    for note in made.notes(found, labels):
        say(f"note: {note}")
    if output is not None:
        with output_file(output) as path:
            made.save(path)
        say(f"wrote {output}")
    if report is not None:
        from ..report.page import write
        from ..report.runs import simulation
        from ..sim.traces import simulated, simulated_steps, window_of
        from ..steps.results import worth_drawing

        if stream:
            drawn: tuple[Traced, ...] = (simulated_steps(found, frames, window_of(len(made.classes))),)
        else:
            drawn = simulated(found, frames, worth_drawing(made.classes, labels))
        files = [(network, "the network"), (output, "classes and sums")]
        write(report, simulation(report, plain(told), found, frames, drawn, files))
        say(f"wrote {report}")
