"""`gradrtl teacher`: a network that only teaches."""

from __future__ import annotations

import click

from ..files import check_writable
from ..model.teacher_config import TeacherConfig
from .options import (
    given_only,
    images_option,
    run_option,
    setting_options,
    show_epoch,
    show_resumed,
    training_device_option,
    whole_command,
)
from .output import command, figures

TEACHER = "teacher.npz"  # in the folder of a run


@command()
@setting_options(TeacherConfig)
@training_device_option
@images_option
@run_option("build/teacher")
def teacher(device, folder, out, **given) -> None:
    """Train a network of float activations for convert --teacher; writes OUT/teacher.npz.

    It has GELUs and max pools, which learn fast, and is not made into spikes. Images of 9 pixels a side or more.
    """
    from ..model.data import load
    from ..model.teacher_train import train_teacher

    check_writable(out / TEACHER)
    config = TeacherConfig(**given_only(given))
    training, _ = load(folder)

    resumed = show_resumed(config.epochs)
    made = train_teacher(config, training, out, show_epoch, device, resumed, whole_command())
    made.save(out / TEACHER)
    last = made.history[-1]
    figures(
        teacher=out / TEACHER,
        validation=last["validation"],
        mirrored=last["mirrored"],
        history=made.history,
        data=folder,
        command=whole_command(),
    )
    one, both = (100 * last[name] for name in ("validation", "mirrored"))
    click.echo(f"held-out accuracy {one:.2f} %, with mirror images {both:.2f} %")
    click.echo(f"wrote {out / TEACHER}")
