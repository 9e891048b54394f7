"""`gradrtl tune`: a search of training settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import require
from ..model.config import NO_TARGET, TrainConfig
from .options import cluster_options, given_only, images_option, on_the_line, progress_lines, setting_options
from .output import command, figures, remark


@command()
@click.option("--network", default="mnist-mlp", help="Preset, layers such as 784-256-10, or JSON file.")
@click.option(
    "--vary",
    multiple=True,
    help="A setting of `train` to search, NAME=LOW:HIGH or NAME=A,B,C; may be repeated.  "
    "[default: lr=0.001:0.02 margin=10:200 rotation=0:15]",
)
@click.option("--trials", default=20, type=int, help="Trials of the whole study, those of other processes included.")
@click.option(
    "--storage", help="The study: a file, or a database such as sqlite:///study.db.  [default: OUT/study.journal]"
)
@click.option("--sampler-seed", default=0, type=int, help="Seed of the search.")
@setting_options(TrainConfig, leave_out=("network", "distil"))  # there is no teacher
@cluster_options
@images_option
@click.option("--out", default="build/tune", type=click.Path(path_type=Path), help="Folder of the trials.")
def tune(network, vary, trials, storage, sampler_seed, cluster, folder, out, **given) -> None:
    """Search training settings with Optuna, by the accuracy on the training images that are held out.

    Each trial is a training; one that is worse than the median of the others at the same epoch ends early. An
    interrupted search resumes, and several processes may share one --storage. All other settings are those of
    `gradrtl train`. Test images are not used.
    """
    from ..model.architecture import read_description
    from ..model.data import load
    from ..steps.tune import USUAL, Range, Search, command_of, finished
    from ..steps.tune import tune as run

    ranges = tuple(map(Range.parse, vary)) or USUAL
    given = given_only(given)
    twice = [one.name for one in ranges if one.name in given]
    varied = next((one.choices for one in ranges if one.name == "network"), ())
    if varied:
        twice += on_the_line({"network"})
    require(not twice, "vary", ", ".join(twice), "not given by its own option as well")
    if given.get("recipe") in NO_TARGET and "connectivity" not in given:
        given["connectivity"] = None
    shape = load(folder)[0].shape
    described = read_description(network, shape) if network.endswith(".json") else network
    config = TrainConfig(network=described, **given)
    search = Search(config, ranges, folder, out, storage or str(out / "study.journal"), trials, sampler_seed, network)
    for tried in varied or (described,):
        replace(config, network=tried).description(shape)  # does it fit the images?

    def show(trial: dict[str, Any]) -> None:
        told = f"{100 * trial['accuracy']:.2f} %" if "accuracy" in trial else "ended early"
        values = "  ".join(
            f"{one.name} {trial[one.name]:.6g}"
            if isinstance(trial[one.name], float)
            else f"{one.name} {trial[one.name]}"
            for one in ranges
        )
        remark(f"trial {trial['trial']:3}  {told:11}  {values}")

    study = run(search, cluster, show, progress_lines())
    done = finished(study)
    complete = {one.number: one.value for one in done if one.value is not None and one.state.name == "COMPLETE"}
    require(bool(complete), "trials", trials, "more: no trial is complete yet")
    accuracy, number = max((value, -number) for number, value in complete.items())
    best = next(one for one in done if one.number == -number)
    line = command_of(search, best.params)
    figures(
        trials=len(done), complete=len(complete), accuracy=accuracy, settings=best.params, command=line,
        storage=search.storage,
    )  # fmt: skip
    click.echo(f"{len(done)} trials, {len(done) - len(complete)} of them ended early; study in {search.storage}")
    click.echo(f"best held-out accuracy {100 * accuracy:.2f} %: trial {best.number}, {best.params}")
    click.echo(line)
