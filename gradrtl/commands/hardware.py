"""`gradrtl place`, `gradrtl generate` and `gradrtl verify`: from a network of integers to proven Verilog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__
from ..errors import require
from ..files import check_writable, write_text
from .options import (
    STDOUT,
    at_least,
    bar,
    chosen_frames,
    data_option,
    frames_options,
    memories_option,
    network_argument,
    output_file,
    paced,
    placed,
    placement_options,
    report_option,
    speaker,
    whole_command,
)
from .output import FILE_OR_STDOUT, UPDATED, as_json, command, figures, plain

if TYPE_CHECKING:
    from ..steps.frames import Chosen
    from ..steps.place import Wanted

FIRST_BATCH = 200  # images that `verify` compares by default


@command()
@network_argument
@data_option
@placement_options
@click.option(
    "-o",
    "--output",
    type=UPDATED,
    help="Network file to write; - is stdout. [default: NETWORK itself]",
)
def place(network: Path, folder: Path, wanted: Wanted, output: Path | None) -> None:
    """Write event rates, and the placement if options choose one, into a NETWORK file.

    Rates are measured on training images. Of a placement that the file has, what no option gives stays; --device plans
    anew. Rates and placement change neither the results nor the digest of the network.
    """
    from ..quantize.network import QuantizedNetwork
    from ..sim.operations import titles
    from ..steps.place import Wanted, training_frames, with_rates
    from ..steps.place import place as run

    found = QuantizedNetwork.load(network)
    made = with_rates(found, training_frames(found, folder))
    say = speaker(output)
    require(not wanted.stream, "stream", True, "given to generate or verify: a network file describes frames")
    if wanted != Wanted():
        placement = run(made, wanted).placement
        made = replace(made, placement=placement)
        say(f"placement: {placement.line}")
    with output_file(output or network) as path:
        made.save(path)
    figures(output=output or network, digest=made.digest, placement=made.placement and made.placement.line)
    what = "layer" if made.is_chain else "population"
    for title, rates in zip(titles(made), made.rates or (), strict=True):
        say(f"{what} {title}: {rates.sum():.1f} events per frame, of {len(rates)} sources")
    say(f"wrote {output or network}")


@command()
@network_argument
@click.option("-o", "--output", default="build/gradrtl.v", type=FILE_OR_STDOUT, help="- is stdout.")
@click.option(
    "--header", type=click.Path(path_type=Path), help="Also write registers and result packets, as a C header."
)
@memories_option
@click.option(
    "--front-end",
    "sound",
    is_flag=True,
    help="With the front end for sound of its training: samples come in, a stream.",
)
@placement_options
def generate(network: Path, output: Path, header: Path | None, memories: str, sound: bool, wanted: Wanted) -> None:
    """Write the accelerator of a NETWORK as one Verilog file; with --memories hex, also the files that it reads."""
    from ..quantize.network import QuantizedNetwork
    from ..rtl import microphone
    from ..rtl.c_header import c_header
    from ..rtl.contents import prefix_of, split_memories
    from ..rtl.verilog import generate as emit
    from ..steps.hearing import Ear

    require(memories == "inline" or output != STDOUT, "memories", memories, "inline, if the Verilog goes to stdout")
    found = QuantizedNetwork.load(network)
    front_end = Ear.of(found).settings if sound else None
    mapping = placed(found, replace(wanted, stream=True) if sound else wanted)
    say = speaker(output)
    with bar("generating", 1) as advance:
        if front_end is None:
            text = emit(mapping, whole_command())
        else:
            text = microphone.generate(mapping, front_end, whole_command())
        advance()
    contents: dict[str, str] = {}
    if memories == "hex":
        text, contents = split_memories(text, prefix_of(output), keep_lines=False)
    for name, words in contents.items():
        write_text(output.with_name(name), words)
    with output_file(output) as path:
        path.write_text(text)
    used = ",".join(map(str, mapping.placement.pes))
    say(f"processing elements {used}, {mapping.memory_bits} memory bits, {len(text)} bytes")
    figures(output=output, pes=mapping.placement.pes, memory_bits=mapping.memory_bits, bytes=len(text), header=header)
    if mapping.placement.strided:
        say("note: the device's large memories have no initial contents; gradrtl synth builds a design that loads them")
    say(f"wrote {output}" + (f" and {len(contents)} files of memories beside it" if contents else ""))
    if header is not None:
        with output_file(header) as path:
            path.write_text(c_header(len(mapping.layers), mapping.output))
        say(f"wrote {header}")


@command()
@network_argument
@click.argument("verilog", type=click.Path(path_type=Path), required=False)
@placement_options
@frames_options(usual=FIRST_BATCH)
@click.option("--all", "every", is_flag=True, help="All test images.")
@click.option(
    "--stalls", default=0.0, type=float, help="Probability of a stall in each cycle, both streams; at most 0.99."
)
@click.option("--seed", default=0, type=int, help="Seed of the stalls.")
@click.option("--jobs", type=int, callback=at_least(1), help="Parallel drivers. [default: one per core]")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="Compare in pieces, and keep the results of each in this file: an interrupted run resumes.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the result to this JSON file.")
@click.option(
    "--wave",
    type=click.Path(path_type=Path),
    help="Write the cycles around the first difference to this .fst or .vcd file, with view files beside it.",
)
@click.option("--wave-frame", type=int, help="Write this frame to --wave, counted from 0, whether it differs or not.")
@click.option("--wave-cycles", type=int, callback=at_least(1), help="Cycles before and after. [default: 200]")
@report_option
@click.option("--trusted", is_flag=True, help="Allow VERILOG to run commands and access files; it is not confined.")
def verify(
    network: Path,
    verilog: Path | None,
    wanted: Wanted,
    chosen: Chosen,
    every: bool,
    stalls: float,
    seed: int,
    jobs: int | None,
    log: Path | None,
    output: Path | None,
    wave: Path | None,
    wave_frame: int | None,
    wave_cycles: int | None,
    report: Path | None,
    trusted: bool,
) -> None:
    """Compare compiled VERILOG (default: freshly generated) with the simulator: every spike, membrane, sum and cycle.

    The placement is read from the Verilog's header. A difference ends in exit code 1 and is described.
    """
    from ..quantize.network import QuantizedNetwork
    from ..rtl.outputs import Outputs
    from ..sim.driving import Stalls
    from ..sim.waves import check_suffix
    from ..steps.frames import number_of
    from ..steps.notes import require_labels
    from ..steps.results import data_text, energy_of, judgement, work_of
    from ..steps.verify import Waves, mapping_of, read_verilog, traced
    from ..steps.verify import verify as compare

    require(not every or chosen.images is None, "images", chosen.images, "not given together with --all")
    for option, value in (("wave-frame", wave_frame), ("wave-cycles", wave_cycles)):
        require(value is None or wave is not None, option, value, "given together with --wave")
    require(
        wave_cycles is None or wave_frame is None, "wave-cycles", wave_cycles, "not given together with --wave-frame"
    )
    for path in (output, wave, log):
        if path is not None:
            check_writable(path)
    if wave is not None:
        check_suffix(wave)
    stalled = Stalls(stalls, stalls, seed)
    found = QuantizedNetwork.load(network)
    text = None if verilog is None else read_verilog(verilog)
    mapping = placed(found, wanted) if text is None else mapping_of(found, text, wanted)
    frames, labels = chosen_frames(found, replace(chosen, usual=None) if every else chosen, mapping.network.stream)
    require_labels(found, labels)
    with paced("compiling, comparing", number_of(frames)) as (further, resumed):
        result = compare(mapping, text, frames, stalled, jobs, further, trusted, log, resumed)
    for note in result.notes:
        click.echo(f"note: {note}")
    waves: tuple[Path, ...] = ()
    if wave is not None:
        with bar("recording the wave", 1) as advance:
            waves = Waves(wave, wave_frame, wave_cycles).write(mapping, text, frames, result, stalled, trusted)
            advance()
    counted = len(result.classes)  # fewer than the frames after a difference
    accuracy = None if labels is None or not counted else float((result.classes == labels[:counted]).mean())
    told = {
        "passed": result.passed,
        "network": network,
        "digest": found.digest,
        "placement": mapping.placement.line,
        "frames": result.frames,
        "spikes": result.spikes,
        "membranes": result.membranes,
        "frames_with_predicted_cycles": result.predicted,
        "cycles": result.cycles,
        "seconds": result.seconds,
        "build_seconds": result.build_seconds,
        "difference": result.difference and str(result.difference),
        "fault": result.fault,
        "notes": result.notes,
        "classes": result.classes,
        "readouts": Outputs.table(mapping.network),
        "accuracy": accuracy,
        **judgement(result.classes, labels, found.classes),
        "latency_cycles": result.latency,
        "interval_cycles": result.interval,
        "waves": waves,
        "data": data_text(chosen, number_of(frames), mapping.network.stream),
        "command": whole_command(),
        "version": __version__,
    }
    if report is not None:
        told |= {"activity": work_of(mapping, frames), **energy_of(mapping.network, frames)}
    figures(**told)
    if output is not None:
        write_text(output, as_json(told))
    if report is not None:
        from ..report.page import write as write_report
        from ..report.runs import verification

        with bar("writing the report", 1) as advance:
            drawn = traced(mapping, text, frames, result, labels, stalled, trusted)
            files = [(network, "the network"), (verilog, "the Verilog"), (output, "the result as JSON")]
            files += [(path, "a wave, or a view of it") for path in waves]
            write_report(report, verification(report, plain(told), mapping, frames, drawn, result.difference, files))
            advance()
    click.echo(str(result))
    click.echo(f"{result.cycles} cycles in {result.seconds:.1f} s, of which build {result.build_seconds:.1f} s")
    if waves:
        click.echo(
            "wave of cycles around the difference" if wave_frame is None else f"wave of frame {wave_frame}", nl=False
        )
        click.echo(f": {', '.join(map(str, waves))}")
    elif wave is not None:
        click.echo("no wave: " + ("there is no difference" if result.passed else "the design ended without a cycle"))
    if report is not None:
        click.echo(f"wrote {report}")
    if not result.passed:
        click.echo(f"repeat with: {whole_command()}")
        raise SystemExit(1)
