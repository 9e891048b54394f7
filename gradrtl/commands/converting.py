"""`gradrtl convert`: from images, by a network of activations, to a spiking network."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import require, require_not_given
from ..files import check_writable
from ..model.relu_config import LONGEST, First, ReluConfig
from .options import (
    convention_options,
    given_only,
    images_option,
    report_option,
    run_option,
    setting_options,
    show_epoch,
    show_resumed,
    training_device_option,
    whole_command,
)
from .output import command, figures, plain
from .training import CHECKPOINT


@command()
@click.option(
    "--network", help="JSON file of a network without max pools, or the preset mnist-mlp.  [default: mnist-mlp]"
)
@click.option("--layers", help="Layers in place of a preset: 784-256-10, 32C3-AP2-64C3-AP2-10, ... (docs/training.md).")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="ReLU network that was trained elsewhere: a state dict (.pt, .pth; the layers by --network or --layers), a "
    "NIR file, whose convention is told as for import, or a checkpoint (.npz). Then --epochs is 0 if not given.",
)
@convention_options("nir")
@setting_options(ReluConfig, leave_out=("network",))
@click.option("--start", type=click.Path(path_type=Path), help="Weights and thresholds of a converted checkpoint.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What gradrtl teacher has written, a converted checkpoint, or an integer network, to distil from; see "
    "--distil. Of several, the probabilities are averaged.",
)
@click.option(
    "--longest",
    default=LONGEST,
    help=f"Most steps of the table, which has powers of two; 1 to {LONGEST}.",
)
@training_device_option
@images_option
@report_option
@run_option("build/convert")
def convert(
    network, layers, source, framework, changes, start, teachers, longest, device, folder, report, out, **given
) -> None:
    """Train a network of activations and convert it to integrate-and-fire neurons; writes OUT/checkpoint.npz.

    With --from the network is one that was trained elsewhere; thresholds start at its largest activations, but those of
    an integer network stay. Held-out images show how close the firing rates come to the activations: a table, and plots
    in OUT.
    """
    from ..model.architecture import described, read_description
    from ..model.checkpoint import Checkpoint
    from ..model.conversion import powers
    from ..model.data import load
    from ..model.workers import leads
    from ..steps.convert import accuracy_of, is_network, start_from, table, teacher_from, write
    from ..steps.convert import convert as run
    from ..steps.notes import on_answers
    from ..steps.results import judgement

    require(network is None or layers is None, "layers", layers, "not given beside --network")
    powers(longest)
    check_writable(out / CHECKPOINT)
    training, _ = load(folder)
    if network is not None and network.endswith(".json"):
        network = read_description(network, training.shape)
    described_as = layers if network is None else network
    first = None if start is None else Checkpoint.load(start)
    taught = [teacher_from(path) for path in teachers]
    anew: First = "given" if source is None else "thresholds"
    before = "plain"  # thresholds and levels are still to be found
    if source is None:
        require_not_given({"framework": framework, **changes}, "with --from, a NIR file")
    else:
        require(start is None, "start", start, "not given beside --from")
        shape, steps = training.shape, ReluConfig.steps if given["steps"] is None else given["steps"]
        given_as = None if described_as is None else described(described_as)(shape)
        if is_network(source):
            anew, before = "statistics", "shift"
        first = start_from(source, given_as, shape, framework, changes, steps)
        training.require_fit(first.network.input_shape, first.network.classes, "training set")
        described_as = first.network
        given["epochs"] = 0 if given["epochs"] is None else given["epochs"]
    config = ReluConfig(**given_only(given | {"network": described_as}))
    if source is not None and first is not None and leads():
        click.echo(
            f"starts from {source}, held-out accuracy {100 * accuracy_of(first, before, config, training):.2f} %"
        )

    resumed = show_resumed(config.all_epochs)
    made = run(config, training, out, show_epoch, whole_command(), device, first, taught, resumed, anew, longest)
    if made is None:
        return
    made.checkpoint.save(out / CHECKPOINT)
    plots = write(made.closeness, out)
    found = made.closeness
    notes = on_answers(found.answers, None, made.held_out.labels)
    told = {
        "checkpoint": out / CHECKPOINT,
        "connectivity": made.checkpoint.census.connectivity,
        "steps": found.steps,
        "accuracy": found.accuracy,
        "activations_accuracy": found.activations_accuracy,
        "errors": found.errors,
        "history": made.checkpoint.history,
        "notes": notes,
        "data": folder,
        "command": whole_command(),
        **judgement(found.answers, made.held_out.labels, made.checkpoint.network.classes),
    }
    figures(**told)
    click.echo(table(found))
    click.echo(f"connectivity {100 * made.checkpoint.census.connectivity:.2f} %")
    for note in notes:
        click.echo(f"note: {note}")
    click.echo(f"wrote {out / CHECKPOINT}")
    if report is not None:
        from ..report.page import write as write_report
        from ..report.runs import conversion

        files = [(out / CHECKPOINT, "the spiking network"), *plots]
        write_report(report, conversion(report, plain(told), made.checkpoint, made.held_out, files))
        click.echo(f"wrote {report}")
