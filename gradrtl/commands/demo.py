"""`gradrtl demo` and `gradrtl report`: the whole flow in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import bar, images_option, placement_options, show_epoch, whole_command
from .output import command, figures


@command()
@click.option("--out", default="build/mnist", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--connectivity", default=0.05, type=float, help="Fraction of non-zero weights.")
@click.option("--epochs", default=16, type=int, help="Epochs of training.")
@click.option("--fine-tuning", default=5, type=int, help="Epochs of fine-tuning with integers.")
@click.option("--bits", default=4, type=int, help="Weight bits, 2 to 8.")
@placement_options
@click.option("--images", default=500, type=int, help="Test images compared spike by spike.")
@click.option("--seed", default=0, type=int, help="Seed of training and fine-tuning.")
@images_option
def demo(out, connectivity, epochs, fine_tuning, bits, wanted, images, seed, folder) -> None:
    """Run the whole flow: train, quantise, simulate, generate, verify, report.

    Each step writes one file into the folder of the run. A step is skipped if its file was made from the same data,
    settings and sources, so an interrupted run resumes.
    """
    from ..steps.demo import REPORT, Settings
    from ..steps.demo import demo as run

    settings = Settings(str(folder), connectivity, epochs, fine_tuning, bits, wanted, images, seed)
    made = run(settings, out, bar, show_epoch, click.echo, whole_command())
    figures(**made, folder=out)
    _show(made)
    click.echo(f"everything is in {out}; open {out / REPORT}")
    if made["mismatches"]:
        raise SystemExit(1)


@command()
@click.argument("folder", default="build/mnist", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write FOLDER/report.html again, from the files of a complete run."""
    from ..steps.demo import REPORT
    from ..steps.demo import report as write

    write(folder)
    figures(report=folder / REPORT)
    click.echo(f"wrote {folder / REPORT}")


def _show(made: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", title="GradRTL")
    percent = "{:.2f} %".format
    for name, value in (
        ("accuracy, float", percent(100 * made["accuracy_float"])),
        ("accuracy, quantised", percent(100 * made["accuracy_quantised"])),
        (f"accuracy, RTL, first {made['images_rtl']} images", percent(100 * made["accuracy_rtl"])),
        ("connectivity, trained", percent(100 * made["connectivity"])),
        ("connectivity, quantised", percent(100 * made["connectivity_quantised"])),
        ("weight bits", str(made["weight_bits"])),
        ("processing elements", made["pes"]),
        ("memory bits", str(made["memory_bits"])),
        (
            f"cycles per frame, back to back, first {made['images_timed']} images",
            f"{made['cycles_per_frame']:.1f}",
        ),
        ("latency of a frame alone, cycles", f"{made['latency_cycles']:.1f}"),
        ("spikes compared", str(made["spikes_compared"])),
        ("membranes compared", str(made["membranes_compared"])),
        ("mismatches", str(made["mismatches"])),
    ):
        table.add_row(name, value)
    Console().print(table)
    for note in made["notes"]:
        click.echo(f"note: {note}")
