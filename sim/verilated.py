"""The generated Verilog, compiled and run: Verilator's model behind a C++ driver."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import RtlFault, require
from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from . import toolchain
from .cycles import Cycles
from .frames import check
from .harness import CORES, INSTANCE, core_list, harness
from .outcome import Outcome, Trace

END_OF_STEP = 1 << 31
PATIENCE = 1_000_000
REST = 4096  # idle cycles between frames that are sent apart
REGISTERS = "s_axil_awvalid"  # a port of those designs that have registers
BLOCK = 256  # frames handed to the driver at a time


@dataclass(frozen=True)
class Stalls:
    """Random idle cycles: before each input beat and on the output, with these probabilities."""

    density_in: float = 0.0
    density_out: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, density in (("density_in", self.density_in), ("density_out", self.density_out)):
            require(0 <= density < 1, f"stalls.{name}", density, "at least 0, less than 1")
        require(0 <= self.seed < 1 << 31, "stalls.seed", self.seed, f"0 to {(1 << 31) - 1}")

    @property
    def none(self) -> bool:
        return self.density_in == self.density_out == 0


@dataclass(frozen=True)
class Handshakes:
    """Cycles, int64: `offered` `[frames, most beats]`, when each input beat was first offered (0 behind a frame's last
    one); `taken` `[frames, classes + 1]`, when each beat of its packet was taken."""

    offered: np.ndarray
    taken: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RtlOutcome(Outcome):
    """Outcome of the compiled RTL. Neurons that the mapping removed are 0 in its trace.

    `cycles`: when each frame went in and its packet left. `flagged`: bool `[frames]`, the packet's `TUSER`.
    `handshakes`: what the world outside did, if it was recorded.
    """

    cycles: Cycles
    flagged: np.ndarray
    handshakes: Handshakes | None = None


@dataclass(frozen=True)
class Verdict:
    """How a run of the driver ended: `kind` is done, difference or fault; counts of what was compared; details."""

    kind: str
    cycles: int
    spikes: int
    membranes: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A compiled accelerator. `traced`: its `core<l>` wires were found. `number`: which, if the program holds many."""

    program: Path
    mapping: Mapping
    traced: bool
    number: int | None = None

    @property
    def command(self) -> list[str]:
        return [str(self.program.absolute()), *([] if self.number is None else [str(self.number)])]

    @property
    def folder(self) -> Path:
        """Where it runs: its memories are there."""
        return self.program.parent if self.number is None else self.program.parent / str(self.number)

    def run(
        self,
        frames: np.ndarray,
        *,
        trace: bool = False,
        stalls: Stalls | None = None,
        apart: bool = False,
        patience: int = PATIENCE,
    ) -> RtlOutcome:
        """Run `frames` as the engine takes them, from reset, back to back unless stalled.

        Parameters
        ----------
        trace
            Record all spikes and membranes (5 bytes a neuron, step and frame).
        apart
            Send each frame into an accelerator at rest.
        patience
            Cycles without any progress after which the accelerator counts as stuck.

        Raises `RtlFault`, and `UserError` for frames that do not fit the network.
        """
        require(self.traced or not trace, "trace", trace, "False: this Verilog has no trace wires")
        check(self.mapping.network, frames)
        with Run(self, len(frames), record=trace, stalls=stalls, apart=apart, patience=patience) as run:
            for begin in range(0, len(frames), BLOCK):
                if not run.feed(frames[begin : begin + BLOCK]):
                    break
            verdict = run.finish()
            if verdict.kind != "done":
                raise RtlFault(verdict.details["message"])
            return run.outcome()


def build(
    verilog: str | Path,
    mapping: Mapping,
    *,
    cache: str | Path | None = None,
    jobs: int | None = None,
    quick: bool = False,
) -> Model:
    """Compile `verilog` (its text, or the path of a file) for the network and placement of `mapping`.

    `quick`: for a short run. A design without the trace wires gives a model with `traced` False. Raises `ToolError`
    (a `UserError`) with Verilator's first error.
    """
    text = verilog.read_text() if isinstance(verilog, Path) else verilog
    require(
        re.search(r"\bmodule\s+gradrtl\b", text) is not None, "the Verilog", "not usable", "it needs a module gradrtl"
    )

    def make(cores: str | None) -> Model:
        traced = cores is not None
        program = toolchain.build(
            text,
            harness(mapping, REGISTERS in text, cores),
            {"binding.cpp": _template("binding.cpp"), "cores.h": core_list(mapping, traced)},
            _driver(),
            cache=cache,
            jobs=jobs,
            quick=quick,
        )
        return Model(program, mapping, traced)

    for cores in CORES:
        try:
            return make(cores)
        except toolchain.ToolError as error:
            if error.file != "harness.v" or INSTANCE not in error.message:
                raise
    return make(None)


