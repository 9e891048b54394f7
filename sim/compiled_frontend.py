"""A front end for sound as compiled Verilog, beside `frontend.py`, which it equals."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RtlFault
from ..quantize.frontend import FrontEnd
from ..rtl import latency
from ..rtl.frame_words import MARK_BIT, event_words
from ..rtl.frontend import TOP, generate
from . import toolchain
from .confinement import template

PORTS = {
    "input": {"clk": 1, "rst": 1, "s_axis_tdata": 16, "s_axis_tvalid": 1, "s_axis_tlast": 1, "m_axis_tready": 1},
    "output": {"s_axis_tready": 1, "m_axis_tdata": 32, "m_axis_tvalid": 1, "m_axis_tlast": 1},
}
BEAT = np.dtype([("cycle", "<i8"), ("data", "<u4"), ("last", "<u4")])
STALLED = 1 << 16  # a stall in every cycle
PATIENCE = 1000  # cycles beyond those of a step, with nothing moving, after which a run has ended


@dataclass(frozen=True)
class Heard:
    """A run: `accepted`, int64, the cycle of each sample; `beats`, `BEAT`, in the order in which they left."""

    accepted: np.ndarray
    beats: np.ndarray

    @property
    def marks(self) -> np.ndarray:
        """The beats that end steps."""
        return self.beats[self.beats["data"] == 1 << MARK_BIT]


def beats_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`data` uint32 and `last` of the beats of a recording's counts, `[steps, ...]`, as the front end sends them."""
    (data,) = event_words(counts.reshape(1, len(counts), -1).astype(np.uint8), True)
    return data, np.arange(len(data)) == len(data) - 1


def build(settings: FrontEnd, *, cache: str | Path | None = None, quick: bool = False) -> Path:
    """The compiled front end with its driver: a program for `run`."""
    ports = [f"{way} [{width - 1}:0] {name}" for way, named in PORTS.items() for name, width in named.items()]
    pins = [f".{name}({name})" for named in PORTS.values() for name in named]
    harness = f"module harness ({', '.join(ports)});\n  {TOP} dut ({', '.join(pins)});\nendmodule\n"
    binding = {name: template(name) for name in ("frontend.cpp", "stalls.h")}
    return toolchain.build(generate(settings), harness, binding, {}, cache=cache, quick=quick, trusted=True)


def run(
    program: Path,
    settings: FrontEnd,
    recordings: Sequence[np.ndarray],
    stalls: tuple[float, float] = (0, 0),
    seed: int = 0,
) -> Heard:
    """Recordings, each int16 `[n]`, one after another. `stalls`: of the cycles in front of, and behind the front end.

    Raises `RtlFault` if the program fails.
    """
    words = [2 * samples.astype("<i4") for samples in recordings]
    for samples in words:
        samples[-1] += 1
    patience = PATIENCE + latency.front_end_step(settings.step, settings.products, settings.bands, settings.sources)
    setup = [sum(map(len, words)), *(round(STALLED * part) for part in stalls), seed, patience]
    given = np.array(setup, "<i8").tobytes() + b"".join(samples.tobytes() for samples in words)
    done = subprocess.run([program.absolute()], cwd=program.parent, input=given, capture_output=True, check=False)
    if done.returncode:
        raise RtlFault(f"the compiled front end ended with {done.returncode}")
    count = int(np.frombuffer(done.stdout, "<i8", 1)[0])
    accepted = np.frombuffer(done.stdout, "<i8", count, 8)
    return Heard(accepted, np.frombuffer(done.stdout, BEAT, offset=16 + 8 * count))
