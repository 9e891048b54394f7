"""A run of a compiled accelerator: the process of the C++ driver, its input and its results."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError, require
from ..rtl.mapping import LayerMapping, Mapping
from .beats import most_beats, records_of, sample_records
from .confinement import DESIGN, Limits
from .frames import Frames
from .outcome import Outcome, Trace
from .records import KINDS, LAYER, QUANTITIES, RESULT, SETUP, VERDICT, record
from .timing.predict import GROWTH, Cycles

if TYPE_CHECKING:
    from .verilated import Model

PATIENCE = 1_000_000
LARGEST_SEED = (1 << 31) - 1
PARTS = 65536  # of a probability, as the driver counts it
MOST_STALLED = 0.99  # a beat then waits for 100 cycles on average, far less than PATIENCE
REST = 4096  # cycles without a beat or a row, at least, before each frame of those that are sent one at a time
MOST_CYCLES = 100_000  # of a wave
LARGEST_WAVE = 1 << 30  # bytes
WIDEST_MEMBRANE = 32  # bits: the driver holds membranes as int32


@dataclass(frozen=True)
class Stalls:
    """Random idle cycles: before each input beat and on the output, with these probabilities."""

    density_in: float = 0.0
    density_out: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, density in (("density_in", self.density_in), ("density_out", self.density_out)):
            accepted = f"0, or {1 / PARTS} to {MOST_STALLED}: with more, a slow design looks like one that hangs"
            require(density == 0 or 1 / PARTS <= density <= MOST_STALLED, f"stalls.{name}", density, accepted)
        require(0 <= self.seed <= LARGEST_SEED, "stalls.seed", self.seed, f"0 to {LARGEST_SEED}")

    @property
    def none(self) -> bool:
        return self.density_in == self.density_out == 0

    def of_part(self, number: int) -> Stalls:
        """Those of the part `number` of a run: from a seed of its own."""
        return replace(self, seed=(self.seed + number) % (LARGEST_SEED + 1))


@dataclass(frozen=True)
class Window:
    """The cycles `first` to `last` of a run, both included; cycle 0 is the first after reset."""

    first: int
    last: int

    def __post_init__(self) -> None:
        require(0 <= self.first <= self.last, "window", f"{self.first} to {self.last}", "cycles from 0, ascending")
        require(self.last - self.first < MOST_CYCLES, "window", self.last - self.first + 1, f"at most {MOST_CYCLES}")


@dataclass(frozen=True)
class Handshakes:
    """Cycles, int64: `offered` `[frames, most beats]`, when each input beat was first offered (0 after a frame's last
    one); `taken` `[frames, words]`, when each beat of its packet was taken."""

    offered: np.ndarray
    taken: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RtlOutcome(Outcome):
    """Outcome of the compiled RTL. Neurons that the mapping removed are 0 in its trace.

    `cycles`: when each frame entered and its packet left. `flagged`: bool `[frames]`, the packet's `TUSER`.
    `handshakes`: the times of all beats on both streams, if recorded. `numbers`: int64 `[frames]`, of a stream the
    number of each step.
    """

    cycles: Cycles
    flagged: np.ndarray
    numbers: np.ndarray | None = None
    handshakes: Handshakes | None = None


@dataclass(frozen=True)
class Verdict:
    """How a run of the driver ended.

    `kind`: done, difference, fault or recorded. `frames`, `cycles`, `spikes`, `membranes`: numbers of results received
    and values compared. `details`: the fields of `compare.Difference`, or the `message` of a fault. `walls`: bits of
    `records.WALLS`, the confinement under which the design ran. `seen`: the cycle in which a difference in the trace or
    a fault showed, None if there is none.
    """

    kind: str
    frames: int
    cycles: int
    spikes: int
    membranes: int
    walls: int
    details: dict[str, Any]
    seen: int | None = None


class Run:
    """One run of the driver: `feed` it frames in order, `finish`, then read the `outcome`.

    A context manager: at its end, the process is stopped and its files are removed. With `compare`, each block is fed
    with the engine's traced outcome, and the run ends at the first difference. With `record_trace`, the outcome has the
    trace; with `handshakes`, the times of every beat, at most `beats` of a frame (None: as many as events need); with a
    `window`, the `wave` of its cycles, after which the run ends (the model must have been built for it). `first` is the
    number of the first frame, for messages. Memory does not grow with the number of frames: the driver reads from a
    pipe and writes to a file.
    """

    def __init__(
        self,
        model: Model,
        frames: int,
        *,
        first: int = 0,
        compare: bool = False,
        record_trace: bool = False,
        handshakes: bool = False,
        beats: int | None = None,
        window: Window | None = None,
        stalls: Stalls | None = None,
        apart: bool = False,
        patience: int = PATIENCE,
        limits: Limits = DESIGN,
    ):
        require(1 <= patience < 1 << 62, "patience", patience, "at least 1")
        self.mapping = model.mapping
        self.frames = frames
        self.limits = limits
        self.compare = compare
        self.record = record_trace
        self.beats = (beats or most_beats(model.mapping)) if handshakes else 0
        self.layers = model.mapping.layers if model.traced else ()
        self._result = self._result_type()
        self._nonce = secrets.randbits(62)
        stalls = stalls or Stalls()
        try:
            self._results = tempfile.TemporaryFile()  # noqa: SIM115
            self._wave = None if window is None else tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as error:
            raise UserError(f"no folder for temporary files: {error.strerror}") from error
        output = min(limits.output, max(1, frames) * self._result.itemsize)
        setup = record(
            SETUP,
            nonce=self._nonce,
            frames=frames,
            first=first,
            words=self.mapping.output.words,
            steps=model.mapping.network.steps,
            layers=len(self.layers),
            compare=compare,
            record=record_trace,
            beats=self.beats,
            ahead=_ahead(model.mapping),
            early=model.mapping.network.answers_early,
            seed=stalls.seed,
            stall_in=round(stalls.density_in * PARTS),
            stall_out=round(stalls.density_out * PARTS),
            gap=_rest(model.mapping) if apart else -1,
            patience=patience,
            wave=-1 if self._wave is None else self._wave.fileno(),
            wave_first=0 if window is None else window.first,
            wave_last=0 if window is None else window.last,
            parent=os.getpid(),
            confined=not model.trusted,
            memory=limits.memory,
            seconds=limits.seconds,
            output=output if window is None else max(output, LARGEST_WAVE),
            cycle_seconds=limits.cycle_seconds,
        )
        self._process = subprocess.Popen(
            model.command,
            cwd=model.folder,
            stdin=subprocess.PIPE,
            stdout=self._results,
            stderr=subprocess.PIPE,
            pass_fds=() if self._wave is None else (self._wave.fileno(),),
        )
        self._write(setup + b"".join(map(_layer, self.layers)))

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stderr, self._results, self._wave):
            if file is not None:
                with suppress(BrokenPipeError):
                    file.close()

    def feed(self, frames: Frames, expected: Outcome | None = None) -> bool:
        """Send a block of frames; False if the driver has ended before it read them all."""
        return self._write(records_of(self.mapping, frames, self._traces(expected)))

    def feed_sound(self, steps: Sequence[np.ndarray], expected: Outcome | None = None) -> bool:
        """The same for steps of samples, from `beats.sound_words`."""
        return self._write(sample_records(steps, self._traces(expected)))

    def _traces(self, expected: Outcome | None) -> list[np.ndarray]:
        if not self.compare:
            return []
        assert expected is not None
        assert expected.trace is not None
        return [a for pair in zip(expected.trace.spikes, expected.trace.membranes, strict=True) for a in pair]

    def finish(self) -> Verdict:
        """Wait for the driver's verdict.

        It is accepted if the driver ended with exit code 0, returned the nonce of this run, and returned all results.
        Raises `UserError` if the run was not possible: memory, storage.
        """
        _, told = self._process.communicate()
        code = self._process.returncode
        found = np.frombuffer(told, VERDICT)[0] if len(told) == VERDICT.itemsize else None
        if found is None or code != 0 or found["nonce"] != self._nonce or not 0 <= found["kind"] < len(KINDS):
            return Verdict("fault", 0, 0, 0, 0, 0, {"message": self._ended(code)})
        kind, message = KINDS[found["kind"]], bytes(found["message"]).decode(errors="replace")
        if kind == "failed":
            raise UserError(message)
        frames, cycles, spikes, membranes, walls = (
            int(found[name]) for name in ("frames", "cycles", "spikes", "membranes", "walls")
        )
        details: dict[str, Any] = {"message": message}
        if kind == "difference":
            details = {name: int(found[name]) for name in ("frame", "step", "layer", "neuron", "expected", "got")}
            details["quantity"] = QUANTITIES[found["quantity"]]
        elif kind == "done" and (lacks := self._lacks(frames, spikes, membranes)):
            kind, details = "fault", {"message": lacks}
        seen = int(found["seen"])
        return Verdict(kind, frames, cycles, spikes, membranes, walls, details, seen if seen >= 0 else None)

    def _lacks(self, frames: int, spikes: int, membranes: int) -> str | None:
        """What is missing in the results of a run that reports success."""
        asked, written = self.frames, os.fstat(self._results.fileno()).st_size
        if frames != asked or written != asked * self._result.itemsize:
            return f"{min(frames, written // self._result.itemsize)} of {asked} frames came back"
        neurons = sum(len(np.unique(layer.slots[layer.slots >= 0])) for layer in self.layers)
        most = asked * self.mapping.network.steps * neurons if self.compare else 0
        least = neurons * self._until_answer() if self.compare and self.mapping.placement.cancel else most
        if spikes != membranes or not least <= spikes <= most:
            expected = f"{most}" if least == most else f"{least} to {most}"
            return f"{spikes} spikes and {membranes} membranes were compared, expected {expected} of each"
        return None

    def _until_answer(self) -> int:
        """The least number of steps of all frames until first spikes decided them: of those behind, some are cancelled.

        Sums of a group are several spikes: they can be of any step.
        """
        steps, largest = self.mapping.network.steps, self.outcome().counts.max(axis=1)
        return int(np.where(largest > 0, np.maximum(1, steps + 1 - largest), steps).sum())

    def _ended(self, code: int) -> str:
        """The reason why there is no verdict."""
        if code == -signal.SIGXCPU:
            return f"the simulation took more than {self.limits.seconds} s of processor time"
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return f"the simulation of the Verilog ended {how}, without a verdict"

    def wave(self) -> bytes:
        """The wave of a finished run in VCD; a cycle `n` has times `2 n + 1` (clock 0) and `2 n + 2` (clock 1)."""
        assert self._wave is not None
        self._wave.seek(0)
        return self._wave.read()

    def outcome(self) -> RtlOutcome:
        """The results received, frame by frame, as far as the run went."""
        self._results.seek(0)
        data = self._results.read()
        found = np.frombuffer(data[: len(data) - len(data) % self._result.itemsize], self._result)
        trace = None
        if self.record:
            spikes, membranes = (
                tuple(found[f"{name}{index}"] for index in range(len(self.mapping.network.populations)))
                for name in ("spikes", "membranes")
            )
            trace = Trace(spikes, membranes)
        return RtlOutcome(
            self.mapping.output.decided(found["packet_data"]),
            self.mapping.output.sums(found["packet_data"]),
            trace,
            cycles=Cycles(found["first_beat"], found["last_beat"], found["packet"]),
            flagged=found["user"] != 0,
            numbers=found["packet_data"][:, 0] if self.mapping.output.numbered else None,
            handshakes=Handshakes(found["offered"], found["taken"]) if self.beats else None,
        )

    def _result_type(self) -> np.dtype:
        """The record that the driver writes for each frame."""
        network = self.mapping.network
        fields: list[Any] = [*RESULT.descr, ("packet_data", "<i8", self.mapping.output.words)]
        if self.beats:
            fields += [("offered", "<i8", self.beats), ("taken", "<i8", self.mapping.output.words)]
        for index, layer in enumerate(network.populations if self.record else ()):
            shape = (network.steps, layer.neurons)
            fields += [(f"spikes{index}", "u1", shape), (f"membranes{index}", "<i4", shape)]
        return np.dtype(fields)

    def _write(self, data: bytes | memoryview) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def _ahead(mapping: Mapping) -> int:
    """Frames by which a core may be ahead of the input: those that all hear late, or from nowhere but such."""
    return 0 if mapping.network.is_chain else 1 + -(-_delays(mapping) // mapping.network.steps)


def _delays(mapping: Mapping) -> int:
    return sum(route.delay for route in mapping.routes) + sum(late.delay for late in mapping.late)


def _rest(mapping: Mapping) -> int:
    """Cycles without a beat or a row after which no core works ahead of the input any more.

    A core that adds up the events of a step updates no row: every source sends one, and the fullest PE reads all its
    synapses. In a convolution, sources share lists of synapses.
    """
    if _delays(mapping) == 0:
        return REST
    most = 0
    for layer, ports in zip(mapping.layers, mapping.ports, strict=True):
        events = sum(port.edge.sources for port in ports)
        read = layer.counts.max(axis=0).sum() if layer.kernel is None else events * layer.counts.max(initial=0)
        most = max(most, GROWTH * (events + layer.rows) + int(read))
    return REST + most


def _layer(placed: LayerMapping) -> bytes:
    """The description of a layer for the driver."""
    require(
        placed.membrane_bits <= WIDEST_MEMBRANE, "membrane bits", placed.membrane_bits, f"at most {WIDEST_MEMBRANE}"
    )
    head = record(LAYER, neurons=placed.population.neurons, rows=placed.rows, pes=placed.pes, bits=placed.membrane_bits)
    return head + placed.slots.astype("<i4").tobytes()
