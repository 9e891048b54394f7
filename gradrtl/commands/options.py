"""Options, progress bars and output files that several commands share."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import UserError, require
from ..files import whole

STDOUT = Path("-")


def at_least(smallest: int) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Callback of a numeric option: what is given must be `smallest` or more."""

    def check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        require(value is None or value >= smallest, str(parameter.name), value, f"at least {smallest}")
        return value

    return check


data_option = click.option(
    "--data", "folder", default="data/mnist", type=click.Path(path_type=Path), help="Folder of the data set."
)
network_argument = click.argument("network", type=click.Path(path_type=Path))
pe_option = click.option(
    "--pe",
    "--device",
    "pes",
    default="16,auto",
    help="Processing elements by layer, such as 16,10; auto: what keeps up; a device, such as ecp5-25: what fits it.",
)
beat_option = click.option("--pixels-a-beat", default=4, type=int, help="Pixels on the input bus: 1, 2, 4 or 8.")
frames_option = click.option(
    "--frames", "given", type=click.Path(path_type=Path),
    help="Frames from this .npy file, no data set; all sources count alike in the placement.",
)  # fmt: skip
queue_option = click.option("--queue-depth", default=16, type=int, help="Entries of each PE's event queue.")
row_queue_option = click.option(
    "--row-queue-depth", default=8, type=int, help="Entries of the queue of rows before a serialiser."
)


def placement_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options that decide how a network is placed, and the frames that are measured for it."""
    for option in (frames_option, data_option, row_queue_option, queue_option, beat_option, pe_option):
        command = option(command)
    return command


def setting_options(
    config: type, leave_out: Collection[str] = (), inherited: Collection[str] = ()
) -> Callable[..., Any]:
    """Options for the fields of a configuration class, made by `model.settings`; what is not given is None.

    Without the fields `leave_out`. Those `inherited` take their default from elsewhere: as trained.
    """
    from ..model.settings import settings

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for known in reversed(settings(config)):
            if known.name in leave_out:
                continue
            name = known.name.replace("_", "-")
            default = "as trained" if known.name in inherited else known.default
            told = known.meaning if default is None else f"{known.meaning}  [default: {default}]"
            words = f"--{name}/--no-{name}" if known.kind is bool else f"--{name}"
            choices = known.accepted.choices if known.accepted is not None else ()
            kind = click.Choice(choices) if choices else None if known.kind is bool else known.kind
            command = click.option(words, known.name, default=None, type=kind, help=told)(command)
        return command

    return decorate


def given_only(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def whole_command() -> str:
    """The command that runs, with all that was given: a line for a shell, to be recorded in what it makes."""
    ctx = click.get_current_context()
    words = ctx.command_path.split(" ")
    for parameter in ctx.command.params:
        if ctx.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[parameter.name or ""]
        if isinstance(parameter, click.Option):
            off = parameter.is_flag and not value and bool(parameter.secondary_opts)
            words.append((parameter.secondary_opts if off else parameter.opts)[0])
            if parameter.is_flag:
                continue
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, if that is a terminal; yields a function that advances it."""
    if not sys.stderr.isatty():
        yield lambda n=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n=1: progress.advance(task, n)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield a path to write: what is there afterwards appears whole at `path`, or on stdout if that is `-`."""
    if path != STDOUT:
        with whole(path) as part:
            yield part
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "output"
        yield made
        with made.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def speaker(output: Path | None) -> Callable[[str], None]:
    """What prints a command's lines: to stderr where `output` is stdout."""
    return partial(click.echo, err=output == STDOUT)


def show_epoch(row: dict[str, Any]) -> None:
    """One line for an epoch of training, or of fine-tuning."""
    loss = "" if row.get("loss") is None else f"loss {row['loss']:.4f}  "
    click.echo(f"epoch {row['epoch']:3}  {loss}validation {100 * row['validation']:.2f} %", err=True)


def parse_numbers(name: str, words: str, accepted: range) -> list[int]:
    """`2,4,8` as ascending numbers, each once; `UserError` names the option `name`."""
    found = [int(word) if word.strip().isdecimal() else -1 for word in words.split(",")]
    if not all(n in accepted for n in found):
        raise UserError(f"{name} is {words}, expected numbers {accepted[0]} to {accepted[-1]}, such as 2,4,8")
    return sorted(set(found))
