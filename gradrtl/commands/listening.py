"""`gradrtl listen` and `gradrtl hear`: sound files to recordings that can be trained on, and to decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UserError, require
from ..files import check_writable
from .options import bar, given_only, network_argument, placed, placement_options, whole_command
from .output import command, figures

if TYPE_CHECKING:
    from ..steps.place import Wanted


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
    alone = split["speaker"] is None or split["test_takes"] is None
    require(alone, "test-takes", split["test_takes"], "not given together with --speaker, whose takes are the test set")
    given = {"rate": rate, "step": step, "bands": bands, "low": low, "high": high, "change": change}
    settings = FrontEnd.mel(**given_only(given))
    training, test = recordings_of(folder, settings, steps, Split(**given_only(split)))
    digest = recordings.save(out, training, test)
    events = float((training.counts > 0).sum() / len(training))
    figures(recordings=out, digest=digest, training=len(training), test=len(test), steps=steps, events=events)
    click.echo(f"{len(training)} training and {len(test)} test recordings of {steps} steps, {events:.0f} events each")
    click.echo(f"wrote {out}")


@command()
@network_argument
@click.argument("sounds", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="SOUND...")
@click.option("--verilog", type=click.Path(path_type=Path), help="Verilog of generate --front-end. [default: made now]")
@click.option("--simulator", is_flag=True, help="Without Verilog: simulator and timing model alone. They are exact.")
@click.option("--window", type=int, help="Steps whose sums are added up for a decision. [default: as trained]")
@click.option(
    "--pause",
    type=int,
    help="All files in one stream, so many steps of silence after each. [default: a reset before each file]",
)
@click.option("--clock", type=float, help="MHz, for microseconds and the real-time factor.")
@placement_options
@click.option("--stalls", default=0.0, type=float, help="Probability of a stall in each cycle, both streams.")
@click.option("--seed", default=0, type=int, help="Seed of the stalls.")
@click.option("--trusted", is_flag=True, help="Allow the Verilog to run commands and access files.")
def hear(
    network: Path,
    sounds: tuple[Path, ...],
    verilog: Path | None,
    simulator: bool,
    window: int | None,
    pause: int | None,
    clock: float | None,
    wanted: Wanted,
    stalls: float,
    seed: int,
    trusted: bool,
) -> None:
    """Send the samples of WAV files into compiled Verilog, front end and NETWORK, and print what it decides.

    Every step has a decision. All of them are compared with the simulator, in every spike, membrane, sum and cycle; a
    difference ends in exit code 1. The network is one that was trained on recordings of gradrtl listen.
    """
    from ..quantize.network import QuantizedNetwork
    from ..sim.driving import Stalls
    from ..steps.hearing import Ear, Hearing, text_of
    from ..steps.hearing import hear as run
    from ..steps.verify import mapping_of, read_verilog

    require(verilog is None or not simulator, "verilog", verilog, "not given together with --simulator")
    require(clock is None or 0 < clock < 1e5, "clock", clock, "MHz, above 0")
    stalled = Stalls(stalls, stalls, seed)
    require(stalled.none or not simulator, "stalls", stalls, "0 with --simulator")
    hearing = Hearing(window, pause)
    found = QuantizedNetwork.load(network)
    ear = Ear.of(found)
    wanted = replace(wanted, stream=True)
    text = None if verilog is None else read_verilog(verilog)
    mapping = placed(found, wanted) if text is None else mapping_of(found, text, wanted, ear.settings)
    if text is None and not simulator:
        text = text_of(mapping, ear)
    with bar("hearing", len(sounds)) as advance:
        made = run(found, mapping, sounds, hearing, text, stalled, advance, trusted)
    if made.failed is not None:
        figures(passed=False, difference=str(made.failed))
        click.echo(str(made.failed))
        click.echo(f"repeat with: {whole_command()}")
        raise SystemExit(1)
    words, seconds = made.ear.words, made.ear.milliseconds / 1000
    for one in made.heard:
        click.echo(f"{one.path.name}: {words[one.word]}")
        if len(made.heard) == 1:
            for step, klass in one.changes:
                click.echo(f"  {(step + 1) * seconds:6.3f} s  {words[klass]}")
    right, known = made.right
    late = made.latency
    cycles = {"least": int(late.min()), "mean": float(late.mean()), "most": int(late.max())}
    compared = {
        name: sum(getattr(one, name) for one in made.compared)
        for name in ("frames", "spikes", "membranes", "predicted", "cycles")
    }
    told = {
        "network": network,
        "digest": found.digest,
        "placement": mapping.placement.line,
        "words": words,
        "window": made.window,
        "pause": pause,
        "files": [
            {
                "file": one.path,
                "word": words[one.word],
                "right": None if one.label is None else one.word == one.label,
                "decisions": one.decisions,
            }
            for one in made.heard
        ],
        "right": right if known else None,
        "known": known,
        "steps": len(late),
        "step_ms": made.ear.milliseconds,
        "step_cycles": made.interval,
        "latency_cycles": cycles,
        "compared": compared,
        "command": whole_command(),
    }
    if known:
        click.echo(f"{right} of {known} right ({100 * right / known:.2f} %), by the names of the files")
    for name in {note: None for one in made.compared for note in one.notes}:
        click.echo(f"note: {name}")
    if made.compared:
        click.echo(
            f"equal: {compared['frames']} steps, {compared['spikes']} spikes, {compared['membranes']} membranes "
            f"compared; cycles of {compared['predicted']} steps as predicted"
        )
    click.echo(
        f"a decision leaves {late.min()} to {late.max()} cycles after its step's last sample, "
        f"{late.mean():.1f} on average; a step takes {made.interval} cycles: real time from "
        f"{made.slowest_clock:.3f} MHz on"
    )
    if clock is not None:
        factor = made.real_time(clock)
        told |= {
            "clock": clock,
            "latency_us": {name: value / clock for name, value in cycles.items()},
            "real_time_factor": factor,
        }
        click.echo(
            f"at {clock:g} MHz: {late.mean() / clock:.2f} us on average, {late.max() / clock:.2f} at most; a step of "
            f"{made.ear.milliseconds:g} ms takes {made.ear.milliseconds / factor:.3f} ms, {factor:.1f} times faster "
            "than real time"
        )
    figures(**told)