def build_together(
    designs: Sequence[tuple[str, Mapping]], folder: Path, *, cache: str | Path | None = None
) -> list[Model]:
    """Compile several generated Verilogs, each with its mapping, for short runs: one program in `folder`, an empty one.

    For many small networks, less work than `build` of each. Every design must have its trace wires.
    """
    binding = _template("binding.cpp")
    bindings = []
    for number in range(len(designs)):
        own = binding.replace('"Vharness.h"', f'"{number}/V{number}harness.h"').replace("Vharness", f"V{number}harness")
        own = own.replace("cores.h", f"cores{number}.h")
        bindings.append(f"namespace model{number} {{\n{own}\n}}\n")
    headers = "".join(f'#include "{number}/V{number}harness.h"\n' for number in range(len(designs)))
    makers = ", ".join(f"model{number}::make_model" for number in range(len(designs)))
    choice = f"Ports make_model(int number) {{ return (Ports (*[])(int)){{{makers}}}[number](number); }}\n"
    program = toolchain.build_together(
        [(text, harness(mapping, REGISTERS in text, CORES[0])) for text, mapping in designs],
        {"bindings.cpp": f'#include "ports.h"\n{headers}{"".join(bindings)}{choice}'}
        | {f"cores{number}.h": core_list(mapping, True) for number, (_, mapping) in enumerate(designs)},
        _driver(),
        folder,
        cache=cache,
    )
    return [Model(program, mapping, True, number) for number, (_, mapping) in enumerate(designs)]


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text()


def _driver() -> dict[str, str]:
    return {name: _template(name) for name in ("driver.cpp", "ports.h")}


class Run:
    """One run of the driver: `feed` it frames in order, `finish`, then read the `outcome`.

    A context manager: the process and its files are gone at the end, whatever happens. With `compare`, each fed
    block comes with the engine's traced outcome and the run ends at the first difference; with `record`, the trace
    is in the outcome; with `handshakes`, the times of every beat are. `first` is the number of the first frame, for
    messages. Memory does not grow with the number of frames: the driver reads from a pipe and writes to a file.
    """

    def __init__(
        self,
        model: Model,
        frames: int,
        *,
        first: int = 0,
        compare: bool = False,
        record: bool = False,
        handshakes: bool = False,
        stalls: Stalls | None = None,
        apart: bool = False,
        patience: int = PATIENCE,
    ):
        require(patience >= 1, "patience", patience, "at least 1")
        self.mapping = model.mapping
        self.compare = compare
        self.record = record
        self.beats = _most_beats(model.mapping) if handshakes else 0
        self._results = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            model.command,
            cwd=model.folder,
            stdin=subprocess.PIPE,
            stdout=self._results,
            stderr=subprocess.PIPE,
        )
        self._write(_setup(model, frames, first, compare, record, self.beats, stalls or Stalls(), apart, patience))

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stderr, self._results):
            if file is not None:
                with suppress(BrokenPipeError):
                    file.close()

    def feed(self, frames: np.ndarray, expected: Outcome | None = None) -> bool:
        """Send a block of frames; False if the driver has ended before it read them all."""
        traces = []
        if self.compare:
            assert expected is not None
            assert expected.trace is not None
            traces = [a for pair in zip(expected.trace.spikes, expected.trace.membranes, strict=True) for a in pair]
        return self._write(_records(self.mapping, frames, traces))

    def finish(self) -> Verdict:
        """Wait for the driver's verdict."""
        _, errors = self._process.communicate()
        try:
            found = json.loads(errors.decode().splitlines()[-1])
        except (IndexError, ValueError):
            found = {"verdict": "fault", "cycles": 0, "spikes": 0, "membranes": 0}
            found["message"] = f"the driver stops with code {self._process.returncode}"
        kind, cycles, spikes, membranes = (found.pop(name) for name in ("verdict", "cycles", "spikes", "membranes"))
        return Verdict(kind, cycles, spikes, membranes, found)

    def outcome(self) -> RtlOutcome:
        """What has come back, frame by frame, as far as the run went."""
        network = self.mapping.network
        fields: list[Any] = [("cycles", "<i8", 3), ("user", "<i8"), ("packet", "<i8", 1 + network.classes)]
        if self.beats:
            fields += [("offered", "<i8", self.beats), ("taken", "<i8", 1 + network.classes)]
        shapes = [(network.steps, layer.neurons) for layer in network.layers] if self.record else []
        for index, shape in enumerate(shapes):
            fields += [(f"spikes{index}", "u1", shape), (f"membranes{index}", "<i4", shape)]
        self._results.seek(0)
        found = np.frombuffer(self._results.read(), dtype=np.dtype(fields))
        trace = None
        if self.record:
            spikes, membranes = (
                tuple(found[f"{name}{index}"] for index in range(len(shapes))) for name in ("spikes", "membranes")
            )
            trace = Trace(spikes, membranes)
        return RtlOutcome(
            found["packet"][:, 0],
            found["packet"][:, 1:],
            trace,
            cycles=Cycles(*found["cycles"].T),
            flagged=found["user"] != 0,
            handshakes=Handshakes(found["offered"], found["taken"]) if self.beats else None,
        )

    def _write(self, data: bytes | memoryview) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def _most_beats(mapping: Mapping) -> int:
    """Input beats of a frame: all of them, or, of spikes, the most there can be."""
    network = mapping.network
    return mapping.beats if network.input.kind == "static" else network.steps * (network.layers[0].sources + 1)


