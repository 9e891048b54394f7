"""Options and loaders that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from .errors import UserError, require
from .model.data import Dataset, load
from .quantize.network import QuantizedNetwork
from .quantize.placement import QUEUE_DEPTH, ROW_QUEUE_DEPTH
from .rtl.devices import DEVICES, Device
from .rtl.mapping import Mapping, map_network
from .rtl.planning import Load, balanced_pes, device_pes
from .rtl.pruning import kept_neurons
from .sim import engine
from .sim.cycles import predict
from .sim.events import events_of
from .sim.frames import check
from .sim.operations import count, source_rates

RATE_IMAGES = 1000  # training images on which event rates are measured
PLAN_IMAGES = 100  # of them, on which plans for a device are compared

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
queue_option = click.option("--queue-depth", default=QUEUE_DEPTH, type=int, help="Entries of each PE's event queue.")
row_queue_option = click.option(
    "--row-queue-depth", default=ROW_QUEUE_DEPTH, type=int, help="Entries of the queue of rows before a serialiser."
)


def placement_options(command: Callable) -> Callable:
    """All options that decide how a network is placed, and the frames that are measured for it."""
    for option in (frames_option, data_option, row_queue_option, queue_option, beat_option, pe_option):
        command = option(command)
    return command


@contextmanager
def bar(what: str, total: int) -> Iterator:
    """A progress bar on stderr, if that is a terminal; yields a function that advances it."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n=1: progress.advance(task, n)


def frames_for(network: QuantizedNetwork, data: Dataset) -> np.ndarray:
    """Frames of a data set, uint8 `[n, sources]`; `UserError` if the network reads others."""
    require(network.input.kind == "static", "input.kind", network.input.kind, "static: a data set of images")
    require(data.frames.shape[1] == network.layers[0].sources, "image pixels", data.frames.shape[1],
            f"{network.layers[0].sources}, what the network reads")  # fmt: skip
    return data.frames


def load_frames(path: Path, network: QuantizedNetwork) -> np.ndarray:
    """Frames of a .npy file, as the network reads them: uint8 `[n, sources]`, or `[n, steps, sources]` of spikes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of a header that it had to mend
            frames = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"frames file {path}: no such file") from None
    except Exception:  # NumPy raises many kinds on damaged bytes
        raise UserError(f"frames file {path}: not a .npy file of numbers, or damaged") from None
    require(isinstance(frames, np.ndarray), "frames file", path, "one array, .npy")
    check(network, frames)
    require(len(frames) > 0, "frames", len(frames), "at least 1")
    return frames


def place(
    network: QuantizedNetwork,
    pes: str,
    folder: Path,
    pixels_a_beat: int,
    frames: np.ndarray | None = None,
    queue_depth: int = QUEUE_DEPTH,
    row_queue_depth: int = ROW_QUEUE_DEPTH,
) -> Mapping:
    """Map `network`, with the event rates of the first training images in `folder`.

    With `frames` no data set is read: they tell how busy layers are, and all sources of a layer count alike.
    """
    rates = None
    if frames is None:
        frames = training_frames(network, folder)
        rates = source_rates(network, frames)

    def mapped(numbers: list[int]) -> Mapping:
        return map_network(network, numbers, rates, pixels_a_beat, queue_depth, row_queue_depth)

    if pes in DEVICES:
        return mapped(planned_pes(DEVICES[pes], network, frames, pixels_a_beat, mapped))
    return mapped(parse_pes(pes, network, frames[:RATE_IMAGES], pixels_a_beat))


def planned_pes(
    device: Device,
    network: QuantizedNetwork,
    frames: np.ndarray,
    pixels_a_beat: int,
    mapped: Callable[[list[int]], Mapping],
) -> list[int]:
    """PEs by layer for `device`: plans are compared by their cycles on the first of `frames`."""
    cycles = cycles_on(network, frames[:PLAN_IMAGES])
    return device_pes(network, *work(network, frames[:RATE_IMAGES], pixels_a_beat), device, mapped, cycles)


def cycles_on(network: QuantizedNetwork, frames: np.ndarray) -> Callable[[Mapping], float]:
    """What a mapping costs on `frames`: cycles a frame in a row, and of a frame alone, added up."""
    trace = engine.run(network, frames, trace="spikes").trace
    assert trace is not None

    def cycles(mapping: Mapping) -> float:
        events = events_of(mapping, frames, trace)
        row, apart = predict(mapping, events), predict(mapping, events, apart=True)
        return float(row.result[-1] / len(frames) + apart.latency.mean())

    return cycles


def training_frames(network: QuantizedNetwork, folder: Path) -> np.ndarray:
    """The training images in `folder` on which event rates are measured."""
    training, _ = load(folder)
    return frames_for(network, training)[:RATE_IMAGES]


def pe_numbers(text: str) -> tuple[list[int], bool]:
    """The numbers of `16,10`, and whether `auto` ends them. A device leaves all of them open."""
    if text in DEVICES:
        return [], True
    words = [word.strip() for word in text.split(",")]
    auto = words[-1] == "auto"
    given = words[:-1] if auto else words
    if not all(word.isascii() and word.isdigit() and int(word) for word in given):
        raise UserError(
            f"pe is {text}: numbers above 0, one for each layer, such as 16,10; auto may end them; or a device"
        )
    return [int(word) for word in given], auto


def parse_pes(text: str, network: QuantizedNetwork, frames: np.ndarray, pixels_a_beat: int) -> list[int]:
    """`16,10` as it stands; `auto` at the end, or alone, is filled in.

    How busy the layers are is counted on `frames`, if it matters.
    """
    layers = len(network.layers)
    numbers, auto = pe_numbers(text)
    require(len(numbers) <= layers, "pe", text, f"at most {layers} numbers, one for each layer")
    if not auto:
        return numbers
    filled = balanced_pes(network, *work(network, frames, pixels_a_beat), numbers[0] if numbers else None)
    return numbers + filled[len(numbers) :]


def work(network: QuantizedNetwork, frames: np.ndarray, pixels_a_beat: int) -> tuple[list[Load], int]:
    """Work of each layer in a mean frame of `frames`, and the beats of a frame."""
    measured = count(network, frames)
    loads = [
        Load(float(events.sum(axis=1).mean()), float(synaptic.sum(axis=1).mean()), len(kept))
        for events, synaptic, kept in zip(measured.events, measured.synaptic, kept_neurons(network), strict=True)
    ]
    return loads, -(-network.layers[0].sources // max(1, pixels_a_beat))
