"""`gradrtl train` and `gradrtl quantize`: from images or recordings to an integer network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..errors import require, require_not_given
from ..files import check_writable
from ..model.config import NO_TARGET, TrainConfig
from ..quantize.config import AS_TRAINED, QatConfig
from .options import (
    STDOUT,
    convention_options,
    data_option,
    event_options,
    given_only,
    output_file,
    report_option,
    run_option,
    search_bar,
    setting_options,
    show_epoch,
    show_resumed,
    speaker,
    training_device_option,
    whole_command,
)
from .output import FILE_OR_STDOUT, command, figures, plain, remark

CHECKPOINT = "checkpoint.npz"  # in the folder of a training


@command()
@click.option(
    "--network", help="Preset (mnist-mlp, mnist-conv, cifar10-small, ...) or JSON file.  [default: mnist-mlp]"
)
@click.option("--layers", help="Layers in place of a preset: 784-256-10, 32C3-P2-64C3-P2-10, ... (docs/training.md).")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Start from this trained network: a checkpoint (.npz) or a NIR file, whose convention is told as for import.",
)
@convention_options("nir")
@click.option(
    "--readout",
    type=click.Choice(["count", "membrane", "largest", "sum"]),
    help="What is read of a NIR file's network.  [default: count; membrane of neurons that do not spike]",
)
@setting_options(TrainConfig, leave_out=("network",))
@event_options
@click.option("--teacher", type=click.Path(path_type=Path), help="Checkpoint to distil from; see --distil.")
@training_device_option
@data_option
@report_option
@run_option("build/train")
def train(
    network, layers, source, framework, changes, readout, teacher, device, folder, report, out, counting, **given
) -> None:
    """Train a sparse network; writes OUT/checkpoint.npz. An interrupted run resumes after its last complete epoch.

    With --from training goes on from a trained network, which the recipe makes sparse: weights, signs, thresholds and
    decays are those of the file.
    """
    from ..model.architecture import read_description
    from ..model.checkpoint import Checkpoint
    from ..model.workers import leads, part
    from ..steps.events import load
    from ..steps.notes import on_answers
    from ..steps.results import judgement
    from ..steps.train import accuracy_of, start_of
    from ..steps.train import train as run

    require(network is None or layers is None, "layers", layers, "not given beside --network")
    check_writable(out / CHECKPOINT)
    data, start = load(folder, counting, given["steps"]), None
    if source is None:
        require_not_given({"framework": framework, "readout": readout, **changes}, "with --from, a NIR file")
    else:
        for name, value in (("network", network), ("layers", layers)):
            require(value is None, name, value, "not given beside --from")
        start = start_of(source, data[0].shape, framework, changes, given["steps"], readout)
        if start.is_import:
            given["steps"] = None  # they are those of its network now
        network = start.network
        if leads():
            click.echo(f"starts from {source}, test accuracy {100 * accuracy_of(start, data[1]):.2f} %")
    if isinstance(network, str) and network.endswith(".json"):
        network = read_description(network, data[0].shape)
    given = given_only(given | {"network": layers if network is None else network})
    if given.get("recipe") in NO_TARGET and "connectivity" not in given:
        given["connectivity"] = None
    config = TrainConfig(**given)

    def resumed(epochs: int) -> None:
        if epochs == config.epochs:
            remark(f"already complete: {epochs} of {config.epochs} epochs are in {out}, nothing to train")
        else:
            show_resumed(config.epochs)(epochs)

    taught = None if teacher is None else Checkpoint.load(teacher)
    checkpoint, found, test = run(
        config, data, out, show_epoch, whole_command(), device, resumed, start=start, teacher=taught
    )
    part()
    if not leads():
        return
    checkpoint.save(out / CHECKPOINT)
    notes = on_answers(found.answers, None, test.labels)
    told = {
        "checkpoint": out / CHECKPOINT,
        "connectivity": checkpoint.census.connectivity,
        "accuracy": found.accuracy,
        "validation": checkpoint.figures.get("validation"),
        "history": checkpoint.history,
        "notes": notes,
        "data": folder,
        "command": whole_command(),
        **judgement(found.answers, test.labels, checkpoint.network.classes),
    }
    figures(**told)
    click.echo(f"connectivity {100 * checkpoint.census.connectivity:.2f} %, test accuracy {100 * found.accuracy:.2f} %")
    for note in notes:
        click.echo(f"note: {note}")
    click.echo(f"wrote {out / CHECKPOINT}")
    if report is not None:
        from ..report.page import write
        from ..report.runs import training

        write(report, training(report, plain(told), checkpoint, test, [(out / CHECKPOINT, "the trained network")]))
        click.echo(f"wrote {report}")


@command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="build/network.npz", type=FILE_OR_STDOUT, help="- is stdout.")
@click.option("--bits", type=int, help="Weight bits, 2 to 8.  [default: 4; 8 of a graph]")
@click.option("--steps", type=int, help="Time steps T per image.  [default: as trained]")
@click.option("--input-bits", default=8, type=int, help="Bits of a pixel that are used, 1 to 8.")
@click.option("--per-channel", is_flag=True, help="A scale, and a threshold, for each output channel.")
@click.option(
    "--membrane-fraction",
    type=int,
    help="Extra low bits of the membrane.  [default: 0; of a graph as many as its decays need]",
)
@click.option("--membrane-bits", type=int, help="Width of saturating membranes. [default: exact]")
@click.option(
    "--decay-bits",
    type=int,
    help="Fraction bits of a decay that is not a power of two.  [default: 8; 12 of a graph]",
)
@click.option(
    "--connectivity", type=float, help="Upper limit on the fraction of non-zero weights; the smallest are removed."
)
@click.option(
    "--method",
    type=click.Choice(["weights", "search", "qat"]),
    help="How the scales are chosen.  [default: qat; weights of a graph]",
)
@click.option(
    "--calibrate",
    type=int,
    metavar="IMAGES",
    help="Correct the start values of the membranes by the rates on the first IMAGES that were trained on.",
)
@report_option
@setting_options(QatConfig, defaults=dict.fromkeys(AS_TRAINED, "as trained"))
@event_options
@data_option
def quantize(
    checkpoint, output, bits, steps, input_bits, per_channel, membrane_fraction, membrane_bits, decay_bits,
    connectivity, method, calibrate, folder, report, counting, **given,
) -> None:  # fmt: skip
    """Convert a CHECKPOINT to an integer network.

    --method weights takes the scales with the least rounding error. search also tries other scales on training images.
    qat fine-tunes the integers, and resumes after an interruption; options from --epochs to --seed are for qat only.
    --calibrate is for what gradrtl convert has written: spikes come closer to the activations, most at few steps.
    """
    from ..model.checkpoint import Checkpoint
    from ..model.recordings import fit
    from ..model.start import Start
    from ..steps.events import load
    from ..steps.frames import frames_for
    from ..steps.place import with_rates
    from ..steps.quantise import calibrate as calibrate_on
    from ..steps.quantise import default_method, formats_for, judged, quantise, require_calibration
    from ..steps.results import judgement
    from ..steps.train import accuracy_of

    trained = Checkpoint.load(checkpoint)
    if steps is not None:
        trained = replace(trained, network=replace(trained.network, steps=steps))
    method = method or default_method(trained)
    asked = {"weight_bits": bits, "membrane_fraction": membrane_fraction, "decay_bits": decay_bits}
    formats = formats_for(
        trained, input_bits=input_bits, per_channel=per_channel, membrane_bits=membrane_bits, **given_only(asked)
    )
    if calibrate is not None:
        require(method != "qat", "method", method, "weights or search, beside --calibrate")
    if method != "qat":
        require(not given_only(given), "method", method, f"qat, for {', '.join(given_only(given))}")
    training, test = load(folder, counting, trained.network.steps, trained.made_from.get("recordings"))
    test, training = fit(test, trained.network, "test set"), fit(training, trained.network, "training set")
    if calibrate is not None:
        require_calibration(trained, training, calibrate)
    say = speaker(output)
    resume = None
    if output != STDOUT:
        check_writable(output)
        resume = output.with_suffix(".resume.pt")
    with search_bar() as progress:
        made = quantise(
            trained, formats, training, method, connectivity=connectivity, resume=resume, on_epoch=show_epoch,
            progress=progress, on_resume=lambda epochs: say(f"resumes after epoch {epochs} of fine-tuning"), **given,
        )  # fmt: skip
    reached = None
    if calibrate is not None:
        with search_bar() as progress:
            reached = calibrate_on(trained, made, training, calibrate, progress)
        made = reached.network
        change = f"{100 * reached.before:.2f} -> {100 * reached.after:.2f} %"
        say(f"calibrated on {calibrate} training images: held-out accuracy {change}")
        if reached.after < reached.before:
            say("note: calibration lowers the held-out accuracy, as it may if neurons were trained to spike (--tune)")
    made = with_rates(made, frames_for(made, training))
    made = replace(made, notes={**made.notes, "command": whole_command()})
    with output_file(output) as path:
        made.save(path)
    if resume is not None:
        resume.unlink(missing_ok=True)  # only now is it no longer needed
    accuracy, classes, notes = judged(made, test)
    told = {
        "output": output,
        "weight_bits": formats.weight_bits,
        "method": method,
        "accuracy": accuracy,
        "connectivity": made.connectivity,
        "notes": notes,
        "digest": made.digest,
        "data": folder,
        "command": whole_command(),
        **judgement(classes, test.labels, made.classes),
    }
    if reached is not None:
        told["calibration"] = {"images": calibrate, "before": reached.before, "after": reached.after}
    if report is not None:
        start = Start.of_checkpoint(trained)
        told |= {"accuracy_before": accuracy_of(start, test), "connectivity_before": trained.census.connectivity}
    figures(**told)
    say(f"{formats.weight_bits}-bit weights, test accuracy {100 * accuracy:.2f} %, digest {made.digest[:16]}")
    for note in notes:
        say(f"note: {note}")
    say(f"wrote {output}")
    if report is not None:
        from ..report.page import write
        from ..report.runs import quantisation

        files = [(checkpoint, "the checkpoint"), (output, "the integer network")]
        write(report, quantisation(report, plain(told), trained, made, frames_for(made, test), files))
        say(f"wrote {report}")
