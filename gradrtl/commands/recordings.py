"""`gradrtl moving`: recordings of moving digits, from images."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import require
from ..model.events.moving import Camera
from .options import at_least, bar, given_only, images_option, setting_options
from .output import command, figures


@command()
@click.argument("out", type=click.Path(path_type=Path))
@images_option
@click.option("--images", type=int, callback=at_least(1), help="Images of each part, the first ones.  [default: all]")
@setting_options(Camera)
def moving(out, folder, images, **given) -> None:
    """Shake the images of --data before a simulated event camera; write what it sees to the folder OUT.

    The files have the layout of N-MNIST. No camera has recorded them. An interrupted run resumes. A folder of other
    images, of another camera or with other files is refused.
    """
    from ..model.data import load
    from ..model.events.moving import write

    require(not out.exists() or out.is_dir(), "out", out, "a folder")
    sets = load(folder)
    total = sum(len(part) if images is None else min(images, len(part)) for part in sets)
    with bar("recording", total) as advance:
        count = write(out, sets, Camera(**given_only(given)), images, advance)
    figures(recordings=count, output=out)
    click.echo(f"{count} recordings of a simulated camera in {out}")
