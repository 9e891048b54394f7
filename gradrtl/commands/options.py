"""Options, progress bars and output files that several commands share."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ..errors import UserError, require
from ..files import check_writable, whole
from ..model.importing.convention import COMPARES, FRAMEWORKS, GAINS, INTEGRATORS, RESETS, SPIKES, SYNAPSES
from ..rtl.devices import DEVICES
from .output import is_quiet, remark

if TYPE_CHECKING:
    from ..quantize.network import QuantizedNetwork
    from ..rtl.mapping import Mapping
    from ..steps.frames import Chosen
    from ..steps.place import Wanted

STDOUT = Path("-")


def at_least(smallest: int) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Callback of a numeric option: its value must be `smallest` or more."""

    def check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        require(value is None or value >= smallest, str(parameter.name), value, f"at least {smallest}")
        return value

    return check


class NetworkFile(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A network file by its path; `sample` is the one that comes with the package."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from ..samples import NETWORK, SAMPLE

        path = Path(value)
        return NETWORK if value == SAMPLE and not path.exists() else path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return click.Path().shell_complete(ctx, param, incomplete)


network_argument = click.argument("network", type=NetworkFile(), default="sample")
_data = partial(click.option, "--data", "folder", default="data/mnist", type=click.Path(path_type=Path))
data_option = _data(help="Folder of images or of recordings, or a file of recordings (docs/recordings.md).")
images_option = _data(help="Folder of images: IDX files, or the batches of CIFAR-10 (docs/own-images.md).")
training_device_option = click.option(
    "--device", default="cpu", type=click.Choice(["cpu", "cuda", "auto"]), help="auto: a GPU if there is one."
)
pe_option = click.option(
    "--pe",
    "pes",
    help="PEs per layer, such as 16,10; auto at the end: as many as keep up. [default: the network file's, or 16,auto]",
)
device_option = click.option(
    "--device", help="Place for this device: " + ", ".join(DEVICES) + ". Without --pe: the best plan that fits."
)
beat_option = click.option(
    "--pixels-a-beat", type=int, help="Pixels on the input bus: 1, 2, 4 or 8. [default: the device's, or 4]"
)
queue_option = click.option("--queue-depth", type=int, help="Entries of each PE's event queue. [default: 16]")
row_queue_option = click.option(
    "--row-queue-depth", type=int, help="Entries of the row queue before a serialiser. [default: the device's, or 8]"
)
data_set_option = click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of images or recordings, or a file of recordings. [default: data/mnist if it is there, or the images "
    "that come with the package]",
)
frames_option = click.option(
    "--frames",
    type=click.Path(path_type=Path),
    help="Frames of your own, instead of --data: a .npy, .npz or IDX file (docs/own-images.md), or recordings.",
)
labels_option = click.option(
    "--labels", type=click.Path(path_type=Path), help="Labels of the --frames: a .npy or IDX file."
)
memories_option = click.option(
    "--memories",
    type=click.Choice(["inline", "hex"]),
    default="inline",
    help="Where contents of memories are: in the Verilog, or in .hex files that it reads.",
)
jobs_option = click.option(
    "--jobs", type=int, help="Processes; more than 1 need Dask. [default: one per core if Dask is installed, or 1]"
)
scheduler_option = click.option(
    "--scheduler", help="Address of a Dask scheduler, tcp://host:8786, whose workers are used (docs/scale-out.md)."
)
memory_option = click.option(
    "--memory", help="Memory limit of each local process, such as 4GB; one that exceeds it is started again."
)
stream_option = click.option(
    "--stream", is_flag=True, help="Without frames: a packet after every step (docs/streaming.md)."
)
cancel_option = click.option(
    "--cancel", is_flag=True, help="Drop the rest of a frame that its first spike has decided (docs/first-spike.md)."
)
REPORT = ".html"  # suffix of a report


def _check_report(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        require(value.suffix == REPORT, "report", value, f"a file that ends in {REPORT}")
        check_writable(value)
    return value


report_option = click.option(
    "--report",
    type=click.Path(path_type=Path),
    callback=_check_report,
    help="Write a report of the run to this .html file (docs/reports.md).",
)
PLACEMENT = (pe_option, device_option, beat_option, queue_option, row_queue_option, stream_option, cancel_option)
EVENT_OPTIONS = (
    click.option("--step-ms", type=float, help="Recordings: milliseconds of a step.  [default: as trained]"),
    click.option("--pool", type=int, help="Recordings: squares of so many sources become one.  [default: as trained]"),
    click.option("--crop", help="Recordings: sources that are kept, TOP,LEFT,HEIGHT,WIDTH.  [default: as trained]"),
    click.option("--largest-count", type=int, help="Recordings: counts above it are cut to it.  [default: as trained]"),
    click.option("--sensor", help="Recordings: CHANNELSxHEIGHTxWIDTH of files that do not tell it, as 2x128x128."),
)
EVENT_NAMES = ("step_ms", "pool", "crop", "largest_count", "sensor")
FRAMES_NAMES = ("folder", "frames", "labels", "images")
PLACEMENT_NAMES = ("pes", "device", "pixels_a_beat", "queue_depth", "row_queue_depth", "stream", "cancel")
CLUSTER = (jobs_option, scheduler_option, memory_option)
CLUSTER_NAMES = ("jobs", "scheduler", "memory")


def placement_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that decide how a network is placed, handed to `command` as one argument, `wanted`.

    Where none is given, the placement is the one in the network's file.
    """

    @wraps(command)
    def with_wanted(*args: Any, **kwargs: Any) -> Any:
        from ..steps.place import Wanted

        return command(*args, wanted=Wanted(**{name: kwargs.pop(name) for name in PLACEMENT_NAMES}), **kwargs)

    for option in reversed(PLACEMENT):
        with_wanted = option(with_wanted)
    return with_wanted


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where tasks run, handed to `command` as one argument, `cluster`."""

    @wraps(command)
    def with_cluster(*args: Any, **kwargs: Any) -> Any:
        from ..cluster import Cluster

        return command(*args, cluster=Cluster(**{name: kwargs.pop(name) for name in CLUSTER_NAMES}), **kwargs)

    for option in reversed(CLUSTER):
        with_cluster = option(with_cluster)
    return with_cluster


def event_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how events of recordings are counted, handed to `command` as one argument, `counting`."""

    @wraps(command)
    def with_counting(*args: Any, **kwargs: Any) -> Any:
        from ..steps.events import Counting

        return command(*args, counting=Counting(**{name: kwargs.pop(name) for name in EVENT_NAMES}), **kwargs)

    for option in reversed(EVENT_OPTIONS):
        with_counting = option(with_counting)
    return with_counting


def frames_options(usual: int | None = None) -> Callable[..., Any]:
    """The options that say where frames come from, handed to a command as one argument, `chosen`.

    `usual`: how many images of a data set are taken if --images is not given; None: all.
    """
    default = "all" if usual is None else f"{usual} of a data set, all of --frames"
    number = click.option("--images", type=int, help=f"Number of frames, the first ones. [default: {default}]")

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @event_options
        @wraps(command)
        def with_chosen(*args: Any, **kwargs: Any) -> Any:
            from ..steps.frames import Chosen

            given = {name: kwargs.pop(name) for name in (*FRAMES_NAMES, "counting")}
            return command(*args, chosen=Chosen(**given, usual=usual), **kwargs)

        for option in (number, labels_option, frames_option, data_set_option):
            with_chosen = option(with_chosen)
        return with_chosen

    return decorate


def chosen_frames(network: QuantizedNetwork, chosen: Chosen, stream: bool) -> tuple[Any, Any]:
    """The frames of `chosen` and their labels, None if there are none; of a stream its steps, which have none."""
    from ..steps.frames import labelled_frames
    from ..steps.streaming import steps_of

    return (steps_of(network, chosen), None) if stream else labelled_frames(network, chosen)


def placed(network: QuantizedNetwork, wanted: Wanted) -> Mapping:
    """`network` placed as `wanted`, with a note on stderr if its file has no event rates."""
    from ..steps.place import place

    with planning(1 if wanted.device is not None and wanted.pes is None else 0) as progress:
        mapping = place(network, wanted, progress)
    if network.rates is None:
        remark("note: the network file has no event rates, so all sources count equally; gradrtl place adds them")
    return mapping


def run_option(default: str) -> Callable[..., Any]:
    """The option `--out`: the folder of a training."""
    told = "Folder of the run. An interrupted run resumes."
    return click.option("--out", default=default, type=click.Path(path_type=Path), help=told)


def setting_options(
    config: type, leave_out: Collection[str] = (), defaults: dict[str, str] | None = None
) -> Callable[..., Any]:
    """Options for the fields of a configuration class, made by `model.settings`; what is not given is None.

    Without the fields `leave_out`. `defaults` tells, by field, the default of those that take it from elsewhere.
    """
    from ..model.settings import settings

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for known in reversed(settings(config)):
            if known.name in leave_out:
                continue
            name = known.name.replace("_", "-")
            default = (defaults or {}).get(known.name, known.absent if known.default is None else known.default)
            told = known.meaning if default == "" else f"{known.meaning}  [default: {default}]"
            words = f"--{name}/--no-{name}" if known.kind is bool else f"--{name}"
            choices = known.accepted.choices if known.accepted is not None else ()
            kind = click.Choice(choices) if choices else None if known.kind is bool else known.kind
            command = click.option(words, known.name, default=None, type=kind, help=told)(command)
        return command

    return decorate


def words_of(config: Any, usual: Any = None, leave_out: Collection[str] = ()) -> list[str]:
    """The options that `setting_options` reads as `config`: one for each field that is not as in `usual`.

    `usual`: another configuration, the one that is taken without options; None: the defaults.
    """
    from ..model.settings import settings

    found: list[str] = []
    for known in settings(type(config)):
        value = getattr(config, known.name)
        if known.name in leave_out or value == (known.default if usual is None else getattr(usual, known.name)):
            continue
        name = known.name.replace("_", "-")
        if known.kind is bool:
            found.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None:
            found += [
                f"--{name}",
                f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value),
            ]
    return found


CONVENTION = ("dt", "integrator", "reset", "compare", "spikes", "gain", "synapse")


def convention_options(default: str) -> Callable[..., Any]:
    """The options that say what a NIR file leaves open: `framework`, and as one argument, `changes`, single fields.

    `default` tells the framework that is taken if none is given.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_changes(*args: Any, **kwargs: Any) -> Any:
            return command(*args, changes={name: kwargs.pop(name) for name in CONVENTION}, **kwargs)

        told = f"Whose convention the next options start from.  [default: {default}]"
        choices = {
            "integrator": (INTEGRATORS, "How states decay."),
            "reset": (RESETS, "What a spike does to the membrane."),
            "compare": (COMPARES, "Whether a membrane equal to the threshold spikes."),
            "spikes": (SPIKES, "Spikes of a neuron in a step."),
            "gain": (GAINS, "What multiplies the sum on its way into the membrane."),
            "synapse": (SYNAPSES, "What multiplies it on its way into a synaptic current."),
        }
        for name, (accepted, meaning) in reversed(choices.items()):
            with_changes = click.option(f"--{name}", type=click.Choice(accepted), help=meaning)(with_changes)
        with_changes = click.option("--dt", type=float, help="Time of a step, in the unit of the file.")(with_changes)
        return click.option("--framework", type=click.Choice(list(FRAMEWORKS)), help=told)(with_changes)

    return decorate


def given_only(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def on_the_line(names: Collection[str]) -> set[str]:
    """Those of the running command's parameters `names` that were given."""
    source = click.get_current_context().get_parameter_source
    return {name for name in names if source(name) is ParameterSource.COMMANDLINE}


def whole_command() -> str:
    """The running command with all given options except output file and report: a shell line, to be recorded.

    Bytes of names that are not UTF-8 are told as `\\xff` and the like.
    """
    from ..samples import NETWORK, SAMPLE

    ctx = click.get_current_context()
    words = ctx.command_path.split(" ")
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in ("output", "report") or not parameter.expose_value:
            continue
        value = ctx.params[name]
        flag: tuple[str, ...] = ()
        if isinstance(parameter, click.Option):
            off = parameter.is_flag and not value and bool(parameter.secondary_opts)
            flag = ((parameter.secondary_opts if off else parameter.opts)[0],)
            if parameter.is_flag:
                words += flag
                continue
        for one in value if isinstance(value, tuple) else (value,):
            words += (*flag, SAMPLE if one == NETWORK else str(one))
    return os.fsencode(shlex.join(words)).decode("utf8", errors="backslashreplace")


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, if that is a terminal; yields a function that advances it."""
    if is_quiet() or not sys.stderr.isatty():
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


def progress_lines() -> Callable[[str], None] | None:
    """A function that prints lines of progress on stderr; None where there is a bar, or --quiet."""
    if is_quiet() or sys.stderr.isatty():
        return None
    return remark


@contextmanager
def paced(what: str, total: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A progress bar, or now and then a line of progress on stderr where that is no terminal.

    Yields two functions of a number: one that advances it, and one for what earlier runs have done.
    """
    from ..cluster import Pace

    with bar(what, total) as advance:
        pace = Pace(total, progress_lines())

        def further(count: int) -> None:
            advance(count)
            pace.add(count)
            pace.tell()

        def resumed(count: int) -> None:
            remark(f"resumes after {count} of {total}")
            advance(count)
            pace.total -= count

        yield further, resumed


@contextmanager
def search_bar() -> Iterator[Callable[[int, int], None]]:
    """The progress bar of a search; yields a function of the number of trials done and of all of them."""
    with bar("search", 100) as advance:
        done = 0.0

        def progress(number: int, total: int) -> None:
            nonlocal done
            advance(100 * number / total - done)
            done = 100 * number / total

        yield progress


@contextmanager
def planning(devices: int) -> Iterator[Callable[[float], None]]:
    """Progress of planning for so many devices; yields a function of the share of one that has been done."""
    if devices == 0:
        yield lambda share: None
        return
    with paced("planning", 100 * devices) as (further, _):
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            before, done = round(done), done + 100 * share
            if (percent := round(done) - before) > 0:
                further(percent)

        yield progress


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to. Its contents then appear at `path`, complete, or on stdout if `path` is `-`."""
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
    """A function that prints lines: to stderr if `output` is stdout; none with --quiet."""
    return remark if output == STDOUT else click.echo


def show_epoch(row: dict[str, Any]) -> None:
    """One line for an epoch of training, or of fine-tuning."""
    loss = "" if row.get("loss") is None else f"loss {row['loss']:.4f}  "
    remark(f"epoch {row['epoch']:3}  {loss}validation {100 * row['validation']:.2f} %")


def show_resumed(total: int) -> Callable[[int], None]:
    """A function that tells after how many epochs of `total` a training resumes."""
    return lambda epochs: remark(f"resumes after epoch {epochs} of {total}")


def parse_numbers(name: str, words: str, accepted: range) -> list[int]:
    """`2,4,8` as ascending numbers, each once; `UserError` names the option `name`."""
    found = [int(word) if word.strip().isdecimal() else -1 for word in words.split(",")]
    if not all(n in accepted for n in found):
        raise UserError(f"{name} is {words}, expected numbers {accepted[0]} to {accepted[-1]}, such as 2,4,8")
    return sorted(set(found))
