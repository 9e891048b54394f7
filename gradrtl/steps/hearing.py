"""Sound files through a network behind its front end: a decision after every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import whole
from ..errors import require
from ..quantize.frontend import FrontEnd
from ..quantize.network import QuantizedNetwork
from ..rtl import latency
from ..rtl.mapping import Mapping
from ..shapes import LARGEST_STEPS
from ..sim import engine, generated
from ..sim.driving import Stalls
from ..sim.events import events_of
from ..sim.sound import Sound
from ..sim.timing.microphone import predict_sound
from ..sim.timing.predict import Cycles
from ..sim.verify import verify
from ..sim.verilated import build
from .events import kept_of
from .sound import NAME, samples_of

ADDED = ("sum", "count", "first")  # read-outs of which a packet of a stream has what its step adds
MOST_PAUSE = 10_000  # steps
FEW_CYCLES = 200_000  # are sooner simulated by Verilog that is compiled quickly


@dataclass(frozen=True)
class Ear:
    """What a network hears with: the front end of its training, and the names of its classes."""

    settings: FrontEnd
    words: tuple[str, ...]

    @staticmethod
    def of(network: QuantizedNetwork) -> Ear:
        """That of a network that was trained on recordings of `gradrtl listen`, whose notes tell it."""
        made = kept_of(network) or {}
        accepted = "that of gradrtl listen, on whose recordings the network was trained"
        require("front end" in made, "front end in the notes of the network", None, accepted)
        settings = FrontEnd.from_json(made["front end"])
        names = made.get("words")
        words = tuple(map(str, range(network.classes)))
        if isinstance(names, list) and len(names) == network.classes and all(isinstance(n, str) for n in names):
            words = tuple(names)
        return Ear(settings, words)

    @property
    def milliseconds(self) -> float:
        """Duration of a step."""
        return 1000 * self.settings.step / self.settings.rate


@dataclass(frozen=True)
class Hearing:
    """How sound files are heard.

    window
        Steps of which sums are added up for a decision; None: those of a frame, as in training. Read-outs whose packet
        has more than what its step adds (`membrane`, `largest`) need none.
    pause
        None: a reset before each file. Otherwise all files are one stream, with so many steps of silence behind each,
        and without a reset of front end or network.
    """

    window: int | None = None
    pause: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            object.__setattr__(self, "window", whole("window", self.window, 1, LARGEST_STEPS))
        if self.pause is not None:
            object.__setattr__(self, "pause", whole("pause", self.pause, 0, MOST_PAUSE))

    def steps(self, network: QuantizedNetwork) -> int:
        """Steps of a window."""
        if network.readouts[0].kind not in ADDED:
            require(self.window in (None, 1), "window", self.window, f"1 for the read-out {network.readouts[0].kind}")
            return 1
        return self.window or network.steps


@dataclass(frozen=True)
class Heard:
    """What was decided on a file.

    `decisions`: int64 `[steps]`, after each step the class of the largest sum over the window, or since the beginning.
    `latency`: int64 `[steps]`, cycles from the step's last sample to the last beat of its packet. `label`: the class
    that the name of the file tells, None if it tells none. `at`: the step after which `word` is decided.
    """

    path: Path
    decisions: np.ndarray
    latency: np.ndarray
    at: int
    label: int | None

    @property
    def word(self) -> int:
        """The class after the first window, or after the whole file where that is shorter."""
        return int(self.decisions[self.at])

    @property
    def changes(self) -> list[tuple[int, int]]:
        """The first step of each other decision, and its class."""
        first = np.flatnonzero(np.diff(self.decisions, prepend=-1))
        return [(int(step), int(self.decisions[step])) for step in first]


@dataclass(frozen=True)
class Answers:
    """All files: `heard`; `compared`, what was compared with compiled Verilog, by run, empty without; `interval`:
    cycles of a step at most, with samples that come at once. They are those from one step to the next; where no step
    follows another, those until the step's packet has left.
    """

    ear: Ear
    window: int
    heard: tuple[Heard, ...]
    interval: int
    compared: tuple[Any, ...] = ()  # verify.Verification

    @cached_property
    def latency(self) -> np.ndarray:
        """That of all steps, cycles."""
        return np.concatenate([one.latency for one in self.heard])

    @property
    def right(self) -> tuple[int, int]:
        """Files whose word is their label, and files that have one."""
        known = [one for one in self.heard if one.label is not None]
        return sum(one.word == one.label for one in known), len(known)

    @property
    def slowest_clock(self) -> float:
        """MHz of which a step takes as long as it lasts."""
        return self.interval / self.ear.milliseconds / 1000

    def real_time(self, megahertz: float) -> float:
        """How many times faster than sound the accelerator is at a clock."""
        return megahertz / self.slowest_clock

    @property
    def failed(self) -> Any | None:
        """The first run whose Verilog differs from the simulator."""
        return next((run for run in self.compared if not run.passed), None)


def hear(
    network: QuantizedNetwork,
    mapping: Mapping,
    paths: Sequence[Path],
    hearing: Hearing | None = None,
    verilog: str | None = None,
    stalls: Stalls | None = None,
    progress: Callable[[int], None] = lambda files: None,
    trusted: bool = False,
) -> Answers:
    """Hear the WAV files `paths`, at least one, each filled up with silence to a whole window.

    `mapping`: of `network` as a stream. `verilog`: a text with the front end in front, which is compiled and compared
    in every spike, membrane, sum and cycle, under `stalls`; None: the simulator and the timing model alone, which are
    exact. `progress` is called with the number of files done since its last call.

    Raises `UserError` for files that are no sound, or not at the front end's rate.
    """
    hearing = hearing or Hearing()
    ear = Ear.of(network)
    require(len(paths) > 0, "sound files", 0, "1 or more")
    window = hearing.steps(network)
    sounds = [_filled(samples_of(path, ear.settings.rate), ear.settings.step, window, hearing.pause) for path in paths]
    lengths = [len(samples) // ear.settings.step for samples in sounds]
    together = hearing.pause is not None
    runs = [Sound.of(ear.settings, sounds, ends=False)] if together else (
        Sound.of(ear.settings, [samples], ends=False) for samples in sounds
    )  # fmt: skip
    few = sum(map(len, sounds)) * latency.front_end_sample(ear.settings.products) < FEW_CYCLES
    model = None if verilog is None else build(verilog, mapping, quick=few, sound=True, trusted=trusted)
    decisions, latencies, between, alone, compared = [], [], [], [], []
    for sound in runs:
        if verilog is None:
            sums, times = _simulated(mapping, sound)
        else:
            done = verify(mapping, verilog, sound, stalls=stalls, model=model, trusted=trusted)
            compared.append(done)
            if not done.passed:
                return Answers(ear, window, (), 0, tuple(compared))
            assert done.times is not None
            sums, times = engine.run(mapping.network, sound.counts).counts, done.times
        decisions.append(_decisions(sums[:, : network.classes], window))
        latencies.append(times.result - times.last_beat)
        between.append(np.diff(times.first_beat))
        alone.append(times.latency)
        progress(len(paths) if together else 1)
    cuts = np.cumsum(lengths)[:-1]
    parts = zip(paths, *(np.split(np.concatenate(values), cuts) for values in (decisions, latencies)), strict=True)
    heard = tuple(Heard(path, made, late, window - 1, _label(path, ear)) for path, made, late in parts)
    intervals = np.concatenate(between if any(map(len, between)) else alone)
    return Answers(ear, window, heard, int(intervals.max()), tuple(compared))


def text_of(mapping: Mapping, ear: Ear) -> str:
    """Freshly generated Verilog, from the cache if it was made before."""
    return generated.verilog(mapping, "gradrtl hear", front_end=ear.settings)


def _filled(samples: np.ndarray, step: int, window: int, pause: int | None) -> np.ndarray:
    """Samples and silence behind them: whole steps, at least a window, and the pause."""
    steps = max(window, -(-len(samples) // step)) + (pause or 0)
    return np.pad(samples, (0, steps * step - len(samples)))


def _simulated(mapping: Mapping, sound: Sound) -> tuple[np.ndarray, Cycles]:
    """Sums of the read-outs, and the times of all steps, as the timing model has them."""
    found = engine.run(mapping.network, sound.counts, trace="spikes")
    assert found.trace is not None
    times = predict_sound(mapping, sound, events_of(mapping, (sound.counts,), found.trace))
    return found.counts, times


def _decisions(sums: np.ndarray, window: int) -> np.ndarray:
    """The class of the largest sum over the last `window` steps, or over all steps so far."""
    total = np.cumsum(sums, axis=0)
    total[window:] -= total[:-window].copy()
    return total.argmax(axis=1)


def _label(path: Path, ear: Ear) -> int | None:
    name = NAME.fullmatch(path.stem)
    return ear.words.index(name["word"]) if name is not None and name["word"] in ear.words else None
