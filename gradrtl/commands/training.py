"""`gradrtl train` and `gradrtl quantize`: from images to a network of integers."""

from __future__ import annotations

from pathlib import Path

import click

from ..files import check_writable
from ..model.config import RECIPES
from .options import STDOUT, bar, data_option, output_file, show_epoch, speaker


@click.command()
@click.option("--network", "preset", default="mnist-mlp", help="Preset: mnist-mlp, mnist-conv, cifar10-small, ...")
@click.option("--recipe", default="gradr-quota", type=click.Choice(list(RECIPES)), help="How it becomes sparse.")
@click.option("--connectivity", default=0.05, type=float, help="Fraction of the weights that stays.")
@click.option("--epochs", default=40, type=int)
@click.option("--dense", default=0.0, type=float, help="Fraction of the epochs, the first, that train all weights.")
@click.option("--lr", default=4e-3, type=float, help="Learning rate, Adam.")
@click.option("--alpha", default=0.01, type=float, help="Strength of the prior.")
@click.option("--p", default=0.95, type=float, help="Target sparsity of the prior, for the recipe gradr.")
@click.option("--rotation", default=10.0, type=float, help="Augmentation, degrees.")
@click.option("--shift", default=0.05, type=float, help="Augmentation, fraction of the side.")
@click.option("--seed", default=0, type=int)
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda", "auto"]))
@data_option
@click.option("--out", default="build/train", type=click.Path(path_type=Path), help="Folder of the run; it resumes.")
def train(
    preset, recipe, connectivity, epochs, dense, lr, alpha, p, rotation, shift, seed, device, folder, out
) -> None:
    """Train a network sparse; writes OUT/checkpoint.npz. An interrupted run goes on where it was."""
    from ..model.config import TrainConfig
    from ..model.data import load
    from ..steps.train import train as run

    wanted = None if recipe in ("gradr", "dense") else connectivity
    config = TrainConfig(
        preset, recipe, wanted, epochs, dense, lr=lr, alpha=alpha, p=p, rotation=rotation, shift=shift, seed=seed
    )
    command = click.get_current_context().command_path + f" --recipe {recipe} --seed {seed}"
    checkpoint, accuracy = run(config, load(folder), out, show_epoch, command, device)
    checkpoint.save(out / "checkpoint.npz")
    click.echo(f"connectivity {100 * checkpoint.census.connectivity:.2f} %, test accuracy {100 * accuracy:.2f} %")
    click.echo(f"wrote {out / 'checkpoint.npz'}")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="build/network.npz", type=click.Path(path_type=Path), help="- is stdout.")
@click.option("--bits", default=4, type=int, help="Weight bits, 2 to 8.")
@click.option("--input-bits", default=8, type=int, help="Bits of a pixel that are used, 1 to 8.")
@click.option("--per-channel", is_flag=True, help="A scale, and a threshold, for each output channel.")
@click.option("--membrane-fraction", default=0, type=int, help="Extra low bits of the membrane.")
@click.option("--membrane-bits", type=int, help="Saturating membranes of so many bits; default: exact ones.")
@click.option("--decay-bits", default=8, type=int, help="Fraction bits of a decay that is no shift.")
@click.option("--connectivity", type=float, help="At most this fraction of all weights; the smallest go first.")
@click.option("--method", default="qat", type=click.Choice(["weights", "search", "qat"]), help="How scales are found.")
@click.option("--epochs", default=10, type=int, help="Of fine-tuning, for qat.")
@click.option("--lr", default=1e-3, type=float, help="Of fine-tuning, for qat.")
@click.option("--rotation", type=float, help="Augmentation in fine-tuning, degrees; default: as trained.")
@click.option("--shift", type=float, help="Augmentation in fine-tuning, fraction of the side; default: as trained.")
@click.option("--seed", default=0, type=int)
@data_option
def quantize(
    checkpoint, output, bits, input_bits, per_channel, membrane_fraction, membrane_bits, decay_bits, connectivity,
    method, epochs, lr, rotation, shift, seed, folder,
) -> None:  # fmt: skip
    """Turn a CHECKPOINT into a network of integers: by its weights alone, a search, or fine-tuning."""
    from ..model.checkpoint import Checkpoint
    from ..model.data import load
    from ..quantize.rounding import Formats
    from ..steps.quantise import accuracy, quantise

    formats = Formats(bits, input_bits, per_channel, membrane_fraction, membrane_bits, decay_bits)
    trained = Checkpoint.load(checkpoint)
    training, test = load(folder)
    say = speaker(output)
    resume = None
    if output != STDOUT:
        check_writable(output)
        resume = output.with_suffix(".resume.pt")
    with bar("search", 100) as advance:
        done = 0.0

        def progress(number: int, total: int) -> None:
            nonlocal done
            advance(100 * number / total - done)
            done = 100 * number / total

        made = quantise(
            trained, formats, training, method, connectivity=connectivity, resume=resume, on_epoch=show_epoch,
            progress=progress, epochs=epochs, lr=lr, rotation=rotation, shift=shift, seed=seed,
        )  # fmt: skip
    with output_file(output) as path:
        made.save(path)
    say(f"{bits}-bit weights, test accuracy {100 * accuracy(made, test):.2f} %, digest {made.digest[:16]}")
    say(f"wrote {output}")
