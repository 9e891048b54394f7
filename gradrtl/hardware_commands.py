"""`gradrtl info | simulate | generate | verify`: from a network of integers to proven Verilog."""

from __future__ import annotations

import os
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from .errors import UserError, require
from .model.data import load
from .options import (
    bar,
    data_option,
    frames_for,
    load_frames,
    network_argument,
    place,
    placement_options,
)
from .quantize.network import QuantizedNetwork
from .quantize.placement import QUEUE_DEPTH, ROW_QUEUE_DEPTH
from .rtl.mapping import Mapping, map_network
from .rtl.planning import budget
from .sim import engine
from .sim.cycles import predict
from .sim.energy import dense, estimate
from .sim.events import events_of
from .sim.operations import count

FIRST_BATCH = 200  # images that `verify` compares if not asked for more


@click.command()
@network_argument
def info(network: Path) -> None:
    """Show a NETWORK's layers, widths, connectivity and memory."""
    found = QuantizedNetwork.load(network)
    table = Table("layer", "shape", "weights", "kept", "of all", "weight", "sum", "membrane")
    kept, places = 0, 0
    for layer, ranges in zip(found.layers, found.ranges, strict=True):
        weight = layer.synapses.weight
        kept, places = kept + int(np.count_nonzero(weight)), places + weight.size
        table.add_row(
            layer.name,
            " x ".join(map(str, layer.shape)),
            str(weight.size),
            str(np.count_nonzero(weight)),
            f"{100 * np.count_nonzero(weight) / weight.size:.2f} %",
            f"{layer.weight_bits} bit",
            f"{ranges.current_bits} bit",
            f"{ranges.membrane_bits} bit",
        )
    Console().print(table)
    click.echo(f"connectivity {100 * kept / places:.2f} %, {kept} of {places} weights")
    mapping = map_network(found)
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    click.echo(f"{mapping.memory_bits} memory bits with {used} processing elements; on a device they take")
    for line in budget(mapping):
        click.echo(line)
    click.echo(f"steps {found.steps}, classes {found.classes}, read-out {found.readout.kind}")
    click.echo(f"digest {found.digest}")


@click.command()
@network_argument
@data_option
@click.option("--images", type=int, help="Only the first so many test images.")
@click.option("--threads", type=int, help="Default: one on each core.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write classes and sums to this .npz file.")
def simulate(network: Path, folder: Path, images: int | None, threads: int | None, output: Path | None) -> None:
    """Run the test images through the bit-accurate simulator."""
    found = QuantizedNetwork.load(network)
    _, test = load(folder)
    frames, labels = _first(frames_for(found, test), test.labels, images)
    size = 2000
    parts = []
    with bar("simulating", len(frames)) as advance:
        for start in range(0, len(frames), size):
            parts.append(engine.run(found, frames[start : start + size], threads=threads))
            advance(len(parts[-1].classes))
    classes = np.concatenate([part.classes for part in parts])
    sums = np.concatenate([part.counts for part in parts])
    click.echo(f"{len(frames)} images, accuracy {100 * float((classes == labels).mean()):.2f} %")
    measured = count(found, frames[:1000])
    for index, layer in enumerate(found.layers):
        events, synaptic = (float(x[index].sum(axis=1).mean()) for x in (measured.events, measured.synaptic))
        click.echo(f"layer {layer.name}: {events:.1f} events, {synaptic:.1f} synaptic operations a frame")
    ours, theirs = estimate(found, measured).nanojoules, dense(found).nanojoules
    click.echo(f"energy, an estimate from published figures: {ours:.1f} nJ a frame, dense network {theirs:.1f} nJ")
    if output is not None:
        np.savez_compressed(output, classes=classes, sums=sums)
        click.echo(f"wrote {output}")


