"""`gradrtl generate` and `gradrtl verify`: from a network of integers to proven Verilog."""

from __future__ import annotations

from pathlib import Path

import click

from .options import at_least, bar, network_argument, output_file, placement_options, speaker

FIRST_BATCH = 200  # images that `verify` compares if not asked for more


@click.command()
@network_argument
@click.option("-o", "--output", default="build/gradrtl.v", type=click.Path(path_type=Path), help="- is stdout.")
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
    from ..quantize.network import QuantizedNetwork
    from ..rtl.verilog import generate as emit
    from ..steps.frames import load_frames
    from ..steps.place import place

    found = QuantizedNetwork.load(network)
    frames = None if given is None else load_frames(given, found)
    mapping = place(found, pes, folder, pixels_a_beat, frames, queue_depth, row_queue_depth)
    used = ",".join(str(layer.pes) for layer in mapping.layers)
    say = speaker(output)
    with bar("generating", 1) as advance:
        text = emit(mapping, f"gradrtl generate {_placement(used, pixels_a_beat, queue_depth, row_queue_depth)}")
        advance()
    with output_file(output) as path:
        path.write_text(text)
    say(f"processing elements {used}, {mapping.memory_bits} memory bits, {len(text)} bytes")
    say(f"wrote {output}")


@click.command()
@network_argument
@click.argument("verilog", type=click.Path(path_type=Path), required=False)
@placement_options
@click.option("--images", default=FIRST_BATCH, type=int, help="The first so many test images.")
@click.option("--all", "every", is_flag=True, help="All test images.")
@click.option("--stalls", default=0.0, type=float, help="Probability of a stall on both streams, in each cycle.")
@click.option("--seed", default=0, type=int, help="Of the stalls.")
@click.option("--jobs", type=int, callback=at_least(1), help="Drivers side by side; default: one on each core.")
@click.option("--trusted", is_flag=True, help="VERILOG may run commands and touch files; nothing confines it.")
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
    trusted: bool,
) -> None:
    """Compare compiled VERILOG (default: freshly generated) with the simulator: every spike, membrane, sum and cycle.

    Give the options of placement with which the Verilog was made. Exit code 1, and the first difference, if they part.
    """
    from ..quantize.network import QuantizedNetwork
    from ..sim.driving import Stalls
    from ..steps.frames import labelled_frames, load_frames
    from ..steps.place import place
    from ..steps.verify import verify as compare

    stalled = Stalls(stalls, stalls, seed)
    found = QuantizedNetwork.load(network)
    if given is not None:
        frames = load_frames(given, found)
        selection = f"--frames {given}"
    else:
        frames, _ = labelled_frames(found, folder, None if every else images)
        selection = f"--images {len(frames)} --data {folder}"
    mapping = place(found, pes, folder, pixels_a_beat, None if given is None else frames, queue_depth, row_queue_depth)
    with bar("compiling, comparing", len(frames)) as advance:
        result = compare(mapping, verilog, frames, stalled, jobs, advance, trusted)
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(str(result))
    click.echo(f"{result.cycles} cycles in {result.seconds:.1f} s, of which build {result.build_seconds:.1f} s")
    if not result.passed:
        command = f"gradrtl verify {network} {verilog or ''} {selection}"
        command += " " + _placement(pes, pixels_a_beat, queue_depth, row_queue_depth)
        command += f" --stalls {stalls} --seed {seed}" + (f" --jobs {jobs}" if jobs else "") + " --trusted" * trusted
        click.echo(f"repeat with: {command}")
        raise SystemExit(1)


def _placement(pes: str, pixels_a_beat: int, queue_depth: int, row_queue_depth: int) -> str:
    """Options that place a network in the same way again; depths only where they are not the usual ones."""
    options = f"--pe {pes} --pixels-a-beat {pixels_a_beat}"
    if (queue_depth, row_queue_depth) != (16, 8):
        options += f" --queue-depth {queue_depth} --row-queue-depth {row_queue_depth}"
    return options
