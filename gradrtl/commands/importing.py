"""`gradrtl import` and `gradrtl export`: networks from other frameworks, and for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UserError, require
from ..files import check_writable
from ..quantize.config import QatConfig
from .options import (
    STDOUT,
    at_least,
    convention_options,
    given_only,
    network_argument,
    on_the_line,
    output_file,
    search_bar,
    setting_options,
    show_epoch,
    speaker,
    whole_command,
)
from .output import FILE_OR_STDOUT, command, figures

if TYPE_CHECKING:
    from ..steps.importing import Imported, Row
    from ..steps.tuning import Tuning

WITHOUT: dict[str, Any] = {"rotation": 0.0, "shift": 0.0, "flip": False}  # frames are not augmented as images are
LOSS = "cross-entropy"


# Options of an import that are answered by what an export kept beside the graph.
OWN = (
    "kind", "input_bits", "readout", "bits", "per_channel", "fraction", "decay_bits", "membrane_bits", "search",
    "finetune",
)  # fmt: skip


@command("import")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="build/network.npz", type=FILE_OR_STDOUT, help="- is stdout.")
@convention_options("the recording's, or nir")
@click.option("--steps", type=int, callback=at_least(1), help="Steps of a frame.  [default: those of the frames]")
@click.option(
    "--input",
    "kind",
    default="spikes",
    type=click.Choice(["spikes", "graded", "static"]),
    help="What the network reads.",
)
@click.option("--input-bits", default=8, type=int, help="Bits of a pixel or count, 1 to 8.")
@click.option(
    "--readout",
    type=click.Choice(["count", "membrane", "largest", "sum"]),
    help="What is read.  [default: count; membrane of neurons that do not spike]",
)
@click.option("--bits", default=8, type=int, help="Weight bits, 2 to 8.")
@click.option("--per-channel", is_flag=True, help="A unit, and a threshold, for each output channel.")
@click.option(
    "--fraction", default="auto", help="Extra low bits of membranes, 0 to 8; auto: as many as the decays need."
)
@click.option("--decay-bits", default=15, type=int, help="Fraction bits of decays, 1 to 15.")
@click.option("--membrane-bits", type=int, help="Width of saturating membranes. [default: exact]")
@click.option("--calibrate", type=click.Path(path_type=Path), help="Frames (.npy, .npz) to compare on.")
@click.option("--labels", type=click.Path(path_type=Path), help="Their labels (.npy), for the accuracy.")
@click.option("--search", is_flag=True, help="Search the units on the frames.")
@click.option("--reference", type=click.Path(path_type=Path), help="What the framework gave (.npz) for its own input.")
@click.option("--check", is_flag=True, help="Report every finding, write nothing.")
@click.option("--finetune", is_flag=True, help="Fine-tune the integers on the frames and labels.")
@setting_options(QatConfig, leave_out=WITHOUT, defaults={"loss": LOSS})
def import_(
    model, output, framework, changes, steps, kind, input_bits, readout, bits, per_channel, fraction, decay_bits,
    membrane_bits, calibrate, labels, search, reference, check, finetune, **given,
) -> None:  # fmt: skip
    """Import MODEL, a NIR file, as an integer network.

    NIR leaves open how a neuron moves in a step: --framework says who wrote the file. Steps, input and read-outs of a
    file of gradrtl export are what they were, unless they are given. The table shows where spikes differ: between the
    framework's recording and floats, the import; between floats and integers, the rounding.
    --finetune trains the integers, and resumes after an interruption; options from --epochs to --seed are for it only.
    """
    from ..model.importing.hdf5 import read
    from ..model.importing.records import Findings
    from ..quantize.graph_rounding import GraphFormats
    from ..quantize.imported import Asked
    from ..steps.importing import convention_of, framework_of, import_nir, load_samples

    say = speaker(output)
    tuning = _tuning(output, given, say) if finetune else None
    if not finetune:
        require(not given_only(given), "finetune", False, f"True, for {', '.join(given_only(given))}")
    require(not (finetune and check), "finetune", True, "False with --check, which writes nothing")
    record = read(model)
    record, convention, exported = convention_of(record, framework, changes, framework_of(reference))
    kept = None if framework is not None or given_only(changes) or on_the_line(OWN) else exported
    if exported is not None and framework is None:
        say(f"exported by gradrtl: its own convention{' and formats' if kept else ''}")
    if fraction != "auto":
        require(fraction.isdecimal(), "fraction", fraction, "auto, or 0 to 8")
    formats = GraphFormats(bits, input_bits, None if fraction == "auto" else int(fraction), membrane_bits, decay_bits)

    def asked(found: int | None) -> Asked:
        wanted = steps or found or (exported.steps if exported else None)
        if wanted is None:
            raise UserError.of("steps", "not given", "--steps, or frames that have them")
        require(found is None or wanted <= found, "steps", wanted, f"at most {found}, those of the frames")
        return Asked(wanted, kind, readout, per_channel, exported.network_readouts if exported else ())

    if exported is not None and not on_the_line(("kind",)):
        kinds = {given for given, _ in exported.inputs.values()}
        compared = calibrate or reference
        require(
            len(kinds) == 1 or not compared, "frames", compared, "none: the inputs of the network are of several kinds"
        )
        accepted = "one kind, --input, where options change the formats or the convention"
        require(len(kinds) == 1 or kept is not None, "inputs", f"of the kinds {', '.join(sorted(kinds))}", accepted)
        kind = min(kinds)

    say(f"convention {convention.line}")
    findings = Findings()
    try:
        with search_bar() as progress:
            made = import_nir(
                record, convention, asked, formats,
                lambda graph: load_samples(graph, kind, calibrate, labels, reference, findings), findings, search,
                progress, kept, tuning,
            )  # fmt: skip
    except UserError as error:
        if not check:
            for note in findings.notes:
                say(f"note: {note}")
            raise
        every = findings.errors or [str(error)]
        for text in [*(f"note: {note}" for note in findings.notes), *(f"error: {text}" for text in every)]:
            click.echo(text)
        raise UserError(f"{len(every)} in the way of importing {model}") from None
    for note in made.notes:
        say(f"note: {note}")
    _show(made, say)
    figures(
        convention=convention.line,
        notes=made.notes,
        populations=[vars(row) for row in made.rows],
        accuracy=made.accuracy,
        held_out=made.held_out,
        digest=made.network.digest,
    )
    if check:
        say("nothing in the way")
        return
    network = replace(made.network, notes={**made.network.notes, "command": whole_command()})
    with output_file(output) as path:
        network.save(path)
    if tuning is not None and tuning.resume is not None:
        tuning.resume.unlink(missing_ok=True)  # only now is it no longer needed
    say(f"{network.connected} synapses, {network.steps} steps, digest {network.digest[:16]}")
    say(f"wrote {output}")


def _tuning(output: Path, given, say) -> Tuning:
    """How to fine-tune."""
    from ..steps.tuning import Tuning

    resume = None
    if output != STDOUT:
        check_writable(output)
        resume = output.with_suffix(".resume.pt")
    chosen = {"loss": LOSS, **WITHOUT, **given_only(given)}

    def resumed(epochs: int) -> None:
        say(f"resumes after epoch {epochs} of fine-tuning")

    return Tuning(QatConfig(**chosen), resume, show_epoch, resumed)


def _show(made: Imported, say) -> None:
    """The table, a line a population, and the accuracy."""
    if made.rows:
        heads = ("population", "neurons", "framework", "floats", "integers", "import differs", "rounding differs")
        lines = [heads, *(_cells(row) for row in made.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        for line in lines:
            say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if made.accuracy:
        held_out = "" if made.held_out is None else f" on the {made.held_out} frames held out"
        say(f"accuracy{held_out}: " + ", ".join(f"{what} {100 * value:.2f} %" for what, value in made.accuracy.items()))


def _cells(row: Row) -> tuple[str, ...]:
    floats, integers, recorded = row.spikes

    def differs(count: int | None, positions: int | None, first: tuple[int, int, int] | None) -> str:
        if count is None:
            return "-"
        where = "" if first is None else f", first at frame {first[0]} step {first[1]} neuron {first[2]}"
        return f"{count} of {positions}{where}"

    return (
        row.name,
        str(row.neurons),
        "-" if recorded is None else str(recorded),
        str(floats),
        str(integers),
        differs(row.recorded_differ, row.recorded_positions, row.recorded_first),
        differs(row.differ, row.positions, row.first),
    )


@command()
@network_argument
@click.option("-o", "--output", default="build/network.nir", type=click.Path(path_type=Path), help="The NIR file.")
def export(network: Path, output: Path) -> None:
    """Export a NETWORK as a NIR file, and say what is lost.

    gradrtl import of the file gives the same integers back: what NIR has no words for stands in its metadata.
    """
    from ..model.importing.hdf5 import write
    from ..quantize.network import QuantizedNetwork
    from ..quantize.nir_export import exported

    record, lost = exported(QuantizedNetwork.load(network))
    write(output, record)
    for what in lost:
        click.echo(f"lost for other programs: {what}")
    figures(lost=lost, output=output)
    click.echo(f"wrote {output}")