def _setup(
    model: Model,
    frames: int,
    first: int,
    compare: bool,
    record: bool,
    beats: int,
    stalls: Stalls,
    apart: bool,
    patience: int,
) -> bytes:
    """The head of the driver's input: see `struct Setup` and `read_layers` in the driver."""
    network = model.mapping.network
    layers = model.mapping.layers if model.traced else ()
    densities = [round(density * 65536) for density in (stalls.density_in, stalls.density_out)]
    numbers = [
        frames,
        first,
        network.classes,
        network.steps,
        len(layers),
        compare,
        record,
        beats,
        stalls.seed,
        *densities,
    ]
    head = np.array([*numbers, REST if apart else -1, patience], dtype="<i8").tobytes()
    for layer in layers:
        head += np.array([layer.layer.neurons, layer.rows, layer.pes, layer.membrane_bits], dtype="<i8").tobytes()
        head += layer.slots.astype("<i4").tobytes()
    return head


def _records(mapping: Mapping, frames: np.ndarray, traces: list[np.ndarray]) -> bytes | memoryview:
    """Frames for the driver: number of beats, beats of 64 bits, then expected spikes and membranes by layer."""
    count = len(frames)
    expected = [np.ascontiguousarray(array).reshape(count, -1).view(np.uint8) for array in traces]
    if mapping.network.input.kind == "static":
        return np.concatenate([_pixel_beats(mapping, frames), *expected], axis=1).data
    beats = spike_beats(mapping.network, frames)
    return b"".join(
        np.array([len(words), *words], dtype="<u8").tobytes() + b"".join(array[n].tobytes() for array in expected)
        for n, words in enumerate(beats)
    )


def _pixel_beats(mapping: Mapping, frames: np.ndarray) -> np.ndarray:
    """Static frames as beats: uint8 `[n, 8 * (1 + beats)]`."""
    beats, lanes = mapping.beats, mapping.pixels_a_beat
    padded = np.zeros((len(frames), beats * lanes), dtype=np.uint8)
    padded[:, : frames.shape[1]] = frames
    words = np.zeros((len(frames), 1 + beats, 8), dtype=np.uint8)
    words[:, 0] = np.array([beats], dtype="<u8").view(np.uint8)
    words[:, 1:, :lanes] = padded.reshape(len(frames), beats, lanes)
    return words.reshape(len(frames), -1)


def spike_beats(network: QuantizedNetwork, frames: np.ndarray) -> list[np.ndarray]:
    """Spike frames `[n, steps, sources]` as words: source addresses, and an end mark after each step."""
    count, steps, sources = frames.shape
    marked = np.concatenate([frames, np.ones((count, steps, 1), np.uint8)], axis=2)
    frame, _, source = np.nonzero(marked)
    words = np.where(source == sources, END_OF_STEP, source).astype(np.uint64)
    return np.split(words, np.searchsorted(frame, np.arange(1, count)))
