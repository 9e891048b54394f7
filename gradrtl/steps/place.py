"""Placement, the same for every command: the processing elements (PEs) of each layer, and the PE of each neuron.

It depends on the network file (event rates, and the placement if there is one) and on the given options. No data set
is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import libraries, remembered, sources
from ..errors import UserError, require
from ..model.sets import load
from ..quantize.network import Conv, Population, QuantizedNetwork
from ..quantize.placement import Placement
from ..rtl import routes
from ..rtl.devices import DEVICES, Device, DoesNotFit
from ..rtl.devices import device as find
from ..rtl.latency import loop_latency
from ..rtl.mapping import Mapping, map_network
from ..rtl.planning import Load, balanced_pes, device_pes, needs, placement_for
from ..rtl.pruning import kept_neurons
from ..sim.events import events_of
from ..sim.frames import Frames, check
from ..sim.geometry import fan_out
from ..sim.operations import source_rates
from ..sim.outcome import Trace
from ..sim.sampling import sample
from ..sim.timing.predict import predict
from .events import Counting
from .frames import frames_for

RATE_IMAGES = 1000  # training images on which event rates are measured
PLAN_FRAMES = 100  # drawn from the rates, on which plans for a device are compared,
PLAN_EVENTS = 4_000_000  # or fewer, with about as many events
FEWER = 10  # of this many frames one is among those by which plans far behind the fastest are left out;
LEAST = 2  # as many at least
DEFAULT_PES = "16,auto"
# Packages that a plan depends on.
PLANNER = ("gradrtl.quantize", "gradrtl.rtl", "gradrtl.sim", "gradrtl.steps.place")


@dataclass(frozen=True)
class Wanted:
    """Options of a placement; None: not given.

    `pes`: PEs per layer such as `16,10`, with `auto` at the end if wanted; `device`: its name. If both are given, the
    device determines all but the PEs. The rest comes from the network file, or from defaults. `stream`: without frames,
    also where the network file does not say so; `cancel`, likewise: the rest of a frame that is decided is dropped.
    """

    pes: str | None = None
    device: str | None = None
    pixels_a_beat: int | None = None
    queue_depth: int | None = None
    row_queue_depth: int | None = None
    stream: bool = False
    cancel: bool = False

    def __post_init__(self) -> None:
        if self.pes is not None:
            pe_numbers(self.pes)
        if self.device is not None:
            find(self.device)
        self.over(Placement((1,)))  # refuses numbers that are invalid in any placement

    def over(self, placement: Placement) -> Placement:
        """`placement` with the given numbers."""
        names = ("pixels_a_beat", "queue_depth", "row_queue_depth")
        asked = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        chosen = {name: getattr(placement, name) or getattr(self, name) for name in ("stream", "cancel")}
        return replace(placement, **asked, **chosen)


class Plans:
    """Costs of mappings of one network, each computed once: devices of the same bus and queues share them."""

    def __init__(self) -> None:
        self._cycles: dict[int, Callable[[Mapping], float]] = {}  # by the number of frames
        self._costs: dict[tuple[Placement, int], float] = {}

    def cost(self, mapping: Mapping, rough: bool) -> float:
        """Cycles on frames drawn from the event rates (`cycles_on`), if `rough` on a few of them."""
        network = mapping.network
        events = sum(float(values.sum()) for values in rates_of(network))
        number = max(LEAST, min(PLAN_FRAMES, round(PLAN_EVENTS / max(1.0, events))))
        number = max(LEAST, number // FEWER) if rough else number
        key = mapping.placement, number
        if key not in self._costs:
            if number not in self._cycles:
                self._cycles[number] = cycles_on(*sample(network, rates_of(network), number))
            self._costs[key] = self._cycles[number](mapping)
        return self._costs[key]


def place(
    network: QuantizedNetwork,
    wanted: Wanted | None = None,
    progress: Callable[[float], None] = lambda share: None,
    plans: Plans | None = None,
) -> Mapping:
    """Map `network` as `wanted`.

    `progress` is called with the shares of the planning for a device that have been done. `plans`: what is known from
    other devices.

    Raises `UserError` for numbers that do not fit the network, and `DoesNotFit` if it does not fit the device.
    """
    wanted = wanted or Wanted()
    layers = len(network.populations)
    if wanted.device is not None:
        base = placement_for(find(wanted.device), (1,) * layers)
    else:
        base = network.placement or Placement((1,) * layers)
    base = wanted.over(base)
    network = network.streamed if base.stream else network

    def mapped(pes: list[int]) -> Mapping:
        return map_network(network, replace(base, pes=tuple(pes)))

    if wanted.pes is not None:
        return mapped(parse_pes(wanted.pes, network, base.pixels_a_beat))
    if wanted.device is not None:
        return mapped(planned_pes(find(wanted.device), network, base, progress, plans))
    if network.placement is not None:
        return mapped(list(network.placement.pes))
    return mapped(parse_pes(DEFAULT_PES, network, base.pixels_a_beat))


def planned_pes(
    device: Device,
    network: QuantizedNetwork,
    base: Placement,
    progress: Callable[[float], None] = lambda share: None,
    plans: Plans | None = None,
) -> list[int]:
    """PEs by layer for `device`, with everything but the PEs as in `base`: planned once, then from the cache.

    Plans are compared by their cycles on frames drawn from the network's rates. `progress` is called with shares of the
    work, 1 together. Raises `DoesNotFit` if none fits.
    """
    cost, left = (plans or Plans()).cost, 1.0

    def done(share: float) -> None:
        nonlocal left
        left -= share
        progress(share)

    def plan() -> dict[str, Any]:
        loads, beats = work(network, base.pixels_a_beat)

        def mapped(pes: list[int]) -> Mapping:
            return map_network(network, replace(base, pes=tuple(pes)))

        try:
            return {"pes": device_pes(network, loads, beats, device, mapped, cost, done)}
        except DoesNotFit as error:
            return {"refused": str(error)}

    rates = hashlib.sha256(b"".join(rates.tobytes() for rates in rates_of(network))).hexdigest()
    made_from = {"network": network.digest, "rates": rates, "base": base.line, "device": repr(device)}
    found = remembered("plan", made_from | {"sources": sources(*PLANNER)} | libraries(), plan)
    progress(left)  # all of it where the plan was known
    if "refused" in found:
        raise DoesNotFit(found["refused"])
    return found["pes"]


def cycles_on(frames: Frames, trace: Trace) -> Callable[[Mapping], float]:
    """Cost of a mapping on `frames` with the spikes of `trace`: cycles per frame back to back plus cycles of a single
    frame.
    """

    def cycles(mapping: Mapping) -> float:
        events = events_of(mapping, frames, trace)
        stream, apart = predict(mapping, events), predict(mapping, events, apart=True)
        return float(stream.result[-1] / len(stream.result) + apart.latency.mean())

    return cycles


@dataclass(frozen=True)
class Fit:
    """Resources of `device` that `pes` per layer need.

    `taken`: for each resource, the number used and the number available.
    """

    device: Device
    pes: tuple[int, ...]
    taken: dict[str, tuple[int, int]]

    @property
    def fits(self) -> bool:
        return all(taken <= there for taken, there in self.taken.values())

    def __str__(self) -> str:
        resources = ", ".join(f"{taken} of {there} {name}" for name, (taken, there) in self.taken.items() if there)
        verdict = "fits" if self.fits else "does not fit"
        return f"{self.device.name}: {verdict} with PE {','.join(map(str, self.pes))}: {resources}"


def fits_of(
    network: QuantizedNetwork,
    devices: Sequence[Device] = tuple(DEVICES.values()),
    wanted: Wanted | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Fit]:
    """The plan for each device and its resources; the smallest plan where none fits.

    PEs and other numbers given in `wanted` are kept. `progress` is called with the shares of a device that have been
    done, together 1 for each.
    """
    plans = Plans()
    return [_fit(network, device, wanted or Wanted(), plans, progress) for device in devices]


def _fit(
    network: QuantizedNetwork, device: Device, wanted: Wanted, plans: Plans, progress: Callable[[float], None]
) -> Fit:
    chosen = replace(wanted, device=device.name)
    try:
        mapping = place(network, chosen, progress, plans)
    except UserError:
        if wanted.pes is not None:
            raise
        mapping = place(network, replace(chosen, pes=",".join("1" * len(network.populations))))
    if wanted.pes is not None:
        progress(1)
    return Fit(device, mapping.placement.pes, needs(mapping, device))


def pe_numbers(text: str) -> tuple[list[int], bool]:
    """The numbers of `16,10`, and whether `auto` ends them."""
    words = [word.strip() for word in text.split(",")]
    auto = words[-1] == "auto"
    given = words[:-1] if auto else words
    known = all(word.isascii() and word.isdigit() and len(word) < 5 and int(word) for word in given)
    require(known, "pe", text, "numbers above 0, one for each layer, such as 16,10; auto may end them")
    return [int(word) for word in given], auto


def normal_pes(text: str) -> str:
    """The same as `text`, written in one way: `08, 2` as `8,2`."""
    numbers, auto = pe_numbers(text)
    return ",".join([*map(str, numbers), *(["auto"] if auto else [])])


def parse_pes(text: str, network: QuantizedNetwork, pixels_a_beat: int) -> list[int]:
    """The numbers of `16,10`. `auto`, at the end or alone, becomes as many as keep up, by the event rates."""
    layers = len(network.populations)
    numbers, auto = pe_numbers(text)
    require(len(numbers) <= layers, "pe", text, f"at most {layers} numbers, one for each layer")
    if not auto:
        return numbers
    filled = balanced_pes(network, *work(network, pixels_a_beat), numbers[0] if numbers else None)
    return numbers + filled[len(numbers) :]


def work(network: QuantizedNetwork, pixels_a_beat: int) -> tuple[list[Load], int]:
    """Mean work per frame of each layer, by the network's event rates, and the beats per frame.

    Raises `UserError` for graphs that there is no hardware for.
    """
    loads = []
    parts = zip(
        routes.ports_of(network), routes.rates_of(network, rates_of(network)), kept_neurons(network), strict=True
    )
    for number, (ports, rates, kept) in enumerate(parts):
        operations = sum(values @ fan_out(port.edge) for port, values in zip(ports, rates, strict=True))
        events = float(sum(values.sum() for values in rates))
        waits = network.steps * _wait(network.populations[number], ports)
        loads.append(Load(events, float(operations), len(kept), waits))
    pixels = sum(prod(given.shape) for given in network.inputs if network.is_chain or given.kind == "static")
    return loads, -(-pixels // max(1, pixels_a_beat))


def _wait(population: Population, ports: Sequence[routes.Port]) -> float:
    """Cycles of a step in which a core waits for what comes back from it, at least."""
    current = population.neuron.current is not None and population.neuron.current.enters == "new"
    convolves = any(isinstance(port.edge.synapses, Conv) for port in ports)
    latency = loop_latency(len(ports) > 1, current, convolves)
    return max((latency / port.delay for port in ports if port.back), default=0.0)


def rates_of(network: QuantizedNetwork) -> tuple[np.ndarray, ...]:
    """The network's event rates; without any, one event per source and frame."""
    return network.rates or tuple(np.ones(edge.sources) for edge in network.edges)


def with_rates(network: QuantizedNetwork, frames: Frames) -> QuantizedNetwork:
    """`network` with the event rates measured on the first `RATE_IMAGES` of `frames`, which should be training data."""
    some = tuple(values[:RATE_IMAGES] for values in check(network, frames))
    return replace(network, rates=source_rates(network, some))


def training_frames(network: QuantizedNetwork, folder: Path) -> Frames:
    """The training images or recordings in `folder` on which event rates are measured."""
    training, _ = load(folder, Counting().for_network(network))
    return frames_for(network, training[:RATE_IMAGES])
