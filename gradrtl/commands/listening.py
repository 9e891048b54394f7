"""`gradrtl listen`: a folder of sound files to recordings that can be trained on."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UserError
from ..files import check_writable
from .options import given_only
from .output import command, figures


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Whole numbers with commas between them."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            name = "value" if param is None else str(param.name)
            raise UserError.of(name, value, "whole numbers with commas between them") from None


@command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", default="build/sound.npz", type=click.Path(path_type=Path), help="File of recordings.")
@click.option("--steps", type=int, default=48, help="Time steps of a recording: it is cut off or filled with silence.")
@click.option("--rate", type=int, help="Samples per second of the files.  [default: 8000]")
@click.option("--step", type=int, help="Samples per time step.  [default: 128]")
@click.option("--bands", type=int, help="Bands, at equal distances on the mel scale.  [default: 32]")
@click.option("--low", type=float, help="Lower end of the lowest band, in Hz.  [default: 100]")
@click.option("--high", type=float, help="Upper end of the highest band, in Hz.  [default: 3700]")
@click.option(
    "--change", type=int, help="An event is a change of loudness by 2**CHANGE eighths of an octave.  [default: 2]"
)
@click.option("--speaker", help="The test set is all takes of this speaker.  [default: the first takes of all]")
@click.option("--test-takes", type=int, help="Takes of each word and speaker in the test set, from 0 on.  [default: 5]")
@click.option("--held-takes", type=int, help="Takes after those, the last of the training set.  [default: 5]")
@click.option(
    "--speeds", type=Numbers(), help="Percent: the other takes are there at each speed, 80,100,125.  [default: 100]"
)
def listen(folder, out, steps, rate, step, bands, low, high, change, **split) -> None:
    """Make events of the sound files in FOLDER, WORD_SPEAKER_TAKE.wav, for `gradrtl train --data OUT`.

    The front end is described in docs/sound.md. Its settings are kept in OUT and in what is trained on it.
    """
    from ..model import recordings
    from ..quantize.frontend import FrontEnd
    from ..steps.sound import Split, recordings_of

    check_writable(out)
    given = {"rate": rate, "step": step, "bands": bands, "low": low, "high": high, "change": change}
    settings = FrontEnd.mel(**given_only(given))
    training, test = recordings_of(folder, settings, steps, Split(**given_only(split)))
    digest = recordings.save(out, training, test)
    events = float((training.counts > 0).sum() / len(training))
    figures(recordings=out, digest=digest, training=len(training), test=len(test), steps=steps, events=events)
    click.echo(f"{len(training)} training and {len(test)} test recordings of {steps} steps, {events:.0f} events each")
    click.echo(f"wrote {out}")
