"""Placement: how many processing elements each layer gets, and which neuron goes where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError, require
from ..model.data import load
from ..quantize.network import QuantizedNetwork
from ..quantize.placement import QUEUE_DEPTH, ROW_QUEUE_DEPTH, Placement
from ..rtl.devices import DEVICES, Device
from ..rtl.devices import device as find
from ..rtl.mapping import Mapping, map_network
from ..rtl.planning import Load, balanced_pes, device_pes
from ..rtl.pruning import kept_neurons
from ..sim import engine
from ..sim.measure import measure
from ..sim.operations import count, source_rates
from ..sim.timing.predict import Cycles
from .frames import frames_for

RATE_IMAGES = 1000  # training images on which event rates are measured
PLAN_IMAGES = 100  # of them, on which plans for a device are compared


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
        return map_network(network, Placement(tuple(numbers), pixels_a_beat, queue_depth, row_queue_depth), rates)

    if pes in DEVICES:
        return mapped(planned_pes(DEVICES[pes], network, frames, pixels_a_beat, mapped))
    return mapped(parse_pes(pes, network, frames[:RATE_IMAGES], pixels_a_beat))


def place_on(network: QuantizedNetwork, device: str, folder: Path, pes: str | None = None) -> Mapping:
    """Map `network` for `device`: with `pes`, or as planned. Rates and plan come from training images in `folder`.

    Where there is RAM without contents that is wide enough, it holds the first layer's synapses.
    """
    target = find(device)
    frames = training_frames(network, folder)
    rates = source_rates(network, frames)
    strided = (0,) if target.wide_rams else ()

    def mapped(numbers: list[int]) -> Mapping:
        return map_network(
            network,
            Placement(tuple(numbers), target.pixels_a_beat, target.queue_depth, target.row_queue_depth, strided),
            rates,
        )

    if pes:
        return mapped(parse_pes(pes, network, frames, target.pixels_a_beat))
    return mapped(planned_pes(target, network, frames, target.pixels_a_beat, mapped))


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
    outcome = engine.run(network, frames, trace="spikes")

    def cycles(mapping: Mapping) -> float:
        measured = measure(mapping, frames, outcome=outcome)
        return float(measured.back_to_back.result[-1] / len(frames) + measured.apart.latency.mean())

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


def timing(mapping: Mapping, frames: np.ndarray) -> tuple[Cycles, Cycles]:
    """Predicted cycles of `frames` back to back, and of each alone."""
    measured = measure(mapping, frames)
    return measured.back_to_back, measured.apart