@click.command()
@network_argument
@click.option("-o", "--output", default="build/gradrtl.v", type=click.Path(path_type=Path))
@placement_options
def generate(
    network: Path,
    output: Path,
    pes: str,
    pixels_a_beat: int,
    queue_depth: int,
    row_queue_depth: int,
    folder: Path,
    given: Path | None,
) -> None:
    """Write the accelerator of a NETWORK as one Verilog file."""
    from .rtl.verilog import generate as emit

    found = QuantizedNetwork.load(network)
    frames = None if given is None else load_frames(given, found)
    mapping = place(found, pes, folder, pixels_a_beat, frames, queue_depth, row_queue_depth)
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    with bar("generating", 1) as advance:
        text = emit(mapping, f"gradrtl generate {_placement(used, pixels_a_beat, queue_depth, row_queue_depth)}")
        advance()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    click.echo(f"processing elements {used}, {mapping.memory_bits} memory bits, {len(text)} bytes")
    click.echo(f"wrote {output}")


@click.command()
@network_argument
@click.argument("verilog", type=click.Path(path_type=Path), required=False)
@placement_options
@click.option("--images", default=FIRST_BATCH, type=int, help="The first so many test images.")
@click.option("--all", "every", is_flag=True, help="All test images.")
@click.option("--stalls", default=0.0, type=float, help="Probability of a stall on both streams, in each cycle.")
@click.option("--seed", default=0, type=int, help="Of the stalls.")
@click.option("--jobs", type=int, help="Drivers side by side; default: one on each core.")
def verify(
    network: Path,
    verilog: Path | None,
    pes: str,
    pixels_a_beat: int,
    queue_depth: int,
    row_queue_depth: int,
    folder: Path,
    given: Path | None,
    images: int,
    every: bool,
    stalls: float,
    seed: int,
    jobs: int | None,
) -> None:
    """Compare compiled VERILOG (default: freshly generated) with the simulator: every spike, membrane, sum and cycle.

    Give the options of placement with which the Verilog was made. Exit code 1, and the first difference, if they part.
    """
    from .sim import generated
    from .sim import verify as proof
    from .sim.verilated import Stalls

    stalled = Stalls(stalls, stalls, seed)
    found = QuantizedNetwork.load(network)
    if given is not None:
        frames = load_frames(given, found)
        selection = f"--frames {given}"
    else:
        _, test = load(folder)
        frames, _ = _first(frames_for(found, test), test.labels, None if every else images)
        selection = f"--images {len(frames)} --data {folder}"
    mapping = place(found, pes, folder, pixels_a_beat, None if given is None else frames, queue_depth, row_queue_depth)
    if verilog is None:
        text: str | Path = generated.verilog(mapping, "gradrtl verify")
    else:
        require(verilog.is_file(), "verilog", verilog, "a file")
        text = verilog
    jobs = jobs or len(os.sched_getaffinity(0))
    with bar("compiling, comparing", len(frames)) as advance:
        result = proof.verify(mapping, text, frames, stalls=stalled, jobs=jobs, progress=advance)
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(str(result))
    click.echo(f"{result.cycles} cycles in {result.seconds:.1f} s, of which build {result.build_seconds:.1f} s")
    if not result.passed:
        command = f"gradrtl verify {network} {verilog or ''} {selection}"
        command += " " + _placement(pes, pixels_a_beat, queue_depth, row_queue_depth)
        click.echo(f"repeat with: {command} --stalls {stalls} --seed {seed} --jobs {jobs}")
        raise SystemExit(1)


def _placement(pes: str, pixels_a_beat: int, queue_depth: int, row_queue_depth: int) -> str:
    """Options that place a network in the same way again; depths only where they are not the usual ones."""
    options = f"--pe {pes} --pixels-a-beat {pixels_a_beat}"
    if (queue_depth, row_queue_depth) != (QUEUE_DEPTH, ROW_QUEUE_DEPTH):
        options += f" --queue-depth {queue_depth} --row-queue-depth {row_queue_depth}"
    return options


def timing(mapping: Mapping, frames: np.ndarray):
    """Predicted cycles of `frames` back to back, and of each alone."""
    outcome = engine.run(mapping.network, frames, trace=True)
    assert outcome.trace is not None
    events = events_of(mapping, frames, outcome.trace)
    return predict(mapping, events), predict(mapping, events, apart=True)


def _first(frames: np.ndarray, labels: np.ndarray, images: int | None) -> tuple[np.ndarray, np.ndarray]:
    if images is not None and not 1 <= images <= len(frames):
        raise UserError(f"images is {images}: 1 to {len(frames)}")
    return frames[:images], labels[:images]


COMMANDS = (info, simulate, generate, verify)
